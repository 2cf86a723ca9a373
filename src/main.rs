//! The `gangline` binary.

fn main() -> std::process::ExitCode {
    gangline::cli::main()
}
