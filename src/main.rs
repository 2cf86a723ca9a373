//! The `gangline` binary.

fn main() {}
