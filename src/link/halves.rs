//! An open link: the sending half, the receiving half, and how it ends.

use std::fmt;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};
use tokio_util::either::Either;

use crate::protocol::CloseCode;
use crate::protocol::hello::ServerHello;
use crate::protocol::limits::{DEAD_AFTER, PING_EVERY};

/// How long a write may wait for the dispatcher to read. As long as it may be silent.
const WRITE_WITHIN: Duration = DEAD_AFTER;
/// How long the end of a closing handshake is waited for.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// In the clear, or over TLS.
type Socket = WebSocketStream<Either<TcpStream, Box<TlsStream<TcpStream>>>>;

/// An open connection to a dispatcher that has said `hello`.
#[derive(Debug)]
pub struct Link {
    /// What the dispatcher said first.
    pub hello: ServerHello,
    /// Sends frames.
    pub sender: LinkSender,
    /// Receives frames.
    pub receiver: LinkReceiver,
}

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkEnd {
    /// The dispatcher's close code; none where the connection broke.
    pub code: Option<u16>,
    /// In words.
    pub reason: String,
}

impl LinkEnd {
    fn broken(reason: impl Into<String>) -> Self {
        Self { code: None, reason: reason.into() }
    }

    /// Whether to connect again: always where the connection broke, else as the code says.
    pub fn should_reconnect(&self) -> bool {
        self.code.is_none_or(CloseCode::should_reconnect)
    }
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "the dispatcher closed the connection: {} ({code})", self.reason),
            None => write!(f, "the connection to the dispatcher was lost: {}", self.reason),
        }
    }
}

impl std::error::Error for LinkEnd {}

impl From<WsError> for LinkEnd {
    fn from(error: WsError) -> Self {
        Self::broken(error.to_string())
    }
}

pub(super) fn split(socket: Socket) -> (LinkSender, LinkReceiver) {
    let (sink, stream) = socket.split();
    let now = Instant::now();
    (LinkSender { sink, last_sent: now }, LinkReceiver { stream, last_heard: now })
}

/// Sends frames. [`feed`](Self::feed) what is ready, then [`flush`](Self::flush) once: a
/// write for every frame costs more than the frames themselves.
///
/// An error of any method ends the link; the [`LinkReceiver`] often knows the better reason.
#[derive(Debug)]
pub struct LinkSender {
    sink: SplitSink<Socket, Message>,
    last_sent: Instant,
}

impl LinkSender {
    /// Queues a frame, and writes only when the buffer (256 KiB) is full.
    ///
    /// # Errors
    /// The link is over.
    pub async fn feed(&mut self, frame: impl Into<Utf8Bytes>) -> Result<(), LinkEnd> {
        in_time(self.sink.feed(Message::Text(frame.into()))).await
    }

    /// Writes what was queued.
    ///
    /// # Errors
    /// The link is over, or the dispatcher has not read for 60 s.
    pub async fn flush(&mut self) -> Result<(), LinkEnd> {
        in_time(self.sink.flush()).await?;
        self.last_sent = Instant::now();
        Ok(())
    }

    /// Queues a frame and writes it.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn send(&mut self, frame: impl Into<Utf8Bytes>) -> Result<(), LinkEnd> {
        self.feed(frame).await?;
        self.flush().await
    }

    /// Waits until nothing was sent for 25 s, then sends a ping, so that both sides notice a
    /// connection that died silently. Meant for a `select!` beside the frames to send;
    /// dropping it half-way is harmless.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn keep_alive(&mut self) -> Result<(), LinkEnd> {
        sleep_until(self.last_sent + PING_EVERY).await;
        in_time(self.sink.feed(Message::Ping(Bytes::new()))).await?;
        self.flush().await
    }

    /// Says goodbye. The receiver then yields the end.
    pub async fn close(&mut self, code: CloseCode) {
        let frame = CloseFrame { code: code.code().into(), reason: code.reason().into() };
        // A link that is over already needs no goodbye.
        let _ = timeout(CLOSE_WITHIN, self.sink.send(Message::Close(Some(frame)))).await;
    }
}

async fn in_time<F>(write: F) -> Result<(), LinkEnd>
where
    F: Future<Output = Result<(), WsError>>,
{
    match timeout(WRITE_WITHIN, write).await {
        Ok(written) => Ok(written?),
        Err(_) => Err(LinkEnd::broken(format!("nothing could be sent for {} s", WRITE_WITHIN.as_secs()))),
    }
}

/// Receives frames, and notices when the dispatcher has gone silent.
#[derive(Debug)]
pub struct LinkReceiver {
    stream: SplitStream<Socket>,
    last_heard: Instant,
}

impl LinkReceiver {
    /// The next text frame. Pings are answered on the way; binary frames have no meaning and
    /// are passed over. Dropping it half-way loses nothing.
    ///
    /// # Errors
    /// The link is over: closed by the dispatcher, broken, or silent for 60 s.
    pub async fn recv(&mut self) -> Result<Utf8Bytes, LinkEnd> {
        loop {
            let silent_at = self.last_heard + DEAD_AFTER;
            let Ok(message) = tokio::time::timeout_at(silent_at, self.stream.next()).await else {
                return Err(LinkEnd::broken(format!("nothing was heard for {} s", DEAD_AFTER.as_secs())));
            };
            let message = message.ok_or_else(|| LinkEnd::broken("it closed without a word"))??;
            self.last_heard = Instant::now();
            match message {
                Message::Text(text) => return Ok(text),
                Message::Close(frame) => {
                    // Reading on writes the answer to the close frame.
                    let _ = timeout(CLOSE_WITHIN, self.stream.next()).await;
                    return Err(frame.map_or_else(
                        || LinkEnd::broken("it closed without a reason"),
                        |frame| LinkEnd { code: Some(frame.code.into()), reason: frame.reason.to_string() },
                    ));
                }
                // A whole frame never shows up as a raw `Frame` here.
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => (),
            }
        }
    }
}
