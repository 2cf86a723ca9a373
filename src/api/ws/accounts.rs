//! Frames of type `auth`: proving who one is, and administering who may.

use super::session::{Failure, Reader, auth_ok, refusal, too_many, unauthorized};
use crate::auth::{AuthError, Identity};
use crate::dispatcher::DispatchError;
use crate::model::Role;
use crate::protocol::auth::{
    AuthEvent, AuthReply, AuthRequest, Login, NamedUser, TokenRevoke, TokensReply, UsersReply,
};
use crate::protocol::codec::{Acknowledged, FrameId};
use crate::protocol::{CloseCode, ErrorCode, WireError};

impl Reader {
    /// An `auth` frame.
    pub(super) async fn auth(&mut self, id: Option<&FrameId>, request: AuthRequest) -> Result<(), Failure> {
        let request = match request {
            AuthRequest::Login(login) => return self.login(id, login).await,
            request => request,
        };
        let who = match &self.identity {
            None => return Err(unauthorized().into()),
            Some(who) if who.role != Role::Admin => {
                return Err(DispatchError::Forbidden("only administrators manage accounts and tokens").into());
            }
            Some(who) => who.clone(),
        };
        let auth = self.dispatcher.auth().clone();
        let reply = match request {
            // Taken above.
            AuthRequest::Login(_) => return Ok(()),
            AuthRequest::UserAdd(user) => {
                auth.add_user(user).await?;
                done("userAdd")
            }
            AuthRequest::UserList(_) => AuthEvent::Users(UsersReply { users: auth.users().await? }),
            AuthRequest::UserRemove(NamedUser { account }) => {
                self.dispatcher.revoke(auth.remove_user(&account).await?).await?;
                done("userRemove")
            }
            AuthRequest::UserPassword(change) => {
                self.dispatcher.revoke(auth.set_password(change).await?).await?;
                done("userPassword")
            }
            AuthRequest::TokenCreate(create) => AuthEvent::Token(auth.create_token(create, &who.account).await?),
            AuthRequest::TokenList(_) => AuthEvent::Tokens(TokensReply { tokens: auth.tokens().await? }),
            AuthRequest::TokenRevoke(TokenRevoke { token }) => {
                self.dispatcher.revoke(auth.revoke_token(&token).await?).await?;
                done("tokenRevoke")
            }
        };
        Ok(self.reply(id, &reply).await?)
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
            && *current != Identity::anonymous()
            && current.account != identity.account
        {
            let message = format!("this socket belongs to {}; open another one", current.account);
            return Err(WireError::new(ErrorCode::Forbidden, message).into());
        }
        self.wrong_logins = 0;
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
        let auth = self.dispatcher.auth();
        match login {
            Login { token: Some(_), account: Some(_), .. } | Login { token: Some(_), password: Some(_), .. } => {
                Err(WireError::bad_field("token", "send a token, or an account with its password").into())
            }
            Login { token: Some(token), account: None, password: None } => Ok((auth.authenticate(&token).await?, None)),
            Login { token: None, account: Some(account), password: Some(password) } => {
                let (identity, token) = auth.login(&account, &password, self.from).await?;
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
