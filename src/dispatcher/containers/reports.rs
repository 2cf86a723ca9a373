//! What workers say of containers beyond what they say of their starts as jobs.

use std::net::{IpAddr, SocketAddr};

use super::super::fleet::Agent;
use super::super::{DispatchError, Dispatcher};
use super::create;
use crate::model::job::is_over;
use crate::model::{Container, Job};
use crate::protocol::agent::{AgentContainerReport, ContainerFailed, ContainerStarted};
use crate::protocol::container::BoundPort;
use crate::protocol::plugin::Hook;
use crate::protocol::{Attempt, ContainerId};

impl Dispatcher {
    /// Takes a worker's word on one of its containers.
    ///
    /// # Errors
    /// `stale_attempt` where it is not the worker's, or the store.
    pub async fn container_report(&self, agent: &Agent, report: AgentContainerReport) -> Result<(), DispatchError> {
        match report {
            AgentContainerReport::Started(ContainerStarted { container_id, attempt, ports }) => {
                self.check_start(agent, container_id, attempt)?;
                let ports = self.addressed(agent, ports);
                let started = |container: &mut Container| {
                    (container.started, container.failure) = (attempt, None);
                    container.ports.clone_from(&ports);
                };
                self.note(container_id, started).await?;
                if let Some(job) = self.0.store.job(container_id.job().into()).await? {
                    self.tell_plugins_of_container(Hook::ContainerStart, &job).await?;
                }
                Ok(())
            }
            AgentContainerReport::Failed(ContainerFailed { container_id, attempt, error }) => {
                self.check_start(agent, container_id, attempt)?;
                let failed = |container: &mut Container| {
                    container.failure = Some(error.clone());
                    container.ports.clear();
                };
                self.note(container_id, failed).await
            }
            AgentContainerReport::Usage(report) => {
                // One that ended just now is no mistake, and another's is not shown.
                if agent.held(report.container_id.job()).is_some() {
                    self.container_uses(&report);
                }
                Ok(())
            }
        }
    }

    fn check_start(&self, agent: &Agent, id: ContainerId, attempt: Attempt) -> Result<(), DispatchError> {
        super::super::register::check_held(agent, id.job(), attempt)
    }

    /// Tells plugins of a container, which may be gone meanwhile.
    pub(super) async fn tell_plugins_of_container(&self, hook: Hook, job: &Job) -> Result<(), DispatchError> {
        if self.0.plugins.is_heard(hook) {
            let container = match ContainerId::of(job.id) {
                Some(id) => self.0.book.get(id).await?,
                None => None,
            };
            let container = container.map_or_else(|| create::of_job(job), Ok)?;
            self.tell_plugins(hook, |event| event.container = Some(self.container_record(&container, job)));
        }
        Ok(())
    }

    async fn note(&self, id: ContainerId, change: impl Fn(&mut Container)) -> Result<(), DispatchError> {
        if self.0.book.update(id, &change).await?.is_none()
            && let Some(job) = self.0.store.job(id.job().into()).await?.filter(|job| !is_over(job.status))
        {
            // Whoever made it died before its record was written. Of one that is over, the record was removed.
            let mut container = create::of_job(&job)?;
            change(&mut container);
            self.0.book.add(&container).await?;
        }
        Ok(self.container_changed(id).await?)
    }

    /// Ports with the address at which this worker is reached, as far as is known here.
    fn addressed(&self, agent: &Agent, ports: Vec<BoundPort>) -> Vec<BoundPort> {
        let ip = self.0.fleet.known(&agent.id).and_then(|known| known.worker.ip);
        let ip = ip.unwrap_or(IpAddr::from([127, 0, 0, 1])).to_canonical();
        let addressed = |port: BoundPort| BoundPort { address: SocketAddr::new(ip, port.host).to_string(), ..port };
        ports.into_iter().map(addressed).collect()
    }
}
