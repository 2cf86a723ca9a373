//! What an administrator asks about accounts and tokens.

use super::connection::{Client, reply};
use super::error::ClientError;
use crate::protocol::auth::{
    AuthEvent, AuthReply, AuthRequest, NamedUser, TokenCreate, TokenRecord, TokenReply, TokenRevoke, UserAdd,
    UserPassword, UserRecord,
};
use crate::protocol::codec::{Nothing, ToClient};

/// Each fails as [`ClientError`] says.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Client {
    /// Makes an account.
    pub async fn user_add(&mut self, user: UserAdd) -> Result<(), ClientError> {
        self.auth_done(AuthRequest::UserAdd(user)).await
    }

    /// All accounts.
    pub async fn users(&mut self) -> Result<Vec<UserRecord>, ClientError> {
        self.ask(&AuthRequest::UserList(Nothing {}), reply!(ToClient::Auth(AuthEvent::Users(reply)) => reply.users))
            .await
    }

    /// Removes an account, and ends its tokens.
    pub async fn user_remove(&mut self, account: String) -> Result<(), ClientError> {
        self.auth_done(AuthRequest::UserRemove(NamedUser { account })).await
    }

    /// Sets a password.
    pub async fn user_password(&mut self, account: String, password: String) -> Result<(), ClientError> {
        self.auth_done(AuthRequest::UserPassword(UserPassword { account, password })).await
    }

    /// Makes an API token. It is shown this once.
    pub async fn token_create(&mut self, create: TokenCreate) -> Result<TokenReply, ClientError> {
        self.ask(&AuthRequest::TokenCreate(create), reply!(ToClient::Auth(AuthEvent::Token(token)) => token)).await
    }

    /// All API tokens, newest first.
    pub async fn tokens(&mut self) -> Result<Vec<TokenRecord>, ClientError> {
        self.ask(&AuthRequest::TokenList(Nothing {}), reply!(ToClient::Auth(AuthEvent::Tokens(reply)) => reply.tokens))
            .await
    }

    /// Ends an API token, named by its id or itself.
    pub async fn token_revoke(&mut self, token: String) -> Result<(), ClientError> {
        self.auth_done(AuthRequest::TokenRevoke(TokenRevoke { token })).await
    }

    async fn auth_done(&mut self, request: AuthRequest) -> Result<(), ClientError> {
        self.ask(&request, reply!(ToClient::Auth(AuthEvent::Ok(AuthReply::Done(_))) => ())).await
    }
}
