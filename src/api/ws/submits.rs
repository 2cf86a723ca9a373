//! Submits under way on one connection.
//!
//! A submit is answered once it is stored. A script that sends many does not wait for each answer, and
//! neither does its reader: the store gets them in the order in which they came, many to one commit,
//! and they are answered in that order. Any other frame waits until they are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::JoinHandle;

use super::session::{Hangup, Reader};
use crate::auth::Identity;
use crate::dispatcher::{DispatchError, Submission};
use crate::protocol::codec::FrameId;
use crate::protocol::job::{JobEvent, Submit};
use crate::protocol::{ErrorCode, WireError};

/// Submits of one connection that may be under way: enough to fill a commit, few enough that one
/// connection cannot fill the store's inbox.
const AT_ONCE: usize = 128;

/// See the module. In the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Submits(VecDeque<UnderWay>);

#[derive(Debug)]
struct UnderWay {
    id: Option<FrameId>,
    result: JoinHandle<Result<Submission, DispatchError>>,
}

/// A submit that was stored or refused.
pub(super) type Done = (Option<FrameId>, Result<Submission, DispatchError>);

impl Submits {
    /// Whether one more may be under way.
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < AT_ONCE
    }

    /// The oldest, once it is done; waits for ever while there is none. Nothing is lost where this
    /// is dropped before it is done.
    pub(super) async fn next(&mut self) -> Done {
        let Some(oldest) = self.0.front_mut() else { return std::future::pending().await };
        let result = (&mut oldest.result).await.unwrap_or_else(|_| {
            // The task was dropped with the runtime, or it panicked.
            Err(WireError::new(ErrorCode::Internal, "the submit was cut short").into())
        });
        let id = self.0.pop_front().and_then(|oldest| oldest.id);
        (id, result)
    }
}

impl Reader {
    /// Hands a submit to the store; its answer comes by [`Submits::next`].
    pub(super) async fn submit(&mut self, who: &Identity, id: Option<&FrameId>, submit: Submit) -> Result<(), Hangup> {
        let follows = submit.follow.unwrap_or(true);
        // What is under way may be followed, too: near the limit it is waited for, and counted.
        if follows && !self.follows_have_room_for(self.submits.0.len() + 1) {
            self.settle().await?;
            if let Err(error) = self.check_follows(None) {
                return self.fail(id, &error).await;
            }
        }
        let follower = follows.then(|| Arc::clone(&self.session.outbox));
        let (dispatcher, who) = (self.dispatcher.clone(), who.clone());
        let mut submitting = Box::pin(async move { dispatcher.submit(&who, submit, follower.as_ref()).await });
        // Begun here, so that the store gets it before the next one; finished by a task of its own,
        // so that a peer that does not read its answers holds up nobody who waits for this job.
        let tasks = self.dispatcher.shutdown();
        let result = match futures_util::poll!(tokio::task::unconstrained(&mut submitting)) {
            Poll::Ready(done) => tasks.spawn(std::future::ready(done)),
            Poll::Pending => tasks.spawn(submitting),
        };
        self.submits.0.push_back(UnderWay { id: id.cloned(), result });
        Ok(())
    }

    /// Answers a submit.
    pub(super) async fn submitted(&mut self, (id, result): Done) -> Result<(), Hangup> {
        match result {
            Ok(submission) => {
                self.reply(id.as_ref(), &JobEvent::Submitted(submission.reply)).await?;
                match submission.follow {
                    Some(follow) => self.take_up(follow).await.map_err(|_| Hangup),
                    None => Ok(()),
                }
            }
            Err(error) => self.refuse(id.as_ref(), &error).await,
        }
    }

    /// Answers all submits that are under way.
    pub(super) async fn settle(&mut self) -> Result<(), Hangup> {
        while !self.submits.0.is_empty() {
            let done = self.submits.next().await;
            self.submitted(done).await?;
        }
        Ok(())
    }
}
