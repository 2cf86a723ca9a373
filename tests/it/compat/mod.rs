//! The five older systems, each by its own document.

mod fractals;
mod machines;
