//! `serve`, `worker`, `up`: what runs until it is told to end.
//!
//! The first SIGTERM or Ctrl-C drains, the second cuts. In `up` the worker drains first, so
//! that its jobs can still tell the dispatcher how they ended.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::args::{ServeArgs, UpArgs, WorkerArgs};
use super::exit::Status;
use super::failure::Failure;
use super::{Context, render};
use crate::base::shutdown::Shutdown;
use crate::base::tls::Trust;
use crate::client::ClientError;
use crate::config::{DEFAULT_URL, ServerSettings, WorkerSettings};
use crate::server::{Certificate, ServeError, Server, local};
use crate::worker::WorkerError;

pub(super) fn serve(context: &Context, args: ServeArgs) -> Result<Status, Failure> {
    let ServeArgs { server, limits, drain } = args;
    let settings = context.config.server(server, limits, drain)?;
    raise_file_limit();
    runtime(settings.threads)?.block_on(async {
        let mut signals = Signals::listen()?;
        let server = tokio::select! {
            server = Server::bind(settings) => server?,
            // It may wait for Redis for as long as it takes.
            () = signals.next() => return Ok(Status::Success),
        };
        let certificate = server.certificate().cloned();
        let mut hangups = certificate.as_ref().map(|_| signal(SignalKind::hangup())).transpose()?;
        let shutdown = Shutdown::new();
        let serving = server.run(shutdown.clone());
        tokio::pin!(serving);
        loop {
            tokio::select! {
                result = &mut serving => break Ok(result.map(|()| Status::Success)?),
                () = signals.next() => drain_then_cut(&shutdown),
                () = next(hangups.as_mut()) => certificate.iter().for_each(renew),
            }
        }
    })
}

/// SIGHUP, where it is listened for: a server without a certificate ends on it, as any program does.
async fn next(hangups: Option<&mut Signal>) {
    match hangups {
        Some(hangups) => _ = hangups.recv().await,
        None => std::future::pending().await,
    }
}

/// Shows from now on what lies in the certificate's files.
fn renew(certificate: &Certificate) {
    match certificate.reload() {
        Ok(()) => tracing::info!("the certificate was read again"),
        Err(error) => tracing::error!(%error, "the certificate cannot be renewed; the old one is still shown"),
    }
}

pub(super) fn worker(context: &Context, args: WorkerArgs) -> Result<Status, Failure> {
    let WorkerArgs { worker, drain } = args;
    let settings = context.config.worker(worker, drain)?;
    raise_file_limit();
    runtime(1)?.block_on(async {
        let mut signals = Signals::listen()?;
        let shutdown = Shutdown::new();
        let working = work(settings, shutdown.clone());
        tokio::pin!(working);
        loop {
            tokio::select! {
                result = &mut working => break result.map(|()| Status::Success),
                () = signals.next() => drain_then_cut(&shutdown),
            }
        }
    })
}

pub(super) fn up(context: &Context, args: UpArgs) -> Result<Status, Failure> {
    let UpArgs { serve: ServeArgs { server, limits, drain }, worker } = args;
    let settings = context.config.server(server, limits, drain)?;
    raise_file_limit();
    runtime(settings.threads)?.block_on(async {
        let mut signals = Signals::listen()?;
        let server = tokio::select! {
            server = Server::bind(settings.clone()) => server?,
            () = signals.next() => return Ok(Status::Success),
        };
        let address = local(server.local_addr());
        // Only now: the first start has just written the worker's token.
        // It knows the certificate at first hand: what name it bears does not matter.
        let trust = server.certificate().and_then(Certificate::own).map(Trust::exactly);
        let scheme = if trust.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://{address}/ws");
        let worker = context.config.local_worker(worker, drain, url, trust.unwrap_or_default())?;
        let server = server.with_local_worker(crate::worker::name(&worker)?);
        let (dispatching, working) = (Shutdown::new(), Shutdown::new());
        let mut worked = on_a_thread(worker, working.clone())?;
        greet(context, &settings, address);

        let serving = server.run(dispatching.clone());
        tokio::pin!(serving);
        let mut ended = None;
        let served = loop {
            tokio::select! {
                served = &mut serving => break served,
                result = &mut worked, if ended.is_none() => {
                    ended = Some(result);
                    if working.cut().is_cancelled() { dispatching.start_cut() } else { dispatching.start_drain() }
                }
                () = signals.next() => {
                    if ended.is_some() {
                        dispatching.start_cut();
                    } else {
                        let words = "draining: running jobs go on to their end; once more cuts";
                        render::say(context.json, words);
                        drain_then_cut(&working);
                    }
                }
            }
        };
        if ended.is_none() {
            // The dispatcher failed. The worker's jobs must not outlive this process.
            working.start_cut();
            ended = Some(worked.await);
        }
        served?;
        match ended {
            Some(Ok(result)) => result.map(|()| Status::Success),
            Some(Err(_)) | None => Err(Failure::failed("the worker's thread ended without a word")),
        }
    })
}

/// Works on a thread and a runtime of its own: what the dispatcher does must not wait for what
/// a worker does, and a worker needs no second thread.
fn on_a_thread(
    settings: WorkerSettings,
    shutdown: Shutdown,
) -> Result<oneshot::Receiver<Result<(), Failure>>, Failure> {
    let runtime = runtime(1)?;
    let (tell, ended) = oneshot::channel();
    thread::Builder::new().name("worker".to_owned()).spawn(move || {
        // Nobody listens any more where the dispatcher ended first.
        let _ = tell.send(runtime.block_on(work(settings, shutdown)));
    })?;
    Ok(ended)
}

async fn work(settings: WorkerSettings, shutdown: Shutdown) -> Result<(), Failure> {
    Ok(crate::worker::run(settings, shutdown).await?)
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    match threads {
        1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}

fn drain_then_cut(shutdown: &Shutdown) {
    if shutdown.draining().is_cancelled() { shutdown.start_cut() } else { shutdown.start_drain() }
}

/// SIGTERM and Ctrl-C, which mean the same to a service.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}

/// Every connection is a file. Most systems give a process 1,024 unless it asks for more.
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, "cannot raise the limit of open files");
    }
}

/// Says how to go on from here.
fn greet(context: &Context, settings: &ServerSettings, address: SocketAddr) {
    let (http, ws) = if settings.tls.is_some() { ("https", "wss") } else { ("http", "ws") };
    let (web, mut url) = (format!("{http}://{address}"), format!("{ws}://{address}/ws"));
    if context.json {
        let (data_dir, open) = (&settings.data_dir, settings.open);
        let up = serde_json::json!({ "up": { "url": url, "http": web, "dataDir": data_dir, "open": open } });
        return render::note(&up.to_string());
    }
    if settings.tls.is_some() {
        // The address is as a rule no name of the certificate.
        url = format!("wss://NAME:{}/ws", address.port());
    }
    let mut flags = String::new();
    if url != DEFAULT_URL {
        flags.push_str(&format!(" --url {url}"));
    }
    if let Some(dir) = context.config.named_data_dir() {
        flags.push_str(&format!(" --data-dir {}", quoted(dir)));
    }
    let open = if settings.open { ", open to everyone on it" } else { "" };
    let data = settings.data_dir.display();
    let lines = [
        format!("Gangline is up at {web}{open}; its data is in {data}"),
        format!("  run a job     gangline run{flags} -- echo hi"),
        format!("  watch jobs    gangline ps{flags} --watch"),
        format!("  by hand       wscat -c {url}"),
        format!("  in a browser  {web}"),
    ];
    render::note(&lines.join("\n"));
}

fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Link(error) => ClientError::Link(error).into(),
            WorkerError::NoToken(error) => ClientError::NoToken(error).into(),
            WorkerError::Refused(error) => error.into(),
            WorkerError::DataDir { .. }
            | WorkerError::Running { .. }
            | WorkerError::Sftp { .. }
            | WorkerError::Closed(_) => Self::failed(error.to_string()),
        }
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        Self::failed(error.to_string())
    }
}
