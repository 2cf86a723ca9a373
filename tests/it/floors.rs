//! The plan of the house, held against the source: which room may use which, and tidiness.
//!
//! Reads tokens, not text, so that comments and strings cannot be mistaken for paths and
//! macro bodies are seen, too. Relative paths are resolved: `super::super::hub` is `crate::hub`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Rooms by floor. A room may use itself and any room on a lower floor; nothing else.
pub(crate) const FLOORS: &[(u8, &[&str])] = &[
    (0, &["base"]),
    (1, &["protocol"]),
    (2, &["config", "link", "metrics", "model"]),
    (3, &["client", "scheduler", "store", "worker"]),
    (4, &["auth", "blobs", "hub"]),
    (5, &["dispatcher"]),
    (6, &["api"]),
    (7, &["server"]),
    (8, &["cli"]),
];

/// The roof: `main.rs` hands over to `cli`, and `lib.rs` names every room. They hold no logic.
const EXEMPT: &[&str] = &["lib.rs", "main.rs"];

/// Longest file, tests aside.
const MOST_LINES: usize = 600;

fn floor_of(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

/// A path such as `crate::store::log`, where it stands, and in which module.
struct Arrow {
    line: usize,
    path: Vec<String>,
}

/// Everything under `src` that the plan forbids, one line each.
fn violations(src: &Path) -> Vec<String> {
    let mut found = BTreeSet::new();
    for file in source_files(src) {
        let inside = file.strip_prefix(src).expect("the walk began at src");
        if EXEMPT.iter().any(|name| inside == Path::new(name)) {
            continue;
        }
        let module = module_of(inside);
        let text = fs::read_to_string(&file).expect("source is readable");
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut arrows = Vec::new();
        collect(tokens, &module, &mut arrows);
        for arrow in arrows {
            if let Some(why) = forbidden(&module, &arrow.path) {
                let (at, line, path) = (inside.display(), arrow.line, arrow.path.join("::"));
                found.insert(format!("{at}:{line}: crate::{path}: {why}"));
            }
        }
    }
    found.into_iter().collect()
}

/// Why the module `from` may not name `path`, if it may not.
fn forbidden(from: &[String], path: &[String]) -> Option<String> {
    let own = from.first().map(String::as_str)?;
    let Some(floor) = floor_of(own) else {
        return Some(format!("{own} is no room of the plan"));
    };
    let used = path.first().map(String::as_str)?;
    if let (Some(family), Some(other)) = (family(from), family(path))
        && family != other
    {
        return Some(format!("compat families are siblings: {family} may not use {other}"));
    }
    match floor_of(used) {
        _ if used == own => None,
        None => Some(format!("{used} is no room of the plan")),
        Some(below) if below < floor => None,
        Some(other) => Some(format!("{own} stands on floor {floor}, {used} on floor {other}")),
    }
}

/// The `<family>` of a module under `api::compat`.
fn family(module: &[String]) -> Option<&str> {
    match module {
        // Bodies are read the same way by all of them.
        [api, compat, shared, ..] if api == "api" && compat == "compat" && shared == "json" => None,
        [api, compat, family, ..] if api == "api" && compat == "compat" => Some(family),
        _ => None,
    }
}

/// `store/sqlite/mod.rs` and `store/sqlite.rs` are the module `store::sqlite`.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

/// Finds every path that begins with `crate` or `super`, groups and inline modules included.
fn collect(tokens: TokenStream, module: &[String], arrows: &mut Vec<Arrow>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (i, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                let inner = match (i.checked_sub(2).map(|i| &tokens[i]), i.checked_sub(1).map(|i| &tokens[i])) {
                    (Some(TokenTree::Ident(keyword)), Some(TokenTree::Ident(name))) if keyword == "mod" => {
                        [module, &[name.to_string()]].concat()
                    }
                    _ => module.to_vec(),
                };
                collect(group.stream(), &inner, arrows);
            }
            TokenTree::Ident(ident) if ident == "crate" => {
                spread(&tokens[i + 1..], &[], ident.span().start().line, arrows);
            }
            // A `super` further along a path was resolved with the path's beginning.
            TokenTree::Ident(ident) if ident == "super" && !follows_colons(&tokens[..i]) => {
                let parent = &module[..module.len().saturating_sub(1)];
                spread(&tokens[i + 1..], parent, ident.span().start().line, arrows);
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => (),
        }
    }
}

fn follows_colons(before: &[TokenTree]) -> bool {
    matches!(before, [.., TokenTree::Punct(a), TokenTree::Punct(b)] if a.as_char() == ':' && b.as_char() == ':')
}

/// Follows a path from `prefix`, into each branch of a `{…}` group.
fn spread(rest: &[TokenTree], prefix: &[String], line: usize, arrows: &mut Vec<Arrow>) {
    let mut path = prefix.to_vec();
    let mut rest = rest;
    while let [TokenTree::Punct(a), TokenTree::Punct(b), next, tail @ ..] = rest {
        if a.as_char() != ':' || b.as_char() != ':' {
            break;
        }
        match next {
            TokenTree::Ident(ident) if ident == "super" => drop(path.pop()),
            TokenTree::Ident(ident) => path.push(ident.to_string()),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                for branch in branches(group.stream()) {
                    match branch.split_first() {
                        Some((TokenTree::Ident(first), tail)) => {
                            let deeper = [path.as_slice(), &[first.to_string()]].concat();
                            spread(tail, &deeper, first.span().start().line, arrows);
                        }
                        // `crate::{*}` reaches every room at once.
                        _ => arrows.push(Arrow { line, path: [path.as_slice(), &["*".to_owned()]].concat() }),
                    }
                }
                return;
            }
            TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => break,
        }
        rest = tail;
    }
    // `pub(crate)` and the like name nothing.
    if !path.is_empty() {
        arrows.push(Arrow { line, path });
    }
}

/// The comma-separated parts of a group.
fn branches(group: TokenStream) -> Vec<Vec<TokenTree>> {
    let mut parts = vec![Vec::new()];
    for token in group {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => parts.push(Vec::new()),
            _ => parts.last_mut().expect("never empty").push(token),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn source_files(src: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(src)
        .into_iter()
        .map(|entry| entry.expect("source is readable").into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no source under {}", src.display());
    files
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// A copy of the source that may be spoilt.
fn copy_of_src() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in source_files(&src()) {
        let to = copy.path().join(file.strip_prefix(src()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
    copy
}

#[test]
fn rooms_use_only_lower_floors() {
    let found = violations(&src());
    assert!(found.is_empty(), "the plan of ARCHITECTURE.md forbids:\n{}", found.join("\n"));
}

#[test]
fn every_room_is_in_the_plan() {
    for entry in fs::read_dir(src()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let room = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(floor_of(&room).is_some(), "src/{room} is no room of the plan");
        }
    }
}

#[test]
fn a_planted_arrow_that_points_up_is_caught() {
    let copy = copy_of_src();
    let file = copy.path().join("protocol/limits.rs");
    let spoilt = format!("{}\nuse crate::store::Store;\n", fs::read_to_string(&file).unwrap());
    fs::write(&file, spoilt).unwrap();

    let found = violations(copy.path());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("protocol/limits.rs:"), "{found:?}");
    assert!(found[0].ends_with("crate::store::Store: protocol stands on floor 1, store on floor 3"), "{found:?}");
}

#[test]
fn arrows_are_found_in_every_way_of_writing_them() {
    for (file, source, caught) in [
        ("store/a.rs", "use crate::{base::clock, hub::{Ring, self}};", 2),
        ("store/a.rs", "fn f() -> crate::auth::Token { todo!() }", 1),
        ("store/a.rs", "macro_rules! m { () => { $crate::hub::ring() } }", 1),
        ("store/a.rs", "fn f() { println!(\"{}\", crate::hub::N); }", 1),
        ("store/a.rs", "use super::super::hub::Ring;", 1),
        ("store/a.rs", "mod tests { use super::super::super::hub::Ring; use super::super::Store; }", 1),
        ("store/a.rs", "use crate::scheduler::choose;", 1),
        ("store/a.rs", "use crate::{*};", 1),
        ("store/a.rs", "use crate::attic::Box;", 1),
        ("worker/a.rs", "use crate::client::Client;", 1),
        ("attic/a.rs", "use crate::base::clock;", 1),
        ("api/compat/broker/a.rs", "use crate::api::compat::panel::X; use super::super::fractals::Y;", 2),
        ("api/compat/broker/a.rs", "use crate::api::compat::broker::X; use crate::api::ws::Y; use super::Z;", 0),
        ("store/a.rs", "//! crate::hub\n/// [`crate::hub`]\nconst A: &str = \"crate::hub\"; // crate::hub", 0),
        ("store/a.rs", "pub(crate) use crate::protocol::{Cursor, id::JobId}; pub(super) fn f() {}", 0),
        ("store/sqlite/a.rs", "use super::super::log::LogStore; use crate::store::Store;", 0),
    ] {
        let planted = tempfile::tempdir().unwrap();
        let path = planted.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, source).unwrap();
        let found = violations(planted.path());
        assert_eq!(found.len(), caught, "{file}: {source}\n{found:?}");
    }
}

/// Files of the source that are not tests from their first line on.
fn production_files() -> Vec<PathBuf> {
    let is_test = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs";
    source_files(&src()).into_iter().filter(|file| !file.iter().any(is_test)).collect()
}

#[test]
fn files_are_short_enough_to_read() {
    for file in production_files() {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(&text);
        let lines = code.lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines, tests aside", file.display());
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for file in production_files() {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} has no module header", file.display());
    }
}
