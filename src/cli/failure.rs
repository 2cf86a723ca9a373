//! What failed, in words for people or in JSON for programs.

use std::borrow::Cow;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Command, CommandFactory};
use serde::Serialize;

use super::args::Cli;
use super::exit::Status;
use super::render;
use crate::client::{ClientError, FileError, FollowError};
use crate::config::ConfigError;
use crate::link::LinkError;
use crate::protocol::WireError;

/// A command that did not succeed.
#[derive(Debug)]
pub(super) struct Failure {
    status: Status,
    /// None where there is nothing to say, as when the reader of stdout went away.
    report: Option<Report>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// A code of the protocol, or one of `usage`, `config`, `unreachable`, `failed`.
    code: Cow<'static, str>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    retry: bool,
}

impl Failure {
    fn new(status: Status, code: &'static str, message: String) -> Self {
        Self { status, report: Some(Report { code: code.into(), message, field: None, retry: false }) }
    }

    /// Something here failed.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(Status::Failure, "failed", message.into())
    }

    /// What kept `bench` from measuring. That no server is there is said as by all others.
    pub(super) fn of_bench(error: anyhow::Error) -> Self {
        if !matches!(error.downcast_ref(), Some(ClientError::Link(_) | ClientError::NoToken(_))) {
            return Self::failed(words_of(&error));
        }
        error.downcast().map_or_else(|error| Self::failed(words_of(&error)), |error: ClientError| error.into())
    }

    /// The command line asks for what makes no sense.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::Usage, "usage", message.into())
    }

    /// The same for `run` and `wait`: the dispatcher refused or failed. A mistake on the command
    /// line stays one.
    #[must_use]
    pub(super) fn refused(self) -> Self {
        if self.status == Status::Usage { self } else { self.with_status(Status::Refused) }
    }

    /// The same, with another exit status.
    #[must_use]
    pub(super) fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Says on stderr what failed.
    pub(super) fn report(self, json: bool) -> Status {
        if let Some(report) = &self.report {
            say(report, json);
        }
        self.status
    }
}

/// An error and its causes, but for those that it names itself.
fn words_of(error: &anyhow::Error) -> String {
    error.chain().skip(1).map(ToString::to_string).fold(error.to_string(), |words, cause| {
        if words.contains(&cause) { words } else { format!("{words}: {cause}") }
    })
}

fn say(report: &Report, json: bool) {
    let text = if json {
        serde_json::json!({ "error": report }).to_string()
    } else {
        match &report.field {
            // The message of a wrong field begins with its path as a rule.
            Some(field) if !report.message.contains(field.as_str()) => {
                format!("gangline: {field}: {}", report.message)
            }
            _ => format!("gangline: {}", report.message),
        }
    };
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Ends the process for a command line that clap refused, or that asked for help.
pub(super) fn of_usage(error: &clap::Error, args: impl Iterator<Item = String>) -> ExitCode {
    let json = args.take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if !error.use_stderr() {
        // Help that nobody reads to its end is no failure.
        let _ = error.print();
        return Status::Success.into();
    }
    let variable = blamed_variable(error);
    if json {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let from = variable.map(|name| format!(" (from {name})")).unwrap_or_default();
        return Failure::usage(format!("{message}{from}")).report(true).into();
    }
    let _ = error.print();
    if let Some(name) = variable {
        render::note(&format!("The value comes from the environment variable {name}."));
    }
    Status::Usage.into()
}

/// The variable that the refused value came from, which clap does not say.
fn blamed_variable(error: &clap::Error) -> Option<String> {
    let (Some(ContextValue::String(arg)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return None;
    };
    let flag = arg.split([' ', '=', '[']).next()?.strip_prefix("--")?;
    let root = Cli::command();
    let mut args = root.get_arguments().chain(root.get_subcommands().flat_map(Command::get_arguments));
    let name = args.find(|arg| arg.get_long() == Some(flag))?.get_env()?;
    (std::env::var_os(name).as_deref() == Some(value.as_ref())).then(|| name.to_string_lossy().into_owned())
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        let code = serde_json::to_value(error.code).ok().and_then(|code| code.as_str().map(str::to_owned));
        let report = Report {
            code: code.map_or(Cow::Borrowed("failed"), Cow::Owned),
            message: error.message,
            field: error.field,
            retry: error.retry,
        };
        Self { status: Status::Failure, report: Some(report) }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(error) => error.into(),
            ClientError::Link(error @ (LinkError::BadUrl { .. } | LinkError::Ca(_))) => {
                Self::new(Status::Usage, "config", error.to_string())
            }
            ClientError::Link(_)
            | ClientError::NoToken(_)
            | ClientError::Ended(_)
            | ClientError::NoReply { .. }
            | ClientError::Hole { .. }
            | ClientError::Unexpected(_) => match error.code() {
                Some(code) => WireError::new(code, error.to_string()).into(),
                None => Self::new(Status::Failure, "unreachable", error.to_string()),
            },
        }
    }
}

impl From<FollowError> for Failure {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Gone(error) => Self::from(error).with_status(Status::Refused),
            FollowError::Lost(error) => Self::from(error).with_status(Status::ConnectionLost),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Refused(error) => error.into(),
            FileError::NoToken(error) => ClientError::NoToken(error).into(),
            FileError::Http(_) | FileError::Untrusted(_) => {
                Self::new(Status::Failure, "unreachable", error.to_string())
            }
            FileError::Address(error) => ClientError::Link(error).into(),
            FileError::Local { .. } | FileError::Escapes(_) | FileError::Damaged { .. } => {
                Self::failed(error.to_string())
            }
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Status::Usage, "config", error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { status: Status::Success, report: None };
        }
        Self::failed(error.to_string())
    }
}
