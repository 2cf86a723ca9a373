//! All connections, and the one task that watches over them.
//!
//! Pings, silence, the end of tokens, revocations and drain are looked after here, once a second
//! for all, so that an idle connection has no timer and no task of its own for any of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::auth::{Identity, Revoked};
use crate::base::clock::{Millis, millis};
use crate::dispatcher::Dispatcher;
use crate::hub::{Item, Outbox};
use crate::protocol::auth::{AuthEvent, Expiring};
use crate::protocol::codec::encode;
use crate::protocol::limits::{AUTH_WITHIN, DEAD_AFTER, EXPIRING_AHEAD, PING_EVERY};
use crate::protocol::{CloseCode, ErrorCode, JobId, WireError};

/// How late a deadline may be noticed.
const TICK: Duration = Duration::from_secs(1);

/// All connections of this instance.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    sessions: DashMap<u64, Arc<Session>>,
    next: AtomicU64,
    /// Rung when the last connection has ended.
    emptied: Notify,
}

/// What is shared of one connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) outbox: Arc<Outbox>,
    /// Both halves end when this is cancelled.
    pub(super) ended: CancellationToken,
    /// Logs that it follows. The reader adds before the writer does, and the writer takes away.
    pub(super) follows: Mutex<HashSet<JobId>>,
    opened_at: Millis,
    heard_at: AtomicU64,
    pinged_at: AtomicU64,
    told_expiring: AtomicBool,
    identity: Mutex<Option<Identity>>,
}

impl Registry {
    /// Connections now.
    pub fn len(&self) -> usize {
        self.0.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.sessions.is_empty()
    }

    /// Waits until there is none.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.0.emptied.notified();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Watches over all connections until everything must end.
    pub async fn run(self, dispatcher: Dispatcher) {
        let cut = dispatcher.shutdown().cut().clone();
        let draining = dispatcher.shutdown().draining().clone();
        let mut revocations = dispatcher.revocations();
        let mut tick = tokio::time::interval(TICK);
        let mut drained = false;
        loop {
            tokio::select! {
                biased;
                () = cut.cancelled() => return,
                () = draining.cancelled(), if !drained => {
                    drained = true;
                    self.each(|session| session.outbox.close(CloseCode::Draining));
                }
                revoked = revocations.recv() => match revoked {
                    Ok(revoked) => self.revoke(&revoked),
                    // Which ones is unknown: all come back and prove themselves anew.
                    Err(RecvError::Lagged(_)) => self.each(|session| session.outbox.close(CloseCode::TokenExpired)),
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => {
                    let now = dispatcher.clock().now();
                    self.each(|session| session.look_after(now));
                }
            }
        }
    }

    pub(super) fn open(&self, now: Millis, identity: Option<Identity>) -> Arc<Session> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let session = Arc::new(Session {
            id,
            outbox: Arc::default(),
            ended: CancellationToken::new(),
            follows: Mutex::default(),
            opened_at: now,
            heard_at: AtomicU64::new(now),
            pinged_at: AtomicU64::new(now),
            told_expiring: AtomicBool::new(false),
            identity: Mutex::new(identity),
        });
        self.0.sessions.insert(id, Arc::clone(&session));
        session
    }

    pub(super) fn close(&self, session: &Session) {
        self.0.sessions.remove(&session.id);
        if self.0.sessions.is_empty() {
            self.0.emptied.notify_waiters();
        }
    }

    fn revoke(&self, revoked: &Revoked) {
        self.each(|session| {
            if session.identity().is_some_and(|identity| revoked.hits(&identity)) {
                let error = WireError::new(ErrorCode::Unauthorized, "the token was revoked");
                session.outbox.push_now(Item::Frame(encode(&error).into()));
                session.outbox.close(CloseCode::Unauthorized);
            }
        });
    }

    fn each(&self, act: impl Fn(&Session)) {
        self.0.sessions.iter().for_each(|session| act(&session));
    }
}

impl Session {
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity.lock().clone()
    }

    /// Rests on `identity` from now on.
    pub(super) fn identify(&self, identity: Identity) {
        *self.identity.lock() = Some(identity);
        self.told_expiring.store(false, Ordering::Relaxed);
    }

    pub(super) fn heard(&self, now: Millis) {
        self.heard_at.store(now, Ordering::Relaxed);
    }

    fn look_after(&self, now: Millis) {
        let since = |at: Millis| now.saturating_sub(at);
        if since(self.heard_at.load(Ordering::Relaxed)) >= millis(DEAD_AFTER) {
            self.outbox.close(CloseCode::PingTimeout);
            return;
        }
        if since(self.pinged_at.load(Ordering::Relaxed)) >= millis(PING_EVERY) {
            self.pinged_at.store(now, Ordering::Relaxed);
            self.outbox.push_now(Item::Ping);
        }
        let Some(identity) = self.identity() else {
            if since(self.opened_at) >= millis(AUTH_WITHIN) {
                self.outbox.close(CloseCode::AuthTimeout);
            }
            return;
        };
        let Some(expires_at) = identity.expires_at else { return };
        if identity.closes_at().is_some_and(|at| at <= now) {
            self.outbox.close(CloseCode::TokenExpired);
        } else if expires_at <= now.saturating_add(millis(EXPIRING_AHEAD))
            && !self.told_expiring.swap(true, Ordering::Relaxed)
        {
            let event = AuthEvent::Expiring(Expiring { expires_at });
            self.outbox.push_now(Item::Frame(encode(&event).into()));
        }
    }
}
