//! Accounts and the tokens that act for them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::base::clock::Millis;
use crate::protocol::auth as wire;

/// An account's name: 1 to 64 characters without white space or control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(Arc<str>);

/// The string is not an account name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an account name is 1 to 64 characters without white space")]
pub struct InvalidAccountName;

impl AccountName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Who acts on an unauthenticated socket under `--open`.
    pub fn anonymous() -> Self {
        Self("anonymous".into())
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccountName {
    type Err = InvalidAccountName;

    fn from_str(text: &str) -> Result<Self, InvalidAccountName> {
        if text.is_empty() || text.chars().count() > 64 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(InvalidAccountName);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for AccountName {
    type Error = InvalidAccountName;

    fn try_from(text: String) -> Result<Self, InvalidAccountName> {
        text.parse()
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// What an account or token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Submits jobs and sees its own.
    User,
    /// Does everything.
    Admin,
    /// Runs jobs.
    Worker,
    /// Answers hooks.
    Plugin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Admin => "admin",
            Self::Worker => "worker",
            Self::Plugin => "plugin",
        })
    }
}

impl From<wire::Role> for Role {
    fn from(role: wire::Role) -> Self {
        match role {
            wire::Role::User => Self::User,
            wire::Role::Admin => Self::Admin,
            wire::Role::Worker => Self::Worker,
            wire::Role::Plugin => Self::Plugin,
        }
    }
}

impl From<Role> for wire::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::User => Self::User,
            Role::Admin => Self::Admin,
            Role::Worker => Self::Worker,
            Role::Plugin => Self::Plugin,
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name, unique.
    pub name: AccountName,
    /// What it may do.
    pub role: Role,
    /// Another name to log in with, unique where given.
    pub email: Option<String>,
    /// Argon2id, as a PHC string; none: no login by password.
    pub password_hash: Option<String>,
    /// Since when.
    pub created_at: Millis,
    /// Access tokens issued before this moment are no longer good.
    pub tokens_valid_from: Millis,
    /// Counts the changes of this record. Who changes it writes one more than was read, so that of two that change it at
    /// once neither undoes what the other did.
    #[serde(default)]
    pub revision: u64,
    /// What its owner says of themselves, by name: a nickname, a phone number, whatever a front door has a field for.
    #[serde(default)]
    pub profile: BTreeMap<String, serde_json::Value>,
    /// Its picture.
    #[serde(default)]
    pub photo: Option<Photo>,
}

impl Account {
    /// Ends everything that a password has made so far.
    pub fn end_logins(&mut self, now: Millis) {
        // Strictly later than before, whatever the clock says: it tells old tokens from new ones.
        self.tokens_valid_from = now.max(self.tokens_valid_from.saturating_add(1));
    }
}

/// Where the picture of an account is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Photo {
    /// Its name among the files; random, so that every picture has an address of its own.
    pub id: Uuid,
    /// What it is, found in its first bytes.
    pub kind: PhotoKind,
}

/// The kinds of picture that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PhotoKind {
    /// `image/png`.
    Png,
    /// `image/jpeg`.
    Jpeg,
    /// `image/webp`.
    Webp,
    /// `image/gif`.
    Gif,
}

impl PhotoKind {
    /// What the first bytes of a file say; none: it is no picture that is taken, whatever it is called.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            _ => None,
        }
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
        }
    }
}

/// How others reach somebody who offers to work for them, without this server in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The public key by which they know that it is the right one.
    pub pub_key: String,
    /// `address:port`.
    pub address: String,
}

/// What is wrong with a [`Contact`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContact {
    /// No key, or one that is too long.
    #[error("pubKey must be 1 to 8192 characters")]
    PubKey,
    /// Not an address with a port.
    #[error("address must have the form address:port, such as 203.0.113.7:9000, at most 300 characters")]
    Address,
}

impl Contact {
    /// Checks both halves.
    ///
    /// # Errors
    /// Says which of them is wrong.
    pub fn new(pub_key: String, address: String) -> Result<Self, InvalidContact> {
        /// Room for an RSA key of 16,384 bits in PEM, with a comment.
        const PUB_KEY_MOST: usize = 8_192;
        if !(1..=PUB_KEY_MOST).contains(&pub_key.chars().count()) {
            return Err(InvalidContact::PubKey);
        }
        if is_address(&address) { Ok(Self { pub_key, address }) } else { Err(InvalidContact::Address) }
    }
}

/// `host:port`, the host a name or an IP address, one of version 6 in brackets.
fn is_address(text: &str) -> bool {
    /// A name of 253 characters, a port, and room to spare.
    const MOST: usize = 300;
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let good_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let good_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_')),
    };
    text.len() <= MOST && good_port && good_host
}

/// The public half of an API token: names it, and proves nothing.
pub type TokenId = String;

/// What is kept of an API token. The secret itself is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its name.
    pub id: TokenId,
    /// SHA-256 of the secret half. The secret is random and long, so a fast hash is enough.
    pub secret_hash: [u8; 32],
    /// What it may do.
    pub role: Role,
    /// For whom it acts.
    pub account: AccountName,
    /// Since when.
    pub created_at: Millis,
    /// Until when.
    pub expires_at: Option<Millis>,
    /// What its owner calls it.
    #[serde(default)]
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_from_before_profiles_can_be_read() {
        let old =
            r#"{"name":"ada","role":"user","email":null,"password_hash":null,"created_at":5,"tokens_valid_from":7}"#;
        let account: Account = serde_json::from_str(old).unwrap();
        assert_eq!((account.tokens_valid_from, account.revision, account.photo), (7, 0, None));
        assert!(account.profile.is_empty());
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in ["203.0.113.7:9000", "worker.example.org:1", "[2001:db8::1]:65535", "localhost:80"] {
            assert!(Contact::new("key".to_owned(), good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            ":",
            "host",
            "host:",
            ":80",
            "host:0",
            "host:65536",
            "host:-1",
            "host:+1",
            "a b:80",
            "2001:db8::1:80",
            "'; --:80",
        ] {
            assert_eq!(Contact::new("key".to_owned(), bad.to_owned()), Err(InvalidContact::Address), "{bad}");
        }
        assert_eq!(Contact::new(String::new(), "host:80".to_owned()), Err(InvalidContact::PubKey));
    }

    #[test]
    fn a_picture_is_known_by_its_first_bytes() {
        assert_eq!(PhotoKind::of(b"\x89PNG\r\n\x1a\n..."), Some(PhotoKind::Png));
        assert_eq!(PhotoKind::of(b"RIFF\0\0\0\0WEBPVP8 "), Some(PhotoKind::Webp));
        for other in [&b"<svg onload=alert(1)>"[..], b"RIFF\0\0\0\0WAVE", b"GIF8", b""] {
            assert_eq!(PhotoKind::of(other), None);
        }
    }
}
