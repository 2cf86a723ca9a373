//! Questions: what plugins make of a job or a container, before it is stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::connection::{Counts, NoAnswer};
use super::{Plugin, Plugins};
use crate::auth::Identity;
use crate::base::clock::millis;
use crate::dispatcher::{DispatchError, Dispatcher, jobs};
use crate::metrics::PluginCall;
use crate::model::{InvalidSpec, JobSpec};
use crate::protocol::container::Create;
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
            let call = Call {
                key: key.map(str::to_owned),
                job: Some(shown(&spec)),
                ..self.call(Hook::JobSubmit, who, asked.timeout)
            };
            if let Some(changed) = self.ask(&asked, call, |answer| changed_job(answer.job, &spec)).await? {
                spec = changed;
            }
        }
        Ok(spec)
    }

    /// What plugins make of a container, as `check` has it; nothing where they leave it as it is.
    ///
    /// # Errors
    /// As [`Dispatcher::ask_about_job`].
    pub(in crate::dispatcher) async fn ask_about_container(
        &self,
        who: &Identity,
        mut create: Create,
        check: impl Fn(Create) -> Result<JobSpec, WireError>,
    ) -> Result<Option<JobSpec>, DispatchError> {
        let mut spec = None;
        for asked in self.0.plugins.asked(Hook::ContainerCreate) {
            let call = Call { container: Some(create.clone()), ..self.call(Hook::ContainerCreate, who, asked.timeout) };
            let changed = |answer: Answer| {
                let changed = answer.container.ok_or_else(|| missing("container"))?;
                let spec = check(changed.clone()).map_err(|error| within("container", error))?;
                Ok((changed, spec))
            };
            if let Some((changed, checked)) = self.ask(&asked, call, changed).await? {
                (create, spec) = (changed, Some(checked));
            }
        }
        Ok(spec)
    }

    fn call(&self, hook: Hook, who: &Identity, timeout: Duration) -> Call {
        Call {
            call_id: self.0.plugins.next_call(),
            hook,
            account: who.account.to_string(),
            key: None,
            job: None,
            container: None,
            deadline_ms: self.0.clock.now().saturating_add(millis(timeout)),
        }
    }

    /// Asks one plugin; returns what it wants changed, as `changed` reads it. Without an answer of use its policy decides.
    async fn ask<T>(
        &self,
        asked: &Asked,
        call: Call,
        changed: impl FnOnce(Answer) -> Result<T, WireError>,
    ) -> Result<Option<T>, DispatchError> {
        let count = |outcome| self.0.metrics.plugin_calls.of(outcome).inc();
        asked.counts.calls.fetch_add(1, Ordering::Relaxed);
        let answer = match &asked.plugin {
            Some(plugin) => plugin.ask(call, Instant::now() + asked.timeout).await,
            None => Err(NoAnswer::Away),
        };
        let failure = match answer.map(|answer| (answer.action, *answer)) {
            Ok((Action::Allow, _)) => {
                count(PluginCall::Allow);
                return Ok(None);
            }
            Ok((Action::Refuse, answer)) => {
                count(PluginCall::Refuse);
                let said = answer.message.filter(|said| !said.is_empty());
                let said = said.unwrap_or_else(|| format!("refused by the plugin {}", asked.name));
                info!(plugin = %asked.name, said, "a plugin refused");
                return Err(DispatchError::Refused(said));
            }
            Ok((Action::Change, answer)) => match changed(answer) {
                Ok(changed) => {
                    count(PluginCall::Change);
                    return Ok(Some(changed));
                }
                Err(error) => {
                    asked.plugin.iter().for_each(|plugin| plugin.complain(&error));
                    NoAnswer::Wrong(error)
                }
            },
            Err(failure) => failure,
        };
        count(failure.label());
        asked.counts.failures.fetch_add(1, Ordering::Relaxed);
        warn!(plugin = %asked.name, %failure, policy = ?asked.policy, "a plugin was asked in vain");
        match asked.policy {
            Policy::Open => Ok(None),
            Policy::Closed => Err(DispatchError::PluginAway(asked.name.clone())),
        }
    }
}

/// A job as plugins see it: what will run, and the template that says so.
fn shown(spec: &JobSpec) -> wire::JobSpec {
    let (template, params) = match &spec.template {
        Some(template) => (Some(template.name.clone()), template.params.clone()),
        None => (None, BTreeMap::new()),
    };
    wire::JobSpec { template, params, ..spec.into() }
}

/// The job that a plugin wants instead of `spec`, checked as a submitted one is. Where it came from and where it runs inside are
/// not the plugin's to say.
fn changed_job(job: Option<wire::JobSpec>, spec: &JobSpec) -> Result<JobSpec, InvalidSpec> {
    let job = wire::JobSpec {
        template: None,
        params: BTreeMap::new(),
        container: spec.inside,
        service: spec.service.as_deref().cloned(),
        ..job.ok_or_else(|| missing("job"))?
    };
    let checked = JobSpec::try_from(job).and_then(|job| jobs::check_satisfiable(&job).map(|()| job));
    let job = checked.map_err(|error| within("job", error))?;
    Ok(JobSpec { template: spec.template.clone(), ..job })
}

fn missing(what: &str) -> WireError {
    WireError::bad_field(what, format!("change needs the whole {what}"))
}

/// Says in which part of the answer the field is.
fn within(what: &str, mut error: WireError) -> WireError {
    error.field = error.field.map(|field| format!("{what}.{field}"));
    error
}
