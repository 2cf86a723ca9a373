//! Which worker a container comes to. It stays there, because its data does.

use std::cmp::Reverse;

use super::super::{DispatchError, Dispatcher};
use crate::model::{Container, Requires};
use crate::protocol::{ErrorCode, WireError, WorkerId};
use crate::scheduler::{self, Facts};

impl Dispatcher {
    /// The worker for a container of this class, `all` being those that there are.
    ///
    /// # Errors
    /// `unsatisfiable` where nobody could run it now: it is not waited for, because whoever asked sits and waits.
    pub(super) fn place_for(&self, class: &Requires, all: &[Container]) -> Result<WorkerId, DispatchError> {
        let facts = self.0.fleet.facts(self.online_since(), self.instance());
        let here = |facts: &&Facts| facts.online && !facts.draining;
        if !facts.iter().any(|facts| facts.online && facts.containers) {
            return Err(nowhere("no worker with a container engine is connected".to_owned()).into());
        }
        let able: Vec<&Facts> = facts.iter().filter(here).filter(|facts| scheduler::runs(facts, class)).collect();
        let free = able.iter().filter(|facts| scheduler::has_room(facts, class));
        let containers_on = |id: &WorkerId| all.iter().filter(|container| container.worker == *id).count();
        let best = free.max_by_key(|facts| (Reverse(containers_on(&facts.id)), Reverse(facts.id.clone())));
        match best {
            Some(best) => Ok(best.id.clone()),
            None => Err(nowhere(format!("it needs {}", scheduler::waiting_for(class, &facts))).into()),
        }
    }
}

fn nowhere(message: String) -> WireError {
    let mut error = WireError::new(ErrorCode::Unsatisfiable, message);
    // A worker may come, or have room again.
    error.retry = true;
    error
}
