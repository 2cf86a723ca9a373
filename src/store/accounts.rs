//! Accounts, API tokens and the key that signs access tokens.

use async_trait::async_trait;

use super::error::StoreError;
use crate::model::{Account, AccountName, ApiToken};

/// See the module.
#[async_trait]
pub trait AccountStore {
    /// Adds an account; `false` where its name or email is taken: another has it as its name or email,
    /// letter case aside.
    ///
    /// # Errors
    /// A repeat is refused as taken.
    async fn add_account(&self, account: Account) -> Result<bool, StoreError>;

    /// Replaces an account of the same name by its next revision; `false`: there is none, it has changed since it was
    /// read, or the new email is taken.
    ///
    /// # Errors
    /// It may have been replaced. A repeat is refused then.
    async fn update_account(&self, account: Account) -> Result<bool, StoreError>;

    /// Removes an account and its API tokens; returns the tokens that ended, `None`: no such account.
    ///
    /// # Errors
    /// A repeat finds nothing.
    async fn remove_account(&self, name: &AccountName) -> Result<Option<Vec<ApiToken>>, StoreError>;

    /// An account by name or email, letter case of the email aside.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn account(&self, name_or_email: &str) -> Result<Option<Account>, StoreError>;

    /// All accounts, by name.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn accounts(&self) -> Result<Vec<Account>, StoreError>;

    /// Adds an API token. Its id is random, so it is never taken.
    ///
    /// # Errors
    /// Harmless to repeat.
    async fn add_token(&self, token: ApiToken) -> Result<(), StoreError>;

    /// An API token by id.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn token(&self, id: &str) -> Result<Option<ApiToken>, StoreError>;

    /// All API tokens, newest first.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError>;

    /// The API tokens of an account, newest first. Costs nothing that grows with the tokens of others.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn tokens_of(&self, account: &AccountName) -> Result<Vec<ApiToken>, StoreError>;

    /// Removes an API token; `false`: there is none.
    ///
    /// # Errors
    /// Harmless to repeat.
    async fn remove_token(&self, id: &str) -> Result<bool, StoreError>;

    /// The key that signs access tokens: `fresh` where there was none yet, else the one that is kept.
    ///
    /// # Errors
    /// Harmless to repeat.
    async fn signing_key(&self, fresh: [u8; 32]) -> Result<[u8; 32], StoreError>;
}
