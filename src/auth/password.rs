//! Passwords: Argon2id, away from the async threads, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::AuthError;

/// Shortest password that an administrator may give, in bytes.
const SHORTEST: usize = 8;
/// Longest, in bytes: beyond it one only pays for hashing.
const LONGEST: usize = 1024;

/// Who chose a password, which decides how short it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChosenBy {
    /// An administrator, for somebody.
    Administrator,
    /// Its owner, through a route of an older system: those took any password.
    Owner,
}

/// Hashes at a time. Each holds 19 MiB and a processor for about 20 ms.
const AT_ONCE: usize = 2;
/// How long a login waits for its turn: no longer than a socket has to authenticate.
const TURN_WITHIN: Duration = Duration::from_secs(10);

/// What a password is compared with where there is none, so that unknown accounts take as long.
/// Same parameters as [`Argon2::default`] makes; the hash is of no known password.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Z2FuZ2xpbmUtbm9ib2R5IQ$u2hVb0pX1mTqQvR8yKzD4wLc7nEoSaGiFjB3tUdWxHk";

/// Hashes and verifies passwords.
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// A PHC string to keep of a new password.
    ///
    /// # Errors
    /// `BadPassword` or `PasswordLength`, `TooManyLogins`, `Crypto`.
    pub(super) async fn hash(&self, password: String, by: ChosenBy) -> Result<String, AuthError> {
        let (shortest, refusal) = match by {
            ChosenBy::Administrator => (SHORTEST, AuthError::BadPassword),
            ChosenBy::Owner => (1, AuthError::PasswordLength),
        };
        if !(shortest..=LONGEST).contains(&password.len()) {
            return Err(refusal);
        }
        self.run(move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()))
            .await?
            .map_err(|_| AuthError::Crypto)
    }

    /// Whether `password` is the one that `kept` is a hash of. Takes as long, and says no, where
    /// nothing is kept.
    ///
    /// # Errors
    /// `TooManyLogins`, `Crypto`.
    pub(super) async fn verify(&self, password: String, kept: Option<String>) -> Result<bool, AuthError> {
        self.run(move || {
            let known = kept.is_some();
            let matches = PasswordHash::new(kept.as_deref().unwrap_or(NOBODY))
                .is_ok_and(|kept| Argon2::default().verify_password(password.as_bytes(), &kept).is_ok());
            known && matches
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, hashing: impl FnOnce() -> T + Send + 'static) -> Result<T, AuthError> {
        let turn = self.turn().await?;
        let hashing = tokio::task::spawn_blocking(move || {
            let result = hashing();
            // Given back when the hash is done, even if whoever asked has gone.
            drop(turn);
            result
        });
        hashing.await.map_err(|_| AuthError::Crypto)
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, AuthError> {
        match tokio::time::timeout(TURN_WITHIN, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(AuthError::TooManyLogins { retry_after: TURN_WITHIN }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_alone() {
        let passwords = Passwords::new();
        let kept = passwords.hash("correct horse".to_owned(), ChosenBy::Administrator).await.unwrap();
        assert!(!kept.contains("correct"));
        assert!(passwords.verify("correct horse".to_owned(), Some(kept.clone())).await.unwrap());
        assert!(!passwords.verify("correct hors".to_owned(), Some(kept)).await.unwrap());
    }

    #[test]
    fn an_unknown_account_costs_a_full_hash() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let real = Argon2::default().hash_password(b"whatever").unwrap();
        assert_eq!(nobody.algorithm, real.algorithm);
        assert_eq!(nobody.params.to_string(), real.params.to_string());
        assert_eq!(nobody.hash.unwrap().len(), real.hash.unwrap().len());
    }

    #[tokio::test]
    async fn lengths_are_bounded() {
        let passwords = Passwords::new();
        for password in ["1234567".to_owned(), "x".repeat(1025)] {
            let refused = passwords.hash(password, ChosenBy::Administrator).await;
            assert!(matches!(refused, Err(AuthError::BadPassword)));
        }
        passwords.hash("1".to_owned(), ChosenBy::Owner).await.unwrap();
        for password in [String::new(), "x".repeat(1025)] {
            assert!(matches!(passwords.hash(password, ChosenBy::Owner).await, Err(AuthError::PasswordLength)));
        }
    }
}
