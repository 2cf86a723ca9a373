//! Runs a job with an image: what it needs is fetched, its container started, watched over like any program, and removed.
//!
//! Guards: whatever goes wrong before the program runs is a `spawn_error` that says what, and leaves nothing half-made.

use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;

use super::agent::Agent;
use super::ending::Ending;
use super::engine::container::Container;
use super::engine::recipe::{JobRecipe, WORKSPACE};
use super::engine::{Engine, EngineError};
use super::executor::Process;
use super::held::Held;
use super::job::{Assignment, given_environment, stopped_before_start};
use super::supervisor;
use crate::protocol::StreamName;
use crate::protocol::job::Reason;

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
    let process = match provided {
        Ok(()) => start(agent, &engine, held, assignment, image, workspace, dir).await,
        Err(error) => Err(error),
    };
    let ending = match process {
        Ok(process) => supervisor::supervise(agent, held, process, overdue).await,
        Err(error) => Ending::spawn_error(error.exit_code(), error.to_string()),
    };
    if matches!(ending.reason, Reason::Signal | Reason::SpawnError) {
        // The engine may be the reason, and then no more jobs should come here.
        agent.engine.doubt();
    }
    ending
}

async fn start(
    agent: &Agent,
    engine: &Arc<Engine>,
    held: &Held,
    assignment: &Assignment,
    image: &str,
    workspace: &Path,
    dir: &Path,
) -> Result<Process, EngineError> {
    let spec = &assignment.spec;
    let own = spec.env.iter().map(|(name, value)| format!("{name}={value}"));
    let given = given_environment(agent, held, assignment).map(|(name, value)| format!("{name}={value}"));
    let recipe = JobRecipe {
        job: held.key.0,
        attempt: held.key.1,
        spec,
        image,
        workspace,
        cwd: dir.strip_prefix(workspace).unwrap_or(Path::new("")),
        env: own.chain(given).chain([format!("GANGLINE_WORKSPACE={WORKSPACE}")]).collect(),
        gpus: agent.devices(&assignment.gpu_ids),
        labels: agent.container_labels(),
        settings: &agent.containers,
    };
    let started = Container::start(engine, &recipe.name(), recipe.body(engine), spec.tty).await?;
    Ok(started.into())
}

/// Writes a line of our own to the job's standard error. Where there is no room for it, it is left out.
fn tell(agent: &Agent, held: &Arc<Held>, line: &str) {
    let line = format!("{line}\n");
    if held.budget(0) >= line.len() {
        let offset = held.written().1;
        held.output(&agent.outbox, StreamName::Stderr, offset, line.as_bytes(), agent.now());
    }
}
