//! Which worker a container comes to. It stays there, because its data does.

use super::super::{DispatchError, Dispatcher};
use crate::model::job::is_over;
use crate::model::{Capacity, Container, Requires};
use crate::protocol::{ErrorCode, WireError, WorkerId};
use crate::scheduler::{self, Facts};
use crate::store::StoreError;

impl Dispatcher {
    /// The worker for a container of this class, `all` being those that there are.
    ///
    /// # Errors
    /// `unsatisfiable` where nobody could run it now: it is not waited for, because whoever asked sits and waits.
    pub(super) async fn place_for(&self, class: &Requires, all: &[Container]) -> Result<WorkerId, DispatchError> {
        let facts = self.0.fleet.facts(self.online_since(), self.instance());
        let here = |facts: &&Facts| facts.online && !facts.draining;
        if !facts.iter().any(|facts| facts.online && facts.containers) {
            return Err(nowhere("no worker with a container engine is connected".to_owned()).into());
        }
        let able = facts.iter().filter(here).filter(|facts| scheduler::runs(facts, class));
        let on = |id: &WorkerId| all.iter().filter(|container| container.worker == *id).collect();
        let mut able: Vec<(Vec<&Container>, &Facts)> = able.map(|facts| (on(&facts.id), facts)).collect();
        able.sort_by_key(|(here, facts)| (here.len(), &facts.id));
        let needs_nothing = scheduler::fits(&Capacity::default(), class);
        for (here, facts) in able {
            if needs_nothing || scheduler::fits(&self.left_on(facts, &here).await?, class) {
                return Ok(facts.id.clone());
            }
        }
        Err(nowhere(format!("it needs {}", scheduler::waiting_for(class, &facts))).into())
    }

    /// What a worker has left beside all that it runs and those of its containers, which `here` are, that it is yet to be given.
    async fn left_on(&self, worker: &Facts, here: &[&Container]) -> Result<Capacity, StoreError> {
        let agent = self.0.fleet.agent(&worker.id);
        let mut jobs = match &agent {
            Some(_) => Vec::new(),
            // What it runs is kept in mind only where it is connected.
            None => self.0.store.running_on(&worker.id).await?,
        };
        for job in here.iter().map(|container| container.id.job()) {
            let is_held = agent.as_ref().is_some_and(|agent| agent.held(job).is_some());
            if !is_held && jobs.iter().all(|other| other.id != job) {
                jobs.extend(self.0.store.job(job.into()).await?.filter(|job| !is_over(job.status)));
            }
        }
        Ok(match agent {
            // Looked at last: it may have been given some of them meanwhile.
            Some(agent) => agent.left_beside(&jobs),
            None => {
                let mut left = worker.total.clone();
                jobs.iter().for_each(|job| scheduler::give(&mut left, &job.spec.requires, &job.gpu_ids));
                left
            }
        })
    }
}

fn nowhere(message: String) -> WireError {
    let mut error = WireError::new(ErrorCode::Unsatisfiable, message);
    // A worker may come, or have room again.
    error.retry = true;
    error
}
