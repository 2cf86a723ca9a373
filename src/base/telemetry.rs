//! Logs: where they go and how they look.

use std::io::IsTerminal;
use std::str::FromStr;

use serde::Deserialize;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line an event.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

/// What to log, in the words of a `tracing` filter: `info`, `gangline=debug`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Filter(String);

/// Words that are no [`Filter`].
#[derive(Debug, thiserror::Error)]
#[error("expected a filter such as info or gangline=debug: {0}")]
pub struct InvalidFilter(#[from] ParseError);

impl FromStr for Filter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        EnvFilter::try_new(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Filter {
    type Error = InvalidFilter;

    fn try_from(text: String) -> Result<Self, InvalidFilter> {
        text.parse()
    }
}

impl From<Level> for Filter {
    /// Everything from this level up.
    fn from(level: Level) -> Self {
        Self(level.to_string())
    }
}

/// Sends logs to stderr. A second call in a process does nothing.
pub fn init(filter: &Filter, format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&filter.0))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    // Fails only where a subscriber is already set, as in tests that start several servers.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
