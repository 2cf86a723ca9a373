//! Pages of logs, counts and templates.

use gangline::protocol::codec::{FrameId, ToClient};
use gangline::protocol::container::{ConsoleOutput, ContainerEvent, ContainerStatus, ContainerStatusEvent, StartEnded};
use gangline::protocol::job::{CountsReply, EndEvent, JobEvent, OutputEvent, Reason, Status, StatusEvent};
use gangline::protocol::paging::{ConsoleEntry, ConsolePage, JobEntry, JobPage, Read, ReadConsole, Removed};
use gangline::protocol::template::{ParamRecord, ParamType, TemplateRecord, TemplatesReply};
use gangline::protocol::{After, Before, ContainerRef, Cursor, StreamName};
use serde_json::json;

use super::containers::container_id;
use super::{Direction, Frame, NOW, Sample, job_id, job_ref, status_of_log, text, worker_id};

pub(super) fn read() -> Read {
    Read { job_id: job_ref(), after: Some(After::At(Cursor::new(1, 42))), before: None, max_bytes: Some(131_072) }
}

pub(super) fn read_console() -> ReadConsole {
    ReadConsole {
        container_id: ContainerRef::Id(container_id()),
        after: None,
        before: Some(Before::At(Cursor::new(3, 42))),
        max_bytes: Some(131_072),
    }
}

fn removed() -> Option<Removed> {
    Some(Removed { from: Cursor::new(1, 1), to: Cursor::new(1, 40) })
}

fn job_page() -> JobPage<'static> {
    let output = |n, stream| OutputEvent {
        job_id: job_id(),
        at: Cursor::new(1, n),
        stream,
        offset: 4096,
        text: None,
        base64: None,
        time: NOW,
    };
    JobPage {
        job_id: job_id(),
        entries: vec![
            JobEntry::Output(OutputEvent { text: Some("\u{1b}[32mok\r\n".into()), ..output(41, StreamName::Stdout) }),
            JobEntry::Output(OutputEvent { base64: Some("/wA=".into()), ..output(42, StreamName::Stderr) }),
            JobEntry::Status(StatusEvent {
                at: Some(Cursor::new(1, 43)),
                status: Status::Pending,
                worker_id: None,
                reason: Some(Reason::WorkerLost),
                ..status_of_log()
            }),
            JobEntry::Status(StatusEvent { at: Some(Cursor::new(2, 0)), attempt: 2, ..status_of_log() }),
            JobEntry::End(EndEvent {
                job_id: job_id(),
                at: Cursor::new(2, 1),
                status: Status::Completed,
                exit_code: Some(0),
                reason: Reason::Exit,
                error_message: None,
                time: NOW,
            }),
        ],
        removed: removed(),
        top: Cursor::new(2, 1),
        status: Status::Completed,
        more: true,
    }
}

fn console_page() -> ConsolePage<'static> {
    ConsolePage {
        container_id: container_id(),
        entries: vec![
            ConsoleEntry::Status(Box::new(ContainerStatusEvent {
                container_id: container_id(),
                at: Some(Cursor::new(3, 0)),
                status: ContainerStatus::Running,
                attempt: 3,
                worker_id: Some(worker_id()),
                reason: None,
                container: None,
                time: NOW,
            })),
            ConsoleEntry::Output(ConsoleOutput {
                container_id: container_id(),
                at: Cursor::new(3, 1),
                stream: StreamName::Stdout,
                offset: 0,
                text: Some("hi\n".into()),
                base64: None,
                time: NOW,
            }),
            ConsoleEntry::End(StartEnded {
                container_id: container_id(),
                at: Cursor::new(3, 2),
                status: ContainerStatus::Stopped,
                exit_code: Some(0),
                reason: Reason::Exit,
                error_message: None,
                time: NOW,
            }),
        ],
        removed: None,
        top: Cursor::new(3, 2),
        status: ContainerStatus::Stopped,
        more: true,
    }
}

fn templates() -> TemplatesReply {
    let param = |name: &str, r#type| ParamRecord {
        name: name.to_owned(),
        r#type,
        required: true,
        default: None,
        description: None,
        min: None,
        max: None,
        max_length: None,
        choices: None,
    };
    let width = ParamRecord {
        required: false,
        default: Some(json!(256)),
        description: text("pixels"),
        min: Some(16.into()),
        max: Some(4096.into()),
        ..param("width", ParamType::Integer)
    };
    let format =
        ParamRecord { choices: Some(vec!["png".to_owned(), "jpeg".to_owned()]), ..param("format", ParamType::Choice) };
    let source = ParamRecord { max_length: Some(4096), ..param("source", ParamType::String) };
    let (sharp, ratio) = (param("sharp", ParamType::Boolean), param("ratio", ParamType::Number));
    TemplatesReply {
        templates: vec![TemplateRecord {
            name: "thumbnail".to_owned(),
            description: text("a small version of a picture"),
            params: vec![format, ratio, sharp, source, width],
        }],
    }
}

pub(super) fn to_client() -> Vec<Sample> {
    let sample = |name, event| Sample {
        direction: Direction::ToClient,
        name,
        id: Some(FrameId::number(7)),
        frame: Frame::Client(event),
    };
    vec![
        sample("job-page", ToClient::Job(JobEvent::Page(job_page()))),
        sample(
            "job-page-empty",
            ToClient::Job(JobEvent::Page(JobPage { entries: Vec::new(), removed: None, more: false, ..job_page() })),
        ),
        sample("container-page", ToClient::Container(ContainerEvent::Page(console_page()))),
        sample(
            "job-counts",
            ToClient::Job(JobEvent::Counts(CountsReply {
                pending: 12,
                running: 3,
                completed: 4_810,
                failed: 97,
                cancelled: 5,
            })),
        ),
        sample("job-templates", ToClient::Job(JobEvent::Templates(templates()))),
    ]
}
