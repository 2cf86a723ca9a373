//! The SFTP server of a worker: the files of a job while it runs, and of a container, for those who may see it.
//!
//! One logs in as `<account>.<id>` with the account's password or an API token of it; the dispatcher says whether that is
//! right (`logins`), and what is meant. Then there is one directory (`places`), from which nothing leads out (`jail`).
//!
//! Guards: how many connections there are, how long one may take to log in and be silent, how often it may try. Runs on a
//! thread of its own, because ciphering a large file must not hold up what jobs print. Not here: shells, programs, forwarding.

mod host_key;
mod jail;
pub(crate) mod logins;
mod long_name;
pub(crate) mod places;
mod requests;
mod stream;
#[cfg(test)]
mod tests;
mod visitor;

use std::io;
use std::net::{Shutdown as Direction, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use russh::keys::{HashAlg, PrivateKey};
use russh::server::{Config, run_stream};
use russh::{Disconnect, MethodKind, MethodSet, SshId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};

use self::places::Visit;
use self::visitor::Visitor;
use super::agent::Agent;
use crate::base::shutdown::Shutdown;

/// Connections at a time. Each may hold some MiB that are on their way.
const CONNECTIONS: usize = 32;
/// How long somebody may take to log in.
const LOGIN_WITHIN: Duration = Duration::from_secs(60);
/// Passwords that one connection may try.
const TRIES: usize = 6;
/// How long a wrong one takes to be refused, so that nothing can be told from it.
const REFUSED_AFTER: Duration = Duration::from_millis(500);
/// Silence after which a connection ends.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// What may be under way to the server before it says that it goes on reading: as much as OpenSSH allows.
const WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Largest packet of a channel, the largest that any implementation must take.
const CHANNEL_PACKET_BYTES: u32 = 32 * 1024;
/// Pieces of a channel, of up to 32 KiB, that wait while those before them are looked at.
const AHEAD_MESSAGES: usize = 32;
/// How long a connection may take to end that was asked to.
const GOODBYE: Duration = Duration::from_secs(1);
/// After a failed `accept`, which is as a rule a lack of files, there is a pause.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A server that listens, and does not accept yet.
#[derive(Debug)]
pub(super) struct Server {
    listener: std::net::TcpListener,
    address: SocketAddr,
    key: PrivateKey,
}

impl Server {
    /// Listens at `address`, with the host key of the worker, which is made at the first start.
    ///
    /// # Errors
    /// The address cannot be used, or the key cannot.
    pub(super) fn bind(address: SocketAddr, key: &std::path::Path) -> io::Result<Self> {
        let key = host_key::open(key)?;
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        tracing::info!(%address, host_key = %key.public_key().fingerprint(HashAlg::Sha256), "SFTP is served");
        Ok(Self { listener, address, key })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own until the agent is gone; then the receiver resolves. The runtime goes with the thread,
    /// and with it every task that was started here.
    ///
    /// # Errors
    /// There can be no thread.
    pub(super) fn start(self, agent: Arc<Agent>) -> io::Result<oneshot::Receiver<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (tell, ended) = oneshot::channel();
        thread::Builder::new().name("sftp".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(self.serve(agent)) {
                tracing::error!(%error, "SFTP cannot be served");
            }
            // A disk that does not answer holds up nobody.
            runtime.shutdown_timeout(GOODBYE);
            let _ = tell.send(());
        })?;
        Ok(ended)
    }

    async fn serve(self, agent: Arc<Agent>) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let config = Arc::new(config(self.key));
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let tasks = Shutdown::new();
        loop {
            let accepted = tokio::select! {
                () = agent.gone.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match (accepted, Arc::clone(&places).try_acquire_owned()) {
                (Ok((socket, from)), Ok(place)) => {
                    let connection =
                        connection(Arc::clone(&config), socket, from, Arc::clone(&agent), tasks.clone(), place);
                    tasks.spawn(connection);
                }
                (Ok((_, from)), Err(_)) => tracing::debug!(%from, "{CONNECTIONS} SFTP connections are open; no more"),
                (Err(error), _) => {
                    tracing::warn!(%error, "cannot accept an SFTP connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        tasks.start_cut();
        tasks.finished(3 * GOODBYE).await;
        Ok(())
    }
}

fn config(key: PrivateKey) -> Config {
    Config {
        server_id: SshId::Standard("SSH-2.0-gangline".into()),
        methods: MethodSet::from(&[MethodKind::Password, MethodKind::KeyboardInteractive][..]),
        auth_rejection_time: REFUSED_AFTER,
        // Clients begin with none, to hear what there is.
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key],
        window_size: WINDOW_BYTES,
        maximum_packet_size: CHANNEL_PACKET_BYTES,
        channel_buffer_size: AHEAD_MESSAGES,
        max_auth_attempts: TRIES,
        inactivity_timeout: Some(IDLE),
        nodelay: true,
        ..Config::default()
    }
}

/// Serves one connection until it ends, or must.
async fn connection(
    config: Arc<Config>,
    socket: TcpStream,
    from: SocketAddr,
    agent: Arc<Agent>,
    tasks: Shutdown,
    _place: OwnedSemaphorePermit,
) {
    // russh has a task of its own for it, and hands out nothing to end that with: closing the socket does.
    let (socket, closer) = match two(socket) {
        Ok(both) => both,
        Err(error) => return tracing::debug!(%error, "a connection cannot be served"),
    };
    let (visit, visits) = watch::channel(None);
    let visitor = Visitor::new(agent, from.ip(), tasks.clone(), visit);
    let greeted = tokio::select! {
        greeted = timeout(LOGIN_WITHIN, run_stream(config, socket, visitor)) => greeted,
        () = tasks.cut().cancelled() => return,
    };
    let mut session = match greeted {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return tracing::debug!(%error, %from, "no SSH client"),
        Err(_) => return,
    };
    let why = tokio::select! {
        ended = &mut session => {
            if let Err(error) = ended {
                tracing::debug!(%error, %from, "an SFTP connection failed");
            }
            return;
        }
        () = tasks.cut().cancelled() => "the worker is going",
        why = must_end(visits) => why,
    };
    let handle = session.handle();
    let _ = timeout(GOODBYE, handle.disconnect(Disconnect::ByApplication, why.to_owned(), String::new())).await;
    if timeout(GOODBYE, &mut session).await.is_err() {
        let _ = closer.shutdown(Direction::Both);
        let _ = timeout(GOODBYE, session).await;
    }
}

fn two(socket: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    socket.set_nodelay(true)?;
    let socket = socket.into_std()?;
    let closer = socket.try_clone()?;
    Ok((TcpStream::from_std(socket)?, closer))
}

/// Resolves when a connection must end: nobody has logged in in time, or what it is about is over.
async fn must_end(mut visits: watch::Receiver<Option<Visit>>) -> &'static str {
    let over = match timeout(LOGIN_WITHIN, visits.wait_for(Option::is_some)).await {
        Err(_) => return "no login in time",
        Ok(visit) => visit.ok().and_then(|visit| visit.as_ref().map(|visit| visit.over.clone())),
    };
    match over {
        Some(over) => over.cancelled().await,
        // The connection is gone, which is noticed elsewhere.
        None => std::future::pending().await,
    }
    "the job is over, or the container removed"
}
