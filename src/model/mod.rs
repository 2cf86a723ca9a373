//! What Gangline keeps: records and the rules by which they change, without I/O and without a clock.
//!
//! Records derive `Serialize` because stores keep them; the wire has types of its own in
//! `protocol`, and the conversions stand beside the records.

pub mod account;
pub mod audit;
pub mod class;
pub mod container;
pub mod entry;
pub mod job;
pub mod spec;
pub mod template;
pub mod worker;

pub use account::{Account, AccountName, ApiToken, Contact, Photo, PhotoKind, Role, TokenId};
pub use audit::Act;
pub use class::{Capacity, ReadyClass};
pub use container::Container;
pub use entry::{Entry, EntryKind};
pub use job::{Job, Outcome};
pub use spec::{InvalidSpec, JobSpec, Program, Requires};
pub use template::Template;
pub use worker::Worker;
