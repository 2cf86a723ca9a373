//! Asks the dispatcher who may come in.
//!
//! Questions wait here until the session writes them, and askers until it reads the answer. Bounded by the connections that
//! the server takes: each asks one thing at a time. Guards: whatever happens to the session, an asker is told within
//! [`WITHIN`], and without a dispatcher nobody comes in.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use crate::protocol::WireError;
use crate::protocol::agent::{AgentReport, SftpGrant, SftpLogin};
use crate::protocol::codec::{FrameId, encode_with};

/// How long a dispatcher has for its answer. It may let a login wait ten seconds for its turn to hash.
const WITHIN: Duration = Duration::from_secs(20);

/// Why nobody came in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    #[error("no dispatcher is connected")]
    NoDispatcher,
    #[error("the dispatcher did not answer in time")]
    NoAnswer,
    #[error(transparent)]
    Refused(#[from] WireError),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Logins {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Default)]
struct State {
    connected: bool,
    last: u64,
    unsent: VecDeque<String>,
    asking: BTreeMap<u64, oneshot::Sender<Result<SftpGrant, WireError>>>,
}

impl Logins {
    /// Asks whether somebody may come in.
    ///
    /// # Errors
    /// They may not, or nobody knows.
    pub(crate) async fn ask(&self, login: SftpLogin) -> Result<SftpGrant, LoginError> {
        let (number, answer) = {
            let mut state = self.state.lock();
            if !state.connected {
                return Err(LoginError::NoDispatcher);
            }
            state.last += 1;
            let number = state.last;
            state.unsent.push_back(encode_with(&AgentReport::SftpLogin(login), Some(&FrameId::number(number))));
            let (tell, answer) = oneshot::channel();
            state.asking.insert(number, tell);
            (number, answer)
        };
        self.filled.notify_one();
        let _asked = Asked { logins: self, number };
        match timeout(WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(_)) => Err(LoginError::NoDispatcher),
            Err(_) => Err(LoginError::NoAnswer),
        }
    }

    // What the session does.

    /// A dispatcher has taken this worker in.
    pub(crate) fn connected(&self) {
        self.state.lock().connected = true;
    }

    /// It is gone, and will not answer.
    pub(crate) fn disconnected(&self) {
        let mut state = self.state.lock();
        *state = State { last: state.last, ..State::default() };
    }

    /// Waits until there may be a question.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// The next question, as a frame.
    pub(crate) fn next_frame(&self) -> Option<String> {
        self.state.lock().unsent.pop_front()
    }

    /// An answer has come. Says whether it was to a question of here, be it one that nobody waits for any more.
    pub(crate) fn answer(&self, id: Option<&FrameId>, answer: Result<SftpGrant, WireError>) -> bool {
        let Some(number) = id.and_then(|id| id.as_str().parse().ok()) else { return false };
        let mut state = self.state.lock();
        if let Some(tell) = state.asking.remove(&number) {
            let _ = tell.send(answer);
        }
        number <= state.last
    }
}

/// Questions hold passwords.
impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}

/// Somebody who waits for an answer, until dropped.
struct Asked<'a> {
    logins: &'a Logins,
    number: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.logins.state.lock().asking.remove(&self.number);
    }
}
