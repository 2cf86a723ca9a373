//! The five older systems, each replayed by its own document.

mod accounts;
mod broker;
mod fractals;
mod machines;
mod panel;
