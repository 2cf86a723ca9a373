//! Values as people write them: `256MiB`, `30s`, `key=value`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A value that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct InvalidValue(&'static str);

const SIZE: InvalidValue = InvalidValue("a size such as 65536, 64KiB, 256MiB or 4GB");
const SPAN: InvalidValue = InvalidValue("a duration such as 30s, 10m, 2h or 1d");
const BLOBS: InvalidValue = InvalidValue("file:///directory or s3://bucket/prefix");
const PAIR: InvalidValue = InvalidValue("KEY=VALUE");

/// A number of bytes. `KiB MiB GiB TiB` (and `K M G T`) are powers of 1,024, `KB MB GB TB`
/// powers of 1,000; a bare number is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| SIZE)?;
        let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(SIZE),
        };
        number.checked_mul(factor).map(Self).ok_or(SIZE)
    }
}

/// Where files are kept: `file:///dir`, or `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobsUrl {
    /// A directory. Dispatchers on several machines share it.
    Directory(PathBuf),
    /// A bucket of S3, or of a server that speaks the same.
    S3 {
        /// Its name.
        bucket: String,
        /// What all keys begin with; may be empty.
        prefix: String,
    },
}

impl FromStr for BlobsUrl {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("file://") {
            let path = percent_decode_str(path.strip_prefix("localhost").unwrap_or(path)).decode_utf8();
            let path = path.map_err(|_| BLOBS)?;
            return if path.starts_with('/') { Ok(Self::Directory(path.as_ref().into())) } else { Err(BLOBS) };
        }
        let (bucket, prefix) =
            text.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, ""))).ok_or(BLOBS)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if bucket.is_empty() || !bucket.chars().all(plain) || prefix.contains(['?', '#']) {
            return Err(BLOBS);
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
    }
}

impl fmt::Display for BlobsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => write!(f, "file://{}", dir.display()),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// A duration: `30s 10m 2h 1d`, or several of them, `1h 30m`. A bare number is seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if let Ok(secs) = text.trim().parse() {
            return Ok(Self(Duration::from_secs(secs)));
        }
        humantime::parse_duration(text).map(Self).map_err(|_| SPAN)
    }
}

/// `KEY=VALUE`, of a label or a variable. The value may be empty, the key may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Before the first `=`.
    pub key: String,
    /// After it.
    pub value: String,
}

impl FromStr for Pair {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self { key: key.to_owned(), value: value.to_owned() }),
            _ => Err(PAIR),
        }
    }
}

/// Written as text. In a file a size or a duration may be a bare number, too.
macro_rules! number_or_text {
    ($name:ident, $expected:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Value;
                impl Visitor<'_> for Value {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected.0)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
                    }

                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }
                }
                deserializer.deserialize_any(Value)
            }
        }
    };
}

number_or_text!(BlobsUrl, BLOBS);
number_or_text!(Size, SIZE);
number_or_text!(Span, SPAN);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_usual_units() {
        let sizes = [("0", 0), ("4096", 4096), ("64KiB", 65_536), ("256 MiB", 256 << 20), ("4GB", 4_000_000_000)];
        for (text, bytes) in sizes {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5G", "1 parsec", "99999999999TiB"] {
            assert_eq!(text.parse::<Size>(), Err(SIZE), "{text}");
        }
    }

    #[test]
    fn durations_have_the_usual_units() {
        let spans = [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86_400), ("1h 30m", 5400), ("45", 45)];
        for (text, secs) in spans {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(secs))), "{text}");
        }
        for text in ["", "m", "-1s", "soon"] {
            assert_eq!(text.parse::<Span>(), Err(SPAN), "{text}");
        }
    }

    #[test]
    fn files_go_to_a_directory_or_a_bucket() {
        let directory = |dir: &str| BlobsUrl::Directory(dir.into());
        let s3 = |bucket: &str, prefix: &str| BlobsUrl::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() };
        for (text, url) in [
            ("file:///srv/files", directory("/srv/files")),
            ("file://localhost/srv/my%20files", directory("/srv/my files")),
            ("s3://bucket", s3("bucket", "")),
            ("s3://bucket/", s3("bucket", "")),
            ("s3://my-bucket.1/a/b/", s3("my-bucket.1", "a/b")),
        ] {
            assert_eq!(text.parse(), Ok(url), "{text}");
        }
        for text in
            ["", "/srv/files", "file://srv", "file:files", "s3://", "s3:///a", "s3://b?x=1", "s3://b/a?x", "gs://b"]
        {
            assert_eq!(text.parse::<BlobsUrl>(), Err(BLOBS), "{text}");
        }
    }

    #[test]
    fn a_pair_keeps_every_equals_sign_but_the_first() {
        assert_eq!("A=b=c".parse(), Ok(Pair { key: "A".to_owned(), value: "b=c".to_owned() }));
        assert_eq!("A=".parse(), Ok(Pair { key: "A".to_owned(), value: String::new() }));
        assert_eq!("=b".parse::<Pair>(), Err(PAIR));
        assert_eq!("A".parse::<Pair>(), Err(PAIR));
    }
}
