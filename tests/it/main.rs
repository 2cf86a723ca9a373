//! Every black-box test of the crate in one binary, so that it is linked once.
//!
//! `floors` and `golden` hold the source and the wire to what is written down; `protocol_docs`
//! holds the documents to the wire; `fuzz` throws at the codec what no sane peer sends.

#![cfg(test)]

mod floors;
mod fuzz;
mod golden;
mod http;
mod protocol_docs;
mod samples;
