//! Which directories may be visited: the workspaces of the jobs that run, and the data of containers.
//!
//! Guards: nobody who came in for one job sees the files of another, not even where a workspace is used again. A workspace is
//! a place until its run ends; visitors that are in it are told, and a directory that had one is not given to the next job.
//! The data of a container is one whether it runs or not, until it is removed.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::super::held::Key;
use crate::protocol::{Attempt, JobId};

/// Of all that is kept of a container, what it sees itself.
const CONTAINER_DATA: &str = "data";

/// See the module.
#[derive(Debug)]
pub(crate) struct Places {
    /// Below which each container has a directory of its name.
    containers: PathBuf,
    runs: Mutex<BTreeMap<Key, Place>>,
    /// Containers that were visited, until they are removed.
    visited: Mutex<HashMap<JobId, CancellationToken>>,
}

/// A workspace.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    visited: bool,
    over: CancellationToken,
}

/// A directory that a visitor may see, and nothing outside of it.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) root: Arc<Dir>,
    /// Whether `volumes` and what is directly in it keep their names. The engine mounts volumes of a container by their paths,
    /// and follows links: a visitor must not put one there that the container has made elsewhere.
    pub(crate) volumes_stay: bool,
    /// The visit ends when this does.
    pub(crate) over: CancellationToken,
}

impl Places {
    /// None but those of containers, which are below `containers`.
    pub(crate) fn new(containers: PathBuf) -> Self {
        Self { containers, runs: Mutex::default(), visited: Mutex::default() }
    }

    /// A run begins in this directory.
    pub(crate) fn open(&self, run: Key, path: &Path) {
        let place = Place { path: path.to_owned(), visited: false, over: CancellationToken::new() };
        self.runs.lock().insert(run, place);
    }

    /// The run is over: nobody comes in any more, and who is in goes. Says whether anybody was.
    pub(crate) fn close(&self, run: Key) -> bool {
        self.runs.lock().remove(&run).is_some_and(|place| {
            place.over.cancel();
            place.visited
        })
    }

    /// A container is removed: who is in goes.
    pub(crate) fn remove(&self, container: JobId) {
        if let Some(over) = self.visited.lock().remove(&container) {
            over.cancel();
        }
    }

    /// Lets a visitor in. Nothing: there are no files of this job or container here.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub(crate) fn enter(&self, id: JobId) -> io::Result<Option<Visit>> {
        if id.is_container() {
            return match root(&self.containers.join(id.to_string()).join(CONTAINER_DATA)) {
                Ok(root) => {
                    let over = self.visited.lock().entry(id).or_default().clone();
                    Ok(Some(Visit { root, volumes_stay: true, over }))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
        }
        // Locked until it is done, so that a run which ends meanwhile knows of the visitor.
        let mut runs = self.runs.lock();
        let Some((_, place)) = runs.range_mut((id, Attempt::MIN)..=(id, Attempt::MAX)).next_back() else {
            return Ok(None);
        };
        place.visited = true;
        Ok(Some(Visit { root: root(&place.path)?, volumes_stay: false, over: place.over.clone() }))
    }
}

fn root(path: &Path) -> io::Result<Arc<Dir>> {
    Ok(Arc::new(Dir::open_ambient_dir(path, ambient_authority())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::id::nonce;

    fn run(number: u64, attempt: Attempt) -> Key {
        (JobId { number, nonce: 1 }, attempt)
    }

    #[test]
    fn a_visit_ends_with_the_run_it_is_for() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::new(dir.path().join("containers"));
        let (first, second) = (run(7, 1), run(7, 2));
        places.open(first, dir.path());
        let visit = places.enter(first.0).unwrap().unwrap();
        places.open(second, dir.path());
        let later = places.enter(first.0).unwrap().unwrap();
        assert!(places.close(first));
        assert!(visit.over.is_cancelled() && !later.over.is_cancelled());
        assert!(places.close(second));
        assert!(later.over.is_cancelled());
        assert!(places.enter(first.0).unwrap().is_none());
    }

    #[test]
    fn a_place_that_nobody_saw_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::new(dir.path().join("containers"));
        places.open(run(7, 1), dir.path());
        places.open(run(8, 1), dir.path());
        places.enter(run(8, 1).0).unwrap().unwrap();
        assert!(!places.close(run(7, 1)));
        assert!(places.close(run(8, 1)));
    }

    #[test]
    fn the_data_of_a_container_is_a_place_while_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::new(dir.path().to_owned());
        let id = JobId { number: 7, nonce: nonce(1, true) };
        assert!(places.enter(id).unwrap().is_none());
        std::fs::create_dir_all(dir.path().join(id.to_string()).join("data/volumes")).unwrap();
        let visit = places.enter(id).unwrap().unwrap();
        assert!(visit.root.is_dir("volumes"));
        places.remove(JobId { number: 8, ..id });
        assert!(!visit.over.is_cancelled());
        places.remove(id);
        assert!(visit.over.is_cancelled());
    }
}
