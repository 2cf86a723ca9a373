//! Front doors. They only translate: what is asked goes to `dispatcher`, what comes of it goes back.

mod compat;
pub mod http;
pub mod ws;
