//! How bytes of output and input travel in JSON: as `text` where they are text, else `base64`.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::WireError;

/// Which output of the program a chunk came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StreamName {
    /// File descriptor 1, and everything under a pseudo-terminal.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// The two fields that carry bytes; exactly one is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Valid UTF-8 that JSON does not blow up.
    Text(Cow<'a, str>),
    /// Anything else.
    Base64(Cow<'a, str>),
}

impl<'a> Chunk<'a> {
    /// Chooses the form for `bytes`: text, unless JSON's escapes would more than double it and not
    /// just a short piece of it. A pure function of the bytes, so that a replay looks exactly as
    /// the live stream did.
    pub fn of(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if escaped_len(bytes) <= 2 * bytes.len() + 64 => Self::Text(Cow::Borrowed(text)),
            _ => Self::Base64(Cow::Owned(STANDARD.encode(bytes))),
        }
    }

    /// The fields `text` and `base64` as a frame holds them.
    pub fn into_fields(self) -> (Option<Cow<'a, str>>, Option<Cow<'a, str>>) {
        match self {
            Self::Text(text) => (Some(text), None),
            Self::Base64(base64) => (None, Some(base64)),
        }
    }
}

/// Bytes from the fields `text` and `base64` of a frame.
///
/// # Errors
/// `bad_frame` where both or neither are set, or `base64` is not base64.
pub fn bytes_of(text: Option<&str>, base64: Option<&str>) -> Result<Vec<u8>, WireError> {
    match (text, base64) {
        (Some(text), None) => Ok(text.as_bytes().to_vec()),
        (None, Some(base64)) => {
            STANDARD.decode(base64).map_err(|error| WireError::bad_field("base64", format!("base64: {error}")))
        }
        (Some(_), Some(_)) => Err(WireError::bad_field("base64", "text and base64 exclude each other")),
        (None, None) => Err(WireError::bad_field("text", "text or base64 is required")),
    }
}

/// Length of `bytes` between the quotes of a JSON string.
///
/// Counts in bytes over blocks of at most 255, so that the compiler can do many at a time.
fn escaped_len(bytes: &[u8]) -> usize {
    fn count(block: &[u8], is: impl Fn(u8) -> bool) -> usize {
        usize::from(block.iter().fold(0_u8, |sum, &byte| sum + u8::from(is(byte))))
    }
    let added = bytes.chunks(128).map(|block| {
        let quotes = count(block, |byte| byte == b'"' || byte == b'\\');
        let controls = count(block, |byte| byte < 0x20);
        let short = count(block, |byte| (0x08..=0x0d).contains(&byte) && byte != 0x0b);
        quotes + short + 5 * (controls - short)
    });
    bytes.len() + added.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::JobId;
    use crate::protocol::agent::AgentOutput;
    use crate::protocol::limits::{CHUNK_BYTES, WORKER_FRAME_BYTES};
    use crate::protocol::output::encode_report;

    #[test]
    fn text_stays_text_and_the_rest_becomes_base64() {
        assert_eq!(Chunk::of(b"hi\n"), Chunk::Text("hi\n".into()));
        assert_eq!(Chunk::of("é\u{1b}[0m normal text".as_bytes()), Chunk::Text("é\u{1b}[0m normal text".into()));
        assert_eq!(Chunk::of(b"\xff"), Chunk::Base64("/w==".into()));
        assert_eq!(Chunk::of(&[0; 30]), Chunk::Base64("A".repeat(40).into()));
        for text in ["\n", "\n\n\n\n", "\"\"", "\u{1b}[1m", "\u{1b}[32m\u{1b}[1mok\u{1b}[0m\r\n", "\0\u{7}"] {
            assert_eq!(Chunk::of(text.as_bytes()), Chunk::Text(text.into()));
        }
        let just = |more: usize| [vec![0; 16 + more], vec![b'x'; 16]].concat();
        assert!(matches!(Chunk::of(&just(0)), Chunk::Text(_)), "96 + 16 bytes of 32 are within 128");
        assert!(matches!(Chunk::of(&just(8)), Chunk::Base64(_)), "144 + 16 bytes of 40 are not within 144");
    }

    #[test]
    fn the_largest_chunk_fits_a_frame_in_either_form() {
        let quotes = vec![b'"'; CHUNK_BYTES];
        let worst = [vec![0; 16], quotes[16..].to_vec()].concat();
        for (bytes, is_text) in [(&worst, true), (&vec![0xff; CHUNK_BYTES], false)] {
            let (text, base64) = Chunk::of(bytes).into_fields();
            assert_eq!(text.is_some(), is_text);
            let (job_id, time) = (JobId { number: u64::MAX, nonce: u32::MAX }, Some(u64::MAX));
            let (attempt, n, offset) = (u32::MAX, u64::MAX, u64::MAX);
            let report = AgentOutput { job_id, attempt, n, stream: StreamName::Stderr, offset, text, base64, time };
            assert!(encode_report(&report).len() <= WORKER_FRAME_BYTES / 4);
        }
    }

    #[test]
    fn escaped_length_is_what_the_serialiser_writes() {
        let all: String = (0..128u8).map(char::from).chain("äöü€".chars()).collect();
        assert_eq!(escaped_len(all.as_bytes()), serde_json::to_string(&all).unwrap().len() - 2);
    }

    #[test]
    fn one_field_and_only_one() {
        assert_eq!(bytes_of(Some("a"), None), Ok(b"a".to_vec()));
        assert_eq!(bytes_of(None, Some("YQ==")), Ok(b"a".to_vec()));
        assert!(bytes_of(None, None).is_err());
        assert!(bytes_of(Some("a"), Some("YQ==")).is_err());
        assert_eq!(bytes_of(None, Some("*")).unwrap_err().field.as_deref(), Some("base64"));
    }
}
