//! An outbound WebSocket to a dispatcher: where it is, how to reach it, how it ends.
//!
//! Workers and clients dial with [`dial`], in the clear or over TLS, and get a [`Link`] once the dispatcher has said
//! `hello`. Frames are text in and text out; what they mean is their readers' business.
//!
//! Guards: every step has a time limit, every buffer a size, and every end says whether trying
//! again makes sense. Not here: reconnecting (a loop over [`dial`] with `base::backoff`),
//! because only the caller knows what to say first on a new connection.

mod address;
mod dial;
mod halves;

pub use address::Address;
pub use dial::{LinkError, dial};
pub use halves::{Link, LinkEnd, LinkReceiver, LinkSender};
pub use tokio_tungstenite::tungstenite::Utf8Bytes;

#[cfg(test)]
mod tests;
