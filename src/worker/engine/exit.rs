//! How a container ends, and why.
//!
//! Guards: the end is learnt although the engine itself may be away for a while, and exhausted memory is told apart from
//! another kill, whether the engine heard of it or not.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use bollard::errors::Error;
use bollard::models::HostConfig;
use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions, WaitContainerOptionsBuilder};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use super::Engine;
use super::kernel_log::KernelLog;

/// How long an engine that went away while a container ran may take to come back: what a restart takes, with the ten
/// seconds that it grants its containers, and then some.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked for meanwhile, and how often a kill is tried again.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Exit codes above this one mean a signal.
const SIGNALLED: i64 = 128;

/// The exit code of what was killed by SIGKILL, as the kernel does where memory runs out.
const KILLED: i64 = SIGNALLED + 9;

/// How long after the end the engine may still say that memory ran out: many times what it takes on a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// What an engine that goes does to its containers.
const DIED_WITH_ENGINE: &str = "its container ended with the container engine";

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, or by a signal: the engine says 128 and the signal's number then.
    Ended { code: i32, out_of_memory: bool },
    /// The init process found the program missing (127) or not executable (126).
    NotStarted { code: i32, message: String },
    /// The engine went away. It may have taken the container along, and what was written meanwhile is lost.
    Lost { code: Option<i32>, message: String },
    /// The engine went away and is back, and the container runs on. What it wrote is in the engine's log.
    Cut,
}

impl Engine {
    /// How the container `id` ends, though the engine may go away and come back meanwhile. One that `goes_on` then is cut
    /// off from its streams, and not over.
    pub(super) async fn exit(&self, id: &str, goes_on: bool, kernel_log: Option<KernelLog>) -> Exit {
        let condition = WaitContainerOptionsBuilder::default().condition("not-running").build();
        match self.docker.wait_container(id, Some(condition)).next().await {
            Some(Ok(ended)) => self.ended(id, ended.status_code, kernel_log).await,
            Some(Err(Error::DockerContainerWaitError { code, .. })) => self.ended(id, code, kernel_log).await,
            Some(Err(_)) | None => self.lost(id, goes_on).await,
        }
    }

    async fn ended(&self, id: &str, code: i64, kernel_log: Option<KernelLog>) -> Exit {
        if code > SIGNALLED && !self.is_there().await {
            let code = i32::try_from(code).ok();
            return Exit::Lost { code, message: DIED_WITH_ENGINE.to_owned() };
        }
        let out_of_memory = code != 0 && self.ran_out_of_memory(id, code, kernel_log).await;
        Exit::Ended { code: i32::try_from(code).unwrap_or(i32::MAX), out_of_memory }
    }

    /// Whether the kernel killed something in the container because it used too much memory. The kernel's own log says so
    /// at once, where it may be read; the engine's record does where the engine had time to ask for it.
    async fn ran_out_of_memory(&self, id: &str, code: i64, kernel_log: Option<KernelLog>) -> bool {
        if kernel_log.is_some_and(|mut log| log.tells_of(id)) {
            return true;
        }
        let Ok(container) = self.docker.inspect_container(id, None::<InspectContainerOptions>).await else {
            return false;
        };
        let state = container.state.unwrap_or_default();
        state.oom_killed == Some(true)
            || (is_limited(container.host_config.as_ref())
                && code == KILLED
                && self.will_tell_of_memory(id, state.started_at.as_deref()).await)
    }

    /// Whether the engine says shortly that the container `id` was killed because it used too much memory. The kernel
    /// tells the engine of that and of the end separately, and the engine that hears of the end first never shows the
    /// cause in the container's state, only among its events. A kill that was asked for is there at once.
    async fn will_tell_of_memory(&self, id: &str, started_at: Option<&str>) -> bool {
        let started = started_at.and_then(|at| humantime::parse_rfc3339(at).ok()).unwrap_or(UNIX_EPOCH);
        let since = started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).to_string();
        let filters = HashMap::from([("event", vec!["oom", "kill"]), ("container", vec![id])]);
        let options = EventsOptionsBuilder::default().since(&since).filters(&filters).build();
        let mut events = Box::pin(self.docker.events(Some(options)));
        let told = async {
            while let Some(Ok(event)) = events.next().await {
                let attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
                match event.action.as_deref() {
                    Some("oom") => return true,
                    Some("kill") if attributes.get("signal").is_some_and(|signal| signal == "9") => return false,
                    _ => (),
                }
            }
            false
        };
        timeout(TOLD_WITHIN, told).await.unwrap_or(false)
    }

    /// Nobody says how the container fares: looks for it until the engine is back. A job's that runs on is as good as
    /// over, because what it wrote meanwhile went nowhere; it ends when it is removed.
    async fn lost(&self, id: &str, goes_on: bool) -> Exit {
        let deadline = Instant::now() + BACK_WITHIN;
        while Instant::now() < deadline {
            match self.docker.inspect_container(id, None::<InspectContainerOptions>).await {
                Ok(container) => {
                    let state = container.state.unwrap_or_default();
                    if state.running == Some(true) && goes_on {
                        return Exit::Cut;
                    }
                    if state.running == Some(true) {
                        let message = "the container engine was restarted, and what the job wrote meanwhile is lost";
                        return Exit::Lost { code: None, message: message.to_owned() };
                    }
                    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
                    return Exit::Lost { code, message: DIED_WITH_ENGINE.to_owned() };
                }
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                    return Exit::Lost { code: None, message: "somebody removed its container".to_owned() };
                }
                Err(_) => sleep(AGAIN_AFTER).await,
            }
        }
        Exit::Lost { code: None, message: "the container engine went away and did not come back".to_owned() }
    }
}

fn is_limited(host: Option<&HostConfig>) -> bool {
    host.and_then(|host| host.memory).is_some_and(|bytes| bytes > 0)
}

/// What the kernel says from now on, for a container that may run out of memory.
pub(super) fn kernel_log(host: Option<&HostConfig>) -> Option<KernelLog> {
    is_limited(host).then(KernelLog::from_now).flatten()
}
