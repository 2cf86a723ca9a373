//! Waits until the GPUs of a job are free, before it is started.
//!
//! The dispatcher gives a GPU to one job at a time, and again as soon as a job is over. Then a driver may not be done with
//! what ran before, and a job that was taken away from here may take a moment to die. So a job waits here for a while, and
//! is refused if that does not help: it goes back to the queue, as if it had not been started.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::agent::Agent;
use super::ending::Ending;
use super::held::{Held, Stop};
use super::system::InUse;

/// How long a job waits for its GPUs. Drivers are done within a second or two; after five refusals a job has failed, so
/// that this is a fifth of what one waits in all.
const WAIT: Duration = Duration::from_secs(30);

/// How often is looked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a driver may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Waits for the GPUs of a job that was assigned, and accepts or refuses it. Returns whether it is to be run: one that was to
/// be stopped meanwhile has ended without.
pub(super) async fn are_free(agent: &Agent, held: &Arc<Held>, gpus: &[u32]) -> bool {
    let until = Instant::now() + WAIT;
    loop {
        // Of other jobs last: nothing is waited for between that look and the answer.
        let by_memory = in_use_by_memory(agent, gpus).await;
        let in_use = by_memory.or_else(|| agent.jobs.gpu_in_use(held.key, gpus).map(|index| InUse::Job { index }));
        if let Some(Stop { why, .. }) = held.control(|control| control.stop) {
            held.accept(&agent.outbox);
            held.end(&agent.outbox, Ending::stopped(why, None), agent.now());
            agent.job_over(held);
            return false;
        }
        let Some(in_use) = in_use else {
            held.accept(&agent.outbox);
            return true;
        };
        if Instant::now() >= until {
            warn!(%in_use, "the job is refused");
            agent.refuse(held, in_use.to_string());
            return false;
        }
        debug!(%in_use, "the job waits");
        tokio::select! {
            () = sleep(LOOK_EVERY) => (),
            () = held.wake.notified() => (),
        }
    }
}

async fn in_use_by_memory(agent: &Agent, wanted: &[u32]) -> Option<InUse> {
    if !agent.gpus.know_memory_of(wanted) {
        return None;
    }
    let (gpus, these) = (Arc::clone(&agent.gpus), wanted.to_owned());
    match timeout(ANSWER_WITHIN, tokio::task::spawn_blocking(move || gpus.in_use(&these))).await {
        Ok(Ok(in_use)) => in_use,
        Ok(Err(_)) | Err(_) => wanted.first().map(|&index| InUse::Silent { index }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::Outbox;
    use super::super::outgoing::OutgoingLog;
    use super::*;

    #[test]
    fn a_job_that_waits_is_not_answered_before_it_is_known_how() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::default();
        let waiting = |name: &str| {
            let log = OutgoingLog::new(1024, dir.path().join(name));
            let held = Held::new(("job-1-00000001".parse().unwrap(), 3), log, Duration::ZERO);
            held.give(vec![0], true);
            held
        };
        let (accepted, refused) = (waiting("a"), waiting("b"));
        for held in [&accepted, &refused] {
            held.answer(&outbox);
        }
        assert!(outbox.pop().is_none());
        accepted.accept(&outbox);
        refused.refuse(&outbox, InUse::Silent { index: 0 }.to_string());
        let said = || outbox.pop().and_then(|held| held.next_frame()).unwrap().to_string();
        let about = r#"{"type":"job","data":{"opt":"OPT","jobId":"job-1-00000001","attempt":3"#;
        assert_eq!(said(), format!("{}}}}}", about.replace("OPT", "accept")));
        let reason = r#","reason":"GPU 0 does not tell whether its memory is free"}}"#;
        assert_eq!(said(), format!("{}{reason}", about.replace("OPT", "reject")));
    }
}
