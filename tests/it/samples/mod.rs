//! One frame of every kind, with every field set: what golden files hold, what `fuzz` mutates.

mod accounts;
mod containers;
mod pages;

use std::collections::BTreeMap;

use gangline::protocol::agent::{
    Ack, AgentContainerOrder, AgentContainerReport, AgentInput, AgentJobOrder, AgentJobReport, AgentOrder, AgentOutput,
    AgentReport, AgentResize, Assign, AttemptEnd, AttemptGone, AttemptRef, CancelAttempt, ContainerUsageReport,
    GpuInfo, GpuUsage, Heartbeat, Lost, Nack, Register, Registered, Reject, Resume, ResumeState, ResumeVerdict,
    SftpGrant, SftpLogin, Usage, Verdict,
};
use gangline::protocol::auth::{
    AuthEvent, AuthOk, AuthReply, AuthRequest, Expiring, Login, NamedUser, Role, TokenCreate, TokenRecord, TokenReply,
    TokenRevoke, TokensReply, UserAdd, UserPassword, UserRecord, UsersReply,
};
use gangline::protocol::codec::{
    self, Acknowledged, FrameId, Nothing, Noun, Payload, Ping, Pong, ToAgent, ToClient, ToPlugin, ToServer,
};
use gangline::protocol::container::{ContainerEvent, ContainerRequest, Create};
use gangline::protocol::error::{ErrorCode, WireError};
use gangline::protocol::hello::{AuthMode, ClientHello, HelloEvent, ServerHello};
use gangline::protocol::job::{
    Cancel, EndEvent, Follow, Following, Input, JobEvent, JobRecord, JobReply, JobRequest, JobsReply, List, Live,
    Named, OutputEvent, Reason, Resize, Status, StatusEvent, Submit, Submitted, Truncated,
};
use gangline::protocol::paging::Read;
use gangline::protocol::plugin::{
    Action, Answer, Call, Event, Hook, PluginEvent, PluginOrder, PluginRecord, PluginReport, PluginRequest,
    PluginsReply, Policy, RegisterPlugin, RegisteredPlugin,
};
use gangline::protocol::spec::{JobSpec, OnLost, Requires, Tty};
use gangline::protocol::worker::{
    ListWorkers, NamedWorker, UsageEvent, UsageSample, WorkerEvent, WorkerHistory, WorkerRecord, WorkerReply,
    WorkerRequest, WorkerStatus, WorkersReply,
};
use gangline::protocol::{After, Before, Cursor, JobId, JobRef, StreamName, WorkerId};

const NOW: u64 = 1_767_225_600_000;

/// Who sends a frame to whom. Clients and workers read and write different ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    FromClient,
    FromWorker,
    FromPlugin,
    ToClient,
    ToWorker,
    ToPlugin,
}

impl Direction {
    pub(crate) const ALL: [Self; 6] =
        [Self::FromClient, Self::FromWorker, Self::FromPlugin, Self::ToClient, Self::ToWorker, Self::ToPlugin];

    /// Folder of the golden files, and the word in `protocol.md`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FromClient => "from-client",
            Self::FromWorker => "from-worker",
            Self::FromPlugin => "from-plugin",
            Self::ToClient => "to-client",
            Self::ToWorker => "to-worker",
            Self::ToPlugin => "to-plugin",
        }
    }

    /// Every verb of this direction, by noun; nouns without verbs have the empty one.
    pub(crate) fn verbs(self) -> Vec<(Noun, &'static [&'static str])> {
        const BARE: &[&str] = &[""];
        let mut verbs = vec![(Noun::Ping, BARE), (Noun::Pong, BARE)];
        verbs.extend(match self {
            Self::FromClient => vec![
                (Noun::Hello, BARE),
                (Noun::Auth, AuthRequest::VERBS),
                (Noun::Job, JobRequest::VERBS),
                (Noun::Worker, WorkerRequest::VERBS),
                (Noun::Plugin, PluginRequest::VERBS),
                (Noun::Container, ContainerRequest::VERBS),
            ],
            Self::FromWorker => vec![
                (Noun::Job, AgentJobReport::VERBS),
                (Noun::Worker, AgentReport::VERBS),
                (Noun::Container, AgentContainerReport::VERBS),
            ],
            Self::FromPlugin => vec![(Noun::Plugin, PluginReport::VERBS)],
            Self::ToClient => vec![
                (Noun::Hello, BARE),
                (Noun::Hello, HelloEvent::VERBS),
                (Noun::Error, BARE),
                (Noun::Auth, AuthEvent::VERBS),
                (Noun::Job, JobEvent::VERBS),
                (Noun::Worker, WorkerEvent::VERBS),
                (Noun::Plugin, PluginEvent::VERBS),
                (Noun::Container, ContainerEvent::VERBS),
            ],
            Self::ToWorker => vec![
                (Noun::Job, AgentJobOrder::VERBS),
                (Noun::Worker, AgentOrder::VERBS),
                (Noun::Container, AgentContainerOrder::VERBS),
            ],
            Self::ToPlugin => vec![(Noun::Plugin, PluginOrder::VERBS)],
        });
        verbs
    }

    /// The definition of `protocol::schema` that holds this direction's frames.
    pub(crate) fn schema(self) -> &'static str {
        match self {
            Self::FromClient | Self::FromWorker | Self::FromPlugin => "toServer",
            Self::ToClient => "toClient",
            Self::ToWorker => "toWorker",
            Self::ToPlugin => "toPlugin",
        }
    }
}

/// A frame as its reader sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame<'a> {
    Server(ToServer<'a>),
    Client(ToClient<'a>),
    Agent(ToAgent<'a>),
    Plugin(ToPlugin),
}

impl<'a> Frame<'a> {
    /// Reads `text` as the receiving end of `direction` does.
    pub(crate) fn read(direction: Direction, text: &'a str) -> Result<(Self, Option<FrameId>), codec::FrameError> {
        Ok(match direction {
            Direction::FromClient | Direction::FromWorker | Direction::FromPlugin => {
                let (frame, id) = codec::read_at_server(text)?;
                (Self::Server(frame), id)
            }
            Direction::ToClient => {
                let (frame, id) = codec::read_at_client(text)?;
                (Self::Client(frame), id)
            }
            Direction::ToWorker => {
                let (frame, id) = codec::read_at_agent(text)?;
                (Self::Agent(frame), id)
            }
            Direction::ToPlugin => {
                let (frame, id) = codec::read_at_plugin(text)?;
                (Self::Plugin(frame), id)
            }
        })
    }

    /// Writes the frame as its sender does; `None` for frames that are not read further yet.
    pub(crate) fn write(&self, id: Option<&FrameId>) -> Option<String> {
        fn with<P: Payload>(payload: &P, id: Option<&FrameId>) -> Option<String> {
            Some(codec::encode_with(payload, id))
        }
        match self {
            Self::Server(frame) => match frame {
                ToServer::Hello(payload) => with(payload, id),
                ToServer::Auth(payload) => with(payload, id),
                ToServer::Job(payload) => with(payload, id),
                ToServer::Worker(payload) => with(payload, id),
                ToServer::AgentJob(payload) => with(payload, id),
                ToServer::Agent(payload) => with(payload, id),
                ToServer::Plugin(payload) => with(payload, id),
                ToServer::Plugins(payload) => with(payload, id),
                ToServer::Container(payload) => with(payload, id),
                ToServer::AgentContainer(payload) => with(payload, id),
                ToServer::Ping => with(&Ping {}, id),
                ToServer::Pong => with(&Pong {}, id),
            },
            Self::Client(frame) => match frame {
                ToClient::Hello(payload) => with(payload, id),
                ToClient::HelloEvent(payload) => with(payload, id),
                ToClient::Auth(payload) => with(payload, id),
                ToClient::Job(payload) => with(payload, id),
                ToClient::Worker(payload) => with(payload, id),
                ToClient::Plugin(payload) => with(payload, id),
                ToClient::Container(payload) => with(payload, id),
                ToClient::Error(payload) => with(payload, id),
                ToClient::Ping => with(&Ping {}, id),
                ToClient::Pong => with(&Pong {}, id),
            },
            Self::Agent(frame) => match frame {
                ToAgent::Hello(payload) => with(payload, id),
                ToAgent::Auth(payload) => with(payload, id),
                ToAgent::Job(payload) => with(payload, id),
                ToAgent::Worker(payload) => with(payload, id),
                ToAgent::Container(payload) => with(payload, id),
                ToAgent::Error(payload) => with(payload, id),
                ToAgent::Ping => with(&Ping {}, id),
                ToAgent::Pong => with(&Pong {}, id),
            },
            Self::Plugin(frame) => match frame {
                ToPlugin::Hello(payload) => with(payload, id),
                ToPlugin::Auth(payload) => with(payload, id),
                ToPlugin::Plugin(payload) => with(payload, id),
                ToPlugin::Error(payload) => with(payload, id),
                ToPlugin::Ping => with(&Ping {}, id),
                ToPlugin::Pong => with(&Pong {}, id),
            },
        }
    }
}

/// A frame, and the name of its golden file: `<type>-<opt>`, with a word more for a variation.
pub(crate) struct Sample {
    pub(crate) direction: Direction,
    pub(crate) name: &'static str,
    pub(crate) id: Option<FrameId>,
    pub(crate) frame: Frame<'static>,
}

fn job_id() -> JobId {
    JobId { number: 1564, nonce: 0x001f_0c33 }
}

fn job_ref() -> JobRef {
    JobRef::Id(job_id())
}

fn worker_id() -> WorkerId {
    "gpu-box-1".parse().unwrap()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn spec() -> JobSpec {
    JobSpec {
        command: text("make -j2 test"),
        args: None,
        image: text("rust:1.95"),
        env: map(&[("CI", "1"), ("LANG", "C.UTF-8")]),
        cwd: text("crates/core"),
        name: text("nightly"),
        tags: vec!["ci".to_owned(), "linux".to_owned()],
        file_url: text("/uploads/01h2/project.zip"),
        filename: text("project.zip"),
        template: None,
        params: BTreeMap::from([("depth".to_owned(), serde_json::json!(3))]),
        stdin: true,
        tty: Tty::Size { cols: 120, rows: 40 },
        requires: Requires {
            worker_id: Some(worker_id()),
            labels: map(&[("zone", "eu-1")]),
            cpus: Some(1.5),
            memory_bytes: Some(2_147_483_648),
            gpus: None,
            gpu_ids: Some(vec![0, 1]),
        },
        priority: 5,
        timeout_secs: Some(600.0),
        queue_timeout_secs: Some(3600.0),
        grace_secs: Some(2.5),
        on_lost: OnLost::Requeue,
        max_attempts: Some(3),
        artifacts: vec!["target/*.tar.gz".to_owned()],
        container: None,
        service: None,
    }
}

fn small_spec() -> JobSpec {
    JobSpec { command: text("echo hi"), ..JobSpec::default() }
}

fn record() -> JobRecord {
    JobRecord {
        job_id: job_id(),
        task_id: 1564,
        name: text("nightly"),
        status: Status::Failed,
        reason: Some(Reason::Exit),
        command: text("make -j2 test"),
        args: None,
        image: None,
        tags: vec!["ci".to_owned()],
        worker_id: Some(worker_id()),
        attempt: 1,
        account: "ada".to_owned(),
        exit_code: Some(2),
        error_message: None,
        created_at: NOW,
        started_at: Some(NOW + 12),
        completed_at: Some(NOW + 61_204),
        stdout_bytes: 48_211,
        stderr_bytes: 902,
        waiting_for: None,
        gpu_ids: vec![0, 1],
        priority: 5,
        spec: Some(Box::new(small_spec())),
    }
}

fn usage() -> Usage {
    Usage {
        cpu: 0.25,
        memory_bytes: 3_221_225_472,
        disk_bytes: 42_949_672_960,
        network_in_bytes: 1_200,
        network_out_bytes: 88_000,
        gpus: vec![GpuUsage {
            index: 0,
            utilization: 0.5,
            memory_bytes: 1_073_741_824,
            temperature: Some(61),
            power_watts: Some(120.5),
        }],
    }
}

fn gpus() -> Vec<GpuInfo> {
    vec![GpuInfo {
        index: 0,
        name: "NVIDIA H200".to_owned(),
        uuid: "GPU-6c1f0f1e-0000-4000-8000-000000000000".to_owned(),
        memory_bytes: 150_754_820_096,
    }]
}

fn worker() -> WorkerRecord {
    WorkerRecord {
        worker_id: worker_id(),
        status: WorkerStatus::Busy,
        draining: false,
        ip: Some(std::net::Ipv4Addr::new(192, 0, 2, 7).into()),
        sftp: text("gpu-box-1.lan:2022"),
        hostname: "gpu-box-1.lan".to_owned(),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        version: "0.1.0".to_owned(),
        cpu_count: 16,
        memory_bytes: 137_438_953_472,
        disk_bytes: 1_000_204_886_016,
        gpus: gpus(),
        slots: 8,
        running: 1,
        labels: map(&[("zone", "eu-1")]),
        usage: Some(usage()),
        connected_at: Some(NOW),
        last_seen: NOW + 10_000,
    }
}

fn login(token: &str) -> AuthRequest {
    AuthRequest::Login(Login { token: text(token), account: None, password: None })
}

fn token_record() -> TokenRecord {
    TokenRecord {
        id: "t8Qm3xYp".to_owned(),
        role: Role::Worker,
        account: "ada".to_owned(),
        created_at: NOW,
        expires_at: Some(NOW + 2_592_000_000),
        name: text("ci"),
    }
}

/// Every frame.
pub(crate) fn all() -> Vec<Sample> {
    let directions =
        [from_client(), from_worker(), from_plugin(), to_client(), to_worker(), to_plugin(), pages::to_client()];
    let containers =
        [containers::from_client(), containers::from_worker(), containers::to_client(), containers::to_worker()];
    let accounts = [accounts::from_client(), accounts::to_client()];
    directions.into_iter().chain(containers).chain(accounts).flatten().collect()
}

fn from_client() -> Vec<Sample> {
    let sample = |name, frame| Sample {
        direction: Direction::FromClient,
        name,
        id: Some(FrameId::number(7)),
        frame: Frame::Server(frame),
    };
    let job = |name, request| sample(name, ToServer::Job(request));
    let auth = |name, request| sample(name, ToServer::Auth(request));
    let worker = |name, request| sample(name, ToServer::Worker(request));
    let named = || NamedWorker { worker_id: worker_id() };
    vec![
        sample("ping", ToServer::Ping),
        sample("pong", ToServer::Pong),
        sample("hello", ToServer::Hello(ClientHello { protocol: 1 })),
        auth("auth-login", login("gl_t8Qm3xYp_secret")),
        auth(
            "auth-login-password",
            AuthRequest::Login(Login { token: None, account: text("ada"), password: text("correct horse") }),
        ),
        auth(
            "auth-userAdd",
            AuthRequest::UserAdd(UserAdd {
                account: "ada".to_owned(),
                role: Some(Role::User),
                email: text("ada@example.org"),
                password: text("correct horse"),
            }),
        ),
        auth("auth-userList", AuthRequest::UserList(Nothing {})),
        auth("auth-userRemove", AuthRequest::UserRemove(NamedUser { account: "ada".to_owned() })),
        auth(
            "auth-userPassword",
            AuthRequest::UserPassword(UserPassword {
                account: "ada".to_owned(),
                password: "battery staple".to_owned(),
            }),
        ),
        auth(
            "auth-tokenCreate",
            AuthRequest::TokenCreate(TokenCreate {
                role: Role::Worker,
                account: text("ada"),
                ttl_secs: Some(2_592_000),
                name: text("ci"),
            }),
        ),
        auth("auth-tokenList", AuthRequest::TokenList(Nothing {})),
        auth("auth-tokenRevoke", AuthRequest::TokenRevoke(TokenRevoke { token: "t8Qm3xYp".to_owned() })),
        job("job-submit", JobRequest::Submit(Box::new(Submit { spec: spec(), key: text("n-42"), follow: Some(true) }))),
        job("job-submit-small", JobRequest::Submit(Box::new(Submit { spec: small_spec(), key: None, follow: None }))),
        job("job-follow", JobRequest::Follow(Follow { job_id: job_ref(), after: After::At(Cursor::new(1, 42)) })),
        job("job-follow-number", JobRequest::Follow(Follow { job_id: JobRef::Number(1564), after: After::Tail })),
        job("job-unfollow", JobRequest::Unfollow(Named { job_id: job_ref() })),
        job("job-get", JobRequest::Get(Named { job_id: job_ref() })),
        job(
            "job-list",
            JobRequest::List(List {
                status: Some(Status::Running),
                account: text("ada"),
                worker_id: Some(worker_id()),
                tag: text("ci"),
                text: text("make"),
                limit: Some(20),
                before: Some(job_ref()),
            }),
        ),
        job("job-counts", JobRequest::Counts(Nothing {})),
        job("job-read", JobRequest::Read(pages::read())),
        job("job-read-before", JobRequest::Read(Read { after: None, before: Some(Before::End), ..pages::read() })),
        job("job-templates", JobRequest::Templates(Nothing {})),
        job("job-watch", JobRequest::Watch(Nothing {})),
        job("job-unwatch", JobRequest::Unwatch(Nothing {})),
        job(
            "job-input",
            JobRequest::Input(Input { job_id: job_ref(), text: Some("y\n".into()), base64: None, eof: true }),
        ),
        job("job-resize", JobRequest::Resize(Resize { job_id: job_ref(), cols: 120, rows: 40 })),
        job("job-cancel", JobRequest::Cancel(Cancel { job_id: job_ref(), grace_secs: Some(2.5) })),
        worker(
            "worker-list",
            WorkerRequest::List(ListWorkers { limit: Some(20), before: Some("gpu-box-0".parse().unwrap()) }),
        ),
        worker("worker-get", WorkerRequest::Get(named())),
        worker("worker-history", WorkerRequest::History(named())),
        worker("worker-watch", WorkerRequest::Watch(Nothing {})),
        worker("worker-unwatch", WorkerRequest::Unwatch(Nothing {})),
        worker("worker-drain", WorkerRequest::Drain(named())),
        worker("worker-undrain", WorkerRequest::Undrain(named())),
        sample("plugin-list", ToServer::Plugins(PluginRequest::List(Nothing {}))),
    ]
}

fn from_worker() -> Vec<Sample> {
    let sample = |name, frame| Sample { direction: Direction::FromWorker, name, id: None, frame: Frame::Server(frame) };
    let job = |name, report| sample(name, ToServer::AgentJob(report));
    let worker = |name, report| sample(name, ToServer::Agent(report));
    vec![
        sample("ping", ToServer::Ping),
        sample("pong", ToServer::Pong),
        worker(
            "worker-register",
            AgentReport::Register(Box::new(Register {
                worker_id: worker_id(),
                boot: NOW,
                hostname: "gpu-box-1.lan".to_owned(),
                os: "linux".to_owned(),
                arch: "x86_64".to_owned(),
                cpu_count: 16,
                memory_bytes: 137_438_953_472,
                disk_bytes: 1_000_204_886_016,
                gpus: gpus(),
                slots: 8,
                labels: map(&[("zone", "eu-1")]),
                version: "0.1.0".to_owned(),
                images: Some(vec!["rust:1.95".to_owned()]),
                pub_key: Some("ssh-ed25519 AAAAC3Nz".to_owned()),
                address: Some("203.0.113.7:9000".to_owned()),
                resume: vec![Resume { job_id: job_id(), attempt: 1, last_n: 42, state: ResumeState::Running }],
                containers: vec![containers::container_id()],
                sftp: text(":2022"),
            })),
        ),
        worker(
            "worker-heartbeat",
            AgentReport::Heartbeat(Heartbeat {
                usage: Some(usage()),
                jobs: vec![(job_id(), 1)],
                containers: vec![ContainerUsageReport {
                    container_id: containers::container_id(),
                    usage: containers::usage(),
                }],
            }),
        ),
        worker("worker-drain", AgentReport::Drain(Nothing {})),
        worker("worker-undrain", AgentReport::Undrain(Nothing {})),
        Sample {
            id: Some(FrameId::number(3)),
            ..worker(
                "worker-sftpLogin",
                AgentReport::SftpLogin(SftpLogin {
                    account: "ada".to_owned(),
                    password: "correct horse".to_owned(),
                    job_id: JobRef::Number(1564),
                    from: "203.0.113.7".parse().unwrap(),
                }),
            )
        },
        job("job-accept", AgentJobReport::Accept(AttemptRef { job_id: job_id(), attempt: 1 })),
        job(
            "job-reject",
            AgentJobReport::Reject(Reject { job_id: job_id(), attempt: 1, reason: "disk full".to_owned() }),
        ),
        job(
            "job-output",
            AgentJobReport::Output(AgentOutput {
                job_id: job_id(),
                attempt: 1,
                n: 43,
                stream: StreamName::Stdout,
                offset: 4096,
                text: Some("\u{1b}[32mok\u{1b}[0m grüße\r\n".into()),
                base64: None,
                time: Some(NOW),
            }),
        ),
        job(
            "job-output-base64",
            AgentJobReport::Output(AgentOutput {
                job_id: job_id(),
                attempt: 1,
                n: 44,
                stream: StreamName::Stderr,
                offset: 0,
                text: None,
                base64: Some("/wA=".into()),
                time: Some(NOW),
            }),
        ),
        job(
            "job-gone",
            AgentJobReport::Gone(AttemptGone {
                job_id: job_id(),
                attempt: 1,
                n: 40,
                stdout_bytes: 812,
                stderr_bytes: 7,
            }),
        ),
        job(
            "job-end",
            AgentJobReport::End(AttemptEnd {
                job_id: job_id(),
                attempt: 1,
                n: 45,
                exit_code: Some(143),
                reason: Reason::Timeout,
                error_message: text("ran longer than 600 s"),
                time: Some(NOW),
            }),
        ),
    ]
}

fn to_client() -> Vec<Sample> {
    let sample = |name, id: Option<u64>, frame| Sample {
        direction: Direction::ToClient,
        name,
        id: id.map(FrameId::number),
        frame: Frame::Client(frame),
    };
    let reply = |name, event| sample(name, Some(7), ToClient::Job(event));
    let pushed = |name, event| sample(name, None, ToClient::Job(event));
    let auth = |name, event| sample(name, Some(7), ToClient::Auth(event));
    let worker_reply = |name, event| sample(name, Some(7), ToClient::Worker(event));
    let worker_pushed = |name, event| sample(name, None, ToClient::Worker(event));
    let acknowledged = |verb| Acknowledged::of(verb);
    vec![
        sample("ping", None, ToClient::Ping),
        sample("pong", Some(7), ToClient::Pong),
        sample("hello", None, ToClient::Hello(hello())),
        sample("hello-ok", Some(7), ToClient::HelloEvent(HelloEvent::Ok(acknowledged("hello")))),
        sample(
            "error",
            Some(7),
            ToClient::Error(
                WireError::new(ErrorCode::QueueFull, "the queue is full (1000000 jobs)")
                    .field("requires.gpus")
                    .retry_after(1_000),
            ),
        ),
        auth("auth-ok", AuthEvent::Ok(AuthReply::Login(auth_ok()))),
        auth("auth-ok-of", AuthEvent::Ok(AuthReply::Done(acknowledged("userRemove")))),
        sample("auth-expiring", None, ToClient::Auth(AuthEvent::Expiring(Expiring { expires_at: NOW + 60_000 }))),
        auth(
            "auth-users",
            AuthEvent::Users(UsersReply {
                users: vec![UserRecord {
                    account: "ada".to_owned(),
                    role: Role::User,
                    email: text("ada@example.org"),
                    created_at: NOW,
                }],
            }),
        ),
        auth(
            "auth-token",
            AuthEvent::Token(TokenReply { token: "gl_t8Qm3xYp_secret".to_owned(), record: token_record() }),
        ),
        auth("auth-tokens", AuthEvent::Tokens(TokensReply { tokens: vec![token_record()] })),
        reply(
            "job-submitted",
            JobEvent::Submitted(Submitted {
                job_id: job_id(),
                task_id: 1564,
                status: Status::Pending,
                duplicate: false,
            }),
        ),
        reply(
            "job-following",
            JobEvent::Following(Following {
                job_id: job_id(),
                from: Cursor::START,
                top: Cursor::new(1, 42),
                status: Status::Running,
            }),
        ),
        pushed("job-status", JobEvent::Status(status_of_log())),
        pushed("job-status-watched", JobEvent::Status(status_of_watch())),
        pushed(
            "job-output",
            JobEvent::Output(OutputEvent {
                job_id: job_id(),
                at: Cursor::new(1, 1),
                stream: StreamName::Stdout,
                offset: 0,
                text: Some("hi\n".into()),
                base64: None,
                time: NOW,
            }),
        ),
        pushed(
            "job-output-base64",
            JobEvent::Output(OutputEvent {
                job_id: job_id(),
                at: Cursor::new(1, 2),
                stream: StreamName::Stderr,
                offset: 0,
                text: None,
                base64: Some("/wA=".into()),
                time: NOW,
            }),
        ),
        pushed(
            "job-end",
            JobEvent::End(EndEvent {
                job_id: job_id(),
                at: Cursor::new(1, 3),
                status: Status::Failed,
                exit_code: Some(137),
                reason: Reason::OutOfMemory,
                error_message: text("used more than 2 GiB"),
                time: NOW,
            }),
        ),
        pushed("job-live", JobEvent::Live(Live { job_id: job_id(), at: Cursor::new(1, 42) })),
        pushed(
            "job-truncated",
            JobEvent::Truncated(Truncated { job_id: job_id(), from: Cursor::new(1, 1), to: Cursor::new(1, 40) }),
        ),
        reply("job-job", JobEvent::Job(Box::new(JobReply { job: record() }))),
        reply("job-jobs", JobEvent::Jobs(JobsReply { jobs: vec![record()], next: text("job-1564-001f0c33") })),
        pushed("job-lagged", JobEvent::Lagged(Nothing {})),
        reply("job-ok", JobEvent::Ok(acknowledged("cancel"))),
        worker_reply("worker-worker", WorkerEvent::Worker(Box::new(WorkerReply { worker: worker() }))),
        worker_reply(
            "worker-history",
            WorkerEvent::History(WorkerHistory {
                worker_id: worker_id(),
                every_secs: 10,
                samples: vec![UsageSample { time: NOW, usage: usage() }],
            }),
        ),
        worker_reply("worker-workers", WorkerEvent::Workers(WorkersReply { workers: vec![worker()], next: None })),
        worker_pushed("worker-status", WorkerEvent::Status(Box::new(WorkerReply { worker: worker() }))),
        worker_pushed(
            "worker-usage",
            WorkerEvent::Usage(UsageEvent { worker_id: worker_id(), usage: usage(), time: NOW }),
        ),
        worker_pushed("worker-lagged", WorkerEvent::Lagged(Nothing {})),
        worker_reply("worker-ok", WorkerEvent::Ok(acknowledged("drain"))),
        sample(
            "plugin-plugins",
            Some(7),
            ToClient::Plugin(PluginEvent::Plugins(PluginsReply { plugins: vec![plugin_record()] })),
        ),
    ]
}

fn to_worker() -> Vec<Sample> {
    let sample = |name, frame| Sample { direction: Direction::ToWorker, name, id: None, frame: Frame::Agent(frame) };
    let job = |name, order| sample(name, ToAgent::Job(order));
    let worker = |name, order| sample(name, ToAgent::Worker(order));
    vec![
        sample("ping", ToAgent::Ping),
        sample("pong", ToAgent::Pong),
        sample("hello", ToAgent::Hello(hello())),
        sample("auth-ok", ToAgent::Auth(AuthEvent::Ok(AuthReply::Login(auth_ok())))),
        sample(
            "error",
            ToAgent::Error(WireError::new(ErrorCode::StaleAttempt, "attempt 1 of job-1564-001f0c33 is over")),
        ),
        worker(
            "worker-registered",
            AgentOrder::Registered(Registered {
                worker_id: worker_id(),
                heartbeat_secs: 10,
                resume: vec![
                    ResumeVerdict {
                        job_id: job_id(),
                        attempt: 1,
                        verdict: Verdict::Continue,
                        next_n: 43,
                        stdout_bytes: None,
                        stderr_bytes: None,
                    },
                    ResumeVerdict {
                        job_id: containers::container_id().job(),
                        attempt: 3,
                        verdict: Verdict::Continue,
                        next_n: 8,
                        stdout_bytes: Some(812),
                        stderr_bytes: Some(7),
                    },
                ],
            }),
        ),
        worker("worker-heartbeat", AgentOrder::Heartbeat(Lost { lost: vec![(job_id(), 1)] })),
        worker("worker-drain", AgentOrder::Drain(Nothing {})),
        worker("worker-undrain", AgentOrder::Undrain(Nothing {})),
        Sample {
            id: Some(FrameId::number(3)),
            ..worker(
                "worker-sftpLogin",
                AgentOrder::SftpLogin(SftpGrant { account: "ada".to_owned(), job_id: job_id() }),
            )
        },
        job(
            "job-assign",
            AgentJobOrder::Assign(Box::new(Assign {
                adopt: None,
                job_id: job_id(),
                attempt: 1,
                spec: spec(),
                gpu_ids: vec![0, 1],
                lease_secs: 30,
                window_bytes: 4_194_304,
            })),
        ),
        job(
            "job-ack",
            AgentJobOrder::Ack(Ack { job_id: job_id(), attempt: 1, n: 43, stable: 40, window_bytes: 4_194_304 }),
        ),
        job("job-nack", AgentJobOrder::Nack(Nack { job_id: job_id(), attempt: 1, expect: 44 })),
        job("job-cancel", AgentJobOrder::Cancel(CancelAttempt { job_id: job_id(), attempt: 1, grace_secs: 2.5 })),
        job(
            "job-input",
            AgentJobOrder::Input(AgentInput {
                job_id: job_id(),
                attempt: 1,
                text: None,
                base64: Some("eQo=".into()),
                eof: true,
            }),
        ),
        job("job-resize", AgentJobOrder::Resize(AgentResize { job_id: job_id(), attempt: 1, cols: 120, rows: 40 })),
    ]
}

fn from_plugin() -> Vec<Sample> {
    let sample = |name, id: Option<u64>, frame| Sample {
        direction: Direction::FromPlugin,
        name,
        id: id.map(FrameId::number),
        frame: Frame::Server(frame),
    };
    let report = |name, report| sample(name, Some(7), ToServer::Plugin(report));
    vec![
        sample("ping", None, ToServer::Ping),
        sample("pong", None, ToServer::Pong),
        report(
            "plugin-register",
            PluginReport::Register(RegisterPlugin {
                name: "prices".parse().unwrap(),
                hooks: vec![Hook::JobSubmit, Hook::JobEnd],
            }),
        ),
        report(
            "plugin-answer",
            PluginReport::Answer(Box::new(Answer {
                call_id: 12,
                action: Action::Change,
                message: text("nobody needs that much"),
                job: Some(spec()),
                container: None,
            })),
        ),
        report(
            "plugin-answer-container",
            PluginReport::Answer(Box::new(Answer {
                call_id: 13,
                action: Action::Change,
                message: None,
                job: None,
                container: Some(create()),
            })),
        ),
    ]
}

fn to_plugin() -> Vec<Sample> {
    let sample = |name, id: Option<u64>, frame| Sample {
        direction: Direction::ToPlugin,
        name,
        id: id.map(FrameId::number),
        frame: Frame::Plugin(frame),
    };
    let reply = |name, order| sample(name, Some(7), ToPlugin::Plugin(order));
    let pushed = |name, order| sample(name, None, ToPlugin::Plugin(order));
    let event = |hook| Event { hook, time: NOW, dropped: 3, job: None, container: None, worker: None };
    vec![
        sample("ping", None, ToPlugin::Ping),
        sample("pong", None, ToPlugin::Pong),
        sample("hello", None, ToPlugin::Hello(hello())),
        sample("auth-ok", None, ToPlugin::Auth(AuthEvent::Ok(AuthReply::Login(auth_ok())))),
        sample(
            "error",
            Some(7),
            ToPlugin::Error(WireError::bad_field("hooks[1]", "hooks[1]: unknown variant `job.sumbit`")),
        ),
        reply(
            "plugin-registered",
            PluginOrder::Registered(RegisteredPlugin {
                name: "prices".parse().unwrap(),
                hooks: vec![Hook::JobSubmit, Hook::JobEnd],
                timeout_ms: 2_000,
            }),
        ),
        pushed(
            "plugin-call",
            PluginOrder::Call(Box::new(Call {
                call_id: 12,
                hook: Hook::JobSubmit,
                account: "ada".to_owned(),
                key: text("nightly-17"),
                job: Some(spec()),
                container: None,
                deadline_ms: NOW + 2_000,
            })),
        ),
        pushed(
            "plugin-call-container",
            PluginOrder::Call(Box::new(Call {
                call_id: 13,
                hook: Hook::ContainerCreate,
                account: "ada".to_owned(),
                key: None,
                job: None,
                container: Some(create()),
                deadline_ms: NOW + 2_000,
            })),
        ),
        pushed("plugin-event", PluginOrder::Event(Box::new(Event { job: Some(record()), ..event(Hook::JobEnd) }))),
        pushed(
            "plugin-event-worker",
            PluginOrder::Event(Box::new(Event { worker: Some(worker()), ..event(Hook::WorkerOnline) })),
        ),
        reply("plugin-ok", PluginOrder::Ok(Acknowledged::of("answer"))),
    ]
}

fn create() -> Create {
    Create { image_id: text("postgres:17"), cpus: Some(1.5), ..Create::default() }
}

fn plugin_record() -> PluginRecord {
    PluginRecord {
        name: "prices".parse().unwrap(),
        hooks: vec![Hook::JobSubmit, Hook::JobEnd],
        policy: Policy::Closed,
        timeout_ms: 2_000,
        configured: true,
        connected_at: Some(NOW),
        calls: 1_204,
        failures: 2,
        dropped: 3,
    }
}

fn hello() -> ServerHello {
    ServerHello {
        protocol: 1,
        server: "gangline/0.1.0".to_owned(),
        instance: "d-7f3a".to_owned(),
        now: NOW,
        auth: AuthMode::Required,
        ping_secs: 25,
        max_frame_bytes: 65_536,
    }
}

fn auth_ok() -> AuthOk {
    AuthOk {
        account: "ada".to_owned(),
        role: Role::User,
        expires_at: Some(NOW + 3_600_000),
        token: text("eyJhbGciOiJIUzI1NiJ9.e30.c2ln"),
    }
}

fn status_of_log() -> StatusEvent {
    StatusEvent {
        job_id: job_id(),
        at: Some(Cursor::new(1, 0)),
        status: Status::Running,
        attempt: 1,
        worker_id: Some(worker_id()),
        reason: None,
        task_id: None,
        account: None,
        name: None,
        exit_code: None,
        time: NOW,
    }
}

fn status_of_watch() -> StatusEvent {
    StatusEvent {
        job_id: job_id(),
        at: None,
        status: Status::Completed,
        attempt: 1,
        worker_id: Some(worker_id()),
        reason: Some(Reason::Exit),
        task_id: Some(1564),
        account: text("ada"),
        name: text("nightly"),
        exit_code: Some(0),
        time: NOW,
    }
}
