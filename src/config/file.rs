//! `gangline.toml`: found, read, and refused with the key at fault.

use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ConfigError;
use super::options::{LimitOptions, LogFormat, ServerOptions, WorkerOptions};
use super::plugin::PluginSettings;
use crate::base::telemetry::Filter;

const NAME: &str = "gangline.toml";

/// The file's keys. Sections have the names of flags without their dashes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) url: Option<String>,
    pub(super) token: Option<String>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) log: Option<Filter>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) server: ServerOptions,
    pub(super) limits: LimitOptions,
    pub(super) worker: WorkerOptions,
    pub(super) plugin: Vec<PluginSettings>,
}

/// Reads the file that was named, else the first that is there, else nothing.
pub(super) fn load(named: Option<&Path>) -> Result<File, ConfigError> {
    if let Some(path) = named {
        return match read(path)? {
            Some(file) => Ok(file),
            None => Err(ConfigError::Read { path: path.to_owned(), source: io::ErrorKind::NotFound.into() }),
        };
    }
    let mut places = vec![PathBuf::from(NAME)];
    // Without a home there is no such directory, and so no such file.
    if let Ok(base) = etcetera::choose_base_strategy() {
        places.push(base.config_dir().join("gangline").join(NAME));
    }
    for path in places {
        if let Some(file) = read(&path)? {
            return Ok(file);
        }
    }
    Ok(File::default())
}

fn read(path: &Path) -> Result<Option<File>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
    }
}

pub(super) fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    read_toml(path, text)
}

/// Reads a TOML document; what is wrong is named with its line and key. `path` is for the error only.
///
/// # Errors
/// It is no TOML, or not what `T` is.
pub fn read_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    let syntax = |key: String, error: &toml::de::Error| {
        let line = error.span().map_or(1, |span| 1 + text.get(..span.start).unwrap_or(text).matches('\n').count());
        ConfigError::File { path: path.to_owned(), line, key, message: error.message().replace('\n', ", ") }
    };
    let document = toml::Deserializer::parse(text).map_err(|error| syntax(String::new(), &error))?;
    serde_path_to_error::deserialize(document).map_err(|error| {
        let key = error.path().to_string();
        let key = if key == "." { String::new() } else { format!("{key}: ") };
        syntax(key, error.inner())
    })
}
