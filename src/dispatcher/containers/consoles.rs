//! Talking to containers: their consoles, and programs inside them.

use std::sync::Arc;

use super::super::{DispatchError, Dispatcher, Submission};
use super::check_running;
use crate::auth::Identity;
use crate::hub::follow::Source;
use crate::hub::{Follow, Outbox};
use crate::protocol::audit::AuditAction;
use crate::protocol::container::{Exec, FollowingConsole};
use crate::protocol::job::Submit;
use crate::protocol::spec as wire;
use crate::protocol::{After, ContainerId, ContainerRef, Cursor, WireError, WorkerId};

impl Dispatcher {
    /// A place in a container's console for the connection of `outbox`.
    ///
    /// # Errors
    /// `not_found`, or the store.
    pub async fn follow_console(
        &self,
        who: &Identity,
        named: &ContainerRef,
        after: After,
        outbox: &Arc<Outbox>,
    ) -> Result<(FollowingConsole, Follow), DispatchError> {
        let (container, job) = self.find_container(who, named).await?;
        // Attached before the look at the store, so that no entry falls between.
        let mut follow = self.follow_from(job.id, job.status, Cursor::START, Source::Store, outbox);
        let page = self.read_log(job.id, Cursor::new(u32::MAX, u64::MAX), 0).await?;
        let page = page.ok_or(DispatchError::NotFound("container"))?;
        follow.cursor = match after {
            After::Start => Cursor::START,
            After::At(cursor) => cursor,
            After::Tail => page.top,
        };
        follow.status = page.status;
        let status = container.status(&job);
        let reply = FollowingConsole { container_id: container.id, from: follow.cursor, top: page.top, status };
        Ok((reply, follow))
    }

    /// A container that `who` may see, by its full id.
    ///
    /// # Errors
    /// `not_found`, or the store.
    pub async fn container_id(&self, who: &Identity, named: &ContainerRef) -> Result<ContainerId, DispatchError> {
        Ok(self.find_container(who, named).await?.0.id)
    }

    /// The container of this name on a worker, if `who` may see one.
    ///
    /// # Errors
    /// `conflict` where it does not run, or the store.
    pub(in crate::dispatcher) async fn running_container_on(
        &self,
        who: &Identity,
        worker: &WorkerId,
        name: &str,
    ) -> Result<Option<ContainerId>, DispatchError> {
        // An image is no number, and most names of images are none of containers.
        let Ok(named @ (ContainerRef::Id(_) | ContainerRef::Name(_))) = name.parse() else { return Ok(None) };
        match self.find_container(who, &named).await {
            Ok((container, job)) if container.worker == *worker => {
                check_running(&container, &job)?;
                Ok(Some(container.id))
            }
            Ok(_) | Err(DispatchError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes to a running container's standard input.
    ///
    /// # Errors
    /// `not_found`; `conflict` where it does not run, or (worth a retry) not yet, or its worker is away.
    pub async fn console_input(
        &self,
        who: &Identity,
        named: &ContainerRef,
        bytes: &[u8],
        eof: bool,
    ) -> Result<(), DispatchError> {
        let (container, job) = self.find_container(who, named).await?;
        check_running(&container, &job)?;
        self.pass_input(&job, bytes, eof).await
    }

    /// Changes the size of a running container's terminal.
    ///
    /// # Errors
    /// As [`Dispatcher::console_input`], and `conflict` where it has no terminal.
    pub async fn console_resize(
        &self,
        who: &Identity,
        named: &ContainerRef,
        cols: u16,
        rows: u16,
    ) -> Result<(), DispatchError> {
        super::super::jobs::check_size(cols, rows)?;
        let (container, job) = self.find_container(who, named).await?;
        check_running(&container, &job)?;
        if job.spec.tty.is_none() {
            return Err(DispatchError::Conflict(
                "the container has no terminal: it was created without tty".to_owned(),
            ));
        }
        self.pass_size(&job, cols, rows).await
    }

    /// Runs a program inside a running container: a job, whose submitter may follow it.
    ///
    /// # Errors
    /// As [`Dispatcher::console_input`], and as [`Dispatcher::submit`].
    pub async fn exec(
        &self,
        who: &Identity,
        exec: Exec,
        follower: Option<&Arc<Outbox>>,
    ) -> Result<Submission, DispatchError> {
        let Exec { container_id, args, command, env, cwd, stdin, tty, timeout_secs, follow: _ } = exec;
        let named = container_id.ok_or_else(|| WireError::bad_field("containerId", "containerId is required"))?;
        let (container, job) = self.find_container(who, &named).await?;
        check_running(&container, &job)?;
        let spec = wire::JobSpec {
            command,
            args,
            env,
            cwd,
            stdin,
            tty,
            timeout_secs,
            container: Some(container.id),
            requires: wire::Requires { worker_id: Some(container.worker), ..wire::Requires::default() },
            ..wire::JobSpec::default()
        };
        let submission = self.submit_unchecked(who, Submit { spec, key: None, follow: None }, follower).await?;
        let job = submission.reply.job_id;
        self.note_done(who, AuditAction::ContainerExec, container.id, Some(job.to_string())).await;
        Ok(submission)
    }
}
