//! News: what plugins are told once it has happened.
//!
//! Nobody waits for a plugin to take them. Jobs are told of by the dispatcher where it happens, workers by every
//! dispatcher that learns of it.

use std::sync::Arc;

use super::{Plugin, Plugins};
use crate::dispatcher::{Dispatcher, records};
use crate::metrics::PluginNews;
use crate::model::Job;
use crate::protocol::WorkerId;
use crate::protocol::job::Status;
use crate::protocol::plugin::{Event, Hook};

impl Plugins {
    /// Who is to be told.
    fn listeners(&self, hook: Hook) -> Vec<Arc<Plugin>> {
        self.known.read().values().filter_map(|known| known.connection(hook).cloned()).collect()
    }

    /// Whether anybody is to be told.
    pub(in crate::dispatcher) fn is_heard(&self, hook: Hook) -> bool {
        self.known.read().values().any(|known| known.connection(hook).is_some())
    }
}

impl Dispatcher {
    /// Tells plugins where a job stands now.
    pub(in crate::dispatcher) fn tell_plugins_of_job(&self, job: &Job) {
        let hook = match job.status {
            Status::Pending => return,
            Status::Running => Hook::JobStart,
            Status::Completed | Status::Failed | Status::Cancelled => Hook::JobEnd,
        };
        self.tell_plugins(hook, |event| event.job = Some(records::job(job, &[])));
    }

    /// Makes a change by which a worker may come or go, and tells plugins if it did.
    pub(in crate::dispatcher) fn noting_presence<T>(&self, id: &WorkerId, change: impl FnOnce() -> T) -> T {
        let before = self.0.fleet.is_online(id);
        let result = change();
        let hook = match (before, self.0.fleet.is_online(id)) {
            (false, true) => Hook::WorkerOnline,
            (true, false) => Hook::WorkerOffline,
            (false, false) | (true, true) => return result,
        };
        self.tell_plugins(hook, |event| event.worker = self.worker_record(id, 0));
        result
    }

    /// Tells plugins what happened; `about` says what of.
    pub(in crate::dispatcher) fn tell_plugins(&self, hook: Hook, about: impl FnOnce(&mut Event)) {
        let listeners = self.0.plugins.listeners(hook);
        if listeners.is_empty() {
            return;
        }
        let mut event = Event { hook, time: self.0.clock.now(), dropped: 0, job: None, container: None, worker: None };
        about(&mut event);
        for plugin in listeners {
            let news = if plugin.tell(event.clone()) { PluginNews::Told } else { PluginNews::Dropped };
            self.0.metrics.plugin_news.of(news).inc();
        }
    }
}
