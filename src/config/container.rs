//! What a worker agent can be told about containers: where their engine is, and what they may do.
//!
//! Guards: every privilege is off unless the worker's own settings switch it on. A job cannot.

use std::path::PathBuf;

use super::ConfigError;
use super::options::ContainerOptions;

/// Processes and threads of one container unless told otherwise: room for a build on many cores or a Java server,
/// and one 32nd of the 32,768 process numbers that a small kernel has, so that a few runaways do not starve the machine.
const PIDS_LIMIT: u32 = 1024;

/// Which container engine to use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The one of `DOCKER_HOST`, else the first of the usual sockets that answers.
    #[default]
    Usual,
    /// The one that listens here: `unix:///path` or `tcp://host:port`.
    At(String),
    /// None, although there may be one.
    Off,
}

impl EngineChoice {
    /// Where to look, best first. A `DOCKER_HOST` is the only place where it is set.
    pub fn addresses(&self) -> Vec<String> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        match self {
            Self::Off => Vec::new(),
            Self::At(address) => vec![address.clone()],
            Self::Usual => variable("DOCKER_HOST").map_or_else(
                || {
                    let runtime = variable("XDG_RUNTIME_DIR").map_or_else(
                        || PathBuf::from(format!("/run/user/{}", nix::unistd::Uid::current())),
                        PathBuf::from,
                    );
                    let socket = |path: PathBuf| format!("unix://{}", path.display());
                    vec![
                        "unix:///var/run/docker.sock".to_owned(),
                        socket(runtime.join("docker.sock")),
                        socket(runtime.join("podman/podman.sock")),
                        "unix:///run/podman/podman.sock".to_owned(),
                    ]
                },
                |address| vec![address],
            ),
        }
    }
}

/// The container engine of a worker, and what containers may do there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSettings {
    /// Which engine.
    pub engine: EngineChoice,
    /// Network of jobs with an image; none.
    pub network: String,
    /// Whether jobs with an image can write to their workspace and `/tmp` only; yes.
    pub read_only: bool,
    /// Capabilities that jobs with an image keep; none.
    pub capabilities: Vec<String>,
    /// Whether programs in containers may gain privileges; no.
    pub new_privileges: bool,
    /// Whether jobs with an image get every privilege of the host; no.
    pub privileged: bool,
    /// Processes and threads of one container; 1,024.
    pub pids_limit: Option<u32>,
    /// Network of containers that are no jobs; `bridge`.
    pub service_network: String,
}

impl Default for ContainerSettings {
    fn default() -> Self {
        Self {
            engine: EngineChoice::Usual,
            network: "none".to_owned(),
            read_only: true,
            capabilities: Vec::new(),
            new_privileges: false,
            privileged: false,
            pids_limit: Some(PIDS_LIMIT),
            service_network: "bridge".to_owned(),
        }
    }
}

/// Puts what was said over the defaults.
pub(super) fn resolve(options: ContainerOptions) -> Result<ContainerSettings, ConfigError> {
    let ContainerOptions {
        engine,
        network,
        read_only,
        capabilities,
        new_privileges,
        privileged,
        pids_limit,
        service_network,
    } = options;
    let default = ContainerSettings::default();
    let engine = match engine {
        None => EngineChoice::Usual,
        Some(none) if none == "none" => EngineChoice::Off,
        Some(address) if ["unix://", "tcp://", "http://"].iter().any(|scheme| address.starts_with(scheme)) => {
            EngineChoice::At(address)
        }
        Some(other) => {
            let message = format!("container-engine must be unix:///PATH, tcp://HOST:PORT or none, got {other:?}");
            return Err(ConfigError::Contradiction(message));
        }
    };
    Ok(ContainerSettings {
        engine,
        network: network.unwrap_or(default.network),
        read_only: read_only.unwrap_or(default.read_only),
        capabilities,
        new_privileges: new_privileges.unwrap_or(default.new_privileges),
        privileged: privileged.unwrap_or(default.privileged),
        pids_limit: pids_limit.map_or(default.pids_limit, |limit| (limit > 0).then_some(limit)),
        service_network: service_network.unwrap_or(default.service_network),
    })
}
