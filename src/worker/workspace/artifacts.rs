//! Finding what a job wants kept.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use walkdir::WalkDir;

/// Artifacts of one job at the most; whoever wants more wants an archive.
const MAX_FILES: usize = 10_000;

/// A file to keep.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// Relative to the workspace, with `/` between its parts.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// The files in `root` that match any of `patterns`, and what went wrong on the way. Blocks.
///
/// A `*` stays within one directory, `**` does not; a pattern that names a directory means all
/// that is in it. Links are followed to files within `root` and nowhere else.
pub(crate) fn collect(root: &Path, patterns: &[String]) -> (Vec<Artifact>, Vec<String>) {
    let mut problems = Vec::new();
    let set = match build(patterns) {
        Ok(set) => set,
        Err(error) => return (Vec::new(), vec![format!("bad pattern: {error}")]),
    };
    let mut files = Vec::new();
    for entry in WalkDir::new(root).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                problems.push(format!("cannot look for artifacts: {error}"));
                continue;
            }
        };
        let Ok(relative) = entry.path().strip_prefix(root) else { continue };
        if entry.file_type().is_dir() || !set.is_match(relative) {
            continue;
        }
        let Some(name) = relative.to_str().map(str::to_owned) else {
            problems.push(format!("{}: the name is not UTF-8", relative.display()));
            continue;
        };
        let path = match entry.path().canonicalize() {
            Ok(path) if path.starts_with(root) && path.is_file() => path,
            // A link to a directory: its files have names of their own.
            Ok(path) if path.starts_with(root) && path.is_dir() => continue,
            Ok(_) => {
                problems.push(format!("{name}: no file of the workspace"));
                continue;
            }
            Err(error) => {
                problems.push(format!("{name}: {error}"));
                continue;
            }
        };
        if files.len() == MAX_FILES {
            problems.push(format!("more than {MAX_FILES} files match; the rest were left out"));
            break;
        }
        files.push(Artifact { name, path });
    }
    (files, problems)
}

fn build(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = pattern.strip_prefix("./").unwrap_or(pattern).trim_end_matches('/');
        let within = if pattern.is_empty() || pattern == "." { "**".to_owned() } else { format!("{pattern}/**") };
        for pattern in [pattern, &within] {
            set.add(GlobBuilder::new(pattern).literal_separator(true).build()?);
        }
    }
    set.build()
}
