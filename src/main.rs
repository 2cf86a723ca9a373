//! The `gangline` binary: its exit status is what [`gangline::cli`] says.

fn main() -> std::process::ExitCode {
    gangline::cli::main()
}
