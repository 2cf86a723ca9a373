//! Frames of type `auth`: proving who one is, one's own logins and tokens, and administering who may.

use serde::Deserialize;

use super::session::{Failure, Reader, auth_ok, refusal, too_many, unauthorized};
use crate::auth::{AuthError, Credential, Identity};
use crate::dispatcher::{DispatchError, PasswordChanged};
use crate::protocol::audit::AuditAction;
use crate::protocol::auth::{
    AuthEvent, AuthReply, AuthRequest, Login, PasswordChange, SessionEnd, SessionList, SessionsReply, TokenRevoke,
    TokensReply, UsersReply,
};
use crate::protocol::codec::{self, Acknowledged, FrameId};
use crate::protocol::{CloseCode, ErrorCode, WireError};

impl Reader {
    /// An `auth` frame.
    pub(super) async fn auth(&mut self, id: Option<&FrameId>, request: AuthRequest) -> Result<(), Failure> {
        let request = match request {
            AuthRequest::Login(login) => return self.login(id, login).await,
            request => request,
        };
        let Some(who) = self.identity.clone() else { return Err(unauthorized().into()) };
        let dispatcher = self.dispatcher.clone();
        let reply = match request {
            // Taken above.
            AuthRequest::Login(_) => return Ok(()),
            AuthRequest::PasswordChange(change) => return self.change_password(&who, id, change).await,
            AuthRequest::UserAdd(user) => {
                dispatcher.add_user(&who, user).await?;
                done("userAdd")
            }
            AuthRequest::UserList(_) => AuthEvent::Users(UsersReply { users: dispatcher.users(&who).await? }),
            AuthRequest::UserRemove(user) => {
                dispatcher.remove_user(&who, user).await?;
                done("userRemove")
            }
            AuthRequest::UserPassword(change) => {
                dispatcher.set_user_password(&who, change).await?;
                done("userPassword")
            }
            AuthRequest::UserRole(change) => {
                dispatcher.set_user_role(&who, change).await?;
                done("userRole")
            }
            AuthRequest::SessionList(SessionList { account }) => {
                let sessions = dispatcher.sessions(&who, account.as_deref()).await?;
                AuthEvent::Sessions(SessionsReply { sessions })
            }
            AuthRequest::SessionEnd(SessionEnd { id }) => {
                dispatcher.end_session(&who, &id).await?;
                done("sessionEnd")
            }
            AuthRequest::TokenCreate(create) => AuthEvent::Token(dispatcher.create_token(&who, create).await?),
            AuthRequest::TokenList(_) => AuthEvent::Tokens(TokensReply { tokens: dispatcher.tokens(&who).await? }),
            AuthRequest::TokenRevoke(TokenRevoke { token }) => {
                dispatcher.revoke_token(&who, &token).await?;
                done("tokenRevoke")
            }
            AuthRequest::Audit(query) => AuthEvent::AuditLog(dispatcher.audit_log(&who, query).await?),
        };
        Ok(self.reply(id, &reply).await?)
    }

    /// Changes one's own password. This connection goes on, with the login that is new.
    async fn change_password(
        &mut self,
        who: &Identity,
        id: Option<&FrameId>,
        change: PasswordChange,
    ) -> Result<(), Failure> {
        let PasswordChange { present, password } = change;
        let changed = self.dispatcher.change_password(who, &present, password, &self.from).await;
        let PasswordChanged { identity, token, former } = changed.map_err(|error| match error {
            AuthError::WrongPassword => {
                let error = WireError::new(ErrorCode::Unauthorized, "that is not the present password");
                DispatchError::from(error.field("present"))
            }
            error => error.into(),
        })?;
        // Before its former login ends, or it would be closed with that.
        self.session.identify(identity.clone());
        self.know(identity.clone());
        self.dispatcher.revoke(former).await?;
        self.rest_on(id, identity, Some(token)).await
    }

    /// Writes down that a frame of administrators came from somebody else, who is told nothing but that.
    pub(super) async fn note_forbidden(&self, text: &str) {
        /// What such a frame acts on. It is not looked at any further.
        #[derive(Deserialize)]
        struct Target {
            #[serde(alias = "name", alias = "username", alias = "workerId", alias = "worker_id")]
            account: Option<String>,
        }
        let (Some(who), Ok(frame)) = (&self.identity, codec::open(text)) else { return };
        if let Some(action) = AuditAction::of_administrators(frame.noun, &frame.opt) {
            let target = serde_json::from_str::<Target>(frame.data).ok().and_then(|target| target.account);
            self.dispatcher.note_forbidden(who, action, target.as_deref()).await;
        }
    }

    async fn login(&mut self, id: Option<&FrameId>, login: Login) -> Result<(), Failure> {
        let (identity, token) = match self.prove(login).await {
            Ok(proved) => proved,
            Err(DispatchError::Auth(error)) if error.is_wrong_credentials() => {
                self.wrong_logins += 1;
                let too_many = too_many(self.wrong_logins);
                if too_many {
                    self.reply(id, &error.to_wire()).await?;
                    self.session.outbox.close(CloseCode::Unauthorized);
                    return Ok(());
                }
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(current) = &self.identity
            && current.credential != Credential::Open
            && current.account != identity.account
        {
            let message = format!("this socket belongs to {}; open another one", current.account);
            return Err(WireError::new(ErrorCode::Forbidden, message).into());
        }
        self.wrong_logins = 0;
        self.rest_on(id, identity, token).await
    }

    /// Goes on as whom it has proved to be, and says so; unless that was revoked meanwhile.
    async fn rest_on(
        &mut self,
        id: Option<&FrameId>,
        identity: Identity,
        token: Option<String>,
    ) -> Result<(), Failure> {
        self.session.identify(identity.clone());
        if let Err(error) = self.dispatcher.auth().check_again(&identity).await {
            let (code, error) = refusal(&error);
            if let Some(error) = error {
                self.reply(id, &error).await?;
            }
            self.session.outbox.close(code);
            return Ok(());
        }
        let reply = AuthEvent::Ok(AuthReply::Login(auth_ok(&identity, token)));
        self.know(identity);
        Ok(self.reply(id, &reply).await?)
    }

    async fn prove(&self, login: Login) -> Result<(Identity, Option<String>), DispatchError> {
        match login {
            Login { token: Some(_), account: Some(_), .. } | Login { token: Some(_), password: Some(_), .. } => {
                Err(WireError::bad_field("token", "send a token, or an account with its password").into())
            }
            Login { token: Some(token), account: None, password: None } => {
                let identity = self.dispatcher.auth().authenticate(&token).await?;
                Ok((identity.at(self.from.address), None))
            }
            Login { token: None, account: Some(account), password: Some(password) } => {
                let (identity, token) = self.dispatcher.login(&account, &password, &self.from).await?;
                Ok((identity, Some(token)))
            }
            Login { token: None, account: Some(_), password: None } => {
                Err(WireError::bad_field("password", "password is required").into())
            }
            Login { token: None, account: None, .. } => {
                Err(WireError::bad_field("token", "token is required, or account and password").into())
            }
        }
    }
}

fn done(verb: &str) -> AuthEvent {
    AuthEvent::Ok(AuthReply::Done(Acknowledged::of(verb)))
}

impl AuthError {
    /// Whether this says that someone guessed, rather than that something is amiss.
    fn is_wrong_credentials(&self) -> bool {
        self.to_wire().code == ErrorCode::Unauthorized
    }
}
