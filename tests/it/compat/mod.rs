//! The older systems' documents, replayed route by route by peers that know nothing else.

mod accounts;
mod broker;
mod panel;
