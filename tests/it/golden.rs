//! The wire is a promise: every frame, byte for byte, against `tests/golden`.
//!
//! A changed file here is a changed protocol. `GANGLINE_BLESS=1 cargo test golden` writes the
//! files anew; the diff is then the thing to review.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::samples::{self, Direction, Frame, Sample};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn file(sample: &Sample) -> PathBuf {
    folder().join(sample.direction.name()).join(format!("{}.json", sample.name))
}

/// `<type>-<opt>` of a verb, `<type>` alone where there is none.
fn stem(noun: impl serde::Serialize, verb: &str) -> String {
    let noun = serde_json::to_value(noun).unwrap();
    let noun = noun.as_str().unwrap();
    if verb.is_empty() { noun.to_owned() } else { format!("{noun}-{verb}") }
}

#[test]
fn frames_are_written_as_the_files_say() {
    let bless = std::env::var_os("GANGLINE_BLESS").is_some();
    for sample in samples::all() {
        let path = file(&sample);
        let written = format!("{}\n", sample.frame.write(sample.id.as_ref()).unwrap());
        if bless {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &written).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(written, golden, "{}", path.display());
    }
}

#[test]
fn the_files_are_read_as_the_frames_they_were() {
    for sample in samples::all() {
        let path = file(&sample);
        let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (frame, id) = Frame::read(sample.direction, golden.trim_end())
            .unwrap_or_else(|(_, error)| panic!("{}: {error:?}", path.display()));
        assert_eq!(frame, sample.frame, "{}", path.display());
        assert_eq!(id, sample.id, "{}", path.display());
    }
}

#[test]
fn every_verb_has_a_file_and_every_file_a_sample() {
    let expected: BTreeSet<PathBuf> = samples::all().iter().map(file).collect();
    for direction in Direction::ALL {
        for (noun, verbs) in direction.verbs() {
            for verb in verbs {
                let path = folder().join(direction.name()).join(format!("{}.json", stem(noun, verb)));
                assert!(expected.contains(&path), "no sample for {}", path.display());
            }
        }
        for entry in fs::read_dir(folder().join(direction.name())).unwrap() {
            let path = entry.unwrap().path();
            assert!(expected.contains(&path), "{} belongs to no sample", path.display());
        }
    }
}

/// A whole new enum of verbs would otherwise escape the test above.
#[test]
fn every_enum_of_verbs_has_a_direction() {
    let listed: usize =
        Direction::ALL.iter().flat_map(|direction| direction.verbs()).filter(|(_, verbs)| *verbs != [""]).count();
    let declared: usize = walkdir::WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol"))
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| fs::read_to_string(entry.path()).unwrap())
        .map(|source| source.lines().filter(|line| *line == "verbs! {").count())
        .sum();
    assert_eq!(listed, declared, "samples::Direction::verbs leaves an enum out");
}

/// The part of the published schema that a direction's frames must meet.
pub(crate) fn validator(direction: Direction) -> jsonschema::Validator {
    let mut schema = gangline::protocol::schema::protocol();
    let object = schema.as_object_mut().unwrap();
    object.remove("anyOf");
    object.insert("$ref".to_owned(), Value::String(format!("#/$defs/{}", direction.schema())));
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn the_published_schema_accepts_every_frame() {
    for direction in Direction::ALL {
        let validator = validator(direction);
        for sample in samples::all().into_iter().filter(|sample| sample.direction == direction) {
            let frame: Value = serde_json::from_str(&sample.frame.write(sample.id.as_ref()).unwrap()).unwrap();
            assert!(validator.is_valid(&frame), "{}/{}: {frame}", direction.name(), sample.name);
        }
    }
}

#[test]
fn the_published_schema_accepts_what_people_type() {
    let validator = validator(Direction::FromClient);
    for frame in [
        json!({"type": "auth", "data": {"token": "gl_x"}}),
        json!({"type": "auth", "data": {"account": "ada", "password": "x"}}),
        json!({"type": "job", "data": {"opt": "submit", "command": "echo hi"}}),
        json!({"type": "job", "id": "7", "data": {"opt": "follow", "jobId": 7, "after": "0"}}),
        json!({"type": "job", "data": {"opt": "list"}}),
        json!({"type": "ping"}),
    ] {
        assert!(validator.is_valid(&frame), "{frame}");
    }
}

#[test]
fn the_published_schema_refuses_what_the_codec_refuses() {
    for (direction, frame) in [
        (Direction::FromClient, json!({"data": {"opt": "list"}})),
        (Direction::FromClient, json!({"type": "jobs", "data": {"opt": "list"}})),
        (Direction::FromClient, json!({"type": "job", "data": {"opt": "submti", "command": "x"}})),
        (Direction::FromClient, json!({"type": "job", "data": {"opt": "get"}})),
        (
            Direction::FromClient,
            json!({"type": "job", "data": {"opt": "resize", "jobId": 7, "cols": "80", "rows": 24}}),
        ),
        (Direction::FromClient, json!({"type": "job", "data": {"opt": "submit", "requires": {"gpus": -1}}})),
        (Direction::FromClient, json!({"type": "auth", "data": {"opt": "bogus", "token": "gl_x"}})),
        (Direction::FromClient, json!({"type": "job", "id": [1], "data": {"opt": "list"}})),
        (Direction::FromWorker, json!({"type": "worker", "data": {"opt": "register", "workerId": "../up", "boot": 1}})),
        (Direction::FromWorker, json!({"type": "job", "data": {"opt": "accept", "jobId": "job-7", "attempt": 1}})),
        (Direction::ToClient, json!({"type": "error", "data": {"code": "no_such_code", "message": "x"}})),
        (Direction::ToWorker, json!({"type": "job", "data": {"opt": "nack", "jobId": "job-1-00000000"}})),
    ] {
        assert!(!validator(direction).is_valid(&frame), "the schema accepts {frame}");
        assert!(Frame::read(direction, &frame.to_string()).is_err(), "the codec accepts {frame}");
    }
}
