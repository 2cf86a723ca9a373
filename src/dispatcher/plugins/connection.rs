//! One connection of a plugin: the questions that wait for its answers, and the news that it is sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::base::clock::Millis;
use crate::hub::{Item, Outbox};
use crate::metrics::PluginCall;
use crate::protocol::codec::encode;
use crate::protocol::plugin::{Answer, Call, Event, Hook, PluginOrder};
use crate::protocol::{CloseCode, PluginName, WireError};

/// Questions that may wait for one plugin's answers. Beyond it nobody begins to wait: one that takes two seconds for an
/// answer still gets 128 questions a second.
const CALLS_MOST: usize = 256;

/// Frames that may wait for one plugin to read them; news take half of it at the most.
const FRAMES_MOST: usize = 1_024;

/// A plugin that is connected here.
#[derive(Debug)]
pub struct Plugin {
    /// Its name.
    pub name: PluginName,
    pub(super) hooks: Vec<Hook>,
    pub(super) connected_at: Millis,
    counts: Arc<Counts>,
    outbox: Arc<Outbox>,
    // Short critical sections; nothing is awaited under it.
    calls: Mutex<Calls>,
    /// News dropped since the last that were sent.
    dropped: AtomicU64,
}

/// What is counted of a plugin, over its connections.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) calls: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Calls {
    waiting: HashMap<u64, oneshot::Sender<Box<Answer>>>,
    ended: bool,
}

/// Why there is no answer of use.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("it is not connected")]
    Away,
    #[error("it did not answer in time")]
    Late,
    #[error("its connection ended")]
    Gone,
    #[error("{CALLS_MOST} questions wait for it already")]
    Busy,
    #[error("it made something of it that cannot be: {0}")]
    Wrong(WireError),
}

impl NoAnswer {
    pub(super) fn label(&self) -> PluginCall {
        match self {
            Self::Away => PluginCall::Away,
            Self::Late => PluginCall::Late,
            Self::Gone => PluginCall::Gone,
            Self::Busy => PluginCall::Busy,
            Self::Wrong(_) => PluginCall::Wrong,
        }
    }
}

impl Plugin {
    pub(super) fn new(
        name: &PluginName,
        hooks: &[Hook],
        now: Millis,
        outbox: Arc<Outbox>,
        counts: Arc<Counts>,
    ) -> Self {
        outbox.make_room(FRAMES_MOST);
        Self {
            name: name.clone(),
            hooks: hooks.to_vec(),
            connected_at: now,
            counts,
            outbox,
            calls: Mutex::default(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Asks, and waits for the answer until `deadline`.
    pub(super) async fn ask(&self, call: Call, deadline: Instant) -> Result<Box<Answer>, NoAnswer> {
        let (tell, told) = oneshot::channel();
        let waiting = Waiting { plugin: self, call_id: call.call_id };
        {
            let mut calls = self.calls.lock();
            if calls.ended {
                return Err(NoAnswer::Gone);
            }
            if calls.waiting.len() >= CALLS_MOST {
                return Err(NoAnswer::Busy);
            }
            calls.waiting.insert(call.call_id, tell);
        }
        self.outbox.push_now(Item::Frame(encode(&PluginOrder::Call(Box::new(call))).into()));
        let answered = match timeout_at(deadline, told).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(NoAnswer::Gone),
            Err(_) => Err(NoAnswer::Late),
        };
        drop(waiting);
        answered
    }

    /// Takes its answer; `false`: nobody waits for that, any more or at all.
    pub fn answers(&self, answer: Box<Answer>) -> bool {
        let waiting = self.calls.lock().waiting.remove(&answer.call_id);
        waiting.is_some_and(|waiting| waiting.send(answer).is_ok())
    }

    /// Says what is wrong with an answer that came.
    pub(super) fn complain(&self, error: &WireError) {
        self.outbox.push_or_drop(Item::Frame(encode(error).into()));
    }

    /// Sends news, if they fit beside what waits to be read.
    pub(super) fn tell(&self, event: Event) -> bool {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let event = PluginOrder::Event(Box::new(Event { dropped, ..event }));
        let told = self.outbox.push_or_drop(Item::Frame(encode(&event).into()));
        if !told {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        told
    }

    /// There will be no more answers.
    pub(super) fn end(&self) {
        let mut calls = self.calls.lock();
        calls.ended = true;
        calls.waiting.clear();
    }

    /// A newer connection has taken its place.
    pub(super) fn supersede(&self) {
        self.end();
        self.outbox.close(CloseCode::Superseded);
    }
}

/// A question is forgotten with whoever waits for its answer.
struct Waiting<'a> {
    plugin: &'a Plugin,
    call_id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.plugin.calls.lock().waiting.remove(&self.call_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_that_do_not_fit_are_counted_and_told_of_with_the_next() {
        let (outbox, counts) = (Arc::new(Outbox::default()), Arc::new(Counts::default()));
        let name = "pager".parse().unwrap();
        let plugin = Plugin::new(&name, &[Hook::JobEnd], 0, Arc::clone(&outbox), Arc::clone(&counts));
        let event = Event { hook: Hook::JobEnd, time: 0, dropped: 0, job: None, container: None, worker: None };
        let told = (0..FRAMES_MOST).filter(|_| plugin.tell(event.clone())).count();
        assert_eq!(told, FRAMES_MOST / 2);

        drop(outbox.take_now());
        assert!(plugin.tell(event.clone()) && plugin.tell(event));
        let frames: Vec<String> = outbox.take_now().unwrap().items.into_iter().map(frame).collect();
        assert!(frames[0].contains(r#""dropped":512"#), "{}", frames[0]);
        assert!(!frames[1].contains("dropped"), "{}", frames[1]);
        assert_eq!(counts.dropped.load(Ordering::Relaxed), 512);
        assert!(!outbox.is_closing(), "it is not sent away for that");
    }

    fn frame(item: Item) -> String {
        match item {
            Item::Frame(frame) => frame.as_str().to_owned(),
            other => panic!("not a frame: {other:?}"),
        }
    }
}
