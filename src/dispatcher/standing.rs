//! How a job stands, for many who ask at once.
//!
//! Programs poll, and most of them ask about the same few jobs. A job is looked up once for all who asked before the look
//! began; who asks while it goes on waits for the next one. So an answer is never older than its question, and a
//! crowd costs the store no more than one of them does.
//!
//! Guards: a look that is given up, because its asker has gone, leaves nobody waiting: the others begin anew.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Dispatcher, Excerpt};
use crate::model::Job;
use crate::model::job::is_over;
use crate::protocol::JobRef;
use crate::store::StoreError;

/// Bytes of each stream of a finished job.
const EXCERPT_BYTES: usize = 1024 * 1024;

/// A job, and what it wrote once it is over.
#[derive(Debug)]
pub struct Standing {
    /// Its record.
    pub job: Arc<Job>,
    /// The beginning of its standard output; empty until it is over.
    pub stdout: Excerpt,
    /// The same of its standard error.
    pub stderr: Excerpt,
}

type Answer = Result<Option<Arc<Standing>>, StoreError>;

/// The looks under way, each with those who wait for the next one.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<HashMap<JobRef, Vec<oneshot::Sender<Told>>>>);

/// What somebody who waits is told.
#[derive(Debug)]
enum Told {
    Answer(Answer),
    /// To look, for some others too.
    Look(Look),
}

/// A look that somebody must make. Dropped without an answer, it sends everyone away to begin anew.
#[derive(Debug)]
struct Look {
    dispatcher: Dispatcher,
    job: JobRef,
    others: Vec<oneshot::Sender<Told>>,
    answered: bool,
}

impl Dispatcher {
    /// How a job stands; none where there is no such job.
    ///
    /// # Errors
    /// The store, or where finished logs are, cannot be read now.
    pub async fn standing(&self, job: JobRef) -> Result<Option<Arc<Standing>>, StoreError> {
        loop {
            let told = match self.join(job) {
                Ok(look) => Told::Look(look),
                // Nobody tells where a look was given up.
                Err(told) => match told.await {
                    Ok(told) => told,
                    Err(_) => continue,
                },
            };
            match told {
                Told::Answer(answer) => return answer,
                Told::Look(look) => {
                    let answer = self.look(job).await;
                    look.answer(&answer);
                    return answer;
                }
            }
        }
    }

    /// Begins a look, or waits for the one after that which is under way.
    fn join(&self, job: JobRef) -> Result<Look, oneshot::Receiver<Told>> {
        let mut looks = self.0.looks.0.lock();
        if let Some(waiting) = looks.get_mut(&job) {
            let (tell, told) = oneshot::channel();
            waiting.push(tell);
            return Err(told);
        }
        looks.insert(job, Vec::new());
        Ok(Look { dispatcher: self.clone(), job, others: Vec::new(), answered: false })
    }

    async fn look(&self, named: JobRef) -> Answer {
        let Some(job) = self.0.store.job(named).await?.filter(|job| named.names(job.id) && !job.id.is_container())
        else {
            return Ok(None);
        };
        let (stdout, stderr) = match is_over(job.status) {
            true => self.excerpts(&job, EXCERPT_BYTES).await?,
            false => (Excerpt::default(), Excerpt::default()),
        };
        Ok(Some(Arc::new(Standing { job, stdout, stderr })))
    }
}

impl Look {
    /// Tells the others, and has one of those who asked meanwhile look next.
    fn answer(mut self, answer: &Answer) {
        self.answered = true;
        for other in self.others.drain(..) {
            // Who has gone needs no answer.
            let _ = other.send(Told::Answer(answer.clone()));
        }
        let waiting = {
            let mut looks = self.dispatcher.0.looks.0.lock();
            match looks.get_mut(&self.job) {
                Some(waiting) if !waiting.is_empty() => std::mem::take(waiting),
                Some(_) | None => {
                    looks.remove(&self.job);
                    return;
                }
            }
        };
        let mut others = waiting;
        let Some(next) = others.pop() else { return };
        let dispatcher = self.dispatcher.clone();
        // Where that one has gone, what comes back is dropped, and so is given up.
        drop(next.send(Told::Look(Self { dispatcher, job: self.job, others, answered: false })));
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        if !self.answered {
            self.dispatcher.0.looks.0.lock().remove(&self.job);
        }
    }
}
