//! Logins by password, written down: what people are shown of them, and the end of a single one.
//!
//! One document for each account lists its logins, so that they are bounded and one's own are found without a look at
//! anybody else's. It changes in the same write as whatever a login rests on, and is gone by itself when the last token has
//! run out.
//!
//! Guards: the list decides nothing. A login is good or not by its tokens, and one that has no place in the list, because a
//! hundred came after it, goes on. What a new password or role has ended is not shown, written down or not.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::login::LoginId;
use super::{Auth, AuthError, Credential, Identity, Revoked, Visitor};
use crate::base::clock::{Millis, millis};
use crate::model::{Account, AccountName, Role};
use crate::protocol::auth::SessionRecord;
use crate::protocol::limits::{EXPIRY_LEEWAY, PAGE_MOST};
use crate::store::StoreError;
use crate::store::documents::{Collection, Document, DocumentWrite};

/// Logins of an account that are written down: the latest.
const MOST: usize = 100;

/// Whose logins are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// An account's.
    Account(AccountName),
    /// Everybody's.
    All,
}

/// What is kept of a login.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SignIn {
    id: LoginId,
    /// The account's `tokens_valid_from` when the password was checked: a login is over when that has moved on.
    epoch: Millis,
    created_at: Millis,
    /// When tokens of it were last made.
    used_at: Millis,
    /// When the last of them runs out.
    expires_at: Millis,
    from: IpAddr,
    user_agent: Option<Box<str>>,
}

impl SignIn {
    fn lasts(&self, epoch: Millis, now: Millis) -> bool {
        self.epoch == epoch && now < self.expires_at
    }
}

/// The logins of an account, oldest first, as they were read.
#[derive(Debug)]
pub(super) struct SignIns {
    account: AccountName,
    version: Option<u64>,
    list: Vec<SignIn>,
}

impl SignIns {
    fn of(account: AccountName, kept: Option<&Document>) -> Result<Self, StoreError> {
        let list = kept.map(|kept| serde_json::from_str(&kept.value)).transpose();
        let list = list.map_err(|error| StoreError::Corrupt(error.to_string()))?.unwrap_or_default();
        Ok(Self { account, version: kept.map(|kept| kept.version), list })
    }

    /// Adds a login. What is over goes, and what is too much.
    pub(super) fn begin(&mut self, login: LoginId, account: &Account, from: &Visitor, now: Millis, expires_at: Millis) {
        let epoch = account.tokens_valid_from;
        // One of a later epoch stays: the password may have changed since this one's was checked.
        self.list.retain(|known| known.epoch >= epoch && now < known.expires_at);
        let Visitor { address: from, user_agent } = from.clone();
        self.list.push(SignIn { id: login, epoch, created_at: now, used_at: now, expires_at, from, user_agent });
        self.list.drain(..self.list.len().saturating_sub(MOST));
    }

    /// A login has new tokens.
    pub(super) fn renew(&mut self, login: LoginId, now: Millis, expires_at: Millis) {
        if let Some(known) = self.list.iter_mut().find(|known| known.id == login) {
            (known.used_at, known.expires_at) = (now, known.expires_at.max(expires_at));
        }
    }

    /// A login is over.
    pub(super) fn end(&mut self, login: LoginId) {
        self.list.retain(|known| known.id != login);
    }

    /// Whether a login is written down.
    pub(super) fn has(&self, login: LoginId) -> bool {
        self.list.iter().any(|known| known.id == login)
    }

    /// What is to be written of it.
    ///
    /// # Errors
    /// Never, in truth: all of it can be written as JSON.
    pub(super) fn into_write(self) -> Result<DocumentWrite, StoreError> {
        let Self { account, version, list } = self;
        let last = list.iter().map(|known| known.expires_at).max();
        let value = serde_json::to_string(&list).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Ok(DocumentWrite {
            collection: Collection::SignIns,
            key: account.to_string(),
            expected: version,
            value: last.map(|_| value),
            expires_at: last.map(|last| last.saturating_add(millis(EXPIRY_LEEWAY))),
        })
    }

    /// What its owner is shown of it at `now`.
    fn records(self, epoch: Millis, now: Millis, current: Option<LoginId>) -> impl Iterator<Item = SessionRecord> {
        let Self { account, version: _, list } = self;
        list.into_iter().filter(move |known| known.lasts(epoch, now)).map(move |known| {
            let SignIn { id, epoch: _, created_at, used_at, expires_at, from, user_agent } = known;
            SessionRecord {
                id: id.to_string(),
                account: account.to_string(),
                created_at,
                last_used_at: used_at,
                expires_at,
                from,
                user_agent: user_agent.map(Into::into),
                current: current == Some(id),
            }
        })
    }
}

impl Auth {
    /// What is written down of an account's logins.
    pub(super) async fn sign_ins(&self, account: &AccountName) -> Result<SignIns, StoreError> {
        let kept = self.0.store.document(Collection::SignIns, account.as_str()).await?;
        SignIns::of(account.clone(), kept.as_ref())
    }

    async fn all_sign_ins(&self) -> Result<Vec<SignIns>, AuthError> {
        let all = self.0.store.documents(Collection::SignIns).await?;
        all.iter().map(|kept| Ok(SignIns::of(kept.key.parse()?, Some(kept))?)).collect()
    }

    /// The logins by password that still last, the latest first, at most 1,000. Whoever calls this has checked that `who`
    /// may see them.
    ///
    /// # Errors
    /// `NoAccount`, `Store`.
    pub async fn sessions(&self, who: &Identity, whose: Whose) -> Result<Vec<SessionRecord>, AuthError> {
        let (accounts, lists) = match whose {
            Whose::Account(name) => (vec![self.named(&name).await?], vec![self.sign_ins(&name).await?]),
            Whose::All => tokio::try_join!(async { Ok(self.0.store.accounts().await?) }, self.all_sign_ins())?,
        };
        let epochs: HashMap<AccountName, Millis> =
            accounts.into_iter().map(|account| (account.name, account.tokens_valid_from)).collect();
        let (now, current) = (self.0.clock.now(), who.login());
        let mut sessions: Vec<SessionRecord> = Vec::new();
        for list in lists {
            // An account that is gone has none.
            if let Some(&epoch) = epochs.get(&list.account) {
                sessions.extend(list.records(epoch, now, current));
            }
        }
        sessions.sort_by_key(|session| std::cmp::Reverse(session.created_at));
        sessions.truncate(PAGE_MOST as usize);
        Ok(sessions)
    }

    /// Ends a login of one's own or, for an administrator, anybody's; returns whose it was.
    ///
    /// # Errors
    /// `NoSession`; `Store`, harmless to repeat.
    pub async fn end_session(&self, who: &Identity, id: &str) -> Result<(AccountName, Revoked), AuthError> {
        let login = LoginId(Uuid::try_parse(id).map_err(|_| AuthError::NoSession)?);
        let owner = if self.sign_ins(&who.account).await?.has(login) {
            who.account.clone()
        } else if who.role == Role::Admin {
            let all = self.all_sign_ins().await?.into_iter();
            all.filter(|list| list.has(login)).map(|list| list.account).next().ok_or(AuthError::NoSession)?
        } else {
            return Err(AuthError::NoSession);
        };
        let revoked = self.end_login(&owner, login).await?;
        Ok((owner, revoked))
    }
}

impl Identity {
    /// The login that it rests on.
    pub fn login(&self) -> Option<LoginId> {
        match self.credential {
            Credential::Access { epoch: _, login } => Some(login),
            Credential::ApiToken(_) | Credential::Open => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn account(epoch: Millis) -> Account {
        let ada = r#"{"name":"ada","role":"user","email":null,"password_hash":null,"created_at":5}"#;
        let mut ada: serde_json::Value = serde_json::from_str(ada).unwrap();
        ada["tokens_valid_from"] = epoch.into();
        serde_json::from_value(ada).unwrap()
    }

    #[test]
    fn the_latest_hundred_of_an_account_are_written_down() {
        let (here, ada) = (Visitor::from(IpAddr::V4(Ipv4Addr::LOCALHOST)), account(1));
        let mut list = SignIns::of(ada.name.clone(), None).unwrap();
        let logins: Vec<LoginId> = (0..101).map(|_| LoginId::new()).collect();
        for (now, &login) in (10..).zip(&logins) {
            list.begin(login, &ada, &here, now, now + 1_000);
        }
        let written: Vec<bool> = logins.iter().map(|&login| list.has(login)).collect();
        assert!(!written[0] && written[1..].iter().all(|written| *written), "{written:?}");
        // What is over makes room first: one that has run out, one that was ended, and all that a new password has ended.
        list.end(logins[50]);
        list.renew(logins[100], 111, 5_000);
        list.begin(LoginId::new(), &ada, &here, 1_020, 2_000);
        assert_eq!(list.list.len(), 101 - 11 - 1 + 1);
        list.begin(LoginId::new(), &account(2), &here, 1_021, 2_000);
        assert_eq!(list.list.len(), 1);
        list.end(list.list[0].id);
        let write = list.into_write().unwrap();
        assert_eq!((write.value, write.expires_at), (None, None), "nothing is kept of nothing");
    }
}
