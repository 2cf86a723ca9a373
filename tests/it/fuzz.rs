//! What no sane peer sends, thrown at the codec: it answers with a frame or an error, never with
//! a panic, and what it has read it can write and read again.
//!
//! Inputs range from raw bytes to valid frames with one thing wrong. `PROPTEST_CASES` sets how
//! many of each are tried; the default takes a few seconds.

use gangline::protocol::codec::{self, FrameId};
use gangline::protocol::error::ErrorCode;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::samples::{self, Direction, Frame};

/// Longest `message` and `field` that an error may carry: errors go into logs, too.
const LONGEST_ERROR: usize = 1024;

fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// What holds for any text, in any direction.
fn check(text: &str) {
    for direction in Direction::ALL {
        check_in(direction, text);
    }
}

fn check_in(direction: Direction, text: &str) {
    match Frame::read(direction, text) {
        Ok((frame, id)) => {
            assert!(is_object(text), "{direction:?} accepts {text}");
            let Some(written) = frame.write(id.as_ref()) else { return };
            let again = Frame::read(direction, &written);
            assert_eq!(again, Ok((frame.clone(), id.clone())), "{direction:?}: {text}\nbecame {written}");
        }
        Err((id, error)) => {
            assert!(matches!(error.code, ErrorCode::BadFrame | ErrorCode::UnknownType), "{error:?}: {text}");
            assert!(!error.retry, "{error:?}: the same frame cannot succeed later");
            assert!(!error.message.is_empty() && error.message.len() <= LONGEST_ERROR, "{}", error.message.len());
            assert!(error.field.as_ref().is_none_or(|field| !field.is_empty() && field.len() <= LONGEST_ERROR));
            let reply = codec::encode_with(&error, id.as_ref());
            let read = codec::read_at_client(&reply).unwrap_or_else(|error| panic!("{error:?}: {reply}"));
            assert_eq!(read, (codec::ToClient::Error(error), id));
        }
    }
}

fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// A valid frame of either end.
fn frame() -> impl Strategy<Value = String> {
    let all: Vec<String> =
        samples::all().iter().map(|sample| sample.frame.write(sample.id.as_ref()).unwrap()).collect();
    select(all)
}

/// Pieces that parsers stumble over.
fn evil() -> impl Strategy<Value = String> {
    let fixed = [
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\0",
        "\n",
        "\u{feff}",
        "é",
        "\u{10ffff}",
        "null",
        "true",
        "-",
        "-0",
        "1e999",
        "1e-999",
        "0.1e1",
        "00",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "340282366920938463463374607431768211456",
        "\\ud800",
        "\\udc00",
        "\\ud83d\\ude00",
        "\\u0000",
        "\\x",
        "\"id\":\"\\ud800\",",
        "\"id\":{},",
        "\"opt\":\"end\",",
        "\"type\":\"job\",",
        "\"data\":[],",
        "\"text\":\"\",",
        "\"base64\":\"*\",",
        "\"jobId\":-1,",
        "\"jobId\":\"job-1-0\",",
        "__proto__",
        "NaN",
    ];
    prop_oneof![
        8 => select(fixed.to_vec()).prop_map(str::to_owned),
        1 => (select(vec!["[", "{\"a\":", "{\"data\":"]), 100_usize..3_000).prop_map(|(open, times)| open.repeat(times)),
        1 => (any::<char>(), 1_usize..20_000).prop_map(|(c, times)| std::iter::repeat_n(c, times).collect()),
        1 => "\\PC{0,12}",
    ]
}

/// One way to spoil a frame.
#[derive(Debug, Clone)]
enum Spoil {
    Flip(Index, u8),
    Cut(Index, Index),
    Repeat(Index, Index),
    Insert(Index, String),
    Truncate(Index),
    Splice(Index, Index, String),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Spoil::Flip(at, bits)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Spoil::Cut(from, to)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Spoil::Repeat(from, to)),
        (any::<Index>(), evil()).prop_map(|(at, piece)| Spoil::Insert(at, piece)),
        any::<Index>().prop_map(Spoil::Truncate),
        (any::<Index>(), any::<Index>(), frame()).prop_map(|(at, from, other)| Spoil::Splice(at, from, other)),
    ]
}

impl Spoil {
    fn apply(&self, frame: &mut Vec<u8>) {
        let len = frame.len() + 1;
        let range = |a: &Index, b: &Index| a.index(len).min(b.index(len))..a.index(len).max(b.index(len));
        match self {
            Self::Flip(at, bits) => {
                if let Some(byte) = frame.len().checked_sub(1).map(|most| at.index(most + 1)) {
                    frame[byte] ^= bits;
                }
            }
            Self::Cut(from, to) => {
                frame.drain(range(from, to));
            }
            Self::Repeat(from, to) => {
                let range = range(from, to);
                let (end, part) = (range.end, frame[range].to_vec());
                frame.splice(end..end, part);
            }
            Self::Insert(at, piece) => drop(frame.splice(at.index(len)..at.index(len), piece.bytes())),
            Self::Truncate(at) => frame.truncate(at.index(len)),
            Self::Splice(at, from, other) => {
                frame.truncate(at.index(len));
                frame.extend_from_slice(&other.as_bytes()[from.index(other.len())..]);
            }
        }
    }
}

/// A JSON value of any shape, not too deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select(vec!["0", "tail", "1-42", "7", "job-7-001f0c33", "stdout", "running", "requeue", ".."])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(config(4_000))]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text_after_a_good_beginning_is_answered(
        start in select(vec!["{", "{\"type\":", "{\"type\":\"job\",\"data\":{\"opt\":\"output\",", "{\"data\":{", "{\"id\":"]),
        pieces in prop::collection::vec(evil(), 0..8),
    ) {
        check(&format!("{start}{}", pieces.concat()));
    }

    #[test]
    fn spoilt_frames_are_answered(frame in frame(), spoils in prop::collection::vec(spoil(), 1..5)) {
        let mut bytes = frame.into_bytes();
        for spoil in &spoils {
            spoil.apply(&mut bytes);
        }
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn frames_with_a_field_changed_are_answered(frame in frame(), at in any::<Index>(), new in value()) {
        let mut frame: Value = serde_json::from_str(&frame).unwrap();
        let paths = paths(&frame, "");
        *frame.pointer_mut(&paths[at.index(paths.len())]).unwrap() = new;
        check(&frame.to_string());
    }

    /// Output has a way of its own through the codec; a space sends the same frame the general way.
    #[test]
    fn the_short_way_of_output_reads_as_the_long_way(
        frame in select(output_frames()),
        spoils in prop::collection::vec(spoil(), 0..3),
    ) {
        let mut bytes = frame.into_bytes();
        for spoil in &spoils {
            spoil.apply(&mut bytes);
        }
        let short = String::from_utf8_lossy(&bytes).into_owned();
        if short.starts_with('{') {
            let long = short.replacen('{', "{ ", 1);
            for direction in Direction::ALL {
                let (short, long) = (Frame::read(direction, &short), Frame::read(direction, &long));
                match (short, long) {
                    (Ok(short), Ok(long)) => prop_assert_eq!(short, long),
                    // Messages may name a column.
                    (Err((_, short)), Err((_, long))) => prop_assert_eq!(short.field, long.field),
                    // A second `opt` is the one thing that the short way does not look for.
                    (short, Err((_, error))) => prop_assert_eq!(error.field.as_deref(), Some("opt"), "{:?}", short),
                    (short, long) => prop_assert!(false, "{:?} is not {:?}", short, long),
                }
            }
        }
    }

    #[test]
    fn an_id_comes_back_as_it_was_written(
        id in prop_oneof![
            any::<i64>().prop_map(|id| id.to_string()),
            "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,5})?",
            any::<String>().prop_map(|id| json!(id).to_string()),
            Just("\"\\ud800\"".to_owned()),
        ],
    ) {
        let text = format!("{{\"id\":{id},\"type\":\"ping\"}}");
        let (frame, read) = codec::read_at_server(&text).unwrap();
        prop_assert_eq!(frame, codec::ToServer::Ping);
        prop_assert_eq!(read.as_ref().map(FrameId::as_str), Some(id.as_str()));
        let pong = codec::encode_with(&codec::Pong {}, read.as_ref());
        let expected = format!("\"id\":{id}");
        prop_assert!(pong.contains(&expected), "{}", pong);
    }
}

fn output_frames() -> Vec<String> {
    samples::all()
        .iter()
        .filter(|sample| sample.name.starts_with("job-output"))
        .map(|sample| sample.frame.write(sample.id.as_ref()).unwrap())
        .collect()
}

/// JSON pointers to everything inside `value`.
fn paths(value: &Value, at: &str) -> Vec<String> {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (format!("{at}/{key}"), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, value)| (format!("{at}/{i}"), value)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    below.into_iter().flat_map(|(path, value)| [vec![path.clone()], paths(value, &path)].concat()).collect()
}

/// A pointer below `/data` as errors write it: `/data/resume/0/jobId` is `resume[0].jobId`.
fn field_name(pointer: &str) -> String {
    let mut name = String::new();
    for part in pointer.strip_prefix("/data/").unwrap().split('/') {
        match part.parse::<usize>() {
            Ok(index) => name.push_str(&format!("[{index}]")),
            Err(_) if name.is_empty() => name.push_str(part),
            Err(_) => name.push_str(&format!(".{part}")),
        }
    }
    name
}

#[test]
fn errors_name_the_field_that_is_wrong() {
    let mut refused = 0;
    for sample in samples::all() {
        let good: Value = serde_json::from_str(&sample.frame.write(sample.id.as_ref()).unwrap()).unwrap();
        for pointer in paths(&good, "").iter().filter(|pointer| pointer.starts_with("/data/")) {
            for wrong in [json!({"x": {}}), json!([[]]), json!("?"), json!(-1.5), json!(true)] {
                let mut frame = good.clone();
                *frame.pointer_mut(pointer).unwrap() = wrong;
                let text = frame.to_string();
                let Err((id, error)) = Frame::read(sample.direction, &text) else { continue };
                refused += 1;
                assert_eq!(id, sample.id, "{text}");
                let (field, expected) = (error.field.unwrap_or_default(), field_name(pointer));
                // A wrong `[job, attempt]` may be blamed on either half, a wrong map on its first value.
                assert!(expected.starts_with(&field) || field.starts_with(&expected), "{field} for {expected}: {text}");
                assert!(!field.is_empty(), "{text}");
            }
        }
    }
    assert!(refused > 1_000, "only {refused} frames were refused");
}

#[test]
fn errors_name_the_field_that_is_missing() {
    let mut refused = 0;
    for sample in samples::all() {
        let good: Value = serde_json::from_str(&sample.frame.write(sample.id.as_ref()).unwrap()).unwrap();
        for pointer in paths(&good, "").iter().filter(|pointer| pointer.starts_with("/data/")) {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let mut frame = good.clone();
            let Some(object) = frame.pointer_mut(parent).unwrap().as_object_mut() else { continue };
            if (good["type"] == "auth" || good["type"] == "hello") && key == "opt" {
                continue; // It means `login` then, or is the server's `hello`.
            }
            if sample.name == "auth-ok-of" && key == "of" {
                continue; // It is the reply to a login then.
            }
            object.remove(key);
            let text = frame.to_string();
            let Err((id, error)) = Frame::read(sample.direction, &text) else { continue };
            refused += 1;
            assert_eq!(id, sample.id, "{text}");
            assert_eq!(error.field.as_deref(), Some(field_name(pointer).as_str()), "{text}");
            assert_eq!(error.code, ErrorCode::BadFrame, "{text}");
        }
    }
    assert!(refused > 100, "only {refused} frames were refused");
}

#[test]
fn what_people_type_is_forgiven() {
    for (typed, canonical) in [
        (r#"{"type":"ping"}"#, r#"{"type":"ping","data":{}}"#),
        (r#"  {"type":"ping"}  "#, r#"{"type":"ping","data":{}}"#),
        (r#"{"type":"ping","data":null}"#, r#"{"type":"ping","data":{}}"#),
        (r#"{"data":{"opt":"list"},"type":"job"}"#, r#"{"type":"job","data":{"opt":"list"}}"#),
        (
            r#"{"data":{"jobId":7,"opt":"get"},"id":"a","type":"job"}"#,
            r#"{"type":"job","id":"a","data":{"opt":"get","jobId":7}}"#,
        ),
        (r#"{"type":"job","data":{"opt":"get","jobId":"7"}}"#, r#"{"type":"job","data":{"opt":"get","jobId":7}}"#),
        (r#"{"type":"job","data":{"opt":"get","taskId":7}}"#, r#"{"type":"job","data":{"opt":"get","jobId":7}}"#),
        (r#"{"type":"job","data":{"opt":"get","task_id":7}}"#, r#"{"type":"job","data":{"opt":"get","jobId":7}}"#),
        (
            r#"{"type":"job","data":{"opt":"follow","jobId":7,"after":0}}"#,
            r#"{"type":"job","data":{"opt":"follow","jobId":7,"after":"0"}}"#,
        ),
        (
            r#"{"type":"job","data":{"opt":"follow","jobId":7}}"#,
            r#"{"type":"job","data":{"opt":"follow","jobId":7,"after":"0"}}"#,
        ),
        (
            r#"{"type":"job","data":{"opt":"list","before":"7","x":[{}]},"y":1}"#,
            r#"{"type":"job","data":{"opt":"list","before":7}}"#,
        ),
        (
            r#"{"type":"job","data":{"opt":"submit","command":"x","image_id":"i","requires":{"machine_id":"w","gpu_count":2}}}"#,
            r#"{"type":"job","data":{"opt":"submit","command":"x","image":"i","requires":{"workerId":"w","gpus":2}}}"#,
        ),
        (
            r#"{"type":"job","data":{"opt":"submit","command":"x","timeout_secs":5,"tty":true,"follow":null}}"#,
            r#"{"type":"job","data":{"opt":"submit","command":"x","tty":true,"timeoutSecs":5.0}}"#,
        ),
        (r#"{"type":"auth","data":{"token":"t"}}"#, r#"{"type":"auth","data":{"opt":"login","token":"t"}}"#),
        (
            r#"{"type":"auth","data":{"email":"a@b","password":"p"}}"#,
            r#"{"type":"auth","data":{"opt":"login","account":"a@b","password":"p"}}"#,
        ),
        (
            r#"{"type":"worker","data":{"opt":"drain","machine_id":"w"}}"#,
            r#"{"type":"worker","data":{"opt":"drain","workerId":"w"}}"#,
        ),
    ] {
        let (frame, id) =
            Frame::read(Direction::FromClient, typed).unwrap_or_else(|error| panic!("{error:?}: {typed}"));
        let written = frame.write(id.as_ref()).unwrap();
        assert_eq!(written, canonical, "{typed}");
    }
}

#[test]
fn what_cannot_be_forgiven_is_explained() {
    use ErrorCode::{BadFrame, UnknownType};
    for (typed, code, field) in [
        ("", BadFrame, None),
        ("hello", BadFrame, None),
        ("[]", BadFrame, None),
        ("7", BadFrame, None),
        (r#"{"type":"ping""#, BadFrame, None),
        (r#"{"type":"ping"} {"type":"ping"}"#, BadFrame, None),
        ("{}", BadFrame, Some("type")),
        (r#"{"type":7}"#, BadFrame, Some("type")),
        (r#"{"type":"ping","type":"ping"}"#, BadFrame, Some("type")),
        (r#"{"type":"jobs"}"#, UnknownType, Some("type")),
        (r#"{"type":"Job"}"#, UnknownType, Some("type")),
        (r#"{"type":"error","data":{"code":"internal","message":"x"}}"#, UnknownType, Some("type")),
        (r#"{"type":"ping","id":true}"#, BadFrame, Some("id")),
        (r#"{"type":"ping","id":null}"#, BadFrame, Some("id")),
        (r#"{"type":"ping","id":{}}"#, BadFrame, Some("id")),
        (r#"{"type":"ping","id":[]}"#, BadFrame, Some("id")),
        (r#"{"type":"job","data":"list"}"#, BadFrame, Some("data")),
        (r#"{"type":"job","data":[]}"#, BadFrame, Some("data")),
        (r#"{"type":"job"}"#, BadFrame, Some("opt")),
        (r#"{"type":"job","data":{"opt":1}}"#, BadFrame, Some("opt")),
        (r#"{"type":"job","data":{"opt":"submti"}}"#, UnknownType, Some("opt")),
        (r#"{"type":"job","data":{"opt":"list","opt":"list"}}"#, BadFrame, Some("opt")),
        (r#"{"type":"job","data":{"opt":"get"}}"#, BadFrame, Some("jobId")),
        (r#"{"type":"job","data":{"opt":"get","jobId":-1}}"#, BadFrame, Some("jobId")),
        (r#"{"type":"job","data":{"opt":"get","jobId":"job-7"}}"#, BadFrame, Some("jobId")),
        (r#"{"type":"job","data":{"opt":"get","jobId":1,"jobId":2}}"#, BadFrame, Some("jobId")),
        (r#"{"type":"job","data":{"opt":"follow","jobId":7,"after":"1_2"}}"#, BadFrame, Some("after")),
        (r#"{"type":"job","data":{"opt":"submit","command":["a"]}}"#, BadFrame, Some("command")),
        (r#"{"type":"job","data":{"opt":"submit","command":"x","env":[]}}"#, BadFrame, Some("env")),
        (r#"{"type":"job","data":{"opt":"submit","command":"x","env":{"A":1}}}"#, BadFrame, Some("env.A")),
        (
            r#"{"type":"job","data":{"opt":"submit","command":"x","requires":{"gpus":"2"}}}"#,
            BadFrame,
            Some("requires.gpus"),
        ),
        (
            r#"{"type":"job","data":{"opt":"submit","command":"x","requires":{"gpu_count":-1}}}"#,
            BadFrame,
            Some("requires.gpu_count"),
        ),
        (r#"{"type":"job","data":{"opt":"submit","command":"x","requires":2}}"#, BadFrame, Some("requires")),
        (r#"{"type":"job","data":{"opt":"submit","command":"x","tty":"yes"}}"#, BadFrame, Some("tty")),
        (r#"{"type":"job","data":{"opt":"submit","command":"x","follow":"no"}}"#, BadFrame, Some("follow")),
        (r#"{"type":"job","data":{"opt":"submit","command":"x","key":1}}"#, BadFrame, Some("key")),
        (r#"{"type":"job","data":{"opt":"submit","args":["a",1]}}"#, BadFrame, Some("args[1]")),
        (r#"{"type":"job","data":{"opt":"list","status":"done"}}"#, BadFrame, Some("status")),
        (r#"{"type":"job","data":{"opt":"list","limit":-1}}"#, BadFrame, Some("limit")),
        (r#"{"type":"job","data":{"opt":"resize","jobId":7,"cols":70000,"rows":24}}"#, BadFrame, Some("cols")),
        (r#"{"type":"job","data":{"opt":"input","jobId":7,"text":"\ud800"}}"#, BadFrame, Some("text")),
        (r#"{"type":"worker","data":{"opt":"drain","workerId":7}}"#, BadFrame, Some("workerId")),
        (r#"{"type":"worker","data":{"opt":"get","workerId":"../up"}}"#, BadFrame, Some("workerId")),
        (r#"{"type":"auth","data":{"token":7}}"#, BadFrame, Some("token")),
        (r#"{"type":"hello","data":{}}"#, BadFrame, Some("protocol")),
    ] {
        let (_, error) = Frame::read(Direction::FromClient, typed).expect_err(typed);
        assert_eq!((error.code, error.field.as_deref()), (code, field), "{typed}: {}", error.message);
    }
}

#[test]
fn depth_and_length_are_no_danger() {
    for depth in [100, 10_000, 1_000_000] {
        check_in(Direction::FromClient, &format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        let nested = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        check_in(Direction::FromClient, &format!(r#"{{"type":"ping","data":{{"x":{nested}}}}}"#));
        let submit = r#"{"type":"job","data":{"opt":"submit","template":"t","params":{"x":"#;
        check_in(Direction::FromClient, &format!("{submit}{nested}}}}}}}"));
        check_in(Direction::FromClient, &format!(r#"{{"type":"ping","id":{nested}}}"#));
    }
    let long = "x".repeat(1_000_000);
    for frame in [
        format!(r#"{{"type":"{long}"}}"#),
        format!(r#"{{"type":"ping","id":"{long}"}}"#),
        format!(r#"{{"type":"job","data":{{"opt":"{long}"}}}}"#),
        format!(r#"{{"type":"job","data":{{"opt":"get","jobId":"{long}"}}}}"#),
        format!(r#"{{"type":"job","data":{{"opt":"submit","env":{{"{long}":1}}}}}}"#),
        format!(r#"{{"type":"job","data":{{"opt":"get","jobId":{}}}}}"#, "9".repeat(1_000_000)),
    ] {
        check_in(Direction::FromClient, &frame);
    }
}
