//! The container engine: Docker, or Podman by the same API.
//!
//! [`Engine::find`] looks for one and learns what it can do; [`recipe`] says what containers may do; [`container`]
//! starts them, watches them and removes them; [`console`] carries their streams, over connections of its own
//! (`stream`), because bollard's decoder takes the first bytes of a terminal for a header.
//!
//! Guards: a call that the engine does not answer ends in time, and every container carries [`Labels`] by which a later
//! agent finds it. Refuses to give a container more than the worker's settings allow. Not here: when to stop one.

pub(crate) mod console;
pub(crate) mod container;
pub(crate) mod exec;
pub(crate) mod exit;
mod image;
mod kernel_log;
mod log;
pub(crate) mod processes;
mod program;
pub(crate) mod recipe;
mod stream;
pub(crate) mod usage;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerSummaryStateEnum, PortBinding};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, ListImagesOptions, RemoveContainerOptionsBuilder,
    StopContainerOptionsBuilder,
};
use bollard::{ClientVersion, Docker};

use crate::protocol::container::BoundPort;
use crate::protocol::container::spec::Protocol;
use crate::protocol::{Attempt, JobId, WorkerId};

/// How long the engine may take to answer anything: it may be unpacking an image for someone else on a slow disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Images that a worker tells of: its `register` must fit into a frame, and dispatchers only ask whether there are any.
const IMAGES_MOST: usize = 1_000;

/// How long an engine may take to say that it is there.
const FOUND_WITHIN: Duration = Duration::from_secs(5);

/// The first version that takes a terminal's size when a container is made.
const SIZES_TERMINALS: ClientVersion = ClientVersion { major_version: 1, minor_version: 42 };

/// A container engine that answered.
#[derive(Debug)]
pub(crate) struct Engine {
    docker: Docker,
    /// Where it listens.
    address: String,
    /// It runs as a user of its own: root of a container is that user.
    rootless: bool,
    /// It has a small init process for containers.
    has_init: bool,
    /// It is Docker, and not Podman, which has other ways to keep logs.
    is_docker: bool,
    /// It gives a terminal its size before the program runs.
    sizes_terminals: bool,
}

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// There is no such image, here or where images come from.
    #[error("no image {image:?}: {message}")]
    NoImage {
        /// As it was asked for.
        image: String,
        /// In the engine's words.
        message: String,
    },
    /// The disk is full.
    #[error("no space is left for the container engine: {0}")]
    NoSpace(String),
    /// Somebody else has the port.
    #[error("a port is taken: {0}")]
    PortTaken(String),
    /// The worker's settings leave a container no way to be reached.
    #[error(
        "its worker gives containers no network (--container-service-network none), so no port of it can be reached"
    )]
    NoNetwork,
    /// A port that should get another number, of a container that has none of its own.
    #[error(
        "its worker gives containers its own network (--container-service-network host), where port {0} is reached as {0}"
    )]
    HostNetwork(u16),
    /// The program of the container cannot be started.
    #[error("cannot start {program:?}: {message}")]
    NoProgram {
        /// The program.
        program: String,
        /// 127 where it is not there, 126 where it cannot be run.
        exit_code: i32,
        /// In the engine's words.
        message: String,
    },
    /// The container that a program was to be started in does not run.
    #[error("the container does not run")]
    NotRunning,
    /// Nobody waits for it any more.
    #[error("nobody waits for it any more")]
    GivenUp,
    /// Nothing answers.
    #[error("the container engine does not answer: {0}")]
    Gone(String),
    /// Anything else.
    #[error("the container engine refuses: {0}")]
    Refused(String),
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        match error {
            Error::DockerResponseServerError { message, .. } | Error::DockerStreamError { error: message } => {
                Self::said(&message)
            }
            // There are twenty more ways to hear nothing that makes sense.
            error => Self::Gone(error.to_string()),
        }
    }
}

impl EngineError {
    /// What the engine's own words mean, for which it has no codes.
    fn said(message: &str) -> Self {
        let message = message.trim().to_owned();
        if message.contains("no space left on device") {
            Self::NoSpace(message)
        } else if message.contains("port is already allocated") || message.contains("address already in use") {
            Self::PortTaken(message)
        } else {
            Self::Refused(message)
        }
    }

    /// A directory could not be made.
    pub(crate) fn of_disk(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::NoSpace(error.to_string()),
            _ => Self::Refused(format!("cannot make the container's directories: {error}")),
        }
    }

    /// What a shell would exit with, where it is the program's fault.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        match self {
            Self::NoProgram { exit_code, .. } => Some(*exit_code),
            Self::NoImage { .. }
            | Self::NoSpace(_)
            | Self::PortTaken(_)
            | Self::NoNetwork
            | Self::HostNetwork(_)
            | Self::NotRunning
            | Self::GivenUp
            | Self::Gone(_)
            | Self::Refused(_) => None,
        }
    }
}

/// What a container is known by when nobody remembers it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels<'a> {
    pub(crate) worker: &'a WorkerId,
    /// The worker's directory: two workers of one name may share an engine.
    pub(crate) home: &'a Path,
}

/// What a container is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Goes with its job, and with its agent.
    Job,
    /// Outlives both, and is taken over.
    Service,
}

const WORKER: &str = "gangline.worker";
const HOME: &str = "gangline.home";
const KIND: &str = "gangline.kind";
const ID: &str = "gangline.id";
const ATTEMPT: &str = "gangline.attempt";

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Service => "service",
        }
    }
}

impl Labels<'_> {
    /// For a container of this attempt.
    fn of(self, kind: Kind, id: &str, attempt: Attempt) -> HashMap<String, String> {
        [
            (WORKER, self.worker.to_string()),
            (HOME, self.home.display().to_string()),
            (KIND, kind.as_str().to_owned()),
            (ID, id.to_owned()),
            (ATTEMPT, attempt.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// What finds every container of this kind, or those of one id.
    fn filter(self, kind: Kind, id: Option<JobId>) -> HashMap<String, Vec<String>> {
        let own = [format!("{WORKER}={}", self.worker), format!("{HOME}={}", self.home.display())];
        let kind = [format!("{KIND}={}", kind.as_str())];
        let labels = own.into_iter().chain(kind).chain(id.map(|id| format!("{ID}={id}"))).collect();
        HashMap::from([("label".to_owned(), labels)])
    }
}

/// A container of an earlier run, or of one that could not be removed.
#[derive(Debug)]
pub(crate) struct Found {
    /// The engine's name of it.
    pub(crate) id: String,
    pub(crate) job: Option<(JobId, Attempt)>,
    /// It was made and never started.
    pub(crate) is_new: bool,
    /// It runs.
    pub(crate) runs: bool,
}

impl Engine {
    /// The first of `addresses` at which an engine answers.
    pub(crate) async fn find(addresses: &[String]) -> Option<Self> {
        for address in addresses {
            match tokio::time::timeout(FOUND_WITHIN, Self::at(address)).await {
                Ok(Ok(engine)) => return Some(engine),
                Ok(Err(error)) => tracing::debug!(address, %error, "no container engine"),
                Err(_) => tracing::debug!(address, "a container engine does not answer"),
            }
        }
        None
    }

    async fn at(address: &str) -> Result<Self, Error> {
        let docker = match address.strip_prefix("unix://") {
            Some(_) => Docker::connect_with_unix(address, ANSWER_WITHIN.as_secs(), bollard::API_DEFAULT_VERSION)?,
            None => Docker::connect_with_http(address, ANSWER_WITHIN.as_secs(), bollard::API_DEFAULT_VERSION)?,
        };
        let docker = docker.negotiate_version().await?;
        let info = docker.info().await?;
        let rootless = info.security_options.unwrap_or_default().iter().any(|option| option.contains("name=rootless"));
        let has_init = info.init_binary.is_some_and(|init| !init.is_empty());
        let components = docker.version().await?.components.unwrap_or_default();
        let is_docker = !components.iter().any(|component| component.name.contains("Podman"));
        let version = info.server_version.unwrap_or_default();
        tracing::info!(address, version, is_docker, "found a container engine");
        let sizes_terminals = docker.client_version() >= SIZES_TERMINALS;
        Ok(Self { docker, address: address.to_owned(), rootless, has_init, is_docker, sizes_terminals })
    }

    /// Whether it still answers.
    pub(crate) async fn is_there(&self) -> bool {
        tokio::time::timeout(FOUND_WITHIN, self.docker.ping()).await.is_ok_and(|answer| answer.is_ok())
    }

    /// Tags of the images at hand.
    pub(crate) async fn images(&self) -> Result<Vec<String>, EngineError> {
        let images = self.docker.list_images(None::<ListImagesOptions>).await?;
        let mut tags: Vec<String> = images.into_iter().flat_map(|image| image.repo_tags).collect();
        tags.retain(|tag| tag != "<none>:<none>");
        tags.sort();
        tags.dedup();
        tags.truncate(IMAGES_MOST);
        Ok(tags)
    }

    /// The containers of this kind, running or not; those of one id, where one is given.
    pub(crate) async fn containers(
        &self,
        labels: Labels<'_>,
        kind: Kind,
        id: Option<JobId>,
    ) -> Result<Vec<Found>, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&labels.filter(kind, id)).build();
        let found = self.docker.list_containers(Some(options)).await?.into_iter().filter_map(|container| {
            let labels = container.labels.unwrap_or_default();
            let job = || Some((labels.get(ID)?.parse().ok()?, labels.get(ATTEMPT)?.parse().ok()?));
            let is = |state| container.state == Some(state);
            let (is_new, runs) = (is(ContainerSummaryStateEnum::CREATED), is(ContainerSummaryStateEnum::RUNNING));
            Some(Found { job: job(), is_new, runs, id: container.id? })
        });
        Ok(found.collect())
    }

    /// How the ports of a running container are reached on this machine.
    pub(crate) async fn ports(&self, id: &str) -> Result<Vec<BoundPort>, EngineError> {
        let container = self.docker.inspect_container(id, None::<InspectContainerOptions>).await?;
        let host = container.host_config.unwrap_or_default();
        if host.network_mode.as_deref() == Some(recipe::HOST_NETWORK) {
            let asked = host.port_bindings.unwrap_or_default();
            return Ok(sorted(asked.keys().filter_map(|name| {
                let (port, protocol) = numbered(name)?;
                Some(BoundPort { container: port, host: port, address: String::new(), protocol })
            })));
        }
        let ports = container.network_settings.and_then(|network| network.ports).unwrap_or_default();
        Ok(sorted(ports.iter().flat_map(|(name, bindings)| bound(name, bindings.as_deref()))))
    }

    /// Has a container end, with so many seconds to do so. One that does not run is no error.
    pub(crate) async fn halt(&self, id: &str, grace_secs: i32) -> Result<(), EngineError> {
        let options = StopContainerOptionsBuilder::default().t(grace_secs).build();
        match self.docker.stop_container(id, Some(options)).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304 | 404 | 409, .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills and removes a container. One that is not there is no error.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            // 409: it is being removed already.
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn sorted(ports: impl Iterator<Item = BoundPort>) -> Vec<BoundPort> {
    let mut ports: Vec<_> = ports.collect();
    ports.sort_by_key(|port| (port.container, port.protocol.as_str(), port.host));
    ports.dedup();
    ports
}

/// What the engine calls `80/tcp`.
fn numbered(name: &str) -> Option<(u16, Protocol)> {
    let (port, protocol) = name.split_once('/').unwrap_or((name, "tcp"));
    let protocol = if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
    Some((port.parse().ok()?, protocol))
}

/// The bindings of the port `name`, `80/tcp`. Where there are some of IPv4, those of IPv6 are left out: beside other
/// containers they may have another number, on which nobody is reached over IPv4, or somebody else.
fn bound<'a>(name: &'a str, bindings: Option<&'a [PortBinding]>) -> impl Iterator<Item = BoundPort> {
    let port = numbered(name);
    let bindings = bindings.unwrap_or_default();
    let is_ipv6 = |binding: &PortBinding| binding.host_ip.as_ref().is_some_and(|address| address.contains(':'));
    let has_ipv4 = !bindings.iter().all(is_ipv6);
    bindings.iter().filter(move |binding| !(has_ipv4 && is_ipv6(binding))).filter_map(move |binding| {
        let ((container, protocol), host) = (port?, binding.host_port.as_deref()?.parse().ok()?);
        Some(BoundPort { container, host, address: String::new(), protocol })
    })
}

#[cfg(test)]
mod tests;
