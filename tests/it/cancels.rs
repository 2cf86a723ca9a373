//! A cancel is not lost on the way of its job from the store to the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use gangline::store::jobs::{Change, Claim};
use gangline::store::{Store, StoreError};
use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::server::Stage;
use crate::support::store::{Fault, Gate, faulty};

/// After the first job was claimed, before the dispatcher knows.
struct AfterClaiming {
    gate: Arc<Gate>,
    /// Whether it hears of it.
    answers: bool,
    is_over: AtomicBool,
}

#[async_trait]
impl Fault for AfterClaiming {
    async fn claim(&self, store: &dyn Store, claim: Claim) -> Result<Vec<Change>, StoreError> {
        let claimed = store.claim(claim).await?;
        if claimed.is_empty() || self.is_over.swap(true, Ordering::Relaxed) {
            return Ok(claimed);
        }
        self.gate.pass().await;
        if self.answers { Ok(claimed) } else { Err(StoreError::Unavailable("the answer was lost".to_owned())) }
    }
}

async fn a_job_is_cancelled_after_its_claim(answers: bool) {
    let gate = Gate::new();
    let fault = AfterClaiming { gate: Arc::clone(&gate), answers, is_over: AtomicBool::new(false) };
    let server = Stage::new().store(|store| faulty(store, fault)).start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.queue(&json!({"command": "x"})).await;
    gate.is_reached().await;
    peer.get("job", &json!({"opt": "cancel", "jobId": job, "graceSecs": 2.5}), "ok").await;
    gate.open();
    let assigned = worker.accepted().await;
    assert_eq!(assigned.job, job);
    is_told(&worker.peer.until("job", "cancel").await, &job);
}

fn is_told(cancel: &Value, job: &str) {
    assert_eq!((&cancel["jobId"], &cancel["attempt"], &cancel["graceSecs"]), (&json!(job), &json!(1), &json!(2.5)));
}

#[tokio::test]
async fn a_cancel_between_the_claim_and_the_hand_over_follows_the_job() {
    a_job_is_cancelled_after_its_claim(true).await;
}

#[tokio::test]
async fn a_cancel_of_a_job_whose_claim_was_not_answered_follows_it_too() {
    a_job_is_cancelled_after_its_claim(false).await;
}

#[tokio::test]
async fn a_job_that_was_cancelled_while_its_worker_was_away_is_assigned_and_cancelled_again() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.queue(&json!({"command": "x"})).await;
    worker.accepted().await;
    worker.peer.vanish();
    peer.get("job", &json!({"opt": "cancel", "jobId": job, "graceSecs": 2.5}), "ok").await;
    // The same process, which the assign never reached.
    let mut worker = server.worker("w", &json!({})).await;
    worker.accepted().await;
    is_told(&worker.peer.until("job", "cancel").await, &job);
}
