//! Runs one job: workspace, program, output, input, end.
//!
//! One task per job. Whatever happens, nothing of the job runs on afterwards, every byte that
//! it had written is told, and the last thing told is the end.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::agent::Agent;
use super::ending::Ending;
use super::executor::tree::Mark;
use super::executor::{self, Plan};
use super::held::{Held, Stop};
use super::supervisor::{self, FOREVER};
use super::workspace::{Workspace, artifacts};
use super::{contained, services};
use crate::model::JobSpec;
use crate::protocol::container::spec::Adopt;
use crate::protocol::job::Reason;

/// A job's own spec, and what the dispatcher gave it.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) spec: JobSpec,
    pub(crate) gpu_ids: Vec<u32>,
    /// A container that is to be taken over instead of a new one started.
    pub(crate) adopt: Option<Adopt>,
}

/// Runs `held` to its end.
pub(crate) async fn run(agent: Arc<Agent>, held: Arc<Held>, assignment: Assignment) {
    debug!("job started");
    if assignment.spec.service.is_some() {
        services::run(&agent, &held, &assignment).await;
    } else {
        let ending = end_of(&agent, &held, &assignment).await;
        debug!(reason = ?ending.reason, exit_code = ending.exit_code, "job ended");
        held.end(&agent.outbox, ending, agent.now());
    }
    agent.job_over(&held);
}

async fn end_of(agent: &Agent, held: &Arc<Held>, assignment: &Assignment) -> Ending {
    if let Some(container) = assignment.spec.inside {
        return contained::run_inside(agent, held, assignment, container).await;
    }
    match agent.workspaces.take() {
        Ok(mut workspace) => {
            agent.places.open(held.key, workspace.path());
            let run = Run { agent, held, assignment, workspace: &workspace };
            let ending = run.attempt().await;
            if agent.places.close(held.key) {
                workspace.was_visited();
            }
            agent.workspaces.give_back(workspace).await;
            ending
        }
        Err(error) => Ending::spawn_error(None, format!("cannot make a workspace: {error}")),
    }
}

/// Resolves when the job is stopped, or out of time, before its program was started.
pub(super) async fn stopped_before_start(held: &Held, overdue: Instant) -> Ending {
    loop {
        if let Some(Stop { why, .. }) = held.control(|control| control.stop) {
            return Ending::stopped(why, None);
        }
        tokio::select! {
            () = held.wake.notified() => (),
            () = sleep_until(overdue) => {
                let message = Some("what it needs was not ready in time".to_owned());
                return Ending { exit_code: None, reason: Reason::Timeout, message };
            }
        }
    }
}

/// Variables that every job has, wherever it runs: who and where it is.
pub(super) fn given_environment(agent: &Agent, held: &Held) -> [(&'static str, String); 3] {
    let (job, attempt) = held.key;
    [
        ("GANGLINE_JOB_ID", job.to_string()),
        ("GANGLINE_ATTEMPT", attempt.to_string()),
        ("GANGLINE_WORKER_ID", agent.id.to_string()),
    ]
}

struct Run<'a> {
    agent: &'a Agent,
    held: &'a Arc<Held>,
    assignment: &'a Assignment,
    workspace: &'a Workspace,
}

impl Run<'_> {
    async fn attempt(&self) -> Ending {
        let spec = &self.assignment.spec;
        let overdue = Instant::now() + spec.timeout_ms.map_or(FOREVER, Duration::from_millis);
        let prepared = tokio::select! {
            prepared = self.workspace.prepare(spec, &self.agent.transfer, self.agent.sizes) => prepared,
            ended = stopped_before_start(self.held, overdue) => return ended,
        };
        let dir = match prepared {
            Ok(dir) => dir,
            Err(error) => return Ending::spawn_error(None, error.to_string()),
        };
        let mut ending = match &spec.image {
            Some(image) => {
                contained::run(self.agent, self.held, self.assignment, image, self.workspace.path(), &dir, overdue)
                    .await
            }
            None => self.run_process(&dir, overdue).await,
        };
        if ending.reason != Reason::SpawnError && !spec.artifacts.is_empty() {
            let problems = tokio::select! {
                problems = self.keep_artifacts() => problems,
                () = self.unwanted() => vec!["the upload of artifacts was broken off".to_owned()],
            };
            ending.add(problems);
        }
        ending
    }

    async fn run_process(&self, dir: &Path, overdue: Instant) -> Ending {
        let spec = &self.assignment.spec;
        let plan = Plan {
            program: &spec.program,
            env: self.environment(),
            dir,
            stdin: spec.stdin,
            tty: spec.tty,
            mark: Mark::new(self.held.key.0, self.held.key.1),
        };
        match executor::start(plan, &self.agent.hidden).await {
            Ok(process) => supervisor::supervise(self.agent, self.held, process, overdue).await,
            Err(error) => Ending::spawn_error(error.exit_code(), error.to_string()),
        }
    }

    /// Resolves when nobody waits for the end of this job any more, or someone asked it to end
    /// while it was ending.
    async fn unwanted(&self) {
        let before = self.held.control(|control| control.stop);
        loop {
            self.held.wake.notified().await;
            if self.held.control(|control| control.stop) != before {
                return;
            }
        }
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let path = self.agent.search_path.iter().map(|path| ("PATH".into(), path.clone()));
        let own = self.assignment.spec.env.iter().map(|(name, value)| (name.into(), value.into()));
        let mut env: Vec<(OsString, OsString)> = path.chain(own).collect();
        let gpus = &self.assignment.gpu_ids;
        if self.agent.has_gpus || !gpus.is_empty() {
            let gpus: Vec<String> = gpus.iter().map(u32::to_string).collect();
            env.push(("CUDA_VISIBLE_DEVICES".into(), gpus.join(",").into()));
            // Else CUDA counts by speed, and NVML, whose indices these are, by bus.
            env.push(("CUDA_DEVICE_ORDER".into(), "PCI_BUS_ID".into()));
        }
        let given = given_environment(self.agent, self.held).into_iter();
        env.extend(given.map(|(name, value)| (name.into(), value.into())));
        env.push(("GANGLINE_WORKSPACE".into(), self.workspace.path().into()));
        env
    }

    /// Uploads what the job wants kept; returns what went wrong.
    async fn keep_artifacts(&self) -> Vec<String> {
        let (root, patterns) = (self.workspace.path().to_owned(), self.assignment.spec.artifacts.clone());
        let (files, mut problems) =
            match tokio::task::spawn_blocking(move || artifacts::collect(&root, &patterns)).await {
                Ok(found) => found,
                Err(error) => return vec![error.to_string()],
            };
        let (job, attempt) = self.held.key;
        for file in files {
            if let Err(error) = self.agent.transfer.upload(job, attempt, &file.name, &file.path).await {
                problems.push(format!("artifact {}: {error}", file.name));
            }
        }
        problems
    }
}
