//! Which directories may be visited: the workspaces of the jobs that run.
//!
//! Guards: nobody who came in for one job sees the files of another, not even where a workspace is used again. A place ends
//! with its run; visitors that are in it are told, and a directory that had one is not given to the next job.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::super::held::Key;
use crate::protocol::{Attempt, JobId};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<BTreeMap<Key, Place>>);

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
    /// The visit ends when this does.
    pub(crate) over: CancellationToken,
}

impl Places {
    /// A run begins in this directory.
    pub(crate) fn open(&self, run: Key, path: &Path) {
        let place = Place { path: path.to_owned(), visited: false, over: CancellationToken::new() };
        self.0.lock().insert(run, place);
    }

    /// The run is over: nobody comes in any more, and who is in goes. Says whether anybody was.
    pub(crate) fn close(&self, run: Key) -> bool {
        self.0.lock().remove(&run).is_some_and(|place| {
            place.over.cancel();
            place.visited
        })
    }

    /// Lets a visitor in. Nothing: there are no files of this job here.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub(crate) fn enter(&self, job: JobId) -> io::Result<Option<Visit>> {
        // Locked until it is done, so that a run which ends meanwhile knows of the visitor.
        let mut places = self.0.lock();
        let Some((_, place)) = places.range_mut((job, Attempt::MIN)..=(job, Attempt::MAX)).next_back() else {
            return Ok(None);
        };
        place.visited = true;
        let root = Arc::new(Dir::open_ambient_dir(&place.path, ambient_authority())?);
        Ok(Some(Visit { root, over: place.over.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u64, attempt: Attempt) -> Key {
        (JobId { number, nonce: 1 }, attempt)
    }

    #[test]
    fn a_visit_ends_with_the_run_it_is_for() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::default();
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
        let places = Places::default();
        places.open(run(7, 1), dir.path());
        places.open(run(8, 1), dir.path());
        places.enter(run(8, 1).0).unwrap().unwrap();
        assert!(!places.close(run(7, 1)));
        assert!(places.close(run(8, 1)));
    }
}
