//! What people do with their own accounts: register, say something about themselves, change the password.
//!
//! Whoever calls these has authenticated the owner, registration aside.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::accounts::{account_name, check_email};
use super::password::ChosenBy;
use super::{Auth, AuthError, Identity, Revoked, Visitor};
use crate::model::{Account, AccountName, Photo, Role};

/// Things that one may say about oneself.
const FIELDS: usize = 64;
/// Longest name of such a thing, in characters.
const FIELD_NAME_MOST: usize = 64;
/// Longest profile, in bytes of JSON: accounts are read with every request.
const PROFILE_BYTES: usize = 16 * 1024;

/// Fields that say what an account is, and so are not its owner's to set. They are passed over, as unknown ones are.
const NOT_ONES_OWN: [&str; 9] =
    ["account", "username", "id", "role", "password", "passord", "photo", "created_at", "createdAt"];

/// Somebody who registers.
#[derive(Clone)]
pub struct NewAccount {
    /// The account's name.
    pub account: String,
    /// Another name to log in with; an empty one is none.
    pub email: Option<String>,
    /// 1 to 1024 bytes.
    pub password: String,
    /// What else they say of themselves.
    pub profile: BTreeMap<String, Value>,
}

impl Auth {
    /// Adds an account of role `user`, as somebody who comes from `from` asks for it.
    ///
    /// # Errors
    /// `BadName`, `ReservedName`, `BadEmail`, `PasswordLength`, `BadProfile`, `NameTaken`, `EmailTaken`; `TooManyLogins`
    /// from that address, or while many passwords are being hashed; `Crypto`; `Store`.
    pub async fn register(&self, new: NewAccount, from: IpAddr) -> Result<AccountName, AuthError> {
        let NewAccount { account, email, password, profile } = new;
        self.count_address(from)?;
        let name = account_name(&account)?;
        let email = email.filter(|email| !email.is_empty());
        if let Some(email) = &email {
            check_email(email)?;
        }
        let mut kept = BTreeMap::new();
        put_all(&mut kept, &profile)?;
        let hash = self.0.passwords.hash(password, ChosenBy::Owner).await?;
        let account = self.new_account(name.clone(), Role::User, email, Some(hash));
        self.add(Account { profile: kept, ..account }).await?;
        Ok(name)
    }

    /// An account.
    ///
    /// # Errors
    /// `NoAccount`, `Store`.
    pub async fn account(&self, name: &AccountName) -> Result<Account, AuthError> {
        self.named(name).await
    }

    /// Whether somebody goes by this name or email.
    ///
    /// # Errors
    /// `Store`.
    pub async fn is_known(&self, name_or_email: &str) -> Result<bool, AuthError> {
        Ok(self.0.store.account(name_or_email).await?.is_some())
    }

    /// Changes what an account's owner says about themselves. `null` takes a thing back; `email` is the account's own, and
    /// takes effect for logins at once; what is not one's own to set is passed over.
    ///
    /// # Errors
    /// `BadEmail`, `EmailTaken`, `BadProfile`, `NoAccount`, `Store`.
    pub async fn set_profile(&self, name: &AccountName, said: &BTreeMap<String, Value>) -> Result<(), AuthError> {
        let mut said = said.clone();
        let email = said.remove("email").map(email_of).transpose()?;
        self.change(name, |account| {
            if let Some(email) = &email {
                account.email.clone_from(email);
            }
            put_all(&mut account.profile, &said)
        })
        .await
        .map(|_| ())
    }

    /// Gives an account a picture, or none; returns the former one.
    ///
    /// # Errors
    /// `NoAccount`, `Store`.
    pub async fn set_photo(&self, name: &AccountName, photo: Option<Photo>) -> Result<Option<Photo>, AuthError> {
        let mut former = None;
        self.change(name, |account| {
            former = std::mem::replace(&mut account.photo, photo.clone());
            Ok(())
        })
        .await?;
        Ok(former)
    }

    /// Changes the password of somebody who knows the present one. All logins end; the identity and the token are of a new one.
    ///
    /// # Errors
    /// `WrongPassword`, `PasswordLength`, `TooManyLogins`, `NoAccount`, `Crypto`, `Store`.
    pub async fn change_password(
        &self,
        name: &AccountName,
        present: &str,
        new: String,
        from: &Visitor,
    ) -> Result<(Revoked, Identity, String), AuthError> {
        self.check_password(name.as_str(), present, from.address).await?;
        let hash = self.0.passwords.hash(new, ChosenBy::Owner).await?;
        let account = self.replace_password(name, &hash).await?;
        let (identity, token) = self.begin(&account, from).await?;
        Ok((Revoked::access_before(account.name, account.tokens_valid_from), identity, token))
    }
}

fn put_all(profile: &mut BTreeMap<String, Value>, said: &BTreeMap<String, Value>) -> Result<(), AuthError> {
    for (field, value) in said.iter().filter(|(field, _)| !NOT_ONES_OWN.contains(&field.as_str())) {
        let refuse = |why| Err(AuthError::BadProfile { field: field.clone(), why });
        if field.is_empty() || field.chars().count() > FIELD_NAME_MOST {
            return refuse("is no name of 1 to 64 characters");
        }
        if value.is_null() {
            profile.remove(field);
            continue;
        }
        profile.insert(field.clone(), value.clone());
        let bytes: usize = profile.iter().map(|(field, value)| field.len() + value.to_string().len()).sum();
        if profile.len() > FIELDS || bytes > PROFILE_BYTES {
            return refuse("is too much: a profile has at most 64 fields and 16 KiB");
        }
    }
    Ok(())
}

fn email_of(value: Value) -> Result<Option<String>, AuthError> {
    match value {
        Value::Null => Ok(None),
        Value::String(email) if email.is_empty() => Ok(None),
        Value::String(email) => check_email(&email).map(|()| Some(email)),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(AuthError::BadEmail),
    }
}
