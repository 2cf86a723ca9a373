//! Settings: defaults < file < environment < flags, resolved once into plain structs.
//!
//! [`Config::load`] finds `gangline.toml` and takes the flags and variables that every command
//! shares; [`Config::server`] and its siblings then give each part of the program what it
//! needs. No other room takes settings from the environment, but for the `AWS_…` variables of a bucket.
//!
//! Guards: what is wrong is named with its place and what was expected. A token that lies in
//! the data directory goes to this machine's dispatcher only.

mod client;
pub mod container;
mod file;
pub mod options;
mod plugin;
pub mod server;
mod value;
pub mod worker;

use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

pub use client::{ClientSettings, DEFAULT_URL, MissingToken};
pub use container::{ContainerSettings, EngineChoice};
pub use file::read_toml;
pub use options::{
    CommonOptions, ContainerOptions, DrainOption, LimitOptions, LogFormat, ServerOptions, WorkerOptions,
};
pub use plugin::PluginSettings;
pub use server::{Durability, Limits, RedisSettings, ServerSettings, TlsFiles};
pub use value::{BlobsUrl, InvalidValue, Pair, Size, Span};
pub use worker::WorkerSettings;

use file::File;

use crate::base::secret::Secret;
use crate::base::telemetry::Filter;
use crate::base::tls::Trust;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds what it should not.
    #[error("{path}, line {line}: {key}{message}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        line: usize,
        /// The key at fault and a colon; empty where the text is no TOML at all.
        key: String,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// A token file is empty.
    #[error("{path} holds no token")]
    NoToken {
        /// Which file.
        path: PathBuf,
    },
    /// There is no home directory to keep data in.
    #[error("there is no home directory: name a data directory with --data-dir or GANGLINE_DATA_DIR")]
    NoHome,
    /// Settings that do not go together.
    #[error("{0}")]
    Contradiction(String),
}

/// What the file and the flags shared by every command say.
#[derive(Debug, Clone)]
pub struct Config {
    file: File,
    url: Option<String>,
    /// From a flag, a variable or the file; not yet the one in the data directory.
    token: Option<Secret>,
    trust: Trust,
    data_dir: PathBuf,
    /// Whether someone named the data directory.
    data_dir_named: bool,
    log: Option<Filter>,
    log_format: Option<LogFormat>,
}

impl Config {
    /// Reads the file and what `common` says. `env` looks up a variable of the environment.
    ///
    /// # Errors
    /// The file cannot be read or understood, a token file cannot be read, or there is no
    /// place for data.
    pub fn load(common: CommonOptions, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let CommonOptions { config, url, token, token_file, ca, data_dir, log, log_format } = common;
        let file = file::load(config.as_deref())?;
        let variable = |name| env(name).filter(|value| !value.is_empty());
        // Each layer may hold the token or the name of a file, and outranks the next as a whole.
        let layers = [
            (token, token_file),
            (variable("GANGLINE_TOKEN"), variable("GANGLINE_TOKEN_FILE").map(PathBuf::from)),
            (file.token.clone(), file.token_file.clone()),
        ];
        let token = match layers.into_iter().find(|(token, file)| token.is_some() || file.is_some()) {
            Some((Some(token), _)) => Some(Secret::new(token.trim())),
            Some((None, Some(path))) => Some(read_token(&path)?),
            Some((None, None)) | None => None,
        };
        let named = data_dir.or_else(|| file.data_dir.clone());
        let data_dir_named = named.is_some();
        let data_dir = match named {
            Some(dir) => dir,
            None => etcetera::choose_base_strategy().map_err(|_| ConfigError::NoHome)?.data_dir().join("gangline"),
        };
        Ok(Self {
            url: url.or_else(|| file.url.clone()),
            token,
            trust: Trust::system_and(ca.or_else(|| file.ca.clone())),
            data_dir,
            data_dir_named,
            log: log.or_else(|| file.log.clone()),
            log_format: log_format.or(file.log_format),
            file,
        })
    }

    /// Where data is kept.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The data directory, where someone named one.
    pub fn named_data_dir(&self) -> Option<&Path> {
        self.data_dir_named.then_some(&*self.data_dir)
    }

    /// The dispatcher, where someone named one.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// What to log, where someone said.
    pub fn log(&self) -> Option<&Filter> {
        self.log.as_ref()
    }

    /// How to log, where someone said.
    pub fn log_format(&self) -> Option<LogFormat> {
        self.log_format
    }

    /// Settings of a command that talks to a dispatcher.
    ///
    /// # Errors
    /// The administrator's token is there and cannot be read.
    pub fn client(&self) -> Result<ClientSettings, ConfigError> {
        self.peer("admin.token")
    }

    /// Settings of `serve`, and of the dispatcher in `up`.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn server(
        &self,
        flags: ServerOptions,
        limits: LimitOptions,
        drain: DrainOption,
    ) -> Result<ServerSettings, ConfigError> {
        let options = flags.or(self.file.server.clone());
        let limits = limits.or(self.file.limits);
        plugin::check(&self.file.plugin)?;
        let settings = server::resolve(options, limits, drain, self.data_dir.clone())?;
        Ok(ServerSettings { plugins: self.file.plugin.clone(), ..settings })
    }

    /// Settings of `worker`.
    ///
    /// # Errors
    /// The worker's token is there and cannot be read, or a setting makes no sense.
    pub fn worker(&self, flags: WorkerOptions, drain: DrainOption) -> Result<WorkerSettings, ConfigError> {
        let peer = self.peer("worker.token")?;
        self.worker_of(flags, drain, peer)
    }

    /// Settings of the worker in `up`: it serves the dispatcher at `url`, which `trust` knows, with the
    /// token that this one has left in the data directory, whatever address it listens on.
    ///
    /// # Errors
    /// As [`Config::worker`].
    pub fn local_worker(
        &self,
        flags: WorkerOptions,
        drain: DrainOption,
        url: String,
        trust: Trust,
    ) -> Result<WorkerSettings, ConfigError> {
        let peer = ClientSettings { trust, ..self.peer_here("worker.token", url)? };
        self.worker_of(flags, drain, peer)
    }

    fn worker_of(
        &self,
        flags: WorkerOptions,
        drain: DrainOption,
        peer: ClientSettings,
    ) -> Result<WorkerSettings, ConfigError> {
        let options = flags.or(self.file.worker.clone());
        // Below the dispatcher's own things, where both share a directory.
        worker::resolve(options, drain, peer, self.data_dir.join("worker"))
    }

    /// Where the dispatcher is, and the token for it: the one that was given, else, for a
    /// dispatcher on this machine, the one in the data directory.
    fn peer(&self, token_name: &str) -> Result<ClientSettings, ConfigError> {
        let url = self.url.clone().unwrap_or_else(|| DEFAULT_URL.to_owned());
        if self.token.is_none() && client::is_local(&url) {
            return self.peer_here(token_name, url);
        }
        Ok(ClientSettings { url, token: self.token.clone(), token_sought: None, trust: self.trust.clone() })
    }

    /// A dispatcher on this machine, and the token of this name in the data directory.
    fn peer_here(&self, token_name: &str, url: String) -> Result<ClientSettings, ConfigError> {
        let path = self.data_dir.join(token_name);
        let (token, token_sought) = match read_token(&path) {
            Ok(token) => (Some(token), None),
            // No dispatcher has ever run here: it may be one that asks for no token.
            Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => (None, Some(path)),
            Err(error) => return Err(error),
        };
        Ok(ClientSettings { url, token, token_sought, trust: self.trust.clone() })
    }
}

fn read_token(path: &Path) -> Result<Secret, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    match text.trim() {
        "" => Err(ConfigError::NoToken { path: path.to_owned() }),
        token => Ok(Secret::new(token)),
    }
}

#[cfg(test)]
mod tests;
