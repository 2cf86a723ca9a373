//! A WebSocket peer that costs next to nothing.
//!
//! The generator shares the processors with the server that it measures, so all it spends counts against the
//! result. Frames are cut out of the bytes of one buffer a thread, told apart by their first bytes, and never
//! read as JSON; what goes out is masked with zeros, which the protocol allows and which costs nothing, and is
//! written once for all that was said since the last read.
//!
//! Refuses: fragments and binary frames, which no dispatcher sends. An `error` frame and a close end the run.
//! Not here: anything a real client needs to survive; that is `link`.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::base::secret::Secret;
use crate::link::Address;

/// Time for connecting and upgrading, also where thousands do it at once.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// Bytes read at a time: a few large frames of output, or hundreds of small ones.
const READ_BYTES: usize = 256 * 1024;

/// Longest frame that is believed; a dispatcher's are far below.
const FRAME_MOST: usize = 8 * 1024 * 1024;

/// Longest answer to an upgrade.
const HEAD_MOST: usize = 16 * 1024;

thread_local! {
    /// What is being read: one for all peers of a thread, because thousands of them mostly wait.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// See the module.
pub(super) struct Peer {
    tcp: TcpStream,
    /// The beginning of a frame whose end has not come.
    rest: Vec<u8>,
    out: Outgoing,
}

/// Frames on their way out.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Outgoing {
    /// Queues a text frame.
    pub(super) fn text(&mut self, text: &[u8]) {
        self.frame(TEXT, text);
    }

    /// Whether all of it was written.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        const FIN: u8 = 0x80;
        const MASKED: u8 = 0x80;
        self.bytes.push(FIN | opcode);
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(length @ 0..126), _) => self.bytes.push(MASKED | length),
            (_, Ok(length)) => {
                self.bytes.push(MASKED | 126);
                self.bytes.extend_from_slice(&length.to_be_bytes());
            }
            (_, Err(_)) => {
                self.bytes.push(MASKED | 127);
                self.bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        }
        // A mask of zeros changes no byte.
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(payload);
    }

    fn poll_write(&mut self, tcp: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            self.written += ready!(Pin::new(&mut *tcp).poll_write(cx, &self.bytes[self.written..]))?;
        }
        self.bytes.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl Peer {
    /// Opens a WebSocket. Whether the token is a good one shows with what comes next.
    pub(super) async fn connect(address: &Address, token: Option<&Secret>) -> Result<Self> {
        timeout(CONNECT_WITHIN, Self::upgrade(address, token)).await.context("the upgrade took too long")?
    }

    async fn upgrade(address: &Address, token: Option<&Secret>) -> Result<Self> {
        let mut tcp = TcpStream::connect((address.host(), address.port())).await.context("cannot connect")?;
        tcp.set_nodelay(true)?;
        let url = address.socket_url();
        let (host, path) = url.trim_start_matches("ws://").split_once('/').unwrap_or((&url, "ws"));
        let token = token.map(|token| format!("Authorization: Bearer {}\r\n", token.expose())).unwrap_or_default();
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Z2FuZ2xpbmUgYmVuY2ghIQ==\r\n{token}\r\n"
        );
        tcp.write_all(request.as_bytes()).await?;
        let mut head = Vec::with_capacity(512);
        let end = loop {
            ensure!(tcp.read_buf(&mut head).await? > 0 && head.len() < HEAD_MOST, "no answer to the upgrade");
            if let Some(end) = find(&head, b"\r\n\r\n") {
                break end + 4;
            }
        };
        if !head.starts_with(b"HTTP/1.1 101") {
            bail!("no WebSocket: {}", String::from_utf8_lossy(&head[..end]).lines().next().unwrap_or_default());
        }
        Ok(Self { tcp, rest: head.split_off(end), out: Outgoing::default() })
    }

    /// What waits to be written; the next [`turn`](Self::turn) writes it.
    pub(super) fn out(&mut self) -> &mut Outgoing {
        &mut self.out
    }

    /// Writes what waits, and reads what has come: `on_frame` gets each text frame and may answer it. Returns
    /// once something was read. Dropping it half-way loses nothing.
    pub(super) async fn turn(&mut self, mut on_frame: impl FnMut(&[u8], &mut Outgoing) -> Result<()>) -> Result<()> {
        std::future::poll_fn(|cx| self.poll_turn(cx, &mut on_frame)).await
    }

    /// Writes what waits, without reading: for a server that answers nothing.
    pub(super) async fn flush(&mut self) -> Result<()> {
        let Self { tcp, out, .. } = self;
        Ok(std::future::poll_fn(|cx| out.poll_write(tcp, cx)).await?)
    }

    fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        on_frame: &mut impl FnMut(&[u8], &mut Outgoing) -> Result<()>,
    ) -> Poll<Result<()>> {
        let Self { tcp, rest, out } = self;
        if let Poll::Ready(Err(error)) = out.poll_write(tcp, cx) {
            return Poll::Ready(Err(error.into()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let kept = rest.len();
            if scratch.len() < kept + READ_BYTES {
                scratch.resize(kept + READ_BYTES, 0);
            }
            // Whole frames that came with the answer to the upgrade wait for no further bytes.
            let mut filled = kept;
            if whole(rest).is_none() {
                let mut buffer = ReadBuf::new(&mut scratch[kept..]);
                ready!(Pin::new(tcp).poll_read(cx, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Err(anyhow!("the server closed the connection without a word")));
                }
                filled += buffer.filled().len();
            }
            scratch[..kept].copy_from_slice(rest);
            let mut bytes = &scratch[..filled];
            while let Some((opcode, start, end)) = whole(bytes) {
                take(opcode, &bytes[start..end], out, on_frame)?;
                bytes = &bytes[end..];
            }
            rest.clear();
            rest.extend_from_slice(bytes);
            Poll::Ready(Ok(()))
        })
    }
}

fn take(
    opcode: u8,
    payload: &[u8],
    out: &mut Outgoing,
    on_frame: &mut impl FnMut(&[u8], &mut Outgoing) -> Result<()>,
) -> Result<()> {
    match opcode {
        TEXT if payload.starts_with(br#"{"type":"error""#) => {
            bail!("the server said {}", String::from_utf8_lossy(payload))
        }
        TEXT => on_frame(payload, out),
        PING => {
            out.frame(PONG, payload);
            Ok(())
        }
        PONG => Ok(()),
        CLOSE => {
            let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
            bail!("the server closed the connection: {code:?} {reason}")
        }
        other => bail!("a frame of kind {other}, which no dispatcher sends"),
    }
}

/// The first frame in `bytes` if all of it is there: its opcode, where its payload begins and where it ends.
fn whole(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let [first, second, ..] = *bytes else { return None };
    let (start, length) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).unwrap_or(usize::MAX)),
        short => (2, usize::from(short)),
    };
    if bytes.len() >= start && length > FRAME_MOST {
        return Some((0, start, start));
    }
    // The first bit says that it is the last fragment: without it, the opcode is none that is known here.
    let opcode = if first & 0x80 == 0 { 0 } else { first & 0x0f };
    (bytes.len() >= start.saturating_add(length)).then(|| (opcode, start, start + length))
}

/// Where `needle` begins.
pub(super) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// The verb of a frame about a job.
pub(super) fn job_verb(frame: &[u8]) -> Option<&str> {
    let rest = frame.strip_prefix(br#"{"type":"job","data":{"opt":""#)?;
    std::str::from_utf8(&rest[..rest.iter().position(|&byte| byte == b'"')?]).ok()
}

/// The value of the first field of that name, a string without escapes: `key` is `"name":"`.
pub(super) fn string<'a>(frame: &'a [u8], key: &[u8]) -> Option<&'a str> {
    let rest = &frame[find(frame, key)? + key.len()..];
    std::str::from_utf8(&rest[..rest.iter().position(|&byte| byte == b'"')?]).ok()
}

/// The value of the first field of that name, a number: `key` is `"name":`.
pub(super) fn number(frame: &[u8], key: &[u8]) -> Option<u64> {
    let rest = &frame[find(frame, key)? + key.len()..];
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_out_where_they_end() {
        let mut out = Outgoing::default();
        out.text(b"hi");
        out.text(&[b'x'; 300]);
        // What is sent has four bytes of mask more than what is received.
        let unmasked = |header: &[u8], payload: &[u8]| [header, payload].concat();
        let short = unmasked(&[0x81, 2], b"hi");
        assert_eq!(whole(&short), Some((TEXT, 2, 4)));
        assert_eq!(whole(&short[..3]), None);
        let long = unmasked(&[0x81, 126, 1, 44], &[b'x'; 300]);
        assert_eq!(whole(&long), Some((TEXT, 4, 304)));
        assert_eq!(out.bytes.len(), short.len() + long.len() + 8);
    }

    #[test]
    fn fields_are_found_without_reading_the_rest() {
        let frame = br#"{"type":"job","data":{"opt":"assign","jobId":"job-7-00000001","attempt":12,"spec":{}}}"#;
        assert_eq!(job_verb(frame), Some("assign"));
        assert_eq!(string(frame, br#""jobId":""#), Some("job-7-00000001"));
        assert_eq!(number(frame, br#""attempt":"#), Some(12));
        assert_eq!(number(frame, br#""n":"#), None);
        assert_eq!(job_verb(br#"{"type":"pong","data":{}}"#), None);
    }
}
