//! The agent.
pub mod chunker;
mod executor;
mod outgoing;
mod spill;
mod workspace;
