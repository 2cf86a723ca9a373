//! Files below one directory, and none outside of it.
//!
//! Guards: whatever a path says (`..`, a leading `/`, a symbolic link that a job has planted), what is opened, changed or
//! removed lies below the root. Paths are made relative here, and resolved by `cap_std`, which asks the kernel to stay
//! beneath. Links are followed where they lead to something inside, and never made. Nothing here waits for a peer: a pipe or
//! a device is not opened. What the engine mounts by its path stays where it is.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, Metadata, MetadataExt, OpenOptions, OpenOptionsExt, ReadDir};
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use russh_sftp::protocol::{FileAttributes, OpenFlags};

/// Where the data of a container has its volumes, each in a directory of its name.
const VOLUMES: &str = "volumes";
/// Permissions that can be set. Neither setuid nor setgid: the agent may be root, and a job must not become it.
const PERMISSIONS: u32 = 0o1777;
/// Permissions of a new file, before the process' mask, unless the client says otherwise.
const NEW_FILE: u32 = 0o666;
/// The same of a directory.
const NEW_DIR: u32 = 0o777;

/// See the module.
#[derive(Debug)]
pub(super) struct Jail {
    root: Arc<Dir>,
    /// Whether [`VOLUMES`] and what is directly in it keep their names.
    volumes_stay: bool,
}

/// An entry of a directory, whether it is there or not.
struct Entry {
    dir: Dir,
    name: OsString,
}

/// Something that stays the same whatever is put in its place meanwhile, a device for a file above all. By itself it can
/// neither be read nor written.
struct Held {
    file: File,
}

impl Held {
    /// A path that leads to it and nowhere else.
    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

impl Jail {
    /// Everything below `root`.
    pub(super) fn new(root: Arc<Dir>, volumes_stay: bool) -> Self {
        Self { root, volumes_stay }
    }

    /// A path as the client sees it, from the root, without `.` and `..`.
    pub(super) fn canonical(path: &str) -> String {
        let inside = inside(path);
        if inside == Path::new(".") { "/".to_owned() } else { format!("/{}", inside.display()) }
    }

    /// Opens a file. What is there is held before it is looked at, and opened by what holds it.
    pub(super) fn open(&self, path: &str, flags: OpenFlags, attrs: &FileAttributes) -> io::Result<File> {
        let path = inside(path);
        let [write, append, create, new, truncate] =
            [OpenFlags::WRITE, OpenFlags::APPEND, OpenFlags::CREATE, OpenFlags::EXCLUDE, OpenFlags::TRUNCATE]
                .map(|flag| flags.contains(flag));
        let read = flags.contains(OpenFlags::READ) || !(write || append);
        if !(create && new) {
            match self.hold(&path) {
                Ok(held) if !held.file.metadata()?.is_file() => {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
                }
                Ok(held) => {
                    let mut options = File::options();
                    options.read(read).write(write).append(append).truncate(truncate);
                    return options.open(held.path());
                }
                Err(error) if create && error.kind() == io::ErrorKind::NotFound => (),
                Err(error) => return Err(error),
            }
        }
        let mut options = OpenOptions::new();
        options.read(read).write(write).append(append).create_new(true);
        options.mode(attrs.permissions.unwrap_or(NEW_FILE) & PERMISSIONS);
        Ok(self.root.open_with(path, &options)?.into_std())
    }

    /// The entries of a directory.
    pub(super) fn list(&self, path: &str) -> io::Result<ReadDir> {
        self.root.read_dir(inside(path))
    }

    /// What is known of a file; of what a link leads to, where it is one.
    pub(super) fn stat(&self, path: &str) -> io::Result<FileAttributes> {
        Ok(attributes(&self.root.metadata(inside(path))?))
    }

    /// What is known of a file, or of a link itself.
    pub(super) fn lstat(&self, path: &str) -> io::Result<FileAttributes> {
        Ok(attributes(&self.root.symlink_metadata(inside(path))?))
    }

    /// Changes length, permissions and times.
    pub(super) fn set(&self, path: &str, attrs: &FileAttributes) -> io::Result<()> {
        let Change { size, mode, times } = Change::of(attrs)?;
        if let Some(size) = size {
            self.open(path, OpenFlags::WRITE, &FileAttributes::empty())?.set_len(size)?;
        }
        if let Some(mode) = mode {
            std::fs::set_permissions(self.hold(&inside(path))?.path(), PermissionsExt::from_mode(mode))?;
        }
        if let Some([accessed, modified]) = times {
            let [accessed, modified] = [accessed, modified].map(TimeSpec::from_duration);
            let held = self.hold(&inside(path))?;
            utimensat(AT_FDCWD, &held.path(), &accessed, &modified, UtimensatFlags::FollowSymlink)?;
        }
        Ok(())
    }

    /// Renames. What is there already stays unless `replace`.
    pub(super) fn rename(&self, from: &str, to: &str, replace: bool) -> io::Result<()> {
        // Held from here on, so that what is looked at is what is changed, wherever links lead meanwhile.
        let (from, to) = (self.entry(from)?, self.entry(to)?);
        if self.volumes_stay && (self.is_mounted(&from)? || self.is_mounted(&to)?) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "volumes keep their names"));
        }
        if !replace && to.dir.symlink_metadata(&to.name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        from.dir.rename(from.name, &to.dir, to.name)
    }

    /// Takes hold of whatever a path leads to, without opening it.
    fn hold(&self, path: &Path) -> io::Result<Held> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlag::O_PATH.bits());
        Ok(Held { file: self.root.open_with(path, &options)?.into_std() })
    }

    /// The last part of a path, and the directory that the rest leads to.
    fn entry(&self, path: &str) -> io::Result<Entry> {
        let path = inside(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the root keeps its name"));
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        Ok(Entry { dir: self.root.open_dir(parent)?, name: name.to_owned() })
    }

    /// Whether the engine mounts what has this name, or looks for it on the way there. Told by the directory itself and not
    /// by the path: a link may lead to it.
    fn is_mounted(&self, entry: &Entry) -> io::Result<bool> {
        let which = |dir: &Metadata| (dir.dev(), dir.ino());
        let dir = which(&entry.dir.dir_metadata()?);
        if dir == which(&self.root.dir_metadata()?) {
            return Ok(entry.name == VOLUMES);
        }
        match self.root.symlink_metadata(VOLUMES) {
            Ok(volumes) => Ok(dir == which(&volumes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a directory.
    pub(super) fn make_dir(&self, path: &str, attrs: &FileAttributes) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.mode(attrs.permissions.unwrap_or(NEW_DIR) & PERMISSIONS);
        self.root.create_dir_with(inside(path), &builder)
    }

    /// Removes an empty directory.
    pub(super) fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.root.remove_dir(inside(path))
    }

    /// Removes a file, or a link.
    pub(super) fn remove_file(&self, path: &str) -> io::Result<()> {
        self.root.remove_file(inside(path))
    }

    /// What a link says.
    pub(super) fn read_link(&self, path: &str) -> io::Result<PathBuf> {
        self.root.read_link_contents(inside(path))
    }
}

/// Changes length, permissions and times of an open file.
pub(super) fn set(file: &File, attrs: &FileAttributes) -> io::Result<()> {
    let Change { size, mode, times } = Change::of(attrs)?;
    if let Some(size) = size {
        file.set_len(size)?;
    }
    if let Some(mode) = mode {
        file.set_permissions(PermissionsExt::from_mode(mode))?;
    }
    if let Some([accessed, modified]) = times {
        file.set_times(
            std::fs::FileTimes::new().set_accessed(UNIX_EPOCH + accessed).set_modified(UNIX_EPOCH + modified),
        )?;
    }
    Ok(())
}

/// What is known of a file.
pub(super) fn attributes(of: &Metadata) -> FileAttributes {
    let seconds = |time: i64| Some(u32::try_from(time.max(0)).unwrap_or(u32::MAX));
    FileAttributes {
        size: Some(of.size()),
        uid: Some(of.uid()),
        user: None,
        gid: Some(of.gid()),
        group: None,
        permissions: Some(of.mode()),
        atime: seconds(of.atime()),
        mtime: seconds(of.mtime()),
    }
}

/// What of a file is to change.
struct Change {
    size: Option<u64>,
    mode: Option<u32>,
    /// Of the last access and the last change, since the epoch.
    times: Option<[Duration; 2]>,
}

impl Change {
    fn of(attrs: &FileAttributes) -> io::Result<Self> {
        let FileAttributes { size, uid, user: _, gid, group: _, permissions, atime, mtime } = attrs;
        if uid.is_some() || gid.is_some() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "files do not change hands"));
        }
        Ok(Self {
            size: *size,
            mode: permissions.map(|mode| mode & PERMISSIONS),
            times: atime
                .zip(*mtime)
                .map(|times| <[u32; 2]>::from(times).map(|seconds| Duration::from_secs(seconds.into()))),
        })
    }
}

/// The path from the root, as if that were the root of everything: there is nothing above it.
fn inside(path: &str) -> PathBuf {
    let mut inside = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir => _ = inside.pop(),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => (),
        }
    }
    if inside.as_os_str().is_empty() { PathBuf::from(".") } else { inside }
}
