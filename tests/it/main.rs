//! Every black-box test of the crate in one binary, so that it is linked once.
//!
//! `floors` and `golden` hold the source and the wire to what is written down; `protocol_docs`
//! and `readme` hold the documents to the code; `fuzz` throws at the codec what no sane peer sends. `connections`,
//! `jobs`, `cancels`, `paging`, `listing` and `workers` try the contract sentence by sentence, with peers that speak it by hand;
//! `cli` uses the binary as people do, `start` and `redis_start` try what must not start, `tls` with certificates, `wscat` types what
//! `protocol.md` says. `compat` replays the documents of the five older systems, `openapi` holds the server to the document that
//! it gives of itself, `dashboard` to what a browser needs. `metrics` holds what is counted to its list, `files` keeps what jobs leave in every place where it can
//! be kept, `uploads` goes on with what was interrupted. `sessions` is about one's own account, `audit` about who did what. `usage` looks at what was used within the last hour, and at
//! who has a GPU. `container_frames` and `container_wishes` ask for containers of workers that do as they are told; `containers` runs jobs and containers in a real engine, `sftp` lets OpenSSH at the files of both. `faults` kills, stops and cuts off, and judges what was seen meanwhile.

#![cfg(test)]

mod audit;
mod cancels;
mod cli;
mod compat;
mod connections;
mod container_frames;
mod container_wishes;
mod containers;
mod dashboard;
mod faults;
mod files;
mod floors;
mod fuzz;
mod golden;
mod http;
mod jobs;
mod listing;
mod metrics;
mod openapi;
mod paging;
mod plugins;
mod protocol_docs;
mod readme;
mod redis_start;
mod samples;
mod sessions;
mod sftp;
mod start;
mod support;
mod tls;
mod uploads;
mod usage;
mod workers;
mod wscat;
