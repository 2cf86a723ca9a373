//! Logins at the SFTP servers of workers: whether somebody may see the files of a job or a container.
//!
//! Guards: a worker shows files to nobody whom this did not name; who may see a job or a container may see its files, on the
//! worker that has them and nowhere else; guessing is counted with all other logins. Not here: which files (`worker::sftp`).

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::fleet::Agent;
use super::{DispatchError, Dispatcher};
use crate::auth::{AuthError, Identity};
use crate::model::AccountName;
use crate::model::container::Desired;
use crate::protocol::agent::{AgentOrder, SftpGrant, SftpLogin};
use crate::protocol::codec::{FrameId, encode_with};
use crate::protocol::job::Status;
use crate::protocol::{ContainerId, ContainerRef, ErrorCode, WireError};

/// Logins that are looked at, at a time, from all workers. More only wait for each other: passwords are hashed two at a time.
const AT_ONCE: usize = 64;

/// Turns to be looked at.
pub(super) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Dispatcher {
    /// Answers a worker that asks whether somebody may come in. Returns at once: a password takes a while, and what else the
    /// worker has to say must not wait for it.
    pub fn sftp_login(&self, agent: Arc<Agent>, id: Option<FrameId>, login: SftpLogin) {
        let Ok(turn) = Arc::clone(&self.0.sftp.0).try_acquire_owned() else {
            let busy = WireError::new(ErrorCode::RateLimited, "too many logins; try again later").retry_after(1_000);
            return agent.pass_on(encode_with(&busy, id.as_ref()));
        };
        let dispatcher = self.clone();
        self.0.shutdown.spawn(async move {
            let _turn = turn;
            let granted = tokio::select! {
                () = dispatcher.0.shutdown.cut().cancelled() => return,
                granted = dispatcher.sftp_grant(&agent, login) => granted,
            };
            agent.pass_on(match granted {
                Ok(grant) => encode_with(&AgentOrder::SftpLogin(grant), id.as_ref()),
                Err(error) => encode_with(&error.to_wire(), id.as_ref()),
            });
        });
    }

    async fn sftp_grant(&self, agent: &Agent, login: SftpLogin) -> Result<SftpGrant, DispatchError> {
        let who = self.sftp_visitor(&login).await?;
        let named = login.job_id;
        let found = self.0.store.job(named).await?.filter(|found| named.names(found.id));
        let id = found.ok_or(DispatchError::NotFound("job or container"))?.id;
        let is_here = match ContainerId::of(id) {
            // Its files are there whether it runs or not.
            Some(id) => {
                let (container, _) = self.find_container(&who, &ContainerRef::Id(id)).await?;
                container.worker == agent.id && container.desired != Desired::Removed
            }
            None => {
                let job = self.job(&who, id.into()).await?;
                job.status == Status::Running && job.worker.as_ref() == Some(&agent.id)
            }
        };
        if !is_here {
            return Err(DispatchError::Conflict(format!("{id} has no files on {}", agent.id)));
        }
        Ok(SftpGrant { account: who.account.to_string(), job_id: id })
    }

    async fn sftp_visitor(&self, login: &SftpLogin) -> Result<Identity, AuthError> {
        let SftpLogin { account, password, job_id: _, from } = login;
        let settings = self.settings();
        // Nobody here has a password. The worker may listen where this dispatcher does not, so the same rule is applied again.
        if settings.open
            && *account == *AccountName::anonymous().as_str()
            && (settings.open_anywhere || from.to_canonical().is_loopback())
        {
            return Ok(Identity::anonymous().at(*from));
        }
        let login = self.auth().login_with_either(account, password, *from).await;
        self.logged_in(account, *from, login.as_ref(), Some("sftp")).await;
        login
    }
}
