//! The engine's own log of a container, for taking over one that ran on while its agent was away.
//!
//! Live, a container is listened to; but what it wrote while nobody did is in this log alone, from the first byte. What was
//! stored of it before is skipped, to the byte.
//!
//! The engine's `local` driver keeps bytes as they are, with one flaw that is mended here: of a line longer than 16 KiB it
//! loses the newline. A terminal's log has no marks to mend by. Where the engine has dropped the beginning of a long log,
//! nobody can say which bytes are missing: [`Kept::whole`] says so, and reading goes on at the end.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use tokio::io::AsyncReadExt;
use tokio_util::io::StreamReader;

use super::console::HEADER;
use super::stream::{self as connection, Reader};
use super::{ANSWER_WITHIN, Engine, EngineError};

/// Size of one file of a log, and how many of them are kept. Uncompressed: it is written once, and rarely read.
pub(super) const DRIVER: &str = "local";
pub(super) const OPTIONS: [(&str, &str); 3] = [("max-size", "25m"), ("max-file", "5"), ("compress", "false")];

/// The engine may have dropped a file once all others are full.
const SURELY_WHOLE: u64 = 4 * 25 * 1024 * 1024;

/// What a piece costs in the log beside its bytes, at the least.
const PIECE_OVERHEAD: u64 = 28;

/// The longest piece; of a longer line the next ones follow.
const PIECE_BYTES: usize = 16 * 1024;

/// A piece larger than this is none: the engine talks of something else.
const PIECE_MOST: usize = 1024 * 1024;

/// What the engine keeps of a container's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Whether it surely begins with the first byte.
    pub(crate) whole: bool,
}

impl Engine {
    /// Looks through the log as it is now.
    pub(super) async fn kept(&self, id: &str, tty: bool) -> Result<Kept, EngineError> {
        let mut log = connection::get(&self.address, &self.log_path(id, "follow=0"), ANSWER_WITHIN).await?;
        let mut size = 0;
        let failed = |error: io::Error| EngineError::Gone(error.to_string());
        if tty {
            let mut buffer = vec![0; PIECE_MOST];
            loop {
                let count =
                    connection::in_time(ANSWER_WITHIN, async { log.read(&mut buffer).await.map_err(failed) }).await?;
                if count == 0 {
                    break;
                }
                let lines = buffer[..count].iter().filter(|&&byte| byte == b'\n').count();
                size += (count + count / PIECE_BYTES) as u64 + lines as u64 * PIECE_OVERHEAD;
            }
        } else {
            while let Some((_, piece)) =
                connection::in_time(ANSWER_WITHIN, async { next_piece(&mut log).await.map_err(failed) }).await?
            {
                size += piece.len() as u64 + PIECE_OVERHEAD;
            }
        }
        Ok(Kept { whole: size < SURELY_WHOLE })
    }

    /// Reads the log after so many bytes of each stream, and goes on with what is written, as the container's own streams
    /// would.
    pub(super) async fn log_after(&self, id: &str, tty: bool, skip: (u64, u64)) -> Result<Reader, EngineError> {
        let log = connection::get(&self.address, &self.log_path(id, "follow=1"), ANSWER_WITHIN).await?;
        Ok(if tty { skip_bytes(log, skip.0) } else { mended(log, skip) })
    }

    /// Reads what is written from now on.
    pub(super) async fn log_from_now(&self, id: &str, tty: bool) -> Result<Reader, EngineError> {
        let log = connection::get(&self.address, &self.log_path(id, "follow=1&tail=0"), ANSWER_WITHIN).await?;
        Ok(if tty { log } else { mended(log, (0, 0)) })
    }

    fn log_path(&self, id: &str, how: &str) -> String {
        format!("/v{}/containers/{id}/logs?stdout=1&stderr=1&{how}", self.docker.client_version())
    }
}

/// The next piece and its stream's number; none at the end.
async fn next_piece(log: &mut Reader) -> io::Result<Option<(u8, Bytes)>> {
    let mut header = [0; HEADER];
    match log.read_exact(&mut header).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let [stream, _, _, _, length @ ..] = header;
    let length = u32::from_be_bytes(length) as usize;
    if length > PIECE_MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the engine's log makes no sense"));
    }
    let mut piece = BytesMut::zeroed(length);
    log.read_exact(&mut piece).await?;
    Ok(Some((stream, piece.freeze())))
}

/// One stream of a log that is being mended.
#[derive(Debug, Default)]
struct Mending {
    /// Bytes that are still to be skipped.
    skip: u64,
    /// Length of the last piece, where no newline ended it.
    open: Option<usize>,
}

impl Mending {
    /// What the container had written where the log has this piece next.
    fn mend(&mut self, piece: &Bytes) -> Bytes {
        let ends = piece.ends_with(b"\n");
        // The last piece of a long line never has its newline, so one that has begins another line; and only a full piece
        // is followed by more of its line.
        let lost = self.open.is_some_and(|open| ends || open != PIECE_BYTES);
        self.open = (!ends).then_some(piece.len());
        let mut whole = BytesMut::with_capacity(piece.len() + 1);
        if lost {
            whole.put_u8(b'\n');
        }
        whole.extend_from_slice(piece);
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(whole.len());
        self.skip -= skipped as u64;
        whole.freeze().slice(skipped..)
    }
}

/// The log as the streams were, without so many bytes of each.
fn mended(log: Reader, skip: (u64, u64)) -> Reader {
    let streams = [skip.0, skip.1].map(|skip| Mending { skip, open: None });
    let pieces = stream::try_unfold((log, streams), |(mut log, mut streams)| async move {
        loop {
            let Some((number, piece)) = next_piece(&mut log).await? else { return Ok::<_, io::Error>(None) };
            let bytes = streams[usize::from(number >= 2)].mend(&piece);
            if !bytes.is_empty() {
                let mut framed = BytesMut::with_capacity(HEADER + bytes.len());
                framed.put_slice(&[number, 0, 0, 0]);
                framed.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                framed.extend_from_slice(&bytes);
                return Ok(Some((framed.freeze(), (log, streams))));
            }
        }
    });
    Box::new(StreamReader::new(Box::pin(pieces)))
}

/// A terminal's log without its first bytes.
fn skip_bytes(log: Reader, skip: u64) -> Reader {
    let pieces = stream::try_unfold((log, skip), |(mut log, mut skip)| async move {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE_BYTES);
            if log.read_buf(&mut piece).await? == 0 {
                return Ok::<_, io::Error>(None);
            }
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            skip -= skipped as u64;
            if skipped < piece.len() {
                return Ok(Some((piece.freeze().slice(skipped..), (log, skip))));
            }
        }
    });
    Box::new(StreamReader::new(Box::pin(pieces)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mend(pieces: &[&[u8]], skip: u64) -> Vec<u8> {
        let mut mending = Mending { skip, open: None };
        pieces.iter().flat_map(|piece| mending.mend(&Bytes::copy_from_slice(piece))).collect()
    }

    #[test]
    fn the_newline_of_a_long_line_is_put_back() {
        let full = vec![b'x'; PIECE_BYTES];
        assert_eq!(mend(&[&full, b"x", b"end\n"], 0), [&full[..], b"x\nend\n"].concat());
        assert_eq!(mend(&[&full, b"end\n"], 0), [&full[..], b"\nend\n"].concat());
        assert_eq!(mend(&[&full, &full, b"x"], 0), [&full[..], &full, b"x"].concat());
        assert_eq!(mend(&[b"a\n", b"\n", b"b"], 0), b"a\n\nb");
    }

    #[test]
    fn what_is_stored_is_skipped_to_the_byte() {
        assert_eq!(mend(&[b"ab\n", b"cd\n"], 4), b"d\n");
        let full = vec![b'x'; PIECE_BYTES];
        assert_eq!(mend(&[&full, b"x", b"end\n"], PIECE_BYTES as u64 + 2), b"end\n");
        assert_eq!(mend(&[b"ab"], 10), b"");
    }
}
