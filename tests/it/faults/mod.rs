//! The fault suite: things are killed, stopped and cut off while jobs run, and a checker judges
//! what followers and programs saw.

mod chaos;
mod cluster;
mod fencing;
mod follower;
mod history;
mod processes;
mod program;
mod proxy;
pub(crate) mod redis;
mod work;
