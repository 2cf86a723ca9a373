//! Frames of workers.

use super::session::{Failure, Reader};
use crate::auth::Identity;
use crate::dispatcher::DispatchError;
use crate::model::Role;
use crate::protocol::CloseCode;
use crate::protocol::agent::{AgentContainerReport, AgentJobReport, AgentOrder, AgentReport};
use crate::protocol::codec::FrameId;

impl Reader {
    /// A worker's frame about itself.
    pub(super) async fn agent(
        &mut self,
        who: &Identity,
        id: Option<&FrameId>,
        report: AgentReport,
    ) -> Result<(), Failure> {
        let report = match report {
            AgentReport::Register(register) => {
                if self.agent.is_some() {
                    return Err(DispatchError::Conflict("this connection is registered".to_owned()).into());
                }
                let registration =
                    self.dispatcher.register(who, *register, self.from.address, &self.session.outbox).await?;
                tracing::Span::current().record("worker", registration.agent.id.as_str());
                self.agent = Some(std::sync::Arc::clone(&registration.agent));
                self.reply(id, &AgentOrder::Registered(registration.reply.clone())).await?;
                if let Err(error) = self.dispatcher.registered(registration).await {
                    tracing::warn!(%error, "a worker could not be taken in; it is sent away to come back");
                    self.session.outbox.close(CloseCode::StoreUnavailable);
                }
                return Ok(());
            }
            report => report,
        };
        let Some(agent) = self.agent.clone() else { return Err(unregistered(who)) };
        agent.heard(self.dispatcher.clock().now());
        match report {
            AgentReport::SftpLogin(login) => {
                self.dispatcher.sftp_login(agent, id.cloned(), login);
                Ok(())
            }
            // Taken above.
            AgentReport::Register(_) => Ok(()),
            AgentReport::Heartbeat(beat) => {
                let reply = self.dispatcher.heartbeat(&agent, beat).await?;
                Ok(self.reply(id, &reply).await?)
            }
            AgentReport::Drain(_) => Ok(self.reply(id, &self.dispatcher.leaves(&agent, true)).await?),
            AgentReport::Undrain(_) => Ok(self.reply(id, &self.dispatcher.leaves(&agent, false)).await?),
        }
    }

    /// A worker's frame about a job.
    pub(super) async fn agent_job(
        &mut self,
        who: &Identity,
        id: Option<&FrameId>,
        report: AgentJobReport<'_>,
    ) -> Result<(), Failure> {
        let Some(agent) = self.agent.clone() else { return Err(unregistered(who)) };
        agent.heard(self.dispatcher.clock().now());
        // Accepts, output and ends are answered by what follows from them: acks come when the
        // store has taken them.
        match report {
            AgentJobReport::Accept(accept) => self.dispatcher.accept(&agent, accept)?,
            AgentJobReport::Reject(reject) => self.dispatcher.reject(&agent, reject).await?,
            AgentJobReport::Output(output) => self.dispatcher.output(&agent, output, id).await?,
            AgentJobReport::End(end) => self.dispatcher.end(&agent, end, id).await?,
            AgentJobReport::Gone(gone) => self.dispatcher.gone(&agent, gone, id).await?,
        }
        Ok(())
    }
}

impl Reader {
    /// A worker's frame about a container.
    pub(super) async fn agent_container(
        &mut self,
        who: &Identity,
        report: AgentContainerReport,
    ) -> Result<(), Failure> {
        let Some(agent) = self.agent.clone() else { return Err(unregistered(who)) };
        agent.heard(self.dispatcher.clock().now());
        Ok(self.dispatcher.container_report(&agent, report).await?)
    }
}

fn unregistered(who: &Identity) -> Failure {
    match who.role {
        Role::Worker => DispatchError::Conflict("register as a worker first".to_owned()).into(),
        Role::User | Role::Admin | Role::Plugin => DispatchError::Forbidden("only workers report").into(),
    }
}
