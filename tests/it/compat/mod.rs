//! The five older systems, each replayed by its own document.

mod accounts;
mod broker;
mod executor;
mod executor_programs;
mod fractals;
mod machines;
mod panel;
