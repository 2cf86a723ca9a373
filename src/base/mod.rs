//! What every floor stands on: time, shutdown, backoff, secrets, TLS, logs.
//!
//! Nothing here knows what a job is.

pub mod backoff;
pub mod clock;
pub mod rate;
pub mod secret;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
