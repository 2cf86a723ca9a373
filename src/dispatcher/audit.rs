//! Who did what: the record of acts that others may want to ask about later.
//!
//! Written where an act is done, before whoever asked for it is told. Submits are not here, because a job's record says whose
//! it is, and neither is input.
//!
//! Guards: an act that was done stays done where it cannot be written down, and that is counted; no secret and nothing that was
//! typed is written, names aside; nobody who is no administrator can push what others did out of the log, because what one
//! account or, for failed logins, one address does is written down so many times a minute. Not here: what is allowed.

use std::collections::BTreeMap;
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

/// Changes that are made in one go where the log is put in order.
const CHANGED_AT_ONCE: usize = 500;

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
        let id = self.0.audit.name(act.time);
        let by_account = written(Collection::AuditByAccount, key_of(&act.account, &id), value.clone(), act.time);
        let by_time = written(Collection::Audit, id, value, act.time);
        // Its name is random, so that nothing can be there.
        self.0.store.write_documents(vec![by_time, by_account]).await.map(|_| ())
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
        let (collection, place) = match account {
            None => (Collection::Audit, String::new()),
            Some(account) => (Collection::AuditByAccount, key_of(&account, "")),
        };
        // Names of entries begin with a digit, and this sorts after all of them.
        let end = format!("{place}:");
        let before = before.map(|before| format!("{place}{before}")).filter(|before| *before < end).unwrap_or(end);
        // One more than asked for tells whether there is another page.
        let page = self.0.store.documents_before(collection, Some(&before), limit + 1).await?;
        let mut entries: Vec<AuditRecord> = Vec::new();
        for Document { key, version: _, value } in &page {
            let Some(id) = key.strip_prefix(&place) else { break };
            entries.push(read(value)?.into_record(id.to_owned()));
        }
        let next = (entries.len() > limit).then(|| entries[limit - 1].id.clone());
        entries.truncate(limit);
        Ok(AuditLog { entries, next })
    }

    /// Forgets all but the newest acts, and has each that is kept found by its account: older versions did not see to it.
    ///
    /// # Errors
    /// The store; the next one goes on.
    pub(super) async fn tidy_audit(&self) -> Result<(), StoreError> {
        // Read first: what is written meanwhile looks as if it were missing, and not as if it were left over.
        let by_account = self.0.store.documents(Collection::AuditByAccount).await?;
        let all = self.0.store.documents(Collection::Audit).await?;
        let (oldest, kept) = all.split_at(all.len().saturating_sub(KEPT));
        let mut left: BTreeMap<&str, u64> =
            by_account.iter().map(|document| (document.key.as_str(), document.version)).collect();
        let mut writes: Vec<DocumentWrite> =
            oldest.iter().map(|act| removed(Collection::Audit, act.key.clone(), act.version)).collect();
        for Document { key, version: _, value } in kept {
            // One that a later version wrote is for that to put in order.
            let Ok(act) = read(value) else { continue };
            let key = key_of(&act.account, key);
            if left.remove(key.as_str()).is_none() {
                writes.push(written(Collection::AuditByAccount, key, value.clone(), act.time));
            }
        }
        writes.extend(
            left.into_iter().map(|(key, version)| removed(Collection::AuditByAccount, key.to_owned(), version)),
        );
        for some in writes.chunks(CHANGED_AT_ONCE) {
            // Where one has changed just now nothing is done, and the next look begins anew.
            self.0.store.write_documents(some.to_vec()).await?;
        }
        Ok(())
    }
}

/// Where an act is among those of its account. The name is in quotes, so that none is the beginning of another: of a failed
/// login it may be anything.
fn key_of(account: &str, id: &str) -> String {
    format!("{}{id}", serde_json::Value::from(account))
}

fn written(collection: Collection, key: String, act: String, time: Millis) -> DocumentWrite {
    let expires_at = Some(time.saturating_add(millis(KEPT_FOR)));
    DocumentWrite { collection, key, expected: None, value: Some(act), expires_at }
}

fn removed(collection: Collection, key: String, version: u64) -> DocumentWrite {
    DocumentWrite { collection, key, expected: Some(version), value: None, expires_at: None }
}

fn read(act: &str) -> Result<Act, StoreError> {
    serde_json::from_str(act).map_err(|error| StoreError::Corrupt(error.to_string()))
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
