//! What is kept of an act: who did what, and what came of it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Role;
use crate::base::clock::Millis;
use crate::protocol::audit::{AuditAction, AuditOutcome, AuditRecord};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// When.
    pub time: Millis,
    /// Who; of a failed login, who was tried.
    pub account: String,
    /// As what; none: nothing was proved.
    pub role: Option<Role>,
    /// From where.
    pub from: Option<IpAddr>,
    /// What.
    pub action: AuditAction,
    /// To what.
    pub target: Option<String>,
    /// What else there is to say. Never a secret, and never what was typed.
    pub detail: Option<String>,
    /// What came of it.
    pub outcome: AuditOutcome,
}

impl Act {
    /// As clients see it.
    pub fn into_record(self, id: String) -> AuditRecord {
        let Self { time, account, role, from, action, target, detail, outcome } = self;
        AuditRecord { id, time, account, role: role.map(Into::into), from, action, target, detail, outcome }
    }
}
