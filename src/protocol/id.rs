//! Names of things on the wire: jobs, workers, cursors.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An attempt of a job: 1 is the first run, 0 stands for what happens before it.
pub type Attempt = u32;

/// Why a name could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct InvalidName {
    expected: &'static str,
}

const fn invalid<T>(expected: &'static str) -> Result<T, InvalidName> {
    Err(InvalidName { expected })
}

/// A job's full name, `job-<number>-<nonce>`, or a container's, `ctr-<number>-<nonce>`.
///
/// The number alone is unique within one store; the nonce keeps a cursor of one store from
/// meaning anything in another, as after a data directory was made anew. It also says which of the two it is, so that
/// whoever has the id knows without asking the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    /// The short number, `taskId` on the wire; rises with each submit.
    pub number: u64,
    /// Random, but for its first byte, which is [`CONTAINER_BYTE`] for a container and anything else for a job.
    pub nonce: u32,
}

/// First byte of a container's nonce.
pub const CONTAINER_BYTE: u8 = 0xc5;

impl JobId {
    /// Whether this is a container, each start of which is an attempt.
    pub fn is_container(self) -> bool {
        is_containers(self.nonce)
    }
}

/// Whether a nonce is a container's.
pub fn is_containers(nonce: u32) -> bool {
    nonce.to_be_bytes()[0] == CONTAINER_BYTE
}

/// A nonce for a job, or for a container, from what chance gave.
pub fn nonce(random: u32, container: bool) -> u32 {
    let [first, rest @ ..] = random.to_be_bytes();
    let first = match (container, first) {
        (true, _) => CONTAINER_BYTE,
        (false, CONTAINER_BYTE) => 0,
        (false, first) => first,
    };
    u32::from_be_bytes([first, rest[0], rest[1], rest[2]])
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_container() { "ctr" } else { "job" };
        write!(f, "{kind}-{}-{:08x}", self.number, self.nonce)
    }
}

impl FromStr for JobId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // Only the written form is the name: "job-07-…", "job-+7-…" or capitals are not.
        let written = |(number, nonce): &(&str, &str)| {
            let digits = number.bytes().all(|b| b.is_ascii_digit()) && (*number == "0" || !number.starts_with('0'));
            digits && nonce.len() == 8 && nonce.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let (rest, container) = match (text.strip_prefix("job-"), text.strip_prefix("ctr-")) {
            (Some(rest), _) => (Some(rest), false),
            (None, rest) => (rest, true),
        };
        let parts = rest.and_then(|rest| rest.split_once('-')).filter(written);
        let id = parts.and_then(|(number, nonce)| {
            Some(Self { number: number.parse().ok()?, nonce: u32::from_str_radix(nonce, 16).ok()? })
        });
        let id = id.filter(|id| id.is_container() == container);
        match id {
            Some(id) => Ok(id),
            None => invalid("a job id such as job-7-1f0c33aa"),
        }
    }
}

/// A container's full name, `ctr-<number>-<nonce>`.
///
/// To queue, leases and log a container is a job whose attempts are its starts, so this is a [`JobId`] of which it is sure
/// that it is one of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(JobId);

impl ContainerId {
    /// The container that `id` names, if it names one.
    pub fn of(id: JobId) -> Option<Self> {
        id.is_container().then_some(Self(id))
    }

    /// Its name in queue and log.
    pub fn job(self) -> JobId {
        self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ContainerId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.parse().ok().and_then(Self::of) {
            Some(id) => Ok(id),
            None => invalid("a container id such as ctr-7-c50c33aa"),
        }
    }
}

/// How a peer names a container: by its id, its short number or the name it was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ContainerRef {
    /// The full id.
    Id(ContainerId),
    /// The short number.
    Number(u64),
    /// The name that its owner gave it.
    Name(Arc<str>),
}

impl fmt::Display for ContainerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for ContainerRef {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return invalid("a container's id (\"ctr-…\"), number or name");
        }
        Ok(match (text.parse(), text.parse()) {
            (Ok(number), _) => Self::Number(number),
            (Err(_), Ok(id)) => Self::Id(id),
            (Err(_), Err(_)) => Self::Name(text.into()),
        })
    }
}

/// How a peer names a job: by its id or by its short number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobRef {
    /// The full id.
    Id(JobId),
    /// The short number.
    Number(u64),
}

impl JobRef {
    /// The short number, which either form holds.
    pub fn number(self) -> u64 {
        match self {
            Self::Id(id) => id.number,
            Self::Number(number) => number,
        }
    }

    /// Whether this names `id`.
    pub fn names(self, id: JobId) -> bool {
        match self {
            Self::Id(own) => own == id,
            Self::Number(number) => number == id.number,
        }
    }
}

impl From<JobId> for JobRef {
    fn from(id: JobId) -> Self {
        Self::Id(id)
    }
}

impl fmt::Display for JobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl FromStr for JobRef {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => invalid("a job id (\"job-…\") or a task number"),
        }
    }
}

/// A worker's name: 1 to 128 letters, digits, `.`, `_`, `:`, `@` or `-`.
///
/// It names files on the worker, so it may not hold `/` nor begin with a dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(Arc<str>);

impl WorkerId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WorkerId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '@' | '-');
        if text.is_empty() || text.len() > 128 || text.starts_with('.') || !text.chars().all(allowed) {
            return invalid("a worker id of 1 to 128 letters, digits, '.', '_', ':', '@' or '-'");
        }
        Ok(Self(text.into()))
    }
}

/// A plugin's name: 1 to 64 letters, digits, `.`, `_` or `-`. It names a file, so it may not begin with a dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginName(Arc<str>);

impl PluginName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PluginName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > 64 || text.starts_with('.') || !text.chars().all(allowed) {
            return invalid("a plugin's name of 1 to 64 letters, digits, '.', '_' or '-'");
        }
        Ok(Self(text.into()))
    }
}

/// The place of an entry in a job's log, `<attempt>-<n>`: order, resume point and fence in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cursor {
    /// The attempt that wrote the entry.
    pub attempt: Attempt,
    /// Counts from 0 within the attempt.
    pub n: u64,
}

impl Cursor {
    /// Before every entry.
    pub const START: Self = Self { attempt: 0, n: 0 };

    /// The cursor of entry `n` of `attempt`.
    pub const fn new(attempt: Attempt, n: u64) -> Self {
        Self { attempt, n }
    }

    /// Whether `next` may directly follow this entry: the next number of the same attempt, or
    /// the first entry of a later one.
    pub fn precedes(self, next: Self) -> bool {
        if next.attempt == self.attempt { next.n == self.n + 1 } else { next.attempt > self.attempt && next.n == 0 }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.attempt, self.n)
    }
}

impl FromStr for Cursor {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let cursor = text.split_once('-').and_then(|(attempt, n)| {
            if !digits(attempt) || !digits(n) {
                return None;
            }
            Some(Self { attempt: attempt.parse().ok()?, n: n.parse().ok()? })
        });
        cursor.map_or_else(|| invalid("a cursor such as \"1-42\""), Ok)
    }
}

/// Where a follower begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum After {
    /// `"0"`: the whole log.
    #[default]
    Start,
    /// After this entry.
    At(Cursor),
    /// `"tail"`: only what comes from now on.
    Tail,
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("0"),
            Self::At(cursor) => cursor.fmt(f),
            Self::Tail => f.write_str("tail"),
        }
    }
}

impl FromStr for After {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text {
            "0" => Ok(Self::Start),
            "tail" => Ok(Self::Tail),
            cursor => match cursor.parse() {
                Ok(cursor) => Ok(Self::At(cursor)),
                Err(_) => invalid("\"0\", \"tail\" or a cursor such as \"1-42\""),
            },
        }
    }
}

/// Where a page of a log ends that is read backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Right before this entry.
    At(Cursor),
    /// `"end"`: with the newest entry.
    End,
}

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(cursor) => cursor.fmt(f),
            Self::End => f.write_str("end"),
        }
    }
}

impl FromStr for Before {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match (text, text.parse()) {
            ("end", _) => Ok(Self::End),
            (_, Ok(cursor)) => Ok(Self::At(cursor)),
            (_, Err(_)) => invalid("\"end\" or a cursor such as \"1-42\""),
        }
    }
}

/// Strings on the wire that are parsed values here. `number` says whether a bare number is one
/// too, as people type `"jobId":7`.
macro_rules! wire_string {
    ($name:ident, $number:literal, $pattern:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(if $number { "a string or a number" } else { "a string" })
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(|error| E::custom(format_args!("{error}, got {text:?}")))
                    }

                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$name, E> {
                        if $number {
                            return self.visit_str(&number.to_string());
                        }
                        Err(E::invalid_type(de::Unexpected::Unsigned(number), &self))
                    }
                }
                if $number { deserializer.deserialize_any(Text) } else { deserializer.deserialize_str(Text) }
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                if $number {
                    json_schema!({"type": ["string", "integer"], "pattern": $pattern, "minimum": 0})
                } else {
                    json_schema!({"type": "string", "pattern": $pattern})
                }
            }
        }
    };
}

wire_string!(JobId, false, "^(job|ctr)-[0-9]+-[0-9a-f]{8}$");
wire_string!(ContainerId, false, "^ctr-[0-9]+-c5[0-9a-f]{6}$");
wire_string!(ContainerRef, true, "^.+$");
wire_string!(WorkerId, false, "^[A-Za-z0-9_:@-][A-Za-z0-9._:@-]{0,127}$");
wire_string!(PluginName, false, "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$");
wire_string!(Cursor, false, "^[0-9]+-[0-9]+$");
wire_string!(After, true, "^(0|tail|[0-9]+-[0-9]+)$");
wire_string!(Before, false, "^(end|[0-9]+-[0-9]+)$");

// `JobRef` is written as whichever form it holds, so it cannot use the macro's writer.
impl Serialize for JobRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Id(id) => id.serialize(serializer),
            Self::Number(number) => serializer.serialize_u64(*number),
        }
    }
}

impl<'de> Deserialize<'de> for JobRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = JobRef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a job id or a task number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<JobRef, E> {
                text.parse().map_err(|error| E::custom(format_args!("{error}, got {text:?}")))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<JobRef, E> {
                Ok(JobRef::Number(number))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for JobRef {
    fn schema_name() -> Cow<'static, str> {
        "JobRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer"], "description": "A job id, or its short number."})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_as_written() {
        let id = JobId { number: 7, nonce: 0x1f_0c33 };
        assert_eq!(id.to_string(), "job-7-001f0c33");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("7".parse(), Ok(JobRef::Number(7)));
        let container = JobId { number: 7, nonce: nonce(0x1f_0c33, true) };
        assert_eq!(container.to_string(), "ctr-7-c51f0c33");
        assert_eq!("ctr-7-c51f0c33".parse::<ContainerId>().map(ContainerId::job), Ok(container));
        assert_eq!("ctr-7-c51f0c33".parse(), Ok(ContainerRef::Id(ContainerId(container))));
        assert_eq!("web".parse(), Ok(ContainerRef::Name("web".into())));
        assert_eq!("tail".parse(), Ok(After::Tail));
        assert_eq!("end".parse(), Ok(Before::End));
        assert_eq!("1-42".parse(), Ok(Before::At(Cursor::new(1, 42))));
        assert_eq!("1-42".parse(), Ok(After::At(Cursor::new(1, 42))));
    }

    #[test]
    fn near_misses_are_refused() {
        for text in ["job-07-001f0c33", "job-7", "job-7-XYZ", "", "job-7-001F0C33", "job-7-c51f0c33", "ctr-7-001f0c33"]
        {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        for text in ["1-", "-1", "1--2", "+1-2", "1-2-3", "a-b"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
        for text in ["", "a/b", "..", ".hidden", "a b"] {
            assert!(text.parse::<WorkerId>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_order_of_cursors_is_the_order_of_the_log() {
        assert!(Cursor::new(0, 1) < Cursor::new(1, 0));
        assert!(Cursor::new(1, 9) < Cursor::new(1, 10));
        assert!(Cursor::new(1, 0).precedes(Cursor::new(1, 1)));
        assert!(Cursor::new(1, 7).precedes(Cursor::new(2, 0)));
        assert!(!Cursor::new(1, 0).precedes(Cursor::new(1, 2)));
        assert!(!Cursor::new(2, 0).precedes(Cursor::new(1, 1)));
    }
}
