//! `protocol.md` against the code: every verb has its section, every example is a frame that the
//! codec reads in the direction that the section states, and every field is spoken of.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gangline::protocol::error::{CloseCode, ErrorCode};
use serde_json::Value;

use crate::golden::validator;
use crate::samples::{self, Direction, Frame};

/// A section of the document under one `###` heading that names a frame.
struct Section {
    heading: String,
    noun: String,
    verb: String,
    directions: Vec<Direction>,
    text: String,
    examples: Vec<String>,
}

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol.md")).unwrap()
}

/// `### noun verb — sender, sender → receiver, receiver`.
fn sections() -> Vec<Section> {
    let document = document();
    let mut sections = Vec::new();
    for part in document.split("\n### ").skip(1) {
        let part = part.split("\n## ").next().unwrap();
        let (heading, text) = part.split_once('\n').unwrap();
        let (frame, way) = heading.split_once(" — ").unwrap_or_else(|| panic!("{heading}: no direction"));
        let (noun, verb) = frame.split_once(' ').unwrap_or((frame, ""));
        let (from, to) = way.split_once(" → ").unwrap_or_else(|| panic!("{heading}: no arrow"));
        let mut directions = Vec::new();
        for from in from.split(", ") {
            for to in to.split(", ") {
                directions.push(match (from, to) {
                    ("client", "dispatcher") => Direction::FromClient,
                    ("worker", "dispatcher") => Direction::FromWorker,
                    ("plugin", "dispatcher") => Direction::FromPlugin,
                    ("dispatcher", "client") => Direction::ToClient,
                    ("dispatcher", "worker") => Direction::ToWorker,
                    ("dispatcher", "plugin") => Direction::ToPlugin,
                    _ => panic!("{heading}: no such direction"),
                });
            }
        }
        sections.push(Section {
            heading: heading.to_owned(),
            noun: noun.to_owned(),
            verb: verb.to_owned(),
            directions,
            text: text.to_owned(),
            examples: blocks(text, "json"),
        });
    }
    assert!(sections.len() > 50, "the headings of protocol.md are not understood");
    sections
}

/// The lines of every fenced block of a language.
pub(crate) fn blocks(text: &str, language: &str) -> Vec<String> {
    text.split(&format!("\n```{language}\n"))
        .skip(1)
        .flat_map(|rest| rest.split("\n```").next().unwrap().lines().map(str::to_owned))
        .collect()
}

#[test]
fn every_verb_has_a_section() {
    let sections = sections();
    for direction in Direction::ALL {
        for (noun, verbs) in direction.verbs() {
            let noun = serde_json::to_value(noun).unwrap();
            for verb in verbs {
                // `login` is what a bare `auth` means, and is described as that.
                let verb = if *verb == "login" { "" } else { verb };
                let found = sections
                    .iter()
                    .any(|it| noun == it.noun.as_str() && it.verb == verb && it.directions.contains(&direction));
                assert!(found, "protocol.md: no section for {noun} {verb} {}", direction.name());
            }
        }
    }
}

#[test]
fn every_example_is_a_frame_of_its_section() {
    for section in sections() {
        assert!(!section.examples.is_empty(), "{}: no example", section.heading);
        for example in &section.examples {
            let value: Value = serde_json::from_str(example).unwrap();
            assert_eq!(value["type"], section.noun.as_str(), "{}: {example}", section.heading);
            let verb = value["data"]["opt"].as_str().unwrap_or_default();
            assert!(verb == section.verb || verb == "login", "{}: {example}", section.heading);
            for &direction in &section.directions {
                Frame::read(direction, example)
                    .unwrap_or_else(|(_, error)| panic!("{}: {error:?}\n{example}", section.heading));
                assert!(validator(direction).is_valid(&value), "{}: not by the schema: {example}", section.heading);
            }
        }
    }
}

/// What is read and written again has all that was written in the example: no field is made up.
#[test]
fn examples_name_only_fields_that_exist() {
    for section in sections() {
        for example in &section.examples {
            let (frame, id) = Frame::read(section.directions[0], example).unwrap();
            let again: Value = serde_json::from_str(&frame.write(id.as_ref()).unwrap()).unwrap();
            let value: Value = serde_json::from_str(example).unwrap();
            let known = keys(&again);
            for key in keys(&value) {
                assert!(known.contains(&key), "{}: {key} is no field: {example}", section.heading);
            }
        }
    }
}

/// Every key in a value, at any depth; nulls are as good as absent.
fn keys(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .flat_map(|(key, value)| std::iter::once(key.clone()).chain(keys(value)))
            .collect(),
        Value::Array(items) => items.iter().flat_map(keys).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => BTreeSet::new(),
    }
}

#[test]
fn every_field_is_described_in_its_section() {
    let sections = sections();
    for sample in samples::all() {
        let frame: Value = serde_json::from_str(&sample.frame.write(None).unwrap()).unwrap();
        let verb = frame["data"]["opt"].as_str().filter(|verb| *verb != "login").unwrap_or_default();
        let section = sections
            .iter()
            .find(|it| {
                frame["type"] == it.noun.as_str() && it.verb == verb && it.directions.contains(&sample.direction)
            })
            .unwrap_or_else(|| panic!("{}: no section", sample.name));
        let fields = frame["data"].as_object().unwrap();
        // The single reply describes the record; a list only points there.
        let record = ["job", "worker", "container"].iter().find_map(|record| fields.get(*record)?.as_object());
        let record = record.filter(|_| section.verb == section.noun);
        for field in fields.keys().chain(record.into_iter().flat_map(|record| record.keys())) {
            if field == "opt" {
                continue;
            }
            let named = section.text.contains(&format!("`{field}`")) || section.text.contains(&format!("`{field}."));
            assert!(named, "{}: {field} is not described", section.heading);
        }
    }
}

#[test]
fn every_request_says_how_it_fails() {
    for section in sections() {
        let request = match section.directions[0] {
            Direction::FromClient | Direction::FromWorker | Direction::FromPlugin => true,
            Direction::ToClient | Direction::ToWorker | Direction::ToPlugin => false,
        };
        assert_eq!(section.text.contains("\nErrors: "), request, "{}", section.heading);
        let errors = section.text.split("\nErrors: ").nth(1).unwrap_or_default();
        for word in errors.split('`').skip(1).step_by(2).filter(|word| word.contains('_')) {
            assert!(serde_json::from_value::<ErrorCode>(word.into()).is_ok(), "{}: {word}", section.heading);
        }
    }
}

#[test]
fn the_typed_session_is_real() {
    let lines = blocks(&document(), "wscat");
    assert!(!lines.is_empty());
    for line in lines {
        let (direction, frame) = match line.split_at(2) {
            ("> ", frame) => (Direction::FromClient, frame),
            ("< ", frame) => (Direction::ToClient, frame),
            _ => panic!("neither typed nor printed: {line}"),
        };
        // The last thing that is typed is wrong on purpose, and the reply is the real one.
        if let Err((_, error)) = Frame::read(direction, frame) {
            let reply = gangline::protocol::codec::encode(&error);
            assert!(document().contains(&format!("< {reply}")), "{line}\nis refused with {reply}");
        }
    }
}

#[test]
fn every_code_is_in_its_table() {
    let document = document();
    let schema = serde_json::to_value(schemars::schema_for!(ErrorCode)).unwrap();
    let codes: Vec<&str> =
        schema["oneOf"].as_array().unwrap().iter().filter_map(|variant| variant["const"].as_str()).collect();
    assert_eq!(codes.len(), 15, "{schema}");
    for code in codes {
        let retry = serde_json::from_value::<ErrorCode>(code.into()).unwrap().retry();
        let row = document.lines().find(|line| line.starts_with(&format!("| `{code}` |"))).unwrap_or_default();
        assert!(row.contains(if retry { "| yes |" } else { "| no |" }), "{code}: {row:?}");
    }
    for code in [
        CloseCode::Draining,
        CloseCode::StoreUnavailable,
        CloseCode::NoProgress,
        CloseCode::PingTimeout,
        CloseCode::RateLimited,
        CloseCode::TokenExpired,
        CloseCode::Abuse,
        CloseCode::Unauthorized,
        CloseCode::ForbiddenOrigin,
        CloseCode::UnsupportedVersion,
        CloseCode::AuthTimeout,
        CloseCode::Superseded,
    ] {
        assert!(document.contains(&format!("\n| {} | ", code.code())), "{code:?}");
    }
}
