//! The directory of a container on its worker: its data, and what must be known to take it over.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::protocol::container::BoundPort;
use crate::protocol::{Attempt, ContainerId};
use crate::worker::agent::Agent;
use crate::worker::home::Home;

/// What is kept of the latest start of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    /// The engine's name of it.
    pub(super) docker: String,
    pub(super) attempt: Attempt,
    /// Where in the engine's log this attempt begins: one that took the container over began later.
    pub(super) stdout: u64,
    pub(super) stderr: u64,
    /// Our own words in the attempt's standard error, which are not in that log: where they begin, and their length.
    pub(super) own: Vec<(u64, u64)>,
    /// How it is reached on this machine, or was before: the next start asks for the same ports.
    #[serde(default)]
    pub(super) ports: Vec<BoundPort>,
    /// The GPUs it was given.
    #[serde(default)]
    pub(super) gpus: Vec<u32>,
}

impl Start {
    /// A container that is just being made, after so many bytes of our own. The one before had these ports.
    pub(super) fn new(attempt: Attempt, own: u64, ports: Vec<BoundPort>, gpus: &[u32]) -> Self {
        let own = vec![(0, own)];
        Self { docker: String::new(), attempt, stdout: 0, stderr: 0, own, ports, gpus: gpus.to_owned() }
    }

    /// The same container under another attempt, after what is stored of this one.
    pub(super) fn taken_over(self, attempt: Attempt, stored: (u64, u64)) -> Self {
        let (stdout, stderr) = self.in_log(stored);
        Self { attempt, stdout, stderr, own: Vec::new(), ..self }
    }

    /// Where in the engine's log the byte after these of the attempt is.
    pub(super) fn in_log(&self, (stdout, stderr): (u64, u64)) -> (u64, u64) {
        let own: u64 = self.own.iter().map(|&(at, len)| len.min(stderr.saturating_sub(at))).sum();
        (self.stdout + stdout, self.stderr + stderr - own)
    }
}

/// The directory of one container.
#[derive(Debug, Clone)]
pub(super) struct Place(pub(super) PathBuf);

impl Place {
    pub(super) fn of(home: &Home, id: ContainerId) -> Self {
        Self(home.containers().join(id.to_string()))
    }

    pub(super) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Makes the directories: the container's users may write to them, and nobody else comes near. The engine follows
    /// links when it mounts, and an earlier start could write here: what is no directory of its own is refused.
    /// Nothing of the container may run meanwhile.
    pub(super) fn make(&self, volumes: impl Iterator<Item = PathBuf>) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700))?;
        own_dir(&self.data())?;
        for dir in volumes {
            dir.parent().map(own_dir).transpose()?;
            own_dir(&dir)?;
        }
        Ok(())
    }

    pub(super) fn start(&self) -> Option<Start> {
        serde_json::from_slice(&fs::read(self.0.join("start.json")).ok()?).ok()
    }

    pub(super) fn keep(&self, start: &Start) -> io::Result<()> {
        let (new, path) = (self.0.join("start.new"), self.0.join("start.json"));
        fs::write(&new, serde_json::to_vec(start)?)?;
        fs::rename(new, path)
    }
}

/// Makes a directory unless there is one; a link to one is none.
fn own_dir(dir: &Path) -> io::Result<()> {
    match fs::symlink_metadata(dir) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(io::Error::other(format!("{} is not a directory; the container has replaced it", dir.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir(dir)?;
            fs::set_permissions(dir, fs::Permissions::from_mode(0o777))
        }
        Err(error) => Err(error),
    }
}

/// The containers of which there is data here.
pub(crate) fn known(home: &Home) -> Vec<ContainerId> {
    let entries = fs::read_dir(home.containers()).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The latest start of a container.
pub(super) fn latest_start(agent: &Agent, id: ContainerId) -> Option<Start> {
    Place::of(&agent.home, id).start()
}

/// The engine's name of the latest start of a container.
pub(crate) fn docker_id(agent: &Agent, id: ContainerId) -> Option<String> {
    Some(latest_start(agent, id)?.docker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::container::spec::Protocol;

    #[test]
    fn our_own_words_are_not_looked_for_in_the_engines_log() {
        let mut start = Start::new(1, 10, Vec::new(), &[]);
        assert_eq!(start.in_log((5, 0)), (5, 0));
        assert_eq!(start.in_log((5, 7)), (5, 0), "half of what was said before the container ran");
        assert_eq!(start.in_log((5, 30)), (5, 20));
        start.own.push((30, 4));
        assert_eq!([30, 32, 34, 40].map(|stderr| start.in_log((0, stderr)).1), [20, 20, 20, 26]);
        let later = start.taken_over(2, (5, 40));
        assert_eq!((later.stdout, later.stderr), (5, 26));
        assert_eq!(later.in_log((1, 1)), (6, 27));
    }

    #[test]
    fn a_volume_that_was_replaced_by_a_link_is_not_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place(dir.path().join("ctr-1-00000001"));
        let volumes = || [place.data().join("volumes/a")].into_iter();
        place.make(volumes()).unwrap();
        place.make(volumes()).unwrap();
        for replaced in ["volumes/a", "volumes"] {
            let replaced = place.data().join(replaced);
            fs::remove_dir_all(&replaced).unwrap();
            std::os::unix::fs::symlink("/", &replaced).unwrap();
            assert!(place.make(volumes()).is_err(), "{}", replaced.display());
            fs::remove_file(&replaced).unwrap();
            place.make(volumes()).unwrap();
        }
    }

    #[test]
    fn the_file_of_a_start_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place(dir.path().join("ctr-1-00000001"));
        assert_eq!(place.start(), None);
        place.make([place.data().join("volumes/a")].into_iter()).unwrap();
        let port = BoundPort { container: 80, host: 32_768, address: String::new(), protocol: Protocol::Udp };
        let start = Start {
            docker: "d".to_owned(),
            attempt: 3,
            stdout: 1,
            stderr: 2,
            own: vec![(0, 4)],
            ports: vec![port],
            gpus: vec![1],
        };
        place.keep(&start).unwrap();
        assert_eq!(place.start(), Some(start.clone()));
        let older = r#"{"docker":"d","attempt":3,"stdout":1,"stderr":2,"own":[[0,4]]}"#;
        fs::write(place.0.join("start.json"), older).unwrap();
        let written_before = Start { ports: Vec::new(), gpus: Vec::new(), ..start };
        assert_eq!(place.start(), Some(written_before), "written before ports and GPUs were");
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([place.0.clone(), place.data(), place.data().join("volumes/a")].map(mode), [0o700, 0o777, 0o777]);
    }
}
