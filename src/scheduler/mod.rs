//! Which jobs fit which worker: pure decisions over plain facts.
//!
//! No clock, no I/O, no randomness, no memory: the same facts give the same answer. The
//! dispatcher gathers the facts, asks, and performs.

mod plan;
mod waiting;

pub use plan::{Facts, Plan, cost, fits, give, plan, runs};
pub use waiting::waiting_for;
