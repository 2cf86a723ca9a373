//! Workspaces: an empty directory for each run, filled from a ZIP where the job names one, and
//! gone when the run is over.
//!
//! Guards: nothing that is unpacked or collected reaches outside the directory. A directory
//! that a run left untouched serves the next one, because making and removing one costs a
//! quarter of what starting a program costs.

pub(crate) mod artifacts;
pub(crate) mod transfer;
mod unpack;

use std::fs::{self, File, FileTimes, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::model::JobSpec;
use transfer::Transfer;

/// Untouched directories that are kept; more are only needed when jobs come in bursts.
const SPARES: usize = 64;

/// When a new directory was last changed, as far as it says. Anything that is made in it
/// changes that, even within the same tick of the file system's clock.
const UNTOUCHED: Duration = Duration::from_secs(1);

/// The workspaces of one agent.
#[derive(Debug)]
pub(crate) struct Workspaces {
    root: PathBuf,
    made: AtomicU64,
    spares: Mutex<Vec<Workspace>>,
}

/// A directory of one run.
#[derive(Debug)]
pub(crate) struct Workspace {
    path: PathBuf,
    /// What it must look like to be used again; none: it must not be.
    stamp: Option<Stamp>,
}

/// What changes when a directory is touched.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<Metadata> for Stamp {
    fn from(of: Metadata) -> Self {
        Self {
            inode: of.ino(),
            mode: of.mode(),
            owner: (of.uid(), of.gid()),
            modified: (of.mtime(), of.mtime_nsec()),
            changed: (of.ctime(), of.ctime_nsec()),
        }
    }
}

impl Workspaces {
    /// Workspaces below `root`, which is made and must be empty.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        Ok(Self { root: root.canonicalize()?, made: AtomicU64::new(0), spares: Mutex::default() })
    }

    /// An empty directory.
    pub(crate) fn take(&self) -> io::Result<Workspace> {
        if let Some(spare) = self.spares.lock().pop() {
            return Ok(spare);
        }
        let path = self.root.join(self.made.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&path)?;
        let dir = File::open(&path)?;
        dir.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + UNTOUCHED))?;
        Ok(Workspace { stamp: Some(dir.metadata()?.into()), path })
    }

    /// Takes a directory back: keeps it if it was not touched, else removes it with all that is in it.
    pub(crate) async fn give_back(&self, workspace: Workspace) {
        if fs::symlink_metadata(&workspace.path).is_ok_and(|now| Some(Stamp::from(now)) == workspace.stamp) {
            let mut spares = self.spares.lock();
            if spares.len() < SPARES {
                spares.push(workspace);
                return;
            }
        }
        let path = workspace.path;
        let removed = tokio::task::spawn_blocking(move || remove(&path)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "cannot remove a workspace; the next start of the agent tries again");
        }
    }
}

/// Removes a directory and all in it, directories included that their owner may not write to.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            for entry in walkdir::WalkDir::new(path).into_iter().flatten().filter(|entry| entry.file_type().is_dir()) {
                // Files need no more than a directory that may be written to.
                let _ = fs::set_permissions(entry.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700));
            }
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Why a workspace could not be made ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error("cannot make a workspace: {0}")]
    Io(#[from] io::Error),
    #[error("cannot fetch {url}: {source}")]
    Fetch { url: String, source: transfer::TransferError },
    #[error("cannot unpack {url}: {source}")]
    Unpack { url: String, source: unpack::UnpackError },
    #[error("cwd {cwd:?} {why}")]
    Cwd { cwd: String, why: String },
}

/// How large a workspace may become by unpacking.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) download: u64,
    pub(crate) unpacked: u64,
}

impl Workspace {
    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Somebody has it open who must not see what the next run does in it.
    pub(crate) fn was_visited(&mut self) {
        self.stamp = None;
    }

    /// Fetches and unpacks what the job asks for, and returns the directory to run in.
    pub(crate) async fn prepare(
        &self,
        spec: &JobSpec,
        transfer: &Transfer,
        sizes: Sizes,
    ) -> Result<PathBuf, PrepareError> {
        if let Some(url) = &spec.file_url {
            // Beside the workspace, and nameless: it is gone whatever happens.
            let root = self.path.parent().unwrap_or(&self.path);
            let file = tempfile::tempfile_in(root)?;
            let zip = file.try_clone()?;
            transfer
                .download(url, file, sizes.download)
                .await
                .map_err(|source| PrepareError::Fetch { url: url.clone(), source })?;
            let into = self.path.clone();
            tokio::task::spawn_blocking(move || unpack::unpack(zip, &into, sizes.unpacked))
                .await
                .map_err(io::Error::other)?
                .map_err(|source| PrepareError::Unpack { url: url.clone(), source })?;
        }
        match &spec.cwd {
            None => Ok(self.path.clone()),
            Some(cwd) => self.dir_within(cwd).map_err(|why| PrepareError::Cwd { cwd: cwd.clone(), why }),
        }
    }

    /// The directory `cwd` of the workspace, made if need be.
    fn dir_within(&self, cwd: &str) -> Result<PathBuf, String> {
        let mut dir = self.path.clone();
        for part in Path::new(cwd).components() {
            match part {
                Component::Normal(name) => dir.push(name),
                Component::CurDir => continue,
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err("leads out of the workspace".to_owned());
                }
            }
            match fs::create_dir(&dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.to_string()),
                Ok(()) | Err(_) => (),
            }
            dir = dir.canonicalize().map_err(|error| error.to_string())?;
            if !dir.starts_with(&self.path) {
                return Err("leads out of the workspace".to_owned());
            }
        }
        if dir.is_dir() { Ok(dir) } else { Err("is no directory".to_owned()) }
    }
}

#[cfg(test)]
mod tests;
