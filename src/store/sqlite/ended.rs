//! How many jobs are over, by account and status, so that nobody has to count them in the file.
//!
//! Only the writer's thread touches it. Containers are not counted.

use std::collections::HashMap;

use super::rows::End;
use crate::model::AccountName;
use crate::protocol::job::Status;
use crate::store::jobs::JobCounts;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ended {
    all: JobCounts,
    /// Accounts that have any.
    accounts: HashMap<AccountName, JobCounts>,
    /// What the transaction that is under way has changed: a job that ended (`true`) or was removed.
    undo: Vec<(AccountName, Status, bool)>,
}

impl Ended {
    /// How many there are, of one account or in all; none that wait or run.
    pub(super) fn of(&self, account: Option<&AccountName>) -> JobCounts {
        match account {
            Some(account) => self.accounts.get(account).copied().unwrap_or_default(),
            None => self.all,
        }
    }

    /// A job is over.
    pub(super) fn add(&mut self, end: End) {
        self.note(end, true);
    }

    /// A job that was over is removed.
    pub(super) fn remove(&mut self, end: End) {
        self.note(end, false);
    }

    /// What was changed is in the file.
    pub(super) fn commit(&mut self) {
        self.undo.clear();
    }

    /// What was changed is not in the file: everything as it was.
    pub(super) fn rollback(&mut self) {
        while let Some((account, status, more)) = self.undo.pop() {
            self.count(&account, status, !more);
        }
    }

    fn note(&mut self, End { id, account, status }: End, more: bool) {
        if !id.is_container() {
            self.count(&account, status, more);
            self.undo.push((account, status, more));
        }
    }

    fn count(&mut self, account: &AccountName, status: Status, more: bool) {
        let of_account = self.accounts.entry(account.clone()).or_default();
        for counts in [&mut self.all, &mut *of_account] {
            let count = counts.of_mut(status);
            *count = if more { *count + 1 } else { count.saturating_sub(1) };
        }
        // Names come from outside: nothing may grow with how many there ever were.
        if *of_account == JobCounts::default() {
            self.accounts.remove(account);
        }
    }
}
