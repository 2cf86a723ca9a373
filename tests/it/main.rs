//! Every black-box test of the crate in one binary, so that it is linked once.
//!
//! `floors` and `golden` hold the source and the wire to what is written down; `protocol_docs`
//! holds the documents to the wire; `fuzz` throws at the codec what no sane peer sends. `connections`,
//! `jobs` and `workers` try the contract sentence by sentence, with peers that speak it by hand;
//! `cli` uses the binary as people do.

#![cfg(test)]

mod cli;
mod connections;
mod floors;
mod fuzz;
mod golden;
mod http;
mod jobs;
mod protocol_docs;
mod samples;
mod start;
mod support;
mod workers;
