//! Accounts and what acts for them: who may change what, what else ends with it, and the record of it.
//!
//! Administrators do everything. Users log in and out, see and end their own logins, and make tokens that may do no more than
//! they may themselves. Whatever ends credentials ends the sockets that rest on them, on every instance.

use std::net::IpAddr;

use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;

use super::{DispatchError, Dispatcher, PhotoError};
use crate::auth::{AuthError, Identity, NewAccount, Refreshed, Revoked, Tokens, Visitor, Whose};
use crate::model::{AccountName, Role};
use crate::protocol::audit::AuditAction;
use crate::protocol::auth::{
    NamedUser, SessionRecord, TokenCreate, TokenRecord, TokenReply, UserAdd, UserPassword, UserRecord, UserRole,
};
use crate::protocol::{ErrorCode, WireError};

/// API tokens of an account beyond which its owner makes no more.
const TOKENS_MOST: usize = 100;

/// A password that was changed.
#[must_use = "the former logins are to be ended"]
pub struct PasswordChanged {
    /// Who its owner is now: of a new login.
    pub identity: Identity,
    /// An access token of that.
    pub token: String,
    /// The logins until now. Whatever is to go on with the new one takes it up first, and then has these revoked.
    pub former: Revoked,
}

impl Dispatcher {
    /// Logs in with a password: who it is, and an access token to come back with.
    ///
    /// # Errors
    /// As [`crate::auth::Auth::login`].
    pub async fn login(
        &self,
        name_or_email: &str,
        password: &str,
        from: &Visitor,
    ) -> Result<(Identity, String), AuthError> {
        let login = self.auth().login(name_or_email, password, from).await;
        self.logged_in(name_or_email, from.address, login.as_ref().map(|(who, _)| who), None).await;
        login
    }

    /// The same for longer than an access token lives.
    ///
    /// # Errors
    /// As [`crate::auth::Auth::login`].
    pub async fn login_lasting(
        &self,
        name_or_email: &str,
        password: &str,
        from: &Visitor,
    ) -> Result<Tokens, AuthError> {
        let login = self.auth().login_lasting(name_or_email, password, from).await;
        self.logged_in(name_or_email, from.address, login.as_ref().map(|(who, _)| who), None).await;
        login.map(|(_, tokens)| tokens)
    }

    /// Writes down who has logged in, or failed to. `by`: the way in, where it is not one of ours.
    pub(super) async fn logged_in(
        &self,
        name_or_email: &str,
        from: IpAddr,
        login: Result<&Identity, &AuthError>,
        by: Option<&str>,
    ) {
        match login {
            // With an API token in place of a password nobody logs in.
            Ok(who) => {
                if let Some(login) = who.login() {
                    self.note_done(who, AuditAction::Login, login, by.map(str::to_owned)).await;
                }
            }
            Err(AuthError::WrongPassword) => self.note_failed_login(name_or_email, from, by).await,
            // Nobody's guess: it was not looked at, or could not be.
            Err(_) => (),
        }
    }

    /// Uses a refresh token up for the next tokens. One that had been used before ends its login, everywhere.
    ///
    /// # Errors
    /// The token is no good, or was used before; the store.
    pub async fn refresh_login(&self, token: &str) -> Result<Tokens, DispatchError> {
        match self.auth().refresh(token).await? {
            Refreshed::Tokens(tokens) => Ok(tokens),
            Refreshed::Reused(revoked) => {
                self.revoke(revoked).await?;
                Err(AuthError::Revoked.into())
            }
        }
    }

    /// Ends the login that an identity rests on, everywhere at once.
    ///
    /// # Errors
    /// `forbidden` for an API token; the store, harmless to repeat.
    pub async fn log_out(&self, who: &Identity) -> Result<(), DispatchError> {
        let revoked = self.auth().log_out(who).await?;
        self.revoke(revoked).await?;
        if let Some(login) = who.login() {
            self.note_done(who, AuditAction::Logout, login, None).await;
        }
        Ok(())
    }

    /// Logins by password that still last: one's own, or those of the account that is named, `*` for all.
    ///
    /// # Errors
    /// `forbidden`, no such account, or the store.
    pub async fn sessions(&self, who: &Identity, account: Option<&str>) -> Result<Vec<SessionRecord>, DispatchError> {
        let own = who.account.as_str();
        let whose = match account {
            Some("*") if who.role == Role::Admin => Whose::All,
            Some(other) if other != own => {
                if who.role != Role::Admin {
                    return Err(DispatchError::Forbidden("only administrators see the sessions of others"));
                }
                Whose::Account(other.parse().map_err(AuthError::BadName)?)
            }
            // Who needs no token has no account, and no logins.
            Some(_) | None if who.account == AccountName::anonymous() => return Ok(Vec::new()),
            Some(_) | None => Whose::Account(who.account.clone()),
        };
        Ok(self.auth().sessions(who, whose).await?)
    }

    /// Ends a login of one's own or, for an administrator, anybody's, everywhere at once.
    ///
    /// # Errors
    /// `not_found`; the store, harmless to repeat.
    pub async fn end_session(&self, who: &Identity, id: &str) -> Result<(), DispatchError> {
        let (owner, revoked) = self.auth().end_session(who, id).await?;
        self.revoke(revoked).await?;
        self.note_done(who, AuditAction::SessionEnd, id, others(who, &owner)).await;
        Ok(())
    }

    /// Adds an account for somebody who comes from `from` and asks for it themselves.
    ///
    /// # Errors
    /// `forbidden` where registration is closed; else as [`crate::auth::Auth::register`].
    pub async fn register_account(&self, new: NewAccount, from: IpAddr) -> Result<AccountName, AuthError> {
        if !self.0.settings.registration {
            return Err(AuthError::RegistrationClosed);
        }
        let name = self.auth().register(new, from).await?;
        self.note_registered(&name, from).await;
        Ok(name)
    }

    /// Changes what somebody says about themselves.
    ///
    /// # Errors
    /// As [`crate::auth::Auth::set_profile`].
    pub async fn set_profile(&self, who: &Identity, said: &BTreeMap<String, Value>) -> Result<(), AuthError> {
        self.auth().set_profile(&who.account, said).await?;
        self.note_done(who, AuditAction::Profile, &who.account, None).await;
        Ok(())
    }

    /// Gives oneself a picture, or none.
    ///
    /// # Errors
    /// A file of another kind, the account is gone, the store, or the place of the files.
    pub async fn set_photo(&self, who: &Identity, picture: Option<Bytes>) -> Result<(), PhotoError> {
        self.put_photo(&who.account, picture).await?;
        self.note_done(who, AuditAction::Photo, &who.account, None).await;
        Ok(())
    }

    /// Changes the password of somebody who knows the present one.
    ///
    /// # Errors
    /// As [`crate::auth::Auth::change_password`].
    pub async fn change_password(
        &self,
        who: &Identity,
        present: &str,
        new: String,
        from: &Visitor,
    ) -> Result<PasswordChanged, AuthError> {
        let (former, identity, token) = self.auth().change_password(&who.account, present, new, from).await?;
        self.note_done(who, AuditAction::PasswordChange, &who.account, None).await;
        Ok(PasswordChanged { identity, token, former })
    }

    /// Adds an account. Administrators only, as all that is done to users.
    ///
    /// # Errors
    /// `forbidden`; as [`crate::auth::Auth::add_user`].
    pub async fn add_user(&self, who: &Identity, user: UserAdd) -> Result<(), DispatchError> {
        self.check_administers(who, AuditAction::UserAdd, &user.account).await?;
        let (name, role) = (user.account.clone(), user.role.map_or(Role::User, Role::from));
        self.auth().add_user(user).await?;
        self.note_done(who, AuditAction::UserAdd, name, Some(format!("role {role}"))).await;
        Ok(())
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// `forbidden`, or the store.
    pub async fn users(&self, who: &Identity) -> Result<Vec<UserRecord>, DispatchError> {
        match who.role {
            Role::Admin => Ok(self.auth().users().await?),
            Role::User | Role::Worker | Role::Plugin => Err(DispatchError::Forbidden(ADMINISTRATORS)),
        }
    }

    /// Removes an account, with all that acts for it.
    ///
    /// # Errors
    /// `forbidden`; as [`crate::auth::Auth::remove_user`].
    pub async fn remove_user(&self, who: &Identity, user: NamedUser) -> Result<(), DispatchError> {
        let NamedUser { account } = user;
        self.check_administers(who, AuditAction::UserRemove, &account).await?;
        self.revoke(self.auth().remove_user(&account).await?).await?;
        self.note_done(who, AuditAction::UserRemove, account, None).await;
        Ok(())
    }

    /// Sets a password, which ends the account's logins.
    ///
    /// # Errors
    /// `forbidden`; as [`crate::auth::Auth::set_password`].
    pub async fn set_user_password(&self, who: &Identity, change: UserPassword) -> Result<(), DispatchError> {
        let name = change.account.clone();
        self.check_administers(who, AuditAction::UserPassword, &name).await?;
        self.revoke(self.auth().set_password(change).await?).await?;
        self.note_done(who, AuditAction::UserPassword, name, None).await;
        Ok(())
    }

    /// Gives an account another role, which ends its logins and whatever token of it may do more.
    ///
    /// # Errors
    /// `forbidden`; as [`crate::auth::Auth::set_role`].
    pub async fn set_user_role(&self, who: &Identity, change: UserRole) -> Result<(), DispatchError> {
        let (name, role) = (change.account.clone(), Role::from(change.role));
        self.check_administers(who, AuditAction::UserRole, &name).await?;
        let (former, revoked) = self.auth().set_role(change).await?;
        self.revoke(revoked).await?;
        self.note_done(who, AuditAction::UserRole, name, Some(format!("{former} to {role}"))).await;
        Ok(())
    }

    /// Makes an API token. Who is no administrator makes them for themselves, to do what users may.
    ///
    /// # Errors
    /// `forbidden`; `limit_exceeded` where one has too many; as [`crate::auth::Auth::create_token`].
    pub async fn create_token(&self, who: &Identity, create: TokenCreate) -> Result<TokenReply, DispatchError> {
        if who.role != Role::Admin {
            let is_own = create.account.as_ref().is_none_or(|account| account == who.account.as_str());
            if !is_own || Role::from(create.role) != Role::User {
                self.note_forbidden(who, AuditAction::TokenCreate, create.account.as_deref()).await;
                let why = "only administrators make tokens for others, or of another role than user";
                return Err(DispatchError::Forbidden(why));
            }
            if self.tokens(who).await?.len() >= TOKENS_MOST {
                let message = format!("{} has {TOKENS_MOST} tokens, which is the limit; revoke one", who.account);
                return Err(WireError::new(ErrorCode::LimitExceeded, message).into());
            }
        }
        let made = self.auth().create_token(create, &who.account).await?;
        let TokenRecord { id, role, account, created_at: _, expires_at: _, name } = &made.record;
        let named = name.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
        let detail = format!("role {} for {account}{named}", Role::from(*role));
        self.note_done(who, AuditAction::TokenCreate, id, Some(detail)).await;
        Ok(made)
    }

    /// The API tokens that one may see, newest first: all of them for an administrator, else those of one's own account.
    ///
    /// # Errors
    /// The store.
    pub async fn tokens(&self, who: &Identity) -> Result<Vec<TokenRecord>, DispatchError> {
        Ok(match who.role {
            Role::Admin => self.auth().tokens().await?,
            Role::User | Role::Worker | Role::Plugin => self.auth().tokens_of(&who.account).await?,
        })
    }

    /// Ends an API token that one may see, named by its id or by itself.
    ///
    /// # Errors
    /// `not_found`; as [`crate::auth::Auth::revoke_token`].
    pub async fn revoke_token(&self, who: &Identity, id_or_token: &str) -> Result<(), DispatchError> {
        let found = self.auth().owner_of_token(id_or_token).await?;
        if let Some((_, owner)) = &found
            && who.role != Role::Admin
            && *owner != who.account
        {
            return Err(AuthError::NoToken.into());
        }
        self.revoke(self.auth().revoke_token(id_or_token).await?).await?;
        if let Some((id, owner)) = found {
            self.note_done(who, AuditAction::TokenRevoke, id, others(who, &owner)).await;
        }
        Ok(())
    }

    async fn check_administers(&self, who: &Identity, action: AuditAction, target: &str) -> Result<(), DispatchError> {
        match who.role {
            Role::Admin => Ok(()),
            Role::User | Role::Worker | Role::Plugin => {
                self.note_forbidden(who, action, Some(target)).await;
                Err(DispatchError::Forbidden(ADMINISTRATORS))
            }
        }
    }
}

const ADMINISTRATORS: &str = "only administrators manage accounts";

/// Whose it was, where it was not one's own.
pub(super) fn others(who: &Identity, owner: &AccountName) -> Option<String> {
    (who.account != *owner).then(|| format!("of {owner}"))
}
