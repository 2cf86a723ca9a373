//! One connection's reader: frames in, operations out, one reply each.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::{SplitSink, SplitStream};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite;
use tracing::{Span, debug};

use super::registry::{Registry, Session};
use super::submits::Submits;
use super::writer;
use crate::auth::{AuthError, Credential, Identity, Visitor};
use crate::base::clock::{Millis, millis};
use crate::dispatcher::{Agent, DispatchError, Dispatcher, Plugin};
use crate::hub::{Item, outbox::Closed};
use crate::metrics::{Label, Operation, Presence};
use crate::model::Role;
use crate::protocol::auth::{AuthEvent, AuthOk, AuthReply};
use crate::protocol::codec::{self, Acknowledged, FrameId, Payload, Pong, Sender, ToServer};
use crate::protocol::hello::{AuthMode, ClientHello, HelloEvent, ServerHello};
use crate::protocol::job::JobRequest;
use crate::protocol::limits::{ERRORS_PER_MINUTE, PING_EVERY, UNAUTHENTICATED_FRAME_BYTES};
use crate::protocol::{CloseCode, ErrorCode, PROTOCOL_VERSION, WireError};

/// Wrong credentials after which a socket is closed.
const WRONG_LOGINS: u32 = 3;

/// What is known of a peer when its socket opens.
#[derive(Debug)]
pub(super) enum Opening {
    /// It has shown a token, or needs none.
    Known(Identity),
    /// It has yet to.
    Unknown,
    /// It may not stay: it is told why, and closed.
    Refused(CloseCode, Option<WireError>),
}

/// How a socket is refused whose token is not good, or cannot be looked up.
pub(super) fn refusal(error: &AuthError) -> (CloseCode, Option<WireError>) {
    match error {
        AuthError::Store(_) => (CloseCode::StoreUnavailable, None),
        error => (CloseCode::Unauthorized, Some(error.to_wire())),
    }
}

/// Serves a connection until it ends.
pub(super) async fn run(
    (sink, mut stream): (SplitSink<WebSocket, Message>, SplitStream<WebSocket>),
    dispatcher: Dispatcher,
    registry: Registry,
    opening: Opening,
    from: Visitor,
) {
    let now = dispatcher.clock().now();
    let (identity, refused) = match opening {
        Opening::Known(identity) => (Some(identity), None),
        Opening::Unknown => (None, None),
        Opening::Refused(code, error) => (None, Some((code, error))),
    };
    let session = registry.open(now, identity.clone());
    dispatcher.shutdown().spawn(writer::run(dispatcher.clone(), Arc::clone(&session), sink, Span::current()));
    let (identity, refused) = match identity {
        None => (None, refused),
        Some(identity) => match Box::pin(dispatcher.auth().check_again(&identity)).await {
            Ok(()) => (Some(identity), refused),
            Err(error) => (None, Some(refusal(&error))),
        },
    };
    let mut reader = Reader::new(dispatcher, Arc::clone(&session), identity, from);
    // Once it has hung up it only waits for the peer's answer to the close.
    // Boxed, as all that is done now and then: a connection that waits stays small.
    let mut hung_up = Box::pin(reader.greet(refused)).await.is_err();
    loop {
        let room = reader.submits.has_room();
        let message = tokio::select! {
            biased;
            () = session.ended.cancelled() => break,
            done = reader.submits.next() => {
                hung_up |= Box::pin(reader.submitted(done)).await.is_err();
                continue;
            }
            message = stream.next(), if room => message,
        };
        match message {
            Some(Ok(_)) if hung_up => (),
            Some(Ok(message)) => hung_up = Box::pin(reader.message(message)).await.is_err(),
            Some(Err(error)) => {
                debug!(%error, "socket failed");
                if Box::pin(reader.says_what_was_wrong(&error)).await {
                    session.ended.cancelled().await;
                }
                break;
            }
            None => break,
        }
    }
    session.ended.cancel();
    if let Some(agent) = &reader.agent {
        reader.dispatcher.disconnected(agent);
    }
    if let Some(plugin) = &reader.plugin {
        reader.dispatcher.plugin_left(plugin);
    }
    registry.close(&session);
}

/// A connection's reading half.
pub(super) struct Reader {
    pub(super) dispatcher: Dispatcher,
    pub(super) session: Arc<Session>,
    pub(super) identity: Option<Identity>,
    /// Where it came from.
    pub(super) from: Visitor,
    /// Once it has registered as a worker.
    pub(super) agent: Option<Arc<Agent>>,
    /// Once it has registered as a plugin.
    pub(super) plugin: Option<Arc<Plugin>>,
    pub(super) wrong_logins: u32,
    pub(super) submits: Submits,
    /// Requests that wait for workers; nothing before the first.
    pub(super) waiting: Option<Arc<Semaphore>>,
    rate: Option<Box<DefaultDirectRateLimiter>>,
    errors: Strikes,
    rate_errors: Strikes,
    counted: Presence,
}

/// The connection cannot go on.
#[derive(Debug)]
pub(super) struct Hangup;

impl From<Closed> for Hangup {
    fn from(_: Closed) -> Self {
        Self
    }
}

/// The times of the latest strikes, no more than are too many. Takes no memory before the first.
#[derive(Debug, Default)]
struct Strikes(VecDeque<Millis>);

impl Strikes {
    /// Counts one; `true`: there were too many within the last minute.
    fn add(&mut self, now: Millis) -> bool {
        self.0.retain(|&at| now.saturating_sub(at) < 60_000);
        if self.0.len() > ERRORS_PER_MINUTE {
            self.0.pop_front();
        }
        self.0.push_back(now);
        self.0.len() > ERRORS_PER_MINUTE
    }
}

impl Reader {
    fn new(dispatcher: Dispatcher, session: Arc<Session>, identity: Option<Identity>, from: Visitor) -> Self {
        let counted = count(&dispatcher, identity.as_ref());
        Self {
            dispatcher,
            session,
            identity,
            from,
            agent: None,
            plugin: None,
            wrong_logins: 0,
            submits: Submits::default(),
            waiting: None,
            rate: None,
            errors: Strikes::default(),
            rate_errors: Strikes::default(),
            counted,
        }
    }

    /// Rests on `identity` from now on.
    pub(super) fn know(&mut self, identity: Identity) {
        self.counted = count(&self.dispatcher, Some(&identity));
        self.identity = Some(identity);
    }

    async fn greet(&mut self, refused: Option<(CloseCode, Option<WireError>)>) -> Result<(), Hangup> {
        let settings = self.dispatcher.settings();
        let hello = ServerHello {
            protocol: PROTOCOL_VERSION,
            server: concat!("gangline/", env!("CARGO_PKG_VERSION")).to_owned(),
            instance: self.dispatcher.instance().to_owned(),
            now: self.dispatcher.clock().now(),
            auth: if settings.open { AuthMode::Open } else { AuthMode::Required },
            ping_secs: PING_EVERY.as_secs(),
            max_frame_bytes: match &self.identity {
                Some(_) => self.frame_bytes(),
                None => settings.limits.client_frame_bytes,
            },
        };
        self.reply(None, &hello).await?;
        if let Some((code, error)) = refused {
            if let Some(error) = error {
                self.reply(None, &error).await?;
            }
            self.session.outbox.close(code);
        } else if let Some(identity) = self.identity.clone()
            && identity.credential != Credential::Open
        {
            self.reply(None, &AuthEvent::Ok(AuthReply::Login(auth_ok(&identity, None)))).await?;
        }
        Ok(())
    }

    async fn message(&mut self, message: Message) -> Result<(), Hangup> {
        let now = self.dispatcher.clock().now();
        self.session.heard(now);
        match message {
            Message::Text(text) => self.text(text.as_str(), now).await,
            Message::Binary(_) => {
                self.fail(None, &WireError::new(ErrorCode::BadFrame, "send text frames, not binary ones")).await
            }
            // The end of the stream follows a close.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
        }
    }

    async fn text(&mut self, text: &str, now: Millis) -> Result<(), Hangup> {
        let most = self.frame_bytes();
        if text.len() > most {
            let message = format!("a frame of {} bytes; this connection may send {most}", text.len());
            let id = codec::id_of(text);
            self.fail(id.as_ref(), &WireError::new(ErrorCode::TooLarge, message)).await?;
            self.session.outbox.close(CloseCode::TooLarge);
            return Ok(());
        }
        if let Err(wait_ms) = self.check_rate() {
            let error = WireError::new(ErrorCode::RateLimited, "too many frames").retry_after(wait_ms);
            if self.rate_errors.add(now) {
                self.session.outbox.close(CloseCode::RateLimited);
                return Ok(());
            }
            return self.reply(codec::id_of(text).as_ref(), &error).await;
        }
        let mut sender = Sender::Nobody;
        let admitted = codec::read_admitted(text, |of| {
            sender = of;
            self.admit(of)
        });
        let (frame, id) = match admitted {
            Ok(read) => read,
            Err((id, error)) => {
                if sender == Sender::Administrator && error.code == ErrorCode::Forbidden {
                    self.note_forbidden(text).await;
                }
                self.settle().await?;
                return self.fail(id.as_ref(), &error).await;
            }
        };
        if !matches!(frame, ToServer::Job(JobRequest::Submit(_))) {
            self.settle().await?;
        }
        let done = match frame {
            ToServer::Ping => return self.reply(id.as_ref(), &Pong {}).await,
            ToServer::Pong => return Ok(()),
            ToServer::Hello(ClientHello { protocol }) => return self.hello(id.as_ref(), protocol).await,
            ToServer::Auth(request) => self.auth(id.as_ref(), request).await,
            frame => match self.identity.clone() {
                None => Err(unauthorized().into()),
                Some(who) => self.act(&who, id.as_ref(), frame).await,
            },
        };
        match done {
            Ok(()) => Ok(()),
            Err(Failure::Hangup) => Err(Hangup),
            Err(Failure::Refused(error)) => self.refuse(id.as_ref(), &error).await,
        }
    }

    /// Whether the peer is one of those who may send a frame.
    fn admit(&self, sender: Sender) -> Result<(), WireError> {
        let Some(who) = &self.identity else {
            return match sender {
                Sender::Anyone => Ok(()),
                Sender::Client | Sender::Administrator | Sender::Worker | Sender::Plugin | Sender::Nobody => {
                    Err(unauthorized())
                }
            };
        };
        let forbidden = |why| Err(WireError::new(ErrorCode::Forbidden, why));
        match (sender, who.role) {
            (Sender::Anyone | Sender::Nobody, _)
            | (Sender::Client, Role::User | Role::Admin)
            | (Sender::Administrator, Role::Admin)
            | (Sender::Worker, Role::Worker)
            | (Sender::Plugin, Role::Plugin) => Ok(()),
            (Sender::Worker | Sender::Plugin, _) if who.credential == Credential::Open => Ok(()),
            (Sender::Client, Role::Worker | Role::Plugin) => forbidden("this role has no part in clients' frames"),
            (Sender::Administrator, _) => forbidden("only administrators may do this"),
            (Sender::Worker, _) => forbidden("only workers report"),
            (Sender::Plugin, _) => forbidden("only plugins send plugin frames"),
        }
    }

    /// Performs what a known peer asks.
    async fn act(&mut self, who: &Identity, id: Option<&FrameId>, frame: ToServer<'_>) -> Result<(), Failure> {
        match frame {
            ToServer::AgentJob(report) => self.agent_job(who, id, report).await,
            ToServer::Agent(report) => self.agent(who, id, report).await,
            ToServer::Job(request) => self.job(who, id, request).await,
            ToServer::Worker(request) => self.worker(who, id, request).await,
            ToServer::AgentContainer(report) => self.agent_container(who, report).await,
            ToServer::Container(request) => Box::pin(self.container(who, id, request)).await,
            ToServer::Plugin(report) => self.plugin(who, id, report).await,
            ToServer::Plugins(request) => self.plugins(who, id, request).await,
            ToServer::Hello(_) | ToServer::Auth(_) | ToServer::Ping | ToServer::Pong => Ok(()),
        }
    }

    async fn hello(&mut self, id: Option<&FrameId>, protocol: u32) -> Result<(), Hangup> {
        if protocol == PROTOCOL_VERSION {
            return self.reply(id, &HelloEvent::Ok(Acknowledged::of("hello"))).await;
        }
        let message = format!("this server speaks protocol {PROTOCOL_VERSION}, not {protocol}");
        self.reply(id, &WireError::new(ErrorCode::UnsupportedVersion, message).field("protocol")).await?;
        self.session.outbox.close(CloseCode::UnsupportedVersion);
        Ok(())
    }

    /// Queues a reply.
    pub(super) async fn reply<P: Payload>(&self, id: Option<&FrameId>, data: &P) -> Result<(), Hangup> {
        Ok(self.session.outbox.push(Item::Frame(codec::encode_with(data, id).into())).await?)
    }

    /// Says why something did not take place.
    pub(super) async fn refuse(&mut self, id: Option<&FrameId>, error: &DispatchError) -> Result<(), Hangup> {
        if error.is_the_stores() {
            self.dispatcher.metrics().store_errors.of(Operation::Request).inc();
        }
        self.fail(id, &error.to_wire()).await
    }

    /// Queues an error, and counts it.
    pub(super) async fn fail(&mut self, id: Option<&FrameId>, error: &WireError) -> Result<(), Hangup> {
        self.reply(id, error).await?;
        if self.errors.add(self.dispatcher.clock().now()) {
            self.session.outbox.close(CloseCode::Abuse);
        }
        Ok(())
    }

    /// Whether the socket failed on a message over its own limit, or one of text that is none, and the
    /// peer is being told so.
    async fn says_what_was_wrong(&mut self, error: &axum::Error) -> bool {
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
        let (error, close) = match source {
            Some(tungstenite::Error::Capacity(_)) => {
                (WireError::new(ErrorCode::TooLarge, "the message is over every limit"), CloseCode::TooLarge)
            }
            Some(tungstenite::Error::Utf8(_)) => {
                (WireError::new(ErrorCode::BadFrame, "the message is not UTF-8"), CloseCode::InvalidPayload)
            }
            Some(_) | None => return false,
        };
        let told = self.fail(None, &error).await.is_ok();
        self.session.outbox.close(close);
        told
    }

    fn frame_bytes(&self) -> usize {
        let limits = &self.dispatcher.settings().limits;
        match &self.identity {
            None => UNAUTHENTICATED_FRAME_BYTES,
            // Who needs no token may be a worker, and says so in a frame that can be large.
            Some(identity) if identity.credential == Credential::Open => limits.worker_frame_bytes,
            Some(identity) => match identity.role {
                // A plugin sends back what it was sent, which may have come in many ways.
                Role::Worker | Role::Plugin => limits.worker_frame_bytes,
                Role::User | Role::Admin => limits.client_frame_bytes,
            },
        }
    }

    /// Whether this frame is within the connection's rate; if not, when the next one is, in
    /// milliseconds. Administrators are exempt, workers, whose flow the window bounds, and plugins, which answer what
    /// they are asked.
    fn check_rate(&mut self) -> Result<(), u64> {
        if self.identity.as_ref().is_some_and(|who| matches!(who.role, Role::Admin | Role::Worker | Role::Plugin)) {
            return Ok(());
        }
        let limits = &self.dispatcher.settings().limits;
        let (Some(rate), Some(burst)) =
            (NonZeroU32::new(limits.frames_per_second), NonZeroU32::new(limits.frame_burst))
        else {
            return Ok(());
        };
        let quota = Quota::per_second(rate).allow_burst(burst);
        let limiter = self.rate.get_or_insert_with(|| Box::new(RateLimiter::direct(quota)));
        limiter.check().map_err(|until| {
            millis(until.wait_time_from(governor::clock::Clock::now(&governor::clock::DefaultClock::default())))
        })
    }
}

/// Counts a connection by its role, and says in its logs whose it is.
fn count(dispatcher: &Dispatcher, identity: Option<&Identity>) -> Presence {
    let role = identity.map(|identity| identity.role.into());
    if let Some(identity) = identity {
        Span::current().record("account", identity.account.as_str()).record("role", role.name());
    }
    Presence::of(dispatcher.metrics().websockets.of(role))
}

/// Why a request has no reply of its own.
pub(super) enum Failure {
    /// The peer is told.
    Refused(DispatchError),
    /// There is no peer any more.
    Hangup,
}

impl<E: Into<DispatchError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Hangup> for Failure {
    fn from(_: Hangup) -> Self {
        Self::Hangup
    }
}

/// What a peer is told before it has proved who it is.
pub(super) fn unauthorized() -> WireError {
    WireError::new(ErrorCode::Unauthorized, "send an auth frame first")
}

/// What a peer is told of its own identity.
pub(super) fn auth_ok(identity: &Identity, token: Option<String>) -> AuthOk {
    AuthOk { account: identity.account.to_string(), role: identity.role.into(), expires_at: identity.expires_at, token }
}

/// Wrong credentials on one socket before it is closed.
pub(super) fn too_many(wrong_logins: u32) -> bool {
    wrong_logins >= WRONG_LOGINS
}
