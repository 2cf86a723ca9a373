//! The five older systems' surfaces, each replayed from its own document.

mod executor;
mod executor_programs;
