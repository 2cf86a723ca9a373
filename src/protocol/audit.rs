//! The audit log on the wire: who did what, when, from where, and whether it was allowed.
//!
//! An entry names what was acted on and never holds what was typed: no command, no input, no password, no token.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::Role;
use super::codec::Noun;
use super::error::ErrorCode;
use super::lenient::count;

/// `audit`: what was done, newest first. Administrators see all of it, users what they did themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditQuery {
    /// Entries at most; 50 unless given, 1,000 at most.
    #[serde(deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only what was done before this entry: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Only what this account did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// A page of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditLog {
    /// Newest first.
    pub entries: Vec<AuditRecord>,
    /// `before` of the next page; null on the last one.
    pub next: Option<String>,
}

/// One act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// Its name; a later one sorts after it.
    pub id: String,
    /// When, in milliseconds.
    pub time: u64,
    /// Who. Of a failed login: the account that was tried, or what was given as one.
    pub account: String,
    /// As what; null where nothing was proved.
    pub role: Option<Role>,
    /// From which address, where it is known.
    pub from: Option<IpAddr>,
    /// What.
    pub action: AuditAction,
    /// To what: an account, the id of a token, a login, a worker, a job or a container.
    pub target: Option<String>,
    /// What else there is to say.
    pub detail: Option<String>,
    /// `ok`, or the code of the error that it was refused with.
    pub outcome: AuditOutcome,
}

/// What came of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AuditOutcome {
    /// It was done.
    Done(Done),
    /// It was refused.
    Refused(ErrorCode),
}

/// How it is said that something was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// `ok`.
    Ok,
}

impl AuditOutcome {
    /// It was done.
    pub const OK: Self = Self::Done(Done::Ok);
}

/// What is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AuditAction {
    /// Logged in with a password.
    Login,
    /// Tried to, with a wrong name or password.
    LoginFailed,
    /// Ended the login that one rests on.
    Logout,
    /// Ended a login.
    SessionEnd,
    /// Made an account for oneself.
    Register,
    /// Said something about oneself.
    Profile,
    /// Gave oneself another picture.
    Photo,
    /// Gave oneself another password.
    PasswordChange,
    /// Made an account for somebody.
    UserAdd,
    /// Removed an account.
    UserRemove,
    /// Gave an account another password.
    UserPassword,
    /// Gave an account another role.
    UserRole,
    /// Made an API token.
    TokenCreate,
    /// Ended an API token.
    TokenRevoke,
    /// Had a worker take no new jobs.
    Drain,
    /// Had a worker take jobs again.
    Undrain,
    /// Cancelled a job.
    JobCancel,
    /// Made a container.
    ContainerCreate,
    /// Started a container.
    ContainerStart,
    /// Stopped a container.
    ContainerStop,
    /// Restarted a container.
    ContainerRestart,
    /// Killed a container.
    ContainerKill,
    /// Removed a container with its data.
    ContainerRemove,
    /// Ran a program inside a container.
    ContainerExec,
}

impl AuditAction {
    /// What an administrator's frame would do; none: it would change nothing.
    pub fn of_administrators(noun: Noun, opt: &str) -> Option<Self> {
        match noun {
            Noun::Auth => match opt {
                "userAdd" => Some(Self::UserAdd),
                "userRemove" => Some(Self::UserRemove),
                "userPassword" => Some(Self::UserPassword),
                "userRole" => Some(Self::UserRole),
                _ => None,
            },
            Noun::Worker => match opt {
                "drain" => Some(Self::Drain),
                "undrain" => Some(Self::Undrain),
                _ => None,
            },
            Noun::Hello | Noun::Job | Noun::Container | Noun::Plugin | Noun::Error | Noun::Ping | Noun::Pong => None,
        }
    }
}
