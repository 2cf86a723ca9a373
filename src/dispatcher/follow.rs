//! Following a log: where a follower begins.

use std::sync::Arc;

use super::{DispatchError, Dispatcher};
use crate::auth::Identity;
use crate::hub::follow::Source;
use crate::hub::{Follow, Outbox};
use crate::metrics::Returned;
use crate::protocol::job::{Following, Status};
use crate::protocol::{After, Cursor, JobId, JobRef};

impl Dispatcher {
    /// A place in a job's log for the connection of `outbox`.
    ///
    /// # Errors
    /// `not_found`, or the store.
    pub async fn follow(
        &self,
        who: &Identity,
        job: JobRef,
        after: After,
        outbox: &Arc<Outbox>,
    ) -> Result<(Following, Follow), DispatchError> {
        let job = self.job(who, job).await?;
        // Attached before the look at the store, so that no entry falls between.
        let mut follow = self.follow_from(job.id, job.status, Cursor::START, Source::Store, outbox);
        let page = self.read_log(job.id, Cursor::new(u32::MAX, u64::MAX), 0).await?;
        let page = page.ok_or(DispatchError::NotFound("job"))?;
        follow.cursor = match after {
            After::Start => Cursor::START,
            After::At(cursor) => cursor,
            After::Tail => page.top,
        };
        follow.status = page.status;
        if matches!(after, After::At(cursor) if cursor > Cursor::START) {
            self.0.metrics.returned.of(Returned::Follower).inc();
        }
        let reply = Following { job_id: job.id, from: follow.cursor, top: page.top, status: page.status };
        Ok((reply, follow))
    }

    pub(super) fn follow_from(
        &self,
        job: JobId,
        status: Status,
        cursor: Cursor,
        source: Source,
        outbox: &Arc<Outbox>,
    ) -> Follow {
        let is_first = self.0.hub.tail(job).is_none();
        let attached = self.0.hub.attach(job, outbox);
        if is_first {
            self.listen(job);
        }
        Follow { job, cursor, attached, looks: 0, source, status, live: false }
    }
}
