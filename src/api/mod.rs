//! Front doors. They translate, and decide nothing.

pub mod ws;
