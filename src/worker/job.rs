//! Runs one job: workspace, program, output, input, end.
//!
//! One task per job. Whatever happens, nothing of the job runs on afterwards, every byte that
//! it had written is told, and the last thing told is the end.

use std::ffi::OsString;
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
use crate::model::JobSpec;
use crate::protocol::job::Reason;

/// A job's own spec, and what the dispatcher gave it.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) spec: JobSpec,
    pub(crate) gpu_ids: Vec<u32>,
}

/// Runs `held` to its end.
pub(crate) async fn run(agent: Arc<Agent>, held: Arc<Held>, assignment: Assignment) {
    debug!("job started");
    let ending = match agent.workspaces.take() {
        Ok(mut workspace) => {
            agent.places.open(held.key, workspace.path());
            let run = Run { agent: &agent, held: &held, assignment: &assignment, workspace: &workspace };
            let ending = run.attempt().await;
            if agent.places.close(held.key) {
                workspace.was_visited();
            }
            agent.workspaces.give_back(workspace).await;
            ending
        }
        Err(error) => Ending::spawn_error(None, format!("cannot make a workspace: {error}")),
    };
    debug!(reason = ?ending.reason, exit_code = ending.exit_code, "job ended");
    held.end(&agent.outbox, ending, agent.now());
    agent.job_over(&held);
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
            ended = self.stopped_before_start(overdue) => return ended,
        };
        let dir = match prepared {
            Ok(dir) => dir,
            Err(error) => return Ending::spawn_error(None, error.to_string()),
        };
        let plan = Plan {
            program: &spec.program,
            env: self.environment(),
            dir: &dir,
            stdin: spec.stdin,
            tty: spec.tty,
            mark: Mark::new(self.held.key.0, self.held.key.1),
        };
        let mut ending = match executor::start(plan, &self.agent.hidden).await {
            Ok(process) => supervisor::supervise(self.agent, self.held, process, overdue).await,
            Err(error) => return Ending::spawn_error(error.exit_code(), error.to_string()),
        };
        if !spec.artifacts.is_empty() {
            let problems = tokio::select! {
                problems = self.keep_artifacts() => problems,
                () = self.unwanted() => vec!["the upload of artifacts was broken off".to_owned()],
            };
            ending.add(problems);
        }
        ending
    }

    /// Resolves when the job is stopped, or out of time, before its program was started.
    async fn stopped_before_start(&self, overdue: Instant) -> Ending {
        loop {
            tokio::select! {
                () = self.held.wake.notified() => (),
                () = sleep_until(overdue) => {
                    let message = Some("the workspace was not ready in time".to_owned());
                    return Ending { exit_code: None, reason: Reason::Timeout, message };
                }
            }
            if let Some(Stop { why, .. }) = self.held.control(|control| control.stop) {
                return Ending::stopped(why, None);
            }
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
        let (job, attempt) = self.held.key;
        let path = self.agent.search_path.iter().map(|path| ("PATH".into(), path.clone()));
        let own = self.assignment.spec.env.iter().map(|(name, value)| (name.into(), value.into()));
        let mut env: Vec<(OsString, OsString)> = path.chain(own).collect();
        let gpus = &self.assignment.gpu_ids;
        if self.agent.has_gpus || !gpus.is_empty() {
            let gpus: Vec<String> = gpus.iter().map(u32::to_string).collect();
            env.push(("CUDA_VISIBLE_DEVICES".into(), gpus.join(",").into()));
        }
        env.push(("GANGLINE_JOB_ID".into(), job.to_string().into()));
        env.push(("GANGLINE_ATTEMPT".into(), attempt.to_string().into()));
        env.push(("GANGLINE_WORKER_ID".into(), self.agent.id.as_str().into()));
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
