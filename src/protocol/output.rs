//! Output frames, the short way: nearly all that crosses a busy socket.
//!
//! They are written and read in one pass, several times as fast as the general way of [`super::codec`].
//! What is written here is byte for byte what `codec::encode` writes; what is not read here is
//! read there.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::agent::AgentOutput;
use super::chunk::StreamName;
use super::job::OutputEvent;

/// How every output frame of this crate begins.
const START: &str = r#"{"type":"job","data":{"opt":"output","#;

/// Room for all of a frame but its bytes.
const FIXED: usize = 256;

/// Writes what a follower gets.
pub fn encode_event(event: &OutputEvent<'_>) -> String {
    let OutputEvent { job_id, at, stream, offset, text, base64, time } = event;
    let mut out = with_room_for(text, base64);
    let stream = name(*stream);
    // Writing to a string does not fail.
    let _ = write!(out, r#"{START}"jobId":"{job_id}","at":"{at}","stream":"{stream}","offset":{offset}"#);
    push_bytes(&mut out, text, base64);
    let _ = write!(out, r#","time":{time}}}}}"#);
    out
}

/// Writes what a worker sends.
pub fn encode_report(report: &AgentOutput<'_>) -> String {
    let AgentOutput { job_id, attempt, n, stream, offset, text, base64, time } = report;
    let mut out = with_room_for(text, base64);
    let stream = name(*stream);
    let _ =
        write!(out, r#"{START}"jobId":"{job_id}","attempt":{attempt},"n":{n},"stream":"{stream}","offset":{offset}"#);
    push_bytes(&mut out, text, base64);
    if let Some(time) = time {
        let _ = write!(out, r#","time":{time}"#);
    }
    out.push_str("}}");
    out
}

/// Reads an output frame that begins the way this crate writes it; the general way reads every
/// byte three times. This one takes what the general way takes, and does not notice an `opt` that comes twice.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    #[derive(Deserialize)]
    struct Frame<T> {
        #[serde(rename = "type")]
        _noun: IgnoredAny,
        #[serde(default)]
        id: Option<IgnoredAny>,
        data: T,
    }
    if !text.starts_with(START) {
        return None;
    }
    // What fails here is read again the general way, which says what is wrong with it.
    serde_json::from_str::<Frame<T>>(text).ok().filter(|frame| frame.id.is_none()).map(|frame| frame.data)
}

fn name(stream: StreamName) -> &'static str {
    match stream {
        StreamName::Stdout => "stdout",
        StreamName::Stderr => "stderr",
    }
}

fn with_room_for(text: &Option<Cow<'_, str>>, base64: &Option<Cow<'_, str>>) -> String {
    let len = text.iter().chain(base64).map(|bytes| bytes.len()).sum::<usize>();
    // Lines of 32 bytes and more fit without growing.
    String::with_capacity(FIXED + len + len / 32)
}

fn push_bytes(out: &mut String, text: &Option<Cow<'_, str>>, base64: &Option<Cow<'_, str>>) {
    if let Some(text) = text {
        out.push_str(r#","text":""#);
        push_escaped(out, text);
        out.push('"');
    }
    if let Some(base64) = base64 {
        out.push_str(r#","base64":""#);
        push_escaped(out, base64);
        out.push('"');
    }
}

/// Appends `text` as the inside of a JSON string, as serde writes it.
fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = first_special(rest.as_bytes()) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            control => {
                out.push_str(if control < 0x10 { "\\u000" } else { "\\u001" });
                out.push(char::from(b"0123456789abcdef"[usize::from(control & 0xf)]));
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Where the first byte stands that JSON escapes.
fn first_special(bytes: &[u8]) -> Option<usize> {
    // Whether a block holds any is asked without branches, so that the compiler takes all of it at once.
    let special = |&byte: &u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let blocks = bytes.chunks(32);
    let clean = blocks.take_while(|block| !block.iter().fold(false, |any, byte| any | special(byte))).count() * 32;
    let from = bytes.get(clean..)?;
    from.iter().position(special).map(|at| clean + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::agent::AgentJobReport;
    use crate::protocol::codec::encode;
    use crate::protocol::job::JobEvent;
    use crate::protocol::{Chunk, Cursor, JobId};

    /// Text as programs print it: long clean runs, and everything that JSON escapes.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            "[ -~]{0,90}",
            "\\PC{0,40}",
            "[\\x00-\\x1f\"\\\\]{1,4}",
            Just("\u{7f}\u{80}\u{2028}\u{10ffff}".to_owned()),
        ];
        let text = prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes());
        prop_oneof![4 => text, 1 => prop::collection::vec(any::<u8>(), 0..200)]
    }

    proptest! {
        #[test]
        fn the_short_way_writes_what_the_long_way_writes(bytes in bytes(), n: u64, stderr: bool, time: Option<u64>) {
            let (text, base64) = Chunk::of(&bytes).into_fields();
            let stream = if stderr { StreamName::Stderr } else { StreamName::Stdout };
            let job_id = JobId { number: n, nonce: n as u32 };
            let report = AgentOutput { job_id, attempt: 1, n, stream, offset: n, text, base64, time };
            prop_assert_eq!(encode_report(&report), encode(&AgentJobReport::Output(report.clone())));

            let AgentOutput { text, base64, .. } = report;
            let (at, time) = (Cursor::new(1, n), time.unwrap_or_default());
            let event = OutputEvent { job_id, at, stream, offset: n, text, base64, time };
            prop_assert_eq!(encode_event(&event), encode(&JobEvent::Output(event.clone())));
        }

        #[test]
        fn special_bytes_are_found_wherever_they_stand(clean in 0_usize..200, after in 0_usize..70, which in 0_usize..4) {
            let special = [0, 0x1f, b'"', b'\\'][which];
            let mut bytes = vec![b'x'; clean];
            prop_assert_eq!(first_special(&bytes), None);
            bytes.push(special);
            bytes.extend(std::iter::repeat_n(b'\n', after));
            prop_assert_eq!(first_special(&bytes), Some(clean));
        }
    }
}
