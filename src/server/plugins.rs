//! Plugins that the dispatcher starts itself: started again when they end, ended with the dispatcher.
//!
//! A plugin gets the dispatcher's address and a token in its environment, and its words go to the log. Its standard input
//! stays open and empty for as long as the dispatcher lives: its end is how a plugin learns that the dispatcher was killed. Whatever else it
//! started in its process group ends with it.
//!
//! Not here: what plugins decide (`dispatcher`).

use std::io;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::local;
use crate::auth::BootstrapError;
use crate::base::backoff::Backoff;
use crate::config::{PluginSettings, ServerSettings};
use crate::dispatcher::Dispatcher;
use crate::worker::Companion;

/// The variable that tells a plugin its name.
const NAME: &str = "GANGLINE_PLUGIN";

/// Ceilings of the waits before a plugin is started again, the first and the largest.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// One that ran for so long had started well: its next start is not held against it.
const STAYED: Duration = Duration::from_secs(60);

/// How long a plugin may take to end after SIGTERM. Less than the dispatcher's tasks have in all.
const GRACE: Duration = Duration::from_secs(2);

/// How long its last words may take once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Longer lines are broken.
const LINE_MOST: u64 = 4096;

/// Why a plugin was not started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("there is no token for it: {0}")]
    Token(#[from] BootstrapError),
    #[error("{program}: {source}")]
    Spawn { program: String, source: io::Error },
}

/// Starts the plugins that have a command; `address` is where the dispatcher listens.
pub(super) fn start(dispatcher: &Dispatcher, address: SocketAddr) {
    let settings = dispatcher.settings();
    for plugin in settings.plugins.iter().filter(|plugin| !plugin.command.is_empty()) {
        let keeper = Keeper {
            dispatcher: dispatcher.clone(),
            plugin: plugin.clone(),
            url: url(settings, address),
            companion: Companion::new(format!("{NAME}={}", plugin.name)),
        };
        dispatcher.shutdown().spawn(keeper.run());
    }
}

/// Where plugins on this machine reach the dispatcher.
fn url(settings: &ServerSettings, address: SocketAddr) -> String {
    let here = || format!("{}://{}", if settings.tls.is_some() { "https" } else { "http" }, local(address));
    // By its name, where it has one: a certificate is as a rule for no address.
    let web = settings.advertise.clone().filter(|_| settings.tls.is_some()).unwrap_or_else(here);
    format!("{}/ws", web.trim_end_matches('/').replacen("http", "ws", 1))
}

/// Keeps one plugin running.
struct Keeper {
    dispatcher: Dispatcher,
    plugin: PluginSettings,
    url: String,
    /// A worker may run in this process, and must not take it for a stray of a job.
    companion: Companion,
}

impl Keeper {
    async fn run(self) {
        let name = &self.plugin.name;
        let draining = self.dispatcher.shutdown().draining().clone();
        let mut backoff = Backoff::new(AGAIN_AFTER.0, AGAIN_AFTER.1);
        while !draining.is_cancelled() {
            let began = Instant::now();
            match self.start().await {
                Ok(child) => {
                    info!(plugin = %name, "plugin started");
                    match self.watch(child).await {
                        Ok(status) if draining.is_cancelled() => info!(plugin = %name, %status, "plugin ended, too"),
                        Ok(status) => warn!(plugin = %name, %status, "plugin ended"),
                        Err(error) => warn!(plugin = %name, %error, "plugin lost sight of"),
                    }
                }
                Err(error) => warn!(plugin = %name, %error, "plugin cannot be started"),
            }
            if began.elapsed() >= STAYED {
                backoff.reset();
            }
            tokio::select! {
                () = draining.cancelled() => (),
                () = tokio::time::sleep(backoff.next_wait()) => (),
            }
        }
    }

    async fn start(&self) -> Result<Child, StartError> {
        let token = self.dispatcher.auth().plugin_token(&self.dispatcher.settings().data_dir).await?;
        let PluginSettings { name, command, hooks: _, policy: _, timeout: _ } = &self.plugin;
        let (program, args) = command.split_first().map_or(("", &[][..]), |(program, args)| (program.as_str(), args));
        let mut command = Command::new(program);
        // The dispatcher's own settings, passwords among them, are none of its business.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GANGLINE_")) {
            command.env_remove(name);
        }
        command
            .args(args)
            .env("GANGLINE_URL", &self.url)
            .env("GANGLINE_TOKEN", token.expose())
            .env(NAME, name.as_str())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        self.companion
            .start(|| command.spawn())
            .map_err(|source| StartError::Spawn { program: program.to_owned(), source })
    }

    /// Passes on what it says until it has ended, by itself or because the dispatcher does.
    async fn watch(&self, mut child: Child) -> io::Result<ExitStatus> {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let signal = |signal| {
            // It may be gone already.
            let _ = group.map(|group| killpg(group, signal));
        };
        // Held, because waiting would close it.
        let stdin = child.stdin.take();
        let words = (child.stdout.take(), child.stderr.take());
        let words = async { tokio::join!(self.log(words.0), self.log(words.1)) };
        tokio::pin!(words);
        let draining = self.dispatcher.shutdown().draining().clone();
        let mut silent = false;
        let mut kill_at = None;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                _ = &mut words, if !silent => silent = true,
                () = draining.cancelled(), if kill_at.is_none() => {
                    signal(Signal::SIGTERM);
                    kill_at = Some(Instant::now() + GRACE);
                }
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => break {
                    signal(Signal::SIGKILL);
                    child.wait().await
                },
            }
        };
        self.companion.reaped();
        drop(stdin);
        signal(Signal::SIGKILL);
        if !silent {
            // Who left the group may hold its pipes for as long as it likes.
            let _ = timeout(LAST_WORDS, words).await;
        }
        status
    }

    /// Logs each line until there are no more.
    async fn log(&self, from: Option<impl AsyncRead + Unpin>) {
        let Some(from) = from else { return };
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while (&mut from).take(LINE_MOST).read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
            info!(plugin = %self.plugin.name, "{}", String::from_utf8_lossy(line.trim_ascii_end()));
            line.clear();
        }
    }
}
