//! The agent's directory: its lock, its name, its boot number, its workspaces, its containers' data.
//!
//! `<data-dir>/workers/<id>/`. The lock keeps a second agent of the same name on the same
//! directory away; it goes with the process, however that ends.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::WorkerError;
use crate::base::clock::Millis;
use crate::protocol::WorkerId;

/// See the module.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    lock: File,
}

impl Home {
    /// Makes and locks the directory of `id`.
    pub(crate) fn open(data_dir: &Path, id: &WorkerId) -> Result<Self, WorkerError> {
        let dir = data_dir.join("workers").join(id.as_str());
        let failed = |source| WorkerError::DataDir { path: dir.clone(), source };
        fs::create_dir_all(&dir).map_err(failed)?;
        let lock = File::create(dir.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(WorkerError::Running { id: id.clone(), path: dir }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let dir = dir.canonicalize().map_err(failed)?;
        Ok(Self { dir, lock })
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where workspaces are.
    pub(crate) fn workspaces(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// Where spill files are.
    pub(crate) fn spills(&self) -> PathBuf {
        self.dir.join("spill")
    }

    /// Where containers have their data, each in a directory of its id.
    pub(crate) fn containers(&self) -> PathBuf {
        self.dir.join("containers")
    }

    /// Where the path of the control groups is kept.
    pub(crate) fn groups_record(&self) -> PathBuf {
        self.dir.join("cgroup")
    }

    /// Where the key is kept by which SSH clients know this worker.
    pub(crate) fn host_key(&self) -> PathBuf {
        self.dir.join("sftp_host_key")
    }

    /// The number of this start: the time, but always more than the last one, even where the
    /// clock was set back meanwhile.
    pub(crate) fn next_boot(&self, now: Millis) -> io::Result<u64> {
        let path = self.dir.join("boot");
        let last: u64 = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let boot = now.max(last.saturating_add(1));
        fs::write(path, boot.to_string())?;
        Ok(boot)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a program that is being started right now, until
        // that closes its copy. A process that is gone leaves no such copy for long.
        let _ = self.lock.unlock();
    }
}

/// The name of the worker of `data_dir` where none was given: the host's, with something random
/// to tell hosts of the same name apart, kept for ever.
pub(crate) fn default_id(data_dir: &Path) -> Result<WorkerId, WorkerError> {
    let path = data_dir.join("worker.id");
    let failed = |source| WorkerError::DataDir { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let host = sysinfo::System::host_name().unwrap_or_default();
            let id = id_from(&host, rand::random());
            fs::create_dir_all(data_dir).map_err(failed)?;
            fs::write(&path, id.as_str()).map_err(failed)?;
            Ok(id)
        }
        Err(error) => Err(failed(error)),
    }
}

fn id_from(host: &str, random: u16) -> WorkerId {
    let host = host.split('.').next().unwrap_or_default();
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
    let host = if host.is_empty() { "worker" } else { &host };
    format!("{host}-{random:04x}").parse().expect("letters, digits and '-' make a worker id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let id: WorkerId = "a".parse().unwrap();
        let home = Home::open(dir.path(), &id).unwrap();
        assert!(matches!(Home::open(dir.path(), &id), Err(WorkerError::Running { .. })));
        Home::open(dir.path(), &"b".parse().unwrap()).unwrap();
        drop(home);
        Home::open(dir.path(), &id).unwrap();
    }

    #[test]
    fn boots_rise_though_the_clock_falls() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path(), &"a".parse().unwrap()).unwrap();
        assert_eq!([1000, 500, 1001, 2000].map(|now| home.next_boot(now).unwrap()), [1000, 1001, 1002, 2000]);
    }

    #[test]
    fn a_name_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let id = default_id(&dir.path().join("data")).unwrap();
        assert_eq!(default_id(&dir.path().join("data")).unwrap(), id);
        assert_eq!(id_from("häst.example.org", 0xab).as_str(), "hst-00ab");
        assert_eq!(id_from("...", 1).as_str(), "worker-0001");
    }
}
