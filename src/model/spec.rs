//! A job's spec once it has been checked: what cannot be wrong any more.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::container::spec::{Mount, Service};
use crate::protocol::error::WireError;
use crate::protocol::spec as wire;
use crate::protocol::{ContainerId, WorkerId};

/// A field of a spec that cannot be accepted.
pub type InvalidSpec = WireError;

/// Time between SIGTERM and SIGKILL unless the job says otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// Runs at the most under `onLost: requeue`, unless the job says otherwise.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;

/// Longest time a spec may ask for anything: about 31 years.
const LONGEST_SECS: f64 = 1e9;

/// Longest name of an image: as registries have it.
const IMAGE_MOST: usize = 255;

/// Most ports of a container, and most volumes: each port is a process on its worker, each volume a directory.
const SERVICE_MOST: usize = 128;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// A script for `/bin/sh -c`.
    Shell(String),
    /// An argument vector, not empty.
    Args(Vec<String>),
    /// The image's own entry point.
    Image,
}

/// A checked spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// What to run.
    pub program: Program,
    /// Container image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Relative to the workspace, inside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For filters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// A ZIP for the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_url: Option<String>,
    /// Its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Whether standard input stays open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stdin: bool,
    /// Columns and rows of its pseudo-terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<(u16, u16)>,
    /// What the worker must have.
    #[serde(default, skip_serializing_if = "Requires::is_empty")]
    pub requires: Requires,
    /// Higher first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Limit of the run, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Limit of the wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout_ms: Option<u64>,
    /// Between SIGTERM and SIGKILL, in milliseconds; [`DEFAULT_GRACE`] where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    /// `Some(n)`: run again when the worker is lost, `n` times in all at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requeue: Option<u32>,
    /// Glob patterns of files to keep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
    /// Run inside this running container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<ContainerId>,
    /// What makes it a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Box<Service>>,
    /// Where the rest of this came from, if a template was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Box<FromTemplate>>,
}

/// How a job was asked for by a template's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromTemplate {
    /// The template.
    pub name: String,
    /// Its parameters, as they were given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, serde_json::Value>,
}

/// What a worker must have; also the key of the queue that the job waits in.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Requires {
    /// This worker and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// Labels it must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Thousandths of a processor.
    #[serde(default, skip_serializing_if = "is_default")]
    pub milli_cpus: u64,
    /// Memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub memory_bytes: u64,
    /// GPUs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gpus: Gpus,
    /// Whether a container engine is needed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub container: bool,
    /// Whether it takes none of the slots: a container, or what runs inside one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub slotless: bool,
    /// Whether a worker that polls can run it: a script and the ZIP that it starts from, nothing else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub polled: bool,
}

impl Requires {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which GPUs a job needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Gpus {
    /// So many, whichever.
    Count(u32),
    /// These, by index; sorted, without repeats, not empty.
    Ids(Vec<u32>),
}

impl Default for Gpus {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl JobSpec {
    /// A spec that only runs `program`.
    pub fn new(program: Program) -> Self {
        Self {
            program,
            image: None,
            env: BTreeMap::new(),
            cwd: None,
            name: None,
            tags: Vec::new(),
            file_url: None,
            filename: None,
            stdin: false,
            tty: None,
            requires: Requires::default(),
            priority: 0,
            timeout_ms: None,
            queue_timeout_ms: None,
            grace_ms: None,
            requeue: None,
            artifacts: Vec::new(),
            inside: None,
            service: None,
            template: None,
        }
    }

    /// As it may be submitted once more: by its template, where it came from one.
    pub fn as_submitted(&self) -> wire::JobSpec {
        let spec = wire::JobSpec::from(self);
        match &self.template {
            None => spec,
            Some(template) => wire::JobSpec {
                command: None,
                args: None,
                image: None,
                template: Some(template.name.clone()),
                params: template.params.clone(),
                ..spec
            },
        }
    }

    /// What runs, as one line or script for people and for those who know nothing else.
    pub fn command_line(&self) -> Cow<'_, str> {
        match &self.program {
            Program::Shell(script) => script.into(),
            Program::Args(args) => args.join(" ").into(),
            Program::Image => "".into(),
        }
    }

    /// Whether the job is no more than a worker knows to do that polls: fetch a ZIP, run a script in it, and tell
    /// what came of it. Such a worker can neither be given anything else nor be told anything later.
    fn is_for_pollers(&self) -> bool {
        let Self {
            program,
            image,
            env,
            cwd,
            name: _,
            tags: _,
            file_url,
            filename,
            stdin,
            tty,
            requires,
            priority: _,
            timeout_ms,
            queue_timeout_ms: _,
            grace_ms: _,
            requeue: _,
            artifacts,
            inside: _,
            service: _,
            template: _,
        } = self;
        let anywhere = Requires { worker: requires.worker.clone(), ..Requires::default() };
        matches!(program, Program::Shell(_))
            && file_url.is_some()
            && filename.is_some()
            && *requires == anywhere
            && image.is_none()
            && env.is_empty()
            && cwd.is_none()
            && !stdin
            && tty.is_none()
            && timeout_ms.is_none()
            && artifacts.is_empty()
    }

    /// Between SIGTERM and SIGKILL.
    pub fn grace(&self) -> Duration {
        self.grace_ms.map_or(DEFAULT_GRACE, Duration::from_millis)
    }
}

/// Checks a submitted spec. A `template` is filled in elsewhere: see [`super::Template::fill`].
impl TryFrom<wire::JobSpec> for JobSpec {
    type Error = InvalidSpec;

    fn try_from(spec: wire::JobSpec) -> Result<Self, InvalidSpec> {
        let wire::JobSpec {
            command,
            args,
            image,
            env,
            cwd,
            name,
            tags,
            file_url,
            filename,
            template,
            params,
            stdin,
            tty,
            requires,
            priority,
            timeout_secs,
            queue_timeout_secs,
            grace_secs,
            on_lost,
            max_attempts,
            artifacts,
            container,
            service,
        } = spec;
        if let Some(template) = template {
            return Err(WireError::new(crate::protocol::ErrorCode::NotFound, format!("no template {template:?}"))
                .field("template"));
        }
        if !params.is_empty() {
            return Err(WireError::bad_field("params", "params go with a template"));
        }
        let program = program(command, args, image.is_some())?;
        for key in env.keys() {
            if key.is_empty() || key.contains(['=', '\0']) {
                return Err(WireError::bad_field("env", format!("env: {key:?} is not a variable name")));
            }
        }
        if let Some((key, _)) = env.iter().find(|(_, value)| value.contains('\0')) {
            return Err(WireError::bad_field(format!("env.{key}"), "a value cannot hold a NUL"));
        }
        if let Some(image) = &image {
            check_image("image", image)?;
        }
        check_cwd(cwd.as_deref().unwrap_or_default(), container.is_some())?;
        for (index, pattern) in artifacts.iter().enumerate() {
            if leaves_its_root(pattern) {
                let field = format!("artifacts[{index}]");
                return Err(WireError::bad_field(field, "a pattern must stay inside the workspace"));
            }
        }
        let requeue = match on_lost {
            wire::OnLost::Fail => None,
            wire::OnLost::Requeue => Some(max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS)),
        };
        if max_attempts == Some(0) {
            return Err(WireError::bad_field("maxAttempts", "maxAttempts must be 1 or more"));
        }
        let tty = match tty {
            wire::Tty::Switch(false) => None,
            wire::Tty::Switch(true) => Some((80, 24)),
            wire::Tty::Size { cols, rows } if cols == 0 || rows == 0 => {
                let field = if cols == 0 { "tty.cols" } else { "tty.rows" };
                return Err(WireError::bad_field(field, format!("{field} must be 1 or more")));
            }
            wire::Tty::Size { cols, rows } => Some((cols, rows)),
        };
        let mut requires = Requires::try_from(requires)?;
        requires.container = image.is_some() || container.is_some();
        requires.slotless = service.is_some() || container.is_some();
        if let Some(service) = &service {
            check_service(service)?;
        }
        let spec = Self {
            program,
            image,
            env,
            cwd,
            name,
            tags,
            file_url,
            filename,
            stdin,
            tty,
            requires,
            priority,
            timeout_ms: millis("timeoutSecs", timeout_secs, false)?,
            queue_timeout_ms: millis("queueTimeoutSecs", queue_timeout_secs, false)?,
            grace_ms: millis("graceSecs", grace_secs, true)?,
            requeue,
            artifacts,
            inside: container,
            service: service.map(Box::new),
            template: None,
        };
        let polled = spec.is_for_pollers();
        Ok(Self { requires: Requires { polled, ..spec.requires }, ..spec })
    }
}

/// An image's name, which only registries can say more of.
///
/// # Errors
/// It is none; the error names `field`.
pub fn check_image(field: &str, image: &str) -> Result<(), InvalidSpec> {
    if image.is_empty() || image.len() > IMAGE_MOST || image.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let message = format!("{field} must be an image's name of 1 to {IMAGE_MOST} characters, got {image:?}");
        return Err(WireError::bad_field(field, message));
    }
    Ok(())
}

/// In the workspace, or in a running container.
fn check_cwd(cwd: &str, in_container: bool) -> Result<(), InvalidSpec> {
    if in_container && !cwd.is_empty() && (!cwd.starts_with('/') || cwd.contains('\0')) {
        return Err(WireError::bad_field("cwd", format!("cwd must be an absolute path in the container, got {cwd:?}")));
    }
    if !in_container && leaves_its_root(cwd) {
        return Err(WireError::bad_field("cwd", "cwd must stay inside the workspace: relative, without '..'"));
    }
    Ok(())
}

/// Milliseconds from the seconds of `field`.
///
/// # Errors
/// Not a number of seconds from 0 (or just above it) to 10⁹.
pub fn millis(field: &str, secs: Option<f64>, zero_allowed: bool) -> Result<Option<u64>, InvalidSpec> {
    match secs {
        None => Ok(None),
        Some(secs) if secs.is_finite() && secs <= LONGEST_SECS && (secs > 0.0 || zero_allowed && secs == 0.0) => {
            // In range by the guard; a limit under a millisecond is a millisecond.
            let ms = (secs * 1000.0).ceil();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10¹² by the guard")]
            Ok(Some(ms as u64))
        }
        Some(secs) => {
            let least = if zero_allowed { "0" } else { "more than 0" };
            Err(WireError::bad_field(field, format!("{field} must be {least} to 1000000000 seconds, got {secs}")))
        }
    }
}

impl TryFrom<wire::Requires> for Requires {
    type Error = InvalidSpec;

    fn try_from(requires: wire::Requires) -> Result<Self, InvalidSpec> {
        let wire::Requires { worker_id, labels, cpus, memory_bytes, gpus, gpu_ids } = requires;
        let milli_cpus = match cpus {
            None => 0,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10⁹ by the guard")]
            Some(cpus) if (0.0..=1e6).contains(&cpus) => (cpus * 1000.0).round() as u64,
            Some(cpus) => {
                return Err(WireError::bad_field("requires.cpus", format!("cpus must be 0 to 1000000, got {cpus}")));
            }
        };
        let gpus = match (gpus, gpu_ids) {
            (Some(_), Some(_)) => {
                return Err(WireError::bad_field("requires.gpuIds", "gpus and gpuIds exclude each other"));
            }
            (count, None) => Gpus::Count(count.unwrap_or(0)),
            (None, Some(ids)) if ids.is_empty() => Gpus::Count(0),
            (None, Some(mut ids)) => {
                ids.sort_unstable();
                ids.dedup();
                Gpus::Ids(ids)
            }
        };
        Ok(Self {
            worker: worker_id,
            labels,
            milli_cpus,
            memory_bytes: memory_bytes.unwrap_or(0),
            gpus,
            container: false,
            slotless: false,
            polled: false,
        })
    }
}

/// What a worker runs: whichever template it came from plays no part any more.
impl From<&JobSpec> for wire::JobSpec {
    fn from(spec: &JobSpec) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "at most 10¹² milliseconds")]
        let secs = |ms: Option<u64>| ms.map(|ms| ms as f64 / 1000.0);
        let (command, args) = match &spec.program {
            Program::Shell(script) => (Some(script.clone()), None),
            Program::Args(args) => (None, Some(args.clone())),
            Program::Image => (None, None),
        };
        Self {
            command,
            args,
            image: spec.image.clone(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            name: spec.name.clone(),
            tags: spec.tags.clone(),
            file_url: spec.file_url.clone(),
            filename: spec.filename.clone(),
            template: None,
            params: BTreeMap::new(),
            stdin: spec.stdin,
            tty: spec.tty.map_or(wire::Tty::Switch(false), |(cols, rows)| wire::Tty::Size { cols, rows }),
            requires: (&spec.requires).into(),
            priority: spec.priority,
            timeout_secs: secs(spec.timeout_ms),
            queue_timeout_secs: secs(spec.queue_timeout_ms),
            grace_secs: secs(spec.grace_ms),
            on_lost: if spec.requeue.is_some() { wire::OnLost::Requeue } else { wire::OnLost::Fail },
            max_attempts: spec.requeue,
            artifacts: spec.artifacts.clone(),
            container: spec.inside,
            service: spec.service.as_deref().cloned(),
        }
    }
}

impl From<&Requires> for wire::Requires {
    fn from(requires: &Requires) -> Self {
        let (gpus, gpu_ids) = match &requires.gpus {
            Gpus::Count(0) => (None, None),
            Gpus::Count(count) => (Some(*count), None),
            Gpus::Ids(ids) => (None, Some(ids.clone())),
        };
        #[expect(clippy::cast_precision_loss, reason = "at most 10⁹")]
        let cpus = (requires.milli_cpus > 0).then_some(requires.milli_cpus as f64 / 1000.0);
        Self {
            worker_id: requires.worker.clone(),
            labels: requires.labels.clone(),
            cpus,
            memory_bytes: (requires.memory_bytes > 0).then_some(requires.memory_bytes),
            gpus,
            gpu_ids,
        }
    }
}

fn program(command: Option<String>, args: Option<Vec<String>>, image: bool) -> Result<Program, InvalidSpec> {
    match (command, args) {
        (Some(_), Some(_)) => Err(WireError::bad_field("args", "command and args exclude each other")),
        (Some(script), None) if script.contains('\0') => {
            Err(WireError::bad_field("command", "a script cannot hold a NUL"))
        }
        (Some(script), None) if script.trim().is_empty() => Err(WireError::bad_field("command", "command is empty")),
        (Some(script), None) => Ok(Program::Shell(script)),
        (None, Some(args)) if args.first().is_none_or(String::is_empty) => {
            Err(WireError::bad_field("args", "args must begin with a program"))
        }
        (None, Some(args)) => match args.iter().position(|arg| arg.contains('\0')) {
            Some(index) => Err(WireError::bad_field(format!("args[{index}]"), "an argument cannot hold a NUL")),
            None => Ok(Program::Args(args)),
        },
        (None, None) if image => Ok(Program::Image),
        (None, None) => Err(WireError::bad_field("command", "command, args or image is required")),
    }
}

/// Not too many; volumes have names that are no paths, each is mounted once, and `/data` is taken.
fn check_service(service: &Service) -> Result<(), InvalidSpec> {
    for (field, count) in [("ports", service.ports.len()), ("mounts", service.mounts.len())] {
        if count > SERVICE_MOST {
            let message = format!("a container has {SERVICE_MOST} {field} at the most, not {count}");
            return Err(WireError::bad_field(field, message));
        }
    }
    let mut seen = BTreeSet::new();
    for (index, Mount { volume, path, read_only: _ }) in service.mounts.iter().enumerate() {
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if volume.is_empty() || volume.len() > 64 || volume.starts_with('.') || !volume.chars().all(named) {
            let message = format!("{volume:?} is not a volume's name of 1 to 64 letters, digits, '.', '_' or '-'");
            return Err(WireError::bad_field(format!("mounts[{index}].volume"), message));
        }
        let field = format!("mounts[{index}].path");
        let parts = || path.split('/').filter(|part| !part.is_empty());
        if !path.starts_with('/') || path.contains(['\0', ':']) || parts().any(|part| part == "..") {
            return Err(WireError::bad_field(field, format!("{path:?} is not an absolute path without '..' and ':'")));
        }
        let place = parts().collect::<Vec<_>>().join("/");
        if place.is_empty() || place == "data" || !seen.insert(place) {
            let message = format!("{path:?} is the root, /data or the path of another mount");
            return Err(WireError::bad_field(field, message));
        }
    }
    let mut hosts = BTreeSet::new();
    for (index, port) in service.ports.iter().enumerate() {
        if port.host.is_some_and(|host| !hosts.insert((host, port.protocol.as_str()))) {
            let message = format!("ports[{index}]: another one takes the same port of the host");
            return Err(WireError::bad_field(format!("ports[{index}]"), message));
        }
    }
    Ok(())
}

/// Whether a path or pattern could name something outside the directory it is relative to.
fn leaves_its_root(path: &str) -> bool {
    path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| part == "..")
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
