//! The agent.
pub mod chunker;
mod outgoing;
mod spill;
