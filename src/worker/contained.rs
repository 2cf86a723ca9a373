//! Runs a job with an image: what it needs is fetched, its container started, watched over like any program, and removed.
//!
//! Guards: whatever goes wrong before the program runs is a `spawn_error` that says what, and leaves nothing half-made.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::agent::Agent;
use super::ending::Ending;
use super::engine::container::Contained;
use super::engine::recipe::{JobRecipe, WORKSPACE};
use super::engine::{EngineError, Kind};
use super::held::Held;
use super::job::{Assignment, given_environment, stopped_before_start};
use super::services;
use super::supervisor::{self, FOREVER};
use crate::protocol::job::Reason;
use crate::protocol::{ContainerId, StreamName};

/// What tells a program which GPUs it may use.
const VISIBLE_GPUS: &str = "CUDA_VISIBLE_DEVICES";

/// Runs the job's program in a container of `image`; `dir` is where in `workspace` it begins.
pub(super) async fn run(
    agent: &Agent,
    held: &Arc<Held>,
    assignment: &Assignment,
    image: &str,
    workspace: &Path,
    dir: &Path,
    overdue: Instant,
) -> Ending {
    let Some(engine) = agent.engine.now() else {
        return Ending::spawn_error(None, "no container engine answers on this worker".to_owned());
    };
    let provided = tokio::select! {
        provided = engine.provide(image, |line| tell(agent, held, line)) => provided,
        ended = stopped_before_start(held, overdue) => return ended,
    };
    let given_up = async { drop(stopped_before_start(held, overdue).await) };
    let started = match provided {
        Ok(()) => {
            let recipe = recipe(agent, held, assignment, image, workspace, dir);
            let (name, body, tty) = (recipe.name(), recipe.body(&engine), assignment.spec.tty);
            Contained::start(&engine, &name, body, Kind::Job, tty, |_| Ok(()), given_up).await
        }
        Err(error) => Err(error),
    };
    let ending = match started {
        Ok(started) => supervisor::supervise(agent, held, started.into(), overdue).await,
        Err(EngineError::GivenUp) => stopped_before_start(held, overdue).await,
        Err(error) => Ending::spawn_error(error.exit_code(), error.to_string()),
    };
    if matches!(ending.reason, Reason::Signal | Reason::SpawnError) {
        // The engine may be the reason, and then no more jobs should come here.
        agent.engine.doubt();
    }
    ending
}

fn recipe<'a>(
    agent: &'a Agent,
    held: &Held,
    assignment: &'a Assignment,
    image: &'a str,
    workspace: &'a Path,
    dir: &'a Path,
) -> JobRecipe<'a> {
    let mut env = environment(agent, held, assignment);
    env.push(format!("GANGLINE_WORKSPACE={WORKSPACE}"));
    JobRecipe {
        job: held.key.0,
        attempt: held.key.1,
        spec: &assignment.spec,
        image,
        workspace,
        cwd: dir.strip_prefix(workspace).unwrap_or(Path::new("")),
        env,
        gpus: agent.devices(&assignment.gpu_ids),
        labels: agent.container_labels(),
        settings: &agent.containers,
    }
}

/// Runs a job inside the running container `id`.
pub(super) async fn run_inside(agent: &Agent, held: &Arc<Held>, assignment: &Assignment, id: ContainerId) -> Ending {
    let spec = &assignment.spec;
    let overdue = Instant::now() + spec.timeout_ms.map_or(FOREVER, Duration::from_millis);
    let given_up = async { drop(stopped_before_start(held, overdue).await) };
    let started = match (agent.engine.now(), services::docker_id(agent, id)) {
        (Some(engine), Some(container)) => {
            // The container's GPUs are its own, and not for the job to choose.
            let own = spec.env.iter().filter(|(name, _)| *name != VISIBLE_GPUS);
            let own = own.map(|(name, value)| format!("{name}={value}"));
            let given = given_environment(agent, held).map(|(name, value)| format!("{name}={value}"));
            Contained::exec(&engine, &container, spec, own.chain(given).collect(), held.key.0, given_up).await
        }
        (Some(_), None) => Err(EngineError::NotRunning),
        (None, _) => Err(EngineError::Gone("there is none now".to_owned())),
    };
    match started {
        Ok(started) => supervisor::supervise(agent, held, started.into(), overdue).await,
        Err(EngineError::GivenUp) => stopped_before_start(held, overdue).await,
        Err(error) => Ending::spawn_error(error.exit_code(), error.to_string()),
    }
}

/// What a container gets beside its image's own variables: the job's, who and where it is, and which GPUs are its own.
pub(super) fn environment(agent: &Agent, held: &Held, assignment: &Assignment) -> Vec<String> {
    let mut env: Vec<String> = assignment.spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    env.extend(given_environment(agent, held).map(|(name, value)| format!("{name}={value}")));
    let (gpus, devices) = (&assignment.gpu_ids, agent.devices(&assignment.gpu_ids));
    if agent.has_gpus || !gpus.is_empty() {
        // Those that are handed in count from 0 inside, so they go by their own ids.
        let visible = if devices.is_empty() { gpus.iter().map(u32::to_string).collect() } else { devices.clone() };
        env.push(format!("{VISIBLE_GPUS}={}", visible.join(",")));
        if devices.is_empty() {
            // Some images ask for all that there are, where the engine's runtime listens to that.
            env.push("NVIDIA_VISIBLE_DEVICES=void".to_owned());
        }
    }
    env
}

/// Writes a line of our own to the job's standard error. Where there is no room for it, it is left out.
pub(super) fn tell(agent: &Agent, held: &Arc<Held>, line: &str) {
    if held.budget(0) > line.len() {
        insist(agent, held, line);
    }
}

/// The same whether there is room for it or not.
pub(super) fn insist(agent: &Agent, held: &Arc<Held>, line: &str) {
    let (line, offset) = (format!("{line}\n"), held.written().1);
    held.output(&agent.outbox, StreamName::Stderr, offset, line.as_bytes(), agent.now());
}
