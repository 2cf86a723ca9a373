//! One SSH connection, as far as it is let in: a login, and channels for SFTP.
//!
//! Guards: nothing is served before the dispatcher has said for whom. No shell, no programs, no forwarding of anything.

use std::net::IpAddr;
use std::sync::Arc;

use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Response, Session};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use tokio::sync::{Semaphore, watch};
use tracing::Instrument;

use super::logins::LoginError;
use super::places::Visit;
use super::stream;
use crate::base::shutdown::Shutdown;
use crate::protocol::JobRef;
use crate::protocol::agent::{SftpGrant, SftpLogin};
use crate::worker::agent::Agent;

/// Channels of one connection; a client that shares one among several transfers opens one for each.
const CHANNELS: usize = 4;
/// Longest name to log in with, and longest password, in bytes. A dispatcher takes none that is longer.
const LONGEST: usize = 1024;

/// See the module.
pub(super) struct Visitor {
    agent: Arc<Agent>,
    from: IpAddr,
    tasks: Shutdown,
    channels: Arc<Semaphore>,
    /// Where they are, once they are in.
    visit: watch::Sender<Option<Visit>>,
}

/// Why somebody did not come in.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the name is not <account>.<jobId> or <account>.<containerId>")]
    Name,
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error("no files of {} are here", .0.job_id)]
    Gone(SftpGrant),
    #[error("cannot open the directory: {0}")]
    Io(#[from] std::io::Error),
}

impl Visitor {
    /// Somebody from `from`. Tells `visit` where they are let in.
    pub(super) fn new(agent: Arc<Agent>, from: IpAddr, tasks: Shutdown, visit: watch::Sender<Option<Visit>>) -> Self {
        Self { agent, from, tasks, channels: Arc::new(Semaphore::new(CHANNELS)), visit }
    }

    async fn log_in(&self, name: &str, password: &str) -> Auth {
        match self.let_in(name, password).await {
            Ok((account, visit)) => {
                tracing::info!(account, name, from = %self.from, "SFTP login");
                self.visit.send_replace(Some(visit));
                Auth::Accept
            }
            Err(error) => {
                let name: String = name.chars().take(LONGEST).collect();
                tracing::warn!(?name, from = %self.from, %error, "SFTP login refused");
                Auth::reject()
            }
        }
    }

    async fn let_in(&self, name: &str, password: &str) -> Result<(String, Visit), Refused> {
        if name.len() > LONGEST || password.len() > LONGEST {
            return Err(Refused::Name);
        }
        // Accounts may have dots in them, ids have none.
        let (account, id) = name.rsplit_once('.').ok_or(Refused::Name)?;
        let job_id: JobRef = id.parse().map_err(|_| Refused::Name)?;
        let login = SftpLogin { account: account.to_owned(), password: password.to_owned(), job_id, from: self.from };
        let grant = self.agent.logins.ask(login).await?;
        match self.agent.places.enter(grant.job_id)? {
            Some(visit) => Ok((grant.account, visit)),
            None => Err(Refused::Gone(grant)),
        }
    }
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_password(&mut self, name: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(self.log_in(name, password).await)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        name: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(mut response) = response else {
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: vec![("Password: ".into(), false)].into(),
            });
        };
        let password = response.next().and_then(|password| String::from_utf8(password.into()).ok());
        Ok(self.log_in(name, &password.unwrap_or_default()).await)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let visit = self.visit.borrow().clone();
        let (Some(visit), Ok(room)) = (visit, Arc::clone(&self.channels).try_acquire_owned()) else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        reply.accept().await;
        let connection = session.handle();
        // Reads the channel from the beginning: the connection waits for whoever does.
        let serving = async move {
            stream::serve(channel, connection, visit).await;
            drop(room);
        };
        self.tasks.spawn(serving.in_current_span());
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if name == stream::SUBSYSTEM { session.channel_success(channel) } else { session.channel_failure(channel) }
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}
