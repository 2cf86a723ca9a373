//! Says when the dashboard that release builds carry has changed. It builds nothing: Cargo needs no Node.js.

fn main() {
    // A debug build reads the dashboard from the disk (`src/api/http/dashboard.rs`), and is not to be compiled anew for it.
    let carried = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    // A folder is looked through whole. This one is always there, with a .gitignore in it.
    println!("cargo::rerun-if-changed={}", if carried { "dashboard/dist" } else { "build.rs" });
}
