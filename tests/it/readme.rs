//! The documents beside `protocol.md`: what they name is there, what they show is true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::protocol_docs::blocks;
use crate::samples::{Direction, Frame};

const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "protocol.md",
    "docs/benchmarks.md",
    "docs/containers.md",
    "docs/faults.md",
    "docs/files.md",
    "docs/metrics.md",
    "docs/plugins.md",
    "docs/templates.md",
    "docs/http/README.md",
    "docs/http/accounts.md",
    "docs/http/broker.md",
    "docs/http/executor.md",
    "docs/http/fractals.md",
    "docs/http/machines.md",
    "docs/http/panel.md",
    "docs/http/uploads.md",
    "examples/README.md",
    "examples/kubernetes/README.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A heading's anchor, as forges make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        let folder = root().join(document).parent().map(Path::to_path_buf).unwrap_or_default();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target: PathBuf = if file.is_empty() { root().join(document) } else { folder.join(file) };
            assert!(target.exists(), "{document}: no {link}");
            if !fragment.is_empty() {
                let linked = fs::read_to_string(&target).unwrap();
                let found = linked.lines().any(|line| line.starts_with('#') && anchor(line) == fragment);
                assert!(found, "{document}: no heading for {link}");
            }
        }
    }
}

#[test]
fn every_picture_of_the_dashboard_is_shown_in_the_readme_and_every_picture_it_shows_is_there() {
    let readme = read("README.md");
    let mut pictures: BTreeSet<String> = fs::read_dir(root().join("docs/screenshots"))
        .unwrap()
        .map(|entry| format!("docs/screenshots/{}", entry.unwrap().file_name().into_string().unwrap()))
        .collect();
    assert!(pictures.len() > 3, "`make screenshots` takes them");
    // A theme's `srcset` is seen by half of the readers: each picture is also an image of its own.
    let shown = readme.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
    for picture in shown.filter(|source| !source.starts_with("http")) {
        assert!(root().join(picture).is_file(), "README.md: no {picture}");
        pictures.remove(picture);
    }
    assert_eq!(pictures, BTreeSet::new(), "README.md does not show these");
}

#[test]
fn frames_that_are_shown_are_frames() {
    let frames = blocks(&read("README.md"), "json");
    assert!(!frames.is_empty());
    for frame in frames {
        let read = [Direction::FromClient, Direction::ToClient].map(|direction| Frame::read(direction, &frame).is_ok());
        assert!(read.contains(&true), "README.md: {frame}");
    }
}

#[test]
fn settings_in_the_readme_exist_under_all_their_names() {
    let help = ["serve", "worker"].map(|command| {
        let output = Command::new(env!("CARGO_BIN_EXE_gangline")).args([command, "--help"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    });
    let readme = read("README.md");
    let rows: Vec<Vec<&str>> = readme
        .lines()
        .filter(|line| line.starts_with("| `--"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    assert!(rows.len() > 5, "the table of settings is not understood");
    for row in rows {
        let &[_, flag, variable, key, default, _] = row.as_slice() else { panic!("{row:?}") };
        let paragraph = help
            .iter()
            .flat_map(|help| help.split("\n      --").skip(1).flat_map(|rest| rest.split("\n  -")))
            .find(|paragraph| {
                paragraph.starts_with(&format!("{} ", &flag[2..])) || paragraph.starts_with(&format!("{}[", &flag[2..]))
            })
            .unwrap_or_else(|| panic!("no flag {flag}"));
        assert!(paragraph.contains(&format!("[env: {variable}")), "{flag} is not {variable}:\n{paragraph}");
        // The key is the flag in its section; `limits-` and `container-` are sections' names. `label` is one of `labels`.
        let key = key.rsplit(' ').next().unwrap();
        let section = ["limits-", "container-"].into_iter().find_map(|section| flag[2..].strip_prefix(section));
        let name = section.unwrap_or(&flag[2..]);
        let one = |name: &str| name.trim_end_matches("ies").trim_end_matches(['s', 'y']).to_owned();
        assert_eq!(one(key), one(name), "{flag}");
        if let Some(stated) = paragraph.split("[default: ").nth(1).and_then(|rest| rest.split(']').next()) {
            let words = |text: &str| text.chars().any(char::is_whitespace);
            let value = default.split([' ', '`', ';']).next().unwrap();
            assert!(words(stated) || stated.split(' ').next() == Some(value), "{flag}: {stated} is not {default}");
        }
    }
}

#[test]
fn commands_in_the_documents_exist() {
    let makefile = read("Makefile");
    let help = Command::new(env!("CARGO_BIN_EXE_gangline")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for document in DOCUMENTS {
        let text = read(document);
        for target in text.split("`make ").skip(1).filter_map(|rest| rest.split(['`', ' ']).next()) {
            assert!(makefile.contains(&format!("\n{target}:")), "{document}: make {target}");
        }
        let typed = text.split("`gangline ").chain(text.split("\ngangline ")).skip(1);
        for word in typed.filter_map(|rest| rest.split(['`', ' ', '\n']).next()) {
            let is_command = word.starts_with(|c: char| c.is_ascii_lowercase());
            assert!(!is_command || help.contains(&format!("\n  {word} ")), "{document}: gangline {word}");
        }
    }
}

#[test]
fn the_plan_of_the_rooms_is_the_plan_that_is_enforced() {
    for document in ["ARCHITECTURE.md", "src/lib.rs"] {
        let text = read(document);
        for &(floor, rooms) in crate::floors::FLOORS {
            for room in rooms {
                let row = text
                    .lines()
                    .filter(|line| line.contains(&format!("| {floor} |")))
                    .any(|line| line.contains(&format!("`{room}`")));
                assert!(row, "{document}: {room} on floor {floor}");
            }
        }
    }
}
