//! API tokens: `gl_<id>_<secret>`, both halves in hexadecimal.
//!
//! The id is public and finds the record; the secret is 256 random bits, of which only a
//! SHA-256 is kept. Comparing takes the same time wherever the difference is.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::base::clock::Millis;
use crate::model::{AccountName, ApiToken, Role};

const PREFIX: &str = "gl_";

/// A token as a peer presents it.
pub(super) struct Presented<'a> {
    /// Its public half.
    pub(super) id: &'a str,
    secret: &'a str,
}

impl<'a> Presented<'a> {
    /// Reads a token; none: it does not look like one of this kind.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
        Some(Self { id, secret })
    }

    /// Whether this is the token that `kept` is the record of.
    pub(super) fn is(&self, kept: &ApiToken) -> bool {
        hash(self.secret).ct_eq(&kept.secret_hash).into()
    }
}

/// Makes a token: the text to hand out this once, and the record to keep.
pub(super) fn mint(
    role: Role,
    account: AccountName,
    created_at: Millis,
    expires_at: Option<Millis>,
    name: Option<String>,
) -> (String, ApiToken) {
    let id = hex(&rand::random::<[u8; 8]>());
    let secret = hex(&rand::random::<[u8; 32]>());
    let token = format!("{PREFIX}{id}_{secret}");
    (token, ApiToken { id, secret_hash: hash(&secret), role, account, created_at, expires_at, name })
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
