//! A container's streams, as the engine carries them: both on one connection, each piece behind a header, or the bare
//! bytes of a terminal.
//!
//! Nothing is kept back and nothing is copied twice: a piece is read where the reader of its stream wants it. The two
//! readers of one connection take turns, and each passes the word on when the next piece is the other's.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};

use super::stream::Reader;
use crate::protocol::StreamName;

/// Bytes before each piece: stream, three zeros, length.
pub(super) const HEADER: usize = 8;

/// Bytes that are kept of the beginning of what the engine's init process may have said.
const FIRST_WORDS: usize = 512;

/// How the engine's init process begins to say why it ends.
const INIT_FAILED: &str = "[FATAL tini (";

/// One stream of a container.
#[derive(Debug)]
pub(crate) struct Console {
    stream: StreamName,
    shared: Arc<Mutex<Shared>>,
}

/// What a container wrote first, and whether it has written all.
#[derive(Debug, Clone)]
pub(crate) struct FirstWords(Arc<Mutex<Shared>>);

struct Shared {
    from: BufReader<Reader>,
    /// Bare bytes: there are no headers.
    bare: bool,
    header: [u8; HEADER],
    /// Bytes of the header that are there.
    have: usize,
    /// Whose the piece is that is being read, and what is left of it.
    piece: Option<(StreamName, usize)>,
    /// Who waits for its turn.
    waiting: [Option<Waker>; 2],
    /// The beginning of all that came.
    first_words: Vec<u8>,
    ended: bool,
    /// Who waits for the end.
    on_end: Option<Waker>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("bare", &self.bare).field("piece", &self.piece).finish_non_exhaustive()
    }
}

/// Both streams of a connection with headers.
pub(super) fn both(from: Reader) -> (Console, Console, FirstWords) {
    let shared = Shared::new(from, false);
    let [stdout, stderr] =
        [StreamName::Stdout, StreamName::Stderr].map(|stream| Console { stream, shared: Arc::clone(&shared) });
    (stdout, stderr, FirstWords(shared))
}

/// The one stream of a terminal.
pub(super) fn terminal(from: Reader) -> (Console, FirstWords) {
    let shared = Shared::new(from, true);
    (Console { stream: StreamName::Stdout, shared: Arc::clone(&shared) }, FirstWords(shared))
}

impl FirstWords {
    /// Whether the engine's init process is about to say that it could not start the program: waits for what comes first, or
    /// until the program `runs`. Nothing is taken from who reads the streams.
    pub(crate) async fn will_complain(&self, runs: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            begins = poll_fn(|context| self.0.lock().poll_begins_with(INIT_FAILED, context)) => begins,
            () = runs => false,
        }
    }

    /// What the engine, or its init process, had to say of a program that could not be started, to follow "cannot start":
    /// that comes first, because nothing else ran.
    pub(crate) fn complaint(&self) -> Option<String> {
        let shared = self.0.lock();
        let words = String::from_utf8_lossy(&shared.first_words);
        if let Some(complaint) = words.strip_prefix("OCI runtime exec failed: ") {
            return Some(of_runtime(complaint.lines().next()?.trim_end().trim_end_matches(": unknown")));
        }
        let complaint = words.strip_prefix(INIT_FAILED)?.split_once(")] exec ")?.1;
        let (program, why) = complaint.lines().next()?.trim_end().rsplit_once(" failed: ")?;
        Some(format!("{program:?}: {why}"))
    }

    /// Resolves once all that there was has been read. One at a time may wait for that.
    pub(super) async fn ended(&self) {
        poll_fn(|context| {
            let mut shared = self.0.lock();
            if shared.ended {
                return Poll::Ready(());
            }
            shared.on_end = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A complaint of the engine's runtime without what it says of itself:
/// `exec failed: unable to start container process: exec: "nosuch": executable file not found in $PATH`.
fn of_runtime(complaint: &str) -> String {
    let ways = ["unable to start container process: ", "starting container process caused: "];
    let why = ways.iter().find_map(|way| complaint.split_once(way)).map_or(complaint, |(_, why)| why);
    let in_dir = || {
        let (dir, why) = why.strip_prefix("chdir to cwd (")?.split_once(") set in config.json failed: ")?;
        Some(format!("in {dir}: {why}"))
    };
    match why.strip_prefix("exec: ") {
        Some(why) => why.to_owned(),
        None => in_dir().unwrap_or_else(|| format!("the program: {why}")),
    }
}

impl Shared {
    fn new(from: Reader, bare: bool) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            from: BufReader::new(from),
            bare,
            header: [0; HEADER],
            have: 0,
            piece: bare.then_some((StreamName::Stdout, usize::MAX)),
            waiting: [None, None],
            first_words: Vec::new(),
            ended: false,
            on_end: None,
        }))
    }

    /// Whether what comes first begins so. Only to be asked while nothing has been read.
    fn poll_begins_with(&mut self, words: &str, context: &mut Context<'_>) -> Poll<bool> {
        let header = if self.bare { 0 } else { HEADER };
        let first = ready!(Pin::new(&mut self.from).poll_fill_buf(context)).unwrap_or_default();
        Poll::Ready(first.get(header..).is_some_and(|first| first.starts_with(words.as_bytes())))
    }

    fn poll_read(
        &mut self,
        stream: StreamName,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            match self.piece {
                Some((_, 0)) => self.piece = None,
                Some((of, left)) if of == stream => {
                    let room = into.remaining().min(left);
                    let mut limited = ReadBuf::new(into.initialize_unfilled_to(room));
                    let read = ready!(Pin::new(&mut self.from).poll_read(context, &mut limited));
                    let count = limited.filled().len();
                    self.after_read(read.is_err(), limited.filled());
                    into.advance(count);
                    return Poll::Ready(read);
                }
                // Woken by whoever comes to its next piece.
                Some(_) => return Poll::Pending,
                None => ready!(self.poll_header(stream, context))?,
            }
        }
    }

    /// Reads on in the header of the next piece.
    fn poll_header(&mut self, asking: StreamName, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.have < HEADER {
            let mut rest = ReadBuf::new(&mut self.header[self.have..]);
            let read = ready!(Pin::new(&mut self.from).poll_read(context, &mut rest));
            let count = rest.filled().len();
            self.have += count;
            if count == 0 || read.is_err() {
                self.end();
                return Poll::Ready(read);
            }
        }
        self.have = 0;
        let [stream, _, _, _, length @ ..] = self.header;
        // 2 is standard error, 3 the engine's own complaints.
        let stream = if stream >= 2 { StreamName::Stderr } else { StreamName::Stdout };
        self.piece = Some((stream, u32::from_be_bytes(length) as usize));
        if stream != asking {
            self.wake(stream);
        }
        Poll::Ready(Ok(()))
    }

    fn after_read(&mut self, failed: bool, bytes: &[u8]) {
        if bytes.is_empty() || failed {
            self.end();
            return;
        }
        if let Some((_, left)) = &mut self.piece
            && !self.bare
        {
            *left -= bytes.len();
        }
        if self.first_words.len() < FIRST_WORDS {
            let room = FIRST_WORDS - self.first_words.len();
            self.first_words.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.wake(StreamName::Stdout);
        self.wake(StreamName::Stderr);
        if let Some(waker) = self.on_end.take() {
            waker.wake();
        }
    }

    fn wake(&mut self, stream: StreamName) {
        if let Some(waker) = self.waiting[index(stream)].take() {
            waker.wake();
        }
    }
}

fn index(stream: StreamName) -> usize {
    match stream {
        StreamName::Stdout => 0,
        StreamName::Stderr => 1,
    }
}

impl AsyncRead for Console {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared.lock();
        let polled = shared.poll_read(self.stream, context, into);
        if polled.is_pending() {
            shared.waiting[index(self.stream)] = Some(context.waker().clone());
        }
        polled
    }
}
