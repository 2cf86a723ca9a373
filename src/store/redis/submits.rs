//! Submits that come at the same time share a script: most of what one costs is the way there and back.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use redis::Value;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::script::{Call, Script, digest};
use super::{RedisStore, corrupt, record};
use crate::store::error::{StoreError, SubmitError};
use crate::store::jobs::{NewJob, QueueLimits, Submitted};
use crate::store::transition;

/// Submits of one script: some milliseconds of Redis' time.
const AT_ONCE: usize = 256;

/// What waits to be sent. Callers are bounded, and so is this: each waits for its answer.
#[derive(Debug, Default)]
pub(super) struct Submits {
    waiting: Mutex<Waiting>,
    sender: TaskTracker,
}

#[derive(Debug, Default)]
struct Waiting {
    submits: VecDeque<Submit>,
    /// A task sends them.
    is_sending: bool,
}

#[derive(Debug)]
struct Submit {
    new: NewJob,
    limits: QueueLimits,
    answer: oneshot::Sender<Result<Submitted, SubmitError>>,
}

impl RedisStore {
    pub(super) async fn submit_together(&self, new: NewJob, limits: QueueLimits) -> Result<Submitted, SubmitError> {
        let (answer, answered) = oneshot::channel();
        let idle = {
            let mut waiting = self.0.submits.waiting.lock();
            waiting.submits.push_back(Submit { new, limits, answer });
            !std::mem::replace(&mut waiting.is_sending, true)
        };
        if idle {
            // Ends with the last of them, each within the time that Redis has to answer.
            self.0.submits.sender.spawn(self.clone().send_submits());
        }
        let gone = |_| StoreError::Unavailable("the submit was cut short".to_owned());
        answered.await.map_err(gone)?
    }

    async fn send_submits(self) {
        loop {
            let batch: Vec<Submit> = {
                let mut waiting = self.0.submits.waiting.lock();
                let most = waiting.submits.len().min(AT_ONCE);
                if most == 0 {
                    waiting.is_sending = false;
                    return;
                }
                waiting.submits.drain(..most).collect()
            };
            let mut by_partition: Vec<Vec<Submit>> = self.partitions().map(|_| Vec::new()).collect();
            for submit in batch {
                let partition = match &submit.new.key {
                    // The same key must meet itself.
                    Some(key) => self.partition_of_key(submit.new.account.as_str(), key),
                    None => self.next_partition(),
                };
                by_partition[partition as usize].push(submit);
            }
            let send = self.partitions().zip(by_partition).filter(|(_, submits)| !submits.is_empty());
            let send = send.map(|(partition, submits)| self.send_to(partition, submits));
            futures_util::future::join_all(send).await;
        }
    }

    async fn send_to(&self, partition: u32, submits: Vec<Submit>) {
        let answers = match self.script_of(partition, &submits) {
            Ok(call) => self.run(&call).await.and_then(record::array),
            Err(error) => Err(error),
        };
        match answers {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for Submit { new, limits, answer } in submits {
                    let missing = || Err(corrupt("a submit without an answer").into());
                    let result = answers.next().map_or_else(missing, |value| read_answer(&new, limits, value));
                    if let Ok(Submitted { job, duplicate: false }) = &result {
                        self.0.recent.submitted(Arc::clone(job), new.key);
                    }
                    // Whoever asked may have gone.
                    let _ = answer.send(result);
                }
            }
            Err(error) => {
                for submit in submits {
                    let _ = submit.answer.send(Err(error.clone().into()));
                }
            }
        }
    }

    fn script_of(&self, partition: u32, submits: &[Submit]) -> Result<Call, StoreError> {
        let partitions = self.0.options.partitions;
        let limits = submits.first().map_or(QueueLimits { total: 0, account: 0 }, |submit| submit.limits);
        // Each partition takes its share.
        let share = |limit: u64| limit.div_ceil(u64::from(partitions));
        let mut call = self.call(Script::Submit, partition).arg(self.now());
        call = call.arg(share(limits.total)).arg(share(limits.account)).arg(partitions).arg(partition);
        for Submit { new, .. } in submits {
            let requires = serde_json::to_string(&new.spec.requires).map_err(corrupt)?;
            call.push(new.nonce);
            call.push(new.account.as_str());
            call.push(serde_json::to_string(&*new.spec).map_err(corrupt)?);
            call.push(digest(&requires));
            call.push(requires);
            call.push(new.spec.priority);
            call.push(new.spec.queue_timeout_ms.map(|limit| limit.to_string()).unwrap_or_default());
            call.push(new.key.as_deref().unwrap_or_default());
        }
        Ok(call)
    }
}

fn read_answer(new: &NewJob, limits: QueueLimits, answer: Value) -> Result<Submitted, SubmitError> {
    let mut answer = record::array(answer)?.into_iter();
    let mut next = || answer.next().ok_or_else(|| corrupt("an answer to a submit that is too short"));
    match record::text(next()?)?.as_str() {
        "new" => {
            let (number, now) = (record::number(next()?)?, record::number(next()?)?);
            Ok(Submitted { job: Arc::new(transition::submitted(new, number, now)), duplicate: false })
        }
        "known" => {
            let number = record::number(next()?)?;
            let stored = record::stored(number, next()?)?.ok_or_else(|| corrupt(format!("job {number} vanished")))?;
            Ok(Submitted { job: Arc::new(stored.job), duplicate: true })
        }
        "full" => Err(SubmitError::QueueFull { limit: limits.total }),
        "account_full" => Err(SubmitError::AccountQueueFull { limit: limits.account }),
        other => Err(corrupt(format!("{other:?} as the answer to a submit")).into()),
    }
}
