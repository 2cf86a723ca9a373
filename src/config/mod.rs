//! Settings: defaults < file < environment < flags, resolved once into plain structs.

pub mod server;

pub use server::{Durability, Limits, ServerSettings};
