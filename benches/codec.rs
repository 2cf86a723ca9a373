//! Criterion benchmarks of the codec.

fn main() {}
