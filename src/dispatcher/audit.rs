//! Who did what: the record of acts that others may want to ask about later.
//!
//! Written where an act is done, before whoever asked for it is told. Submits are not here, because a job's record says whose
//! it is, and neither is input.
//!
//! Guards: an act that was done stays done where it cannot be written down, and that is counted; no secret and nothing that was
//! typed is written, names aside; nobody who is no administrator can push what others did out of the log, because what one
//! account or, for failed logins, one address does is written down so many times a minute. Not here: what is allowed.

use std::fmt::Display;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::warn;

use super::jobs::page_limit;
use super::{DispatchError, Dispatcher};
use crate::auth::Identity;
use crate::base::clock::{Millis, millis};
use crate::base::rate::{Rate, network};
use crate::model::{AccountName, Act, Role};
use crate::protocol::ErrorCode;
use crate::protocol::audit::{AuditAction, AuditLog, AuditOutcome, AuditQuery, AuditRecord};
use crate::store::StoreError;
use crate::store::documents::{Collection, Document, DocumentWrite};

/// How long an act is remembered.
const KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// Acts that are remembered: the newest.
const KEPT: usize = 10_000;

/// Acts in a minute that are written down of one user, and of failed logins from one network.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(100).expect("100 is not 0");

/// Longest name of what was acted on, in characters. The names that we give are shorter.
const NAME_MOST: usize = 128;

/// Entries that are looked through in one go where not all of them are wanted.
const AT_ONCE: usize = 2_000;

/// Entries that are removed in one go.
const REMOVED_AT_ONCE: usize = 500;

/// What writing needs.
#[derive(Debug)]
pub(super) struct Audit {
    /// What the last entry is called by, so that two of one moment have an order.
    last: AtomicU64,
    rate: Rate,
}

impl Default for Audit {
    fn default() -> Self {
        Self { last: AtomicU64::new(0), rate: Rate::per_minute(PER_MINUTE) }
    }
}

impl Audit {
    /// The name of the next entry: a later one sorts after it, over all instances as far as their clocks agree.
    fn name(&self, now: Millis) -> String {
        // In microseconds, which no clock here is as fine as: entries of one moment count up.
        let (last, now) = (&self.last, now.saturating_mul(1_000));
        let next = |last: u64| Some(now.max(last.saturating_add(1)));
        let before = last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
        let at = now.max(before.saturating_add(1));
        format!("{at:020}-{:08x}", rand::random::<u32>())
    }
}

impl Dispatcher {
    /// Writes down that `who` did something.
    pub(super) async fn note_done(
        &self,
        who: &Identity,
        action: AuditAction,
        target: impl Display + Send,
        detail: Option<String>,
    ) {
        let (target, outcome) = (Some(target.to_string()), AuditOutcome::OK);
        self.write_down(Act { target, detail, outcome, ..self.act(who, action) }).await;
    }

    /// Writes down that `who` was not let do something.
    pub async fn note_forbidden(&self, who: &Identity, action: AuditAction, target: Option<&str>) {
        self.write_down(Act { target: target.map(cut), ..self.act(who, action) }).await;
    }

    /// Writes down that somebody from that address did not get in as `name`, which is one's name or one's email.
    pub(super) async fn note_failed_login(&self, name: &str, from: IpAddr, detail: Option<&str>) {
        let account = match self.0.store.account(name).await {
            Ok(Some(account)) => account.name.to_string(),
            Ok(None) | Err(_) => cut(name),
        };
        self.write_down(Act {
            time: self.0.clock.now(),
            account,
            role: None,
            from: Some(from),
            action: AuditAction::LoginFailed,
            target: Some(cut(name)),
            detail: detail.map(str::to_owned),
            outcome: AuditOutcome::Refused(ErrorCode::Unauthorized),
        })
        .await;
    }

    /// Writes down that somebody from that address has made an account for themselves.
    pub(super) async fn note_registered(&self, account: &AccountName, from: IpAddr) {
        self.write_down(Act {
            time: self.0.clock.now(),
            account: account.to_string(),
            role: Some(Role::User),
            from: Some(from),
            action: AuditAction::Register,
            target: Some(account.to_string()),
            detail: None,
            outcome: AuditOutcome::OK,
        })
        .await;
    }

    /// Something that `who` was not let do, to nothing in particular.
    fn act(&self, who: &Identity, action: AuditAction) -> Act {
        Act {
            time: self.0.clock.now(),
            account: who.account.to_string(),
            role: Some(who.role),
            from: who.from,
            action,
            target: None,
            detail: None,
            outcome: AuditOutcome::Refused(ErrorCode::Forbidden),
        }
    }

    async fn write_down(&self, act: Act) {
        let rate = &self.0.audit.rate;
        let too_many = match act.role {
            Some(Role::Admin) => false,
            Some(Role::User | Role::Worker | Role::Plugin) => rate.count(&act.account).is_err(),
            None => rate.count(act.from.map(network)).is_err(),
        };
        if too_many {
            return self.0.metrics.audit_lost.inc();
        }
        if let Err(error) = self.store_act(&act).await {
            self.0.metrics.audit_lost.inc();
            warn!(%error, account = act.account, action = ?act.action, "an act could not be written down");
        }
    }

    async fn store_act(&self, act: &Act) -> Result<(), StoreError> {
        let value = serde_json::to_string(act).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let write = DocumentWrite {
            collection: Collection::Audit,
            key: self.0.audit.name(act.time),
            expected: None,
            value: Some(value),
            expires_at: Some(act.time.saturating_add(millis(KEPT_FOR))),
        };
        // Its name is random, so that nothing can be there.
        self.0.store.write_documents(vec![write]).await.map(|_| ())
    }

    /// A page of what was done, newest first: all of it for administrators, for others what they did themselves.
    ///
    /// # Errors
    /// A wrong field, `forbidden`, or the store.
    pub async fn audit_log(&self, who: &Identity, query: AuditQuery) -> Result<AuditLog, DispatchError> {
        let AuditQuery { limit, before, account } = query;
        let limit = page_limit(limit)?;
        let own = who.account.as_str();
        let account = match who.role {
            Role::Admin => account,
            Role::User | Role::Worker | Role::Plugin => match account {
                Some(other) if other != own => {
                    return Err(DispatchError::Forbidden("only administrators see what others did"));
                }
                Some(_) | None => Some(own.to_owned()),
            },
        };
        let mut entries: Vec<AuditRecord> = Vec::new();
        let mut before = before;
        loop {
            // One more than asked for tells whether there is another page.
            let at_once = if account.is_some() { AT_ONCE } else { limit + 1 };
            let page = self.0.store.documents_before(Collection::Audit, before.as_deref(), at_once).await?;
            let is_last = page.len() < at_once;
            before = page.last().map(|document| document.key.clone());
            for Document { key, version: _, value } in page {
                let act: Act = serde_json::from_str(&value).map_err(|error| StoreError::Corrupt(error.to_string()))?;
                if account.as_ref().is_none_or(|account| act.account == *account) {
                    entries.push(act.into_record(key));
                }
            }
            if is_last || entries.len() > limit {
                let next = (entries.len() > limit).then(|| entries[limit - 1].id.clone());
                entries.truncate(limit);
                return Ok(AuditLog { entries, next });
            }
        }
    }

    /// Forgets all but the newest acts.
    ///
    /// # Errors
    /// The store; the next one goes on.
    pub(super) async fn cut_audit(&self) -> Result<(), StoreError> {
        let all = self.0.store.documents(Collection::Audit).await?;
        let oldest = &all[..all.len().saturating_sub(KEPT)];
        for some in oldest.chunks(REMOVED_AT_ONCE) {
            let remove = |act: &Document| DocumentWrite {
                collection: Collection::Audit,
                key: act.key.clone(),
                expected: Some(act.version),
                value: None,
                expires_at: None,
            };
            // Where one has expired just now none is removed, and the next look begins anew.
            self.0.store.write_documents(some.iter().map(remove).collect()).await?;
        }
        Ok(())
    }
}

fn cut(name: &str) -> String {
    name.chars().take(NAME_MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_one_moment_have_an_order_and_a_clock_that_is_set_back_does_not_change_it() {
        let audit = Audit::default();
        let names: Vec<String> = [5, 5, 5, 4, 6].into_iter().map(|now| audit.name(now)).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }
}
