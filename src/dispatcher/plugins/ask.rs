//! Questions: what plugins make of a job, before it is stored.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::connection::{Answered, Counts, Decision, NoAnswer};
use super::{Plugin, Plugins};
use crate::auth::Identity;
use crate::base::clock::millis;
use crate::dispatcher::{DispatchError, Dispatcher, jobs};
use crate::metrics::PluginCall;
use crate::model::{InvalidSpec, JobSpec};
use crate::protocol::plugin::{Action, Answer, Call, Hook, Policy};
use crate::protocol::spec as wire;
use crate::protocol::{PluginName, WireError};

/// A plugin that has a say.
#[derive(Debug)]
pub(in crate::dispatcher) struct Asked {
    name: PluginName,
    policy: Policy,
    timeout: Duration,
    /// None: it should be connected.
    plugin: Option<Arc<Plugin>>,
    counts: Arc<Counts>,
}

impl Plugins {
    /// Who is to be asked, in this order.
    pub(in crate::dispatcher) fn asked(&self, hook: Hook) -> Vec<Asked> {
        let known = self.known.read();
        let asked = known.iter().filter_map(|(name, known)| {
            let plugin = known.connection(hook).cloned();
            (plugin.is_some() || known.settings.hooks.contains(&hook)).then(|| Asked {
                name: name.clone(),
                policy: known.settings.policy,
                timeout: known.settings.timeout,
                plugin,
                counts: Arc::clone(&known.counts),
            })
        });
        asked.collect()
    }
}

impl Dispatcher {
    /// What plugins make of a job. `key` is the submitter's.
    ///
    /// # Errors
    /// One refuses it, or does not answer and must.
    pub(in crate::dispatcher) async fn ask_about_job(
        &self,
        asked: Vec<Asked>,
        who: &Identity,
        key: Option<&str>,
        mut spec: JobSpec,
    ) -> Result<JobSpec, DispatchError> {
        for asked in asked {
            let deadline = Instant::now() + asked.timeout;
            let call = Call {
                call_id: self.0.plugins.next_call(),
                hook: Hook::JobSubmit,
                account: who.account.to_string(),
                key: key.map(str::to_owned),
                job: Some(shown(&spec)),
                deadline_ms: self.0.clock.now().saturating_add(millis(asked.timeout)),
            };
            if let Some(changed) = self.decided(&asked, asked.answer(call, deadline).await)? {
                // What it came from stays, so that it can be submitted by that once more.
                spec = JobSpec { template: spec.template, ..*changed };
            }
        }
        Ok(spec)
    }

    /// A plugin's answer.
    ///
    /// # Errors
    /// What is wrong with it. Whoever waits for it has heard of that.
    pub fn plugin_answers(&self, plugin: &Plugin, answer: Answer) -> Result<(), DispatchError> {
        let Answer { call_id, action, message, job } = answer;
        let Some(waits) = plugin.take(call_id) else { return Err(DispatchError::NotFound("call that waits")) };
        let decision = match action {
            Action::Allow => Ok(Decision::Allow),
            Action::Refuse => Ok(Decision::Refuse(message.unwrap_or_default())),
            Action::Change => changed(job).map(|job| Decision::Change(Box::new(job))),
        };
        let (answered, result) = match decision {
            Ok(decision) => (Ok(decision), Ok(())),
            Err(error) => (Err(NoAnswer::Wrong(error.clone())), Err(error.into())),
        };
        // Nobody waits any more where time is up just now.
        let _ = waits.send(answered);
        result
    }

    /// What follows from an answer, or from there being none; the job, where it is changed.
    fn decided(&self, asked: &Asked, answered: Answered) -> Result<Option<Box<JobSpec>>, DispatchError> {
        let count = |outcome| self.0.metrics.plugin_calls.of(outcome).inc();
        asked.counts.calls.fetch_add(1, Ordering::Relaxed);
        match answered {
            Ok(Decision::Allow) => {
                count(PluginCall::Allow);
                Ok(None)
            }
            Ok(Decision::Change(job)) => {
                count(PluginCall::Change);
                Ok(Some(job))
            }
            Ok(Decision::Refuse(message)) => {
                count(PluginCall::Refuse);
                info!(plugin = %asked.name, %message, "a plugin refused");
                let said = if message.is_empty() { format!("refused by the plugin {}", asked.name) } else { message };
                Err(DispatchError::Refused(said))
            }
            Err(error) => {
                count(error.label());
                asked.counts.failures.fetch_add(1, Ordering::Relaxed);
                warn!(plugin = %asked.name, %error, policy = ?asked.policy, "a plugin was asked in vain");
                match asked.policy {
                    Policy::Open => Ok(None),
                    Policy::Closed => Err(DispatchError::PluginAway(asked.name.clone())),
                }
            }
        }
    }
}

impl Asked {
    async fn answer(&self, call: Call, deadline: Instant) -> Answered {
        match &self.plugin {
            Some(plugin) => plugin.ask(call, deadline).await,
            None => Err(NoAnswer::Away),
        }
    }
}

/// A job as plugins see it: what will run, and the template that says so.
fn shown(spec: &JobSpec) -> wire::JobSpec {
    let (template, params) = match &spec.template {
        Some(template) => (Some(template.name.clone()), template.params.clone()),
        None => Default::default(),
    };
    wire::JobSpec { template, params, ..spec.into() }
}

/// The job that a plugin wants instead, checked as a submitted one is.
fn changed(job: Option<wire::JobSpec>) -> Result<JobSpec, InvalidSpec> {
    let Some(job) = job else { return Err(WireError::bad_field("job", "change needs the whole job")) };
    // The template was filled in before: it says where the job came from, not what it is.
    let job = wire::JobSpec { template: None, params: Default::default(), ..job };
    let checked = JobSpec::try_from(job).and_then(|job| jobs::check_satisfiable(&job).map(|()| job));
    checked.map_err(|mut error| {
        error.field = error.field.map(|field| format!("job.{field}"));
        error
    })
}
