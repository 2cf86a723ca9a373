//! Administering accounts and API tokens.
//!
//! Whoever calls these has checked that the asker is an administrator.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::api_token::{Presented, mint};
use super::login::LoginId;
use super::password::ChosenBy;
use super::{Auth, AuthError, Credential, Identity};
use crate::base::clock::Millis;
use crate::model::{Account, AccountName, ApiToken, Role, TokenId};
use crate::protocol::auth::{TokenCreate, TokenRecord, TokenReply, UserAdd, UserPassword, UserRecord, UserRole};
use crate::store::StoreError;

/// Longest email: the limit of an address in SMTP.
const EMAIL_MOST: usize = 254;
/// Longest name of a token, in characters.
const TOKEN_NAME_MOST: usize = 64;

/// How often a change is tried that others get in the way of. Each loss is a change of someone else's.
const CHANGED_WITHIN: u32 = 16;
/// Longest life of a token, in seconds: 300 years, far from overflow.
const TTL_MOST: u64 = 10_000_000_000;

/// Credentials that just ended. Sockets that rest on them must be closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "sockets may rest on what was revoked"]
pub struct Revoked {
    tokens: Vec<TokenId>,
    /// Access tokens of this account from before this epoch.
    access: Option<(AccountName, Millis)>,
    /// Access tokens of this login.
    #[serde(default)]
    login: Option<LoginId>,
}

impl Revoked {
    pub(super) fn token(id: TokenId) -> Self {
        Self { tokens: vec![id], ..Self::default() }
    }

    pub(super) fn login(login: LoginId) -> Self {
        Self { login: Some(login), ..Self::default() }
    }

    pub(super) fn access_before(account: AccountName, epoch: Millis) -> Self {
        Self { access: Some((account, epoch)), ..Self::default() }
    }

    /// Whether this ended what `identity` rests on.
    pub fn hits(&self, identity: &Identity) -> bool {
        match &identity.credential {
            Credential::ApiToken(id) => self.tokens.contains(id),
            Credential::Access { epoch, login } => {
                self.login.as_ref() == Some(login)
                    || self
                        .access
                        .as_ref()
                        .is_some_and(|(account, before)| *account == identity.account && epoch < before)
            }
            Credential::Open => false,
        }
    }
}

impl Auth {
    /// Adds an account.
    ///
    /// # Errors
    /// `BadName`, `ReservedName`, `BadEmail`, `BadPassword`, `NameTaken`, `EmailTaken`; `TooManyLogins`
    /// while many passwords are being hashed; `Crypto`; `Store`.
    pub async fn add_user(&self, user: UserAdd) -> Result<(), AuthError> {
        let UserAdd { account, role, email, password } = user;
        let name = account_name(&account)?;
        if let Some(email) = &email {
            check_email(email)?;
        }
        let password_hash = match password {
            None => None,
            Some(password) => Some(self.0.passwords.hash(password, ChosenBy::Administrator).await?),
        };
        let role = role.map_or(Role::User, Role::from);
        self.add(self.new_account(name, role, email, password_hash)).await
    }

    /// Adds an account whose fields were checked.
    pub(super) async fn add(&self, account: Account) -> Result<(), AuthError> {
        let (name, email) = (account.name.clone(), account.email.clone());
        if self.0.store.add_account(account).await? {
            return Ok(());
        }
        let is_known = async |name: &str| self.0.store.account(name).await.map(|account| account.is_some());
        match email {
            Some(email) if !is_known(name.as_str()).await? && is_known(&email).await? => Err(AuthError::EmailTaken),
            Some(_) | None => Err(AuthError::NameTaken),
        }
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// `Store`.
    pub async fn users(&self) -> Result<Vec<UserRecord>, AuthError> {
        Ok(self.0.store.accounts().await?.into_iter().map(user_record).collect())
    }

    /// Removes an account with all its tokens. Its jobs stay.
    ///
    /// # Errors
    /// `BadName`, `NoAccount`, `LastAdministrator`, `Store`.
    pub async fn remove_user(&self, name: &str) -> Result<Revoked, AuthError> {
        let name: AccountName = name.parse()?;
        let _changing = self.0.changes.lock().await;
        let accounts = self.0.store.accounts().await?;
        not_the_last(&accounts, &name)?;
        let tokens = self.0.store.remove_account(&name).await?.ok_or(AuthError::NoAccount)?;
        let tokens = tokens.into_iter().map(|token| token.id).collect();
        Ok(Revoked { tokens, ..Revoked::access_before(name, Millis::MAX) })
    }

    /// Gives an account another role; returns the former one. Its access tokens end, and those of its API tokens that may do
    /// more than the new role.
    ///
    /// # Errors
    /// `BadName`, `BadRole`, `NoAccount`, `LastAdministrator`; `Store`, after which part of it may have been done, and a
    /// repeat does the rest.
    pub async fn set_role(&self, change: UserRole) -> Result<(Role, Revoked), AuthError> {
        let UserRole { account, role } = change;
        let (name, role): (AccountName, Role) = (account.parse()?, role.into());
        match role {
            Role::User | Role::Admin => (),
            Role::Worker | Role::Plugin => return Err(AuthError::BadRole),
        }
        let _changing = self.0.changes.lock().await;
        if role != Role::Admin {
            not_the_last(&self.0.store.accounts().await?, &name)?;
        }
        let now = self.0.clock.now();
        let mut former = role;
        let account = self
            .change(&name, |account| {
                former = std::mem::replace(&mut account.role, role);
                if former != role {
                    account.end_logins(now);
                }
                Ok(())
            })
            .await?;
        let mut tokens = self.0.store.tokens().await?;
        tokens.retain(|token| token.account == name && token.role == Role::Admin && role != Role::Admin);
        let tokens: Vec<TokenId> = tokens.into_iter().map(|token| token.id).collect();
        for token in &tokens {
            self.0.store.remove_token(token).await?;
        }
        Ok((former, Revoked { tokens, ..Revoked::access_before(name, account.tokens_valid_from) }))
    }

    /// Sets a password. Access tokens of the account end; its API tokens stay.
    ///
    /// # Errors
    /// `BadName`, `BadPassword`, `NoAccount`; `TooManyLogins` while many passwords are being hashed;
    /// `Crypto`; `Store`.
    pub async fn set_password(&self, change: UserPassword) -> Result<Revoked, AuthError> {
        let UserPassword { account, password } = change;
        let name: AccountName = account.parse()?;
        let hash = self.0.passwords.hash(password, ChosenBy::Administrator).await?;
        let account = self.replace_password(&name, &hash).await?;
        Ok(Revoked::access_before(name, account.tokens_valid_from))
    }

    /// Gives an account another password, which ends its access tokens.
    pub(super) async fn replace_password(&self, name: &AccountName, hash: &str) -> Result<Account, AuthError> {
        let now = self.0.clock.now();
        self.change(name, |account| {
            account.password_hash = Some(hash.to_owned());
            account.end_logins(now);
            Ok(())
        })
        .await
    }

    /// Changes an account, anew for as long as others change it at the same time.
    ///
    /// # Errors
    /// What `change` refuses; `NoAccount`, `EmailTaken`, `Store`.
    pub(super) async fn change(
        &self,
        name: &AccountName,
        mut change: impl FnMut(&mut Account) -> Result<(), AuthError>,
    ) -> Result<Account, AuthError> {
        let mut before = self.named(name).await?;
        for _ in 0..CHANGED_WITHIN {
            let mut after = Account { revision: before.revision.saturating_add(1), ..before.clone() };
            change(&mut after)?;
            if self.0.store.update_account(after.clone()).await? {
                return Ok(after);
            }
            let now = self.named(name).await?;
            if now.revision == before.revision {
                return Err(AuthError::EmailTaken);
            }
            before = now;
        }
        Err(StoreError::Unavailable("an account changes all the time".to_owned()).into())
    }

    /// Makes an API token, for `asker` unless the request names an account.
    ///
    /// # Errors
    /// `BadName`, `BadTtl`, `BadTokenName`, `NoAccount`, `Store`.
    pub async fn create_token(&self, request: TokenCreate, asker: &AccountName) -> Result<TokenReply, AuthError> {
        let TokenCreate { role, account, ttl_secs, name: label } = request;
        let named = account.map(|name| name.parse::<AccountName>()).transpose()?;
        if label.as_ref().is_some_and(|label| !is_label(label)) {
            return Err(AuthError::BadTokenName);
        }
        let now = self.0.clock.now();
        let expires_at = match ttl_secs {
            None => None,
            Some(secs @ 1..=TTL_MOST) => Some(now.saturating_add(secs * 1000)),
            Some(_) => return Err(AuthError::BadTtl),
        };
        // With the lock, so that an account which is removed meanwhile takes the token along.
        let _changing = self.0.changes.lock().await;
        if let Some(name) = &named {
            self.named(name).await?;
        }
        let account = named.unwrap_or_else(|| asker.clone());
        let (token, record) = mint(role.into(), account, now, expires_at, label);
        self.0.store.add_token(record.clone()).await?;
        Ok(TokenReply { token, record: token_record(record) })
    }

    /// The account that an API token acts for, named by its id or by itself.
    ///
    /// # Errors
    /// `Store`.
    pub async fn owner_of_token(&self, id_or_token: &str) -> Result<Option<(TokenId, AccountName)>, AuthError> {
        let found = self.0.store.token(id_of(id_or_token)).await?;
        Ok(found.map(|token| (token.id, token.account)))
    }

    /// All API tokens, newest first.
    ///
    /// # Errors
    /// `Store`.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>, AuthError> {
        Ok(self.0.store.tokens().await?.into_iter().map(token_record).collect())
    }

    /// The API tokens of an account, newest first.
    ///
    /// # Errors
    /// `Store`.
    pub async fn tokens_of(&self, account: &AccountName) -> Result<Vec<TokenRecord>, AuthError> {
        Ok(self.0.store.tokens_of(account).await?.into_iter().map(token_record).collect())
    }

    /// Ends an API token, named by its id or by itself.
    ///
    /// # Errors
    /// `NoToken`; `NotRevocable` for an access token; `Store`.
    pub async fn revoke_token(&self, id_or_token: &str) -> Result<Revoked, AuthError> {
        let id = id_of(id_or_token);
        if self.0.store.remove_token(id).await? {
            return Ok(Revoked::token(id.to_owned()));
        }
        match self.authenticate(id_or_token).await {
            Ok(_) => Err(AuthError::NotRevocable),
            Err(_) => Err(AuthError::NoToken),
        }
    }

    /// The account of this very name.
    pub(super) async fn named(&self, name: &AccountName) -> Result<Account, AuthError> {
        let account = self.0.store.account(name.as_str()).await?;
        account.filter(|account| account.name == *name).ok_or(AuthError::NoAccount)
    }

    pub(super) fn new_account(
        &self,
        name: AccountName,
        role: Role,
        email: Option<String>,
        password_hash: Option<String>,
    ) -> Account {
        let now = self.0.clock.now();
        Account {
            name,
            role,
            email,
            password_hash,
            created_at: now,
            tokens_valid_from: now,
            revision: 0,
            profile: BTreeMap::new(),
            photo: None,
        }
    }
}

/// A name that a new account may have.
pub(super) fn account_name(text: &str) -> Result<AccountName, AuthError> {
    let name: AccountName = text.parse()?;
    if name == AccountName::anonymous() { Err(AuthError::ReservedName) } else { Ok(name) }
}

pub(super) fn check_email(text: &str) -> Result<(), AuthError> {
    let inside = text.split_once('@').is_some_and(|(who, at)| !who.is_empty() && !at.is_empty());
    let plain = text.chars().count() <= EMAIL_MOST && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if inside && plain { Ok(()) } else { Err(AuthError::BadEmail) }
}

fn user_record(account: Account) -> UserRecord {
    let Account {
        name,
        role,
        email,
        password_hash: _,
        created_at,
        tokens_valid_from: _,
        revision: _,
        profile: _,
        photo: _,
    } = account;
    UserRecord { account: name.into(), role: role.into(), email, created_at }
}

fn token_record(token: ApiToken) -> TokenRecord {
    let ApiToken { id, secret_hash: _, role, account, created_at, expires_at, name } = token;
    TokenRecord { id, role: role.into(), account: account.into(), created_at, expires_at, name }
}

/// The id of a token that is named by it or by itself.
fn id_of(id_or_token: &str) -> &str {
    Presented::parse(id_or_token).map_or(id_or_token, |token| token.id)
}

/// Whether a token may be called so.
fn is_label(text: &str) -> bool {
    (1..=TOKEN_NAME_MOST).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// Whether somebody else can administer the server when this account cannot any more.
fn not_the_last(accounts: &[Account], name: &AccountName) -> Result<(), AuthError> {
    let account = accounts.iter().find(|account| account.name == *name).ok_or(AuthError::NoAccount)?;
    let others = accounts.iter().any(|other| other.role == Role::Admin && other.name != *name);
    if account.role == Role::Admin && !others { Err(AuthError::LastAdministrator) } else { Ok(()) }
}
