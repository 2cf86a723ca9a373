//! Frames about containers.

use gangline::protocol::agent::{
    AgentContainerOrder, AgentContainerReport, AgentJobOrder, Assign, ContainerFailed, ContainerOnly, ContainerStarted,
    ContainerUsageReport, GpuUsage, MeasureContainer,
};
use gangline::protocol::codec::{Acknowledged, FrameId, Nothing, ToAgent, ToClient, ToServer};
use gangline::protocol::container::spec::{Adopt, Protocol, Service};
use gangline::protocol::container::{
    BoundPort, ConsoleInput, ConsoleLive, ConsoleOutput, ConsoleResize, ConsoleTruncated, ContainerEvent,
    ContainerHistory, ContainerRecord, ContainerReply, ContainerRequest, ContainerSample, ContainerStatus,
    ContainerStatusEvent, ContainerUsage, ContainersReply, Create, Created, Exec, FollowConsole, FollowingConsole,
    ListContainers, Mount, NamedContainer, Port, Restart, StartEnded, StatsEvent, Stop,
};
use gangline::protocol::error::{ErrorCode, WireError};
use gangline::protocol::job::Reason;
use gangline::protocol::spec::{JobSpec, Requires, Tty};
use gangline::protocol::{After, ContainerId, ContainerRef, Cursor, StreamName};

use super::{Direction, Frame, NOW, Sample, map, text, worker_id};

pub(super) fn container_id() -> ContainerId {
    "ctr-7-c51f0c33".parse().unwrap()
}

fn container_ref() -> ContainerRef {
    ContainerRef::Id(container_id())
}

fn named() -> NamedContainer {
    NamedContainer { container_id: container_ref() }
}

fn mounts() -> Vec<Mount> {
    vec![Mount { volume: "world".to_owned(), path: "/srv/world".to_owned(), read_only: true }]
}

fn ports() -> Vec<BoundPort> {
    vec![BoundPort { container: 8080, host: 32_768, address: "192.0.2.7:32768".to_owned(), protocol: Protocol::Tcp }]
}

pub(super) fn usage() -> ContainerUsage {
    ContainerUsage {
        cpu: 1.5,
        memory_bytes: 104_857_600,
        memory_limit_bytes: 536_870_912,
        network_in_bytes: 1_200,
        network_out_bytes: 88_000,
        disk_read_bytes: 4_096,
        disk_write_bytes: 65_536,
        pids: 12,
        gpus: vec![GpuUsage {
            index: 3,
            utilization: 0.75,
            memory_bytes: 12_884_901_888,
            temperature: Some(61),
            power_watts: Some(212.5),
        }],
    }
}

fn record() -> ContainerRecord {
    ContainerRecord {
        container_id: container_id(),
        number: 7,
        name: text("web"),
        account: "ada".to_owned(),
        image_id: "nginx:1.27".to_owned(),
        worker_id: worker_id(),
        status: ContainerStatus::Failed,
        reason: Some(Reason::Signal),
        exit_code: Some(137),
        error_message: text("ended by signal 9"),
        attempt: 3,
        ports: ports(),
        command: text("nginx -g 'daemon off;'"),
        args: Some(vec!["nginx".to_owned(), "-g".to_owned(), "daemon off;".to_owned()]),
        gpu_ids: vec![0],
        cpus: Some(1.5),
        memory_bytes: Some(536_870_912),
        mounts: mounts(),
        restart: Restart::OnFailure,
        tty: true,
        sftp: text("192.0.2.7:2022"),
        created_at: NOW,
        started_at: Some(NOW + 812),
        completed_at: Some(NOW + 61_204),
    }
}

pub(super) fn from_client() -> Vec<Sample> {
    let sample = |name, request| Sample {
        direction: Direction::FromClient,
        name,
        id: Some(FrameId::number(7)),
        frame: Frame::Server(ToServer::Container(request)),
    };
    let stop = || Stop { container_id: container_ref(), grace_secs: Some(2.5) };
    vec![
        sample(
            "container-create",
            ContainerRequest::Create(Box::new(Create {
                image_id: text("nginx:1.27"),
                name: text("web"),
                ports: vec![Port { container: 53, host: Some(1053), protocol: Protocol::Udp }],
                port: Some(Port { container: 8080, host: None, protocol: Protocol::Tcp }),
                command: text("nginx -g 'daemon off;'"),
                args: None,
                env: map(&[("MODE", "fast")]),
                cpus: Some(1.5),
                memory_bytes: Some(536_870_912),
                gpus: Some(1),
                gpu_ids: Some(vec![0]),
                mounts: mounts(),
                tty: Tty::Size { cols: 120, rows: 40 },
                requires: Requires { labels: map(&[("zone", "eu-1")]), ..Requires::default() },
                worker_id: Some(worker_id()),
                restart: Restart::UnlessStopped,
                grace_secs: Some(2.5),
            })),
        ),
        sample(
            "container-create-args",
            ContainerRequest::Create(Box::new(Create {
                image_id: text("busybox"),
                args: Some(vec!["httpd".to_owned(), "-f".to_owned()]),
                ..Create::default()
            })),
        ),
        sample("container-start", ContainerRequest::Start(named())),
        sample("container-stop", ContainerRequest::Stop(stop())),
        sample("container-restart", ContainerRequest::Restart(stop())),
        sample("container-kill", ContainerRequest::Kill(named())),
        sample("container-remove", ContainerRequest::Remove(named())),
        sample(
            "container-list",
            ContainerRequest::List(ListContainers {
                status: Some(ContainerStatus::Running),
                worker_id: Some(worker_id()),
                limit: Some(20),
                before: Some(container_ref()),
            }),
        ),
        sample("container-get", ContainerRequest::Get(named())),
        sample(
            "container-get-name",
            ContainerRequest::Get(NamedContainer { container_id: ContainerRef::Name("web".into()) }),
        ),
        sample(
            "container-follow",
            ContainerRequest::Follow(FollowConsole {
                container_id: container_ref(),
                after: After::At(Cursor::new(3, 42)),
            }),
        ),
        sample("container-read", ContainerRequest::Read(super::pages::read_console())),
        sample("container-unfollow", ContainerRequest::Unfollow(named())),
        sample("container-watch", ContainerRequest::Watch(Nothing {})),
        sample("container-unwatch", ContainerRequest::Unwatch(Nothing {})),
        sample(
            "container-input",
            ContainerRequest::Input(ConsoleInput {
                container_id: container_ref(),
                text: Some("say hi\n".into()),
                base64: None,
                eof: true,
            }),
        ),
        sample(
            "container-input-base64",
            ContainerRequest::Input(ConsoleInput {
                container_id: container_ref(),
                text: None,
                base64: Some("/wA=".into()),
                eof: false,
            }),
        ),
        sample(
            "container-resize",
            ContainerRequest::Resize(ConsoleResize { container_id: container_ref(), cols: 120, rows: 40 }),
        ),
        sample("container-history", ContainerRequest::History(named())),
        sample("container-stats", ContainerRequest::Stats(named())),
        sample("container-unstats", ContainerRequest::Unstats(named())),
        sample(
            "container-exec",
            ContainerRequest::Exec(Exec {
                container_id: Some(container_ref()),
                args: Some(vec!["nginx".to_owned(), "-t".to_owned()]),
                command: None,
                env: map(&[("LANG", "C.UTF-8")]),
                cwd: text("/etc/nginx"),
                stdin: true,
                tty: Tty::Size { cols: 120, rows: 40 },
                timeout_secs: Some(60.0),
                follow: Some(true),
            }),
        ),
        sample(
            "container-exec-command",
            ContainerRequest::Exec(Exec {
                container_id: Some(container_ref()),
                command: text("nginx -t"),
                ..Exec::default()
            }),
        ),
    ]
}

pub(super) fn from_worker() -> Vec<Sample> {
    let sample = |name, report| Sample {
        direction: Direction::FromWorker,
        name,
        id: None,
        frame: Frame::Server(ToServer::AgentContainer(report)),
    };
    vec![
        sample(
            "container-started",
            AgentContainerReport::Started(ContainerStarted {
                container_id: container_id(),
                attempt: 3,
                ports: vec![BoundPort { address: String::new(), ..ports().remove(0) }],
            }),
        ),
        sample(
            "container-failed",
            AgentContainerReport::Failed(ContainerFailed {
                container_id: container_id(),
                attempt: 3,
                error: WireError::new(ErrorCode::Conflict, "port 1053/udp is in use on the worker")
                    .field("ports")
                    .retry_after(1_000),
            }),
        ),
        sample(
            "container-usage",
            AgentContainerReport::Usage(ContainerUsageReport { container_id: container_id(), usage: usage() }),
        ),
    ]
}

pub(super) fn to_client() -> Vec<Sample> {
    let sample = |name, id: Option<u64>, event| Sample {
        direction: Direction::ToClient,
        name,
        id: id.map(FrameId::number),
        frame: Frame::Client(ToClient::Container(event)),
    };
    let reply = |name, event| sample(name, Some(7), event);
    let pushed = |name, event| sample(name, None, event);
    let output = || ConsoleOutput {
        container_id: container_id(),
        at: Cursor::new(3, 1),
        stream: StreamName::Stdout,
        offset: 0,
        text: Some("hi\n".into()),
        base64: None,
        time: NOW,
    };
    let status = || ContainerStatusEvent {
        container_id: container_id(),
        at: Some(Cursor::new(3, 0)),
        status: ContainerStatus::Running,
        attempt: 3,
        worker_id: Some(worker_id()),
        reason: None,
        container: None,
        time: NOW,
    };
    vec![
        reply(
            "container-created",
            ContainerEvent::Created(Created {
                container_id: container_id(),
                worker_id: worker_id(),
                ports: ports(),
                status: ContainerStatus::Running,
            }),
        ),
        reply("container-container", ContainerEvent::Container(Box::new(ContainerReply { container: record() }))),
        reply(
            "container-containers",
            ContainerEvent::Containers(ContainersReply { containers: vec![record()], next: text("ctr-7-c51f0c33") }),
        ),
        reply(
            "container-following",
            ContainerEvent::Following(FollowingConsole {
                container_id: container_id(),
                from: Cursor::START,
                top: Cursor::new(3, 42),
                status: ContainerStatus::Running,
            }),
        ),
        pushed("container-status", ContainerEvent::Status(Box::new(status()))),
        pushed(
            "container-status-watched",
            ContainerEvent::Status(Box::new(ContainerStatusEvent {
                at: None,
                status: ContainerStatus::Failed,
                reason: Some(Reason::Signal),
                container: Some(record()),
                ..status()
            })),
        ),
        pushed("container-output", ContainerEvent::Output(output())),
        pushed(
            "container-output-base64",
            ContainerEvent::Output(ConsoleOutput {
                stream: StreamName::Stderr,
                text: None,
                base64: Some("/wA=".into()),
                ..output()
            }),
        ),
        pushed(
            "container-end",
            ContainerEvent::End(StartEnded {
                container_id: container_id(),
                at: Cursor::new(3, 2),
                status: ContainerStatus::Failed,
                exit_code: Some(137),
                reason: Reason::OutOfMemory,
                error_message: text("used more than 512 MiB"),
                time: NOW,
            }),
        ),
        pushed(
            "container-live",
            ContainerEvent::Live(ConsoleLive { container_id: container_id(), at: Cursor::new(3, 42) }),
        ),
        pushed(
            "container-truncated",
            ContainerEvent::Truncated(ConsoleTruncated {
                container_id: container_id(),
                from: Cursor::new(1, 1),
                to: Cursor::new(2, 40),
            }),
        ),
        pushed(
            "container-stats",
            ContainerEvent::Stats(StatsEvent { container_id: container_id(), usage: usage(), time: NOW }),
        ),
        reply(
            "container-history",
            ContainerEvent::History(ContainerHistory {
                container_id: container_id(),
                every_secs: 10,
                samples: vec![ContainerSample { time: NOW, usage: usage() }],
            }),
        ),
        pushed("container-lagged", ContainerEvent::Lagged(Nothing {})),
        reply("container-ok", ContainerEvent::Ok(Acknowledged::of("stop"))),
    ]
}

pub(super) fn to_worker() -> Vec<Sample> {
    let sample = |name, frame| Sample { direction: Direction::ToWorker, name, id: None, frame: Frame::Agent(frame) };
    let container = |name, order| sample(name, ToAgent::Container(order));
    let only = || ContainerOnly { container_id: container_id() };
    let assign = |spec| {
        ToAgent::Job(AgentJobOrder::Assign(Box::new(Assign {
            job_id: container_id().job(),
            attempt: 3,
            spec,
            gpu_ids: vec![0],
            lease_secs: 30,
            window_bytes: 4_194_304,
            adopt: Some(Adopt { attempt: 2, stdout_bytes: 812, stderr_bytes: 7 }),
        })))
    };
    vec![
        sample(
            "job-assign-container",
            assign(JobSpec {
                image: text("nginx:1.27"),
                service: Some(Service {
                    ports: vec![Port { container: 8080, host: None, protocol: Protocol::Tcp }],
                    mounts: mounts(),
                    restart: Restart::OnFailure,
                }),
                ..JobSpec::default()
            }),
        ),
        container(
            "container-measure",
            AgentContainerOrder::Measure(MeasureContainer { container_id: container_id(), secs: 30 }),
        ),
        container("container-halt", AgentContainerOrder::Halt(only())),
        container("container-forget", AgentContainerOrder::Forget(only())),
    ]
}
