//! A follower that comes back whatever happens, and writes down all it receives.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::history::{At, Follower, Seen, Stream};
use crate::support::Peer;
use crate::support::peer::Heard;

/// A follower at work.
pub(crate) struct Following {
    seen: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    follower: Mutex<Follower>,
    entries: AtomicU64,
    first_output: OnceLock<Instant>,
}

/// How long a dispatcher may take to say hello before another one is asked.
const HELLO_WITHIN: Duration = Duration::from_secs(2);

impl Following {
    /// Follows `job` from its beginning until its end, over as many connections as it takes.
    pub(crate) fn start(name: &str, address: SocketAddr, token: &str, job: &str) -> Self {
        Self::over(name, vec![address], token, job)
    }

    /// The same; each connection goes to the next of these addresses.
    pub(crate) fn over(name: &str, mut addresses: Vec<SocketAddr>, token: &str, job: &str) -> Self {
        let seen = Arc::new(Shared::default());
        seen.follower.lock().name = name.to_owned();
        let bearer = format!("Bearer {token}");
        let (shared, job) = (Arc::clone(&seen), job.to_owned());
        let task = tokio::spawn(async move {
            let mut last: Option<At> = None;
            while !connection(addresses[0], &bearer, &job, &mut last, &shared).await {
                addresses.rotate_left(1);
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        Self { seen, task }
    }

    /// Entries received so far.
    pub(crate) fn entries(&self) -> u64 {
        self.seen.entries.load(Ordering::Relaxed)
    }

    /// When the first output came.
    pub(crate) fn first_output(&self) -> Option<Instant> {
        self.seen.first_output.get().copied()
    }

    /// Whether it was told, and nothing else since, that there is no such job.
    pub(crate) fn is_told_gone(&self) -> bool {
        self.seen.follower.lock().told_gone
    }

    /// Whether the job's end has come.
    pub(crate) fn is_done(&self) -> bool {
        self.task.is_finished()
    }

    /// What was seen up to now; the follower is sent home.
    pub(crate) fn finish(self) -> Follower {
        self.task.abort();
        self.seen.follower.lock().clone()
    }
}

/// One connection; whether the end has come.
async fn connection(address: SocketAddr, bearer: &str, job: &str, last: &mut Option<At>, shared: &Shared) -> bool {
    let dialled = tokio::time::timeout(HELLO_WITHIN, Peer::dial(address, &[("authorization", bearer)])).await;
    let Ok(Ok(mut peer)) = dialled else { return false };
    let after = last.map_or("0".to_owned(), |(attempt, n)| format!("{attempt}-{n}"));
    let follow = json!({"type": "job", "id": 1, "data": {"opt": "follow", "jobId": job, "after": after}});
    if peer.try_send(Message::text(follow.to_string())).await.is_err() {
        return false;
    }
    shared.follower.lock().connections += 1;
    loop {
        let frame = match peer.hear_at_last().await {
            Heard::Frame(frame) => frame,
            Heard::Ping => continue,
            Heard::Closed(_) | Heard::Broken => return false,
        };
        let data = &frame["data"];
        match (frame["type"].as_str(), read(data)) {
            (Some("job"), Some((at, seen))) => {
                if matches!(seen, Seen::Output { .. }) {
                    shared.first_output.get_or_init(Instant::now);
                }
                let ended = matches!(seen, Seen::Ended { .. });
                *last = Some(match &seen {
                    Seen::Truncated { to } => *to,
                    Seen::Began | Seen::Requeued | Seen::Output { .. } | Seen::Ended { .. } => at,
                });
                let mut follower = shared.follower.lock();
                follower.seen.push((at, seen));
                follower.told_gone = false;
                drop(follower);
                shared.entries.fetch_add(1, Ordering::Relaxed);
                if ended {
                    return true;
                }
            }
            // The job, or the server, is not there yet: it comes back.
            (Some("error"), _) => {
                shared.follower.lock().told_gone = data["code"] == "not_found";
                return false;
            }
            (_, _) => (),
        }
    }
}

/// An entry; none for what is no entry.
fn read(data: &Value) -> Option<(At, Seen)> {
    let at = |field: &str| -> At {
        let (attempt, n) = data[field].as_str().and_then(|at| at.split_once('-')).expect("a cursor");
        (attempt.parse().expect("an attempt"), n.parse().expect("a number"))
    };
    match data["opt"].as_str()? {
        "status" if data["status"] == "running" => Some((at("at"), Seen::Began)),
        "status" => Some((at("at"), Seen::Requeued)),
        "output" => {
            let stream = if data["stream"] == "stderr" { Stream::Stderr } else { Stream::Stdout };
            let bytes = match data["text"].as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => STANDARD.decode(data["base64"].as_str().expect("text or base64")).expect("base64"),
            };
            Some((at("at"), Seen::Output { stream, offset: data["offset"].as_u64().expect("an offset"), bytes }))
        }
        "end" => Some((at("at"), Seen::Ended { completed: data["status"] == "completed" })),
        "truncated" => Some((at("from"), Seen::Truncated { to: at("to") })),
        _ => None,
    }
}
