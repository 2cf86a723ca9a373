//! Unpacking a ZIP that a stranger made.
//!
//! Refuses, as a whole: names that lead out, absolute names, a name twice, symbolic links that
//! do not lead to something within, and more entries or bytes than allowed, whatever the
//! headers claim. Files keep their permission bits.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

/// Entries at the most; a large source tree has some ten thousand.
const MAX_ENTRIES: usize = 100_000;
/// Longest target of a symbolic link, as in the kernel.
const MAX_LINK: u64 = 4096;

/// Why a ZIP was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("it is no ZIP that can be read: {0}")]
    Zip(#[from] ZipError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it has {0} entries, more than {MAX_ENTRIES}")]
    TooMany(usize),
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    #[error("its entry {name:?} {why}")]
    Entry { name: String, why: String },
}

/// Unpacks `zip` into the empty directory `into`. Blocks.
pub(crate) fn unpack(zip: File, into: &Path, most: u64) -> Result<(), UnpackError> {
    let mut archive = ZipArchive::new(io::BufReader::new(zip))?;
    if archive.len() > MAX_ENTRIES {
        return Err(UnpackError::TooMany(archive.len()));
    }
    let mut room = most;
    let mut made = BTreeSet::new();
    let mut links = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        let bad = |why: &str| UnpackError::Entry { name: name.clone(), why: why.to_owned() };
        let failed = |error: io::Error| UnpackError::Entry { name: name.clone(), why: error.to_string() };
        let path = into.join(inner_path(&name).ok_or_else(|| bad("leads out of the workspace"))?);
        if entry.is_dir() {
            make_dirs(into, &path, &mut made).map_err(failed)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            make_dirs(into, parent, &mut made).map_err(failed)?;
        }
        if entry.is_symlink() {
            let mut target = String::new();
            entry.by_ref().take(MAX_LINK).read_to_string(&mut target).map_err(failed)?;
            links.push((name, path, target));
            continue;
        }
        let mode = entry.unix_mode().unwrap_or(0o644) & 0o777;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).map_err(failed)?;
        let written = io::copy(&mut entry.by_ref().take(room.saturating_add(1)), &mut file).map_err(failed)?;
        room = room.checked_sub(written).ok_or(UnpackError::TooLarge(most))?;
        // Whatever the umask took away.
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    // Last, so that nothing above was written through one.
    for (name, path, target) in &links {
        symlink(target, path).map_err(|error| UnpackError::Entry { name: name.clone(), why: error.to_string() })?;
    }
    let root = into.canonicalize()?;
    for (name, path, _) in links {
        if !path.canonicalize().is_ok_and(|target| target.starts_with(&root)) {
            let why = "is a symbolic link that leads nowhere within the workspace".to_owned();
            return Err(UnpackError::Entry { name, why });
        }
    }
    Ok(())
}

/// The path that an entry's name means, if it stays inside.
fn inner_path(name: &str) -> Option<PathBuf> {
    if name.contains(['\0', '\\']) || name.starts_with('/') {
        return None;
    }
    let mut path = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => (),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!path.as_os_str().is_empty()).then_some(path)
}

/// Makes `dir` and its parents below `root`, each looked at once.
fn make_dirs(root: &Path, dir: &Path, made: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    if dir != root && !made.contains(dir) {
        fs::create_dir_all(dir)?;
        made.insert(dir.to_owned());
    }
    Ok(())
}
