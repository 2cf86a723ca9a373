//! Cuts what a program wrote into chunks, without ever cutting a character.
//!
//! Bytes come out exactly as they went in, in order. What is there goes out at once, save an
//! incomplete UTF-8 sequence at the very end (3 bytes at the most): it waits for its rest,
//! or for the end of the stream. Bytes that can never become a character are passed on as they are.

use crate::protocol::limits::CHUNK_BYTES;

/// What a quiet program's reads need; grows to [`CHUNK_BYTES`] with the first read that fills it.
const SMALL: usize = 4 * 1024;

/// The chunks of one stream.
#[derive(Debug, Default)]
pub struct Chunker {
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that were given out.
    taken: usize,
}

impl Chunker {
    /// The buffer to read into: bytes are appended, into spare capacity that is never 0.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        let filled = self.buffer.len() == self.buffer.capacity();
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if filled {
            let wanted = if self.buffer.capacity() == 0 { SMALL } else { CHUNK_BYTES };
            self.buffer.reserve_exact(wanted.saturating_sub(self.buffer.len()).max(SMALL));
        }
        &mut self.buffer
    }

    /// Bytes that were read and not given out: an incomplete character, once [`Self::next_chunk`] is done.
    pub fn held(&self) -> usize {
        self.buffer.len() - self.taken
    }

    /// The next chunk, of [`CHUNK_BYTES`] at the most; none until more is read.
    pub fn next_chunk(&mut self) -> Option<&[u8]> {
        let rest = &self.buffer[self.taken..];
        let window = &rest[..rest.len().min(CHUNK_BYTES)];
        let len = window.len() - incomplete_tail(window);
        self.take(len)
    }

    /// At the end of the stream: what was held back.
    pub fn finish(&mut self) -> Option<&[u8]> {
        self.take(self.held().min(CHUNK_BYTES))
    }

    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let start = self.taken;
        self.taken += len;
        (len > 0).then(|| &self.buffer[start..start + len])
    }
}

/// Length of the incomplete UTF-8 sequence that `bytes` end with: one that more bytes could
/// complete. 0 where they end with a character, or with something that is none.
fn incomplete_tail(bytes: &[u8]) -> usize {
    // The lead byte of an incomplete sequence is one of the last three.
    for len in 1..=bytes.len().min(3) {
        let tail = &bytes[bytes.len() - len..];
        if tail[0] & 0b1100_0000 == 0b1000_0000 {
            continue;
        }
        return match std::str::from_utf8(tail) {
            Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => len,
            Ok(_) | Err(_) => 0,
        };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `pieces` as separate reads and collects the chunks.
    fn chunks(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut chunker = Chunker::default();
        let mut chunks = Vec::new();
        for piece in pieces {
            chunker.buffer().extend_from_slice(piece);
            while let Some(chunk) = chunker.next_chunk() {
                chunks.push(chunk.to_vec());
            }
        }
        while let Some(chunk) = chunker.finish() {
            chunks.push(chunk.to_vec());
        }
        chunks
    }

    #[test]
    fn a_line_leaves_with_the_read_that_brought_it() {
        assert_eq!(chunks(&[b"one\n", b"two"]), [b"one\n".to_vec(), b"two".to_vec()]);
    }

    #[test]
    fn a_character_waits_for_its_rest() {
        assert_eq!(chunks(&[b"a\xe2", b"\x82", b"\xacb"]), ["a".as_bytes().to_vec(), "€b".as_bytes().to_vec()]);
    }

    #[test]
    fn what_nothing_completes_is_passed_on() {
        assert_eq!(chunks(&[b"a\xe2", b"b"]), [b"a".to_vec(), b"\xe2b".to_vec()]);
        assert_eq!(chunks(&[b"\xff"]), [b"\xff".to_vec()]);
        assert_eq!(chunks(&[b"a\xf0\x9f"]), [b"a".to_vec(), b"\xf0\x9f".to_vec()]);
        // Not the beginning of any character: overlong, a surrogate, beyond Unicode.
        for never in [&b"\xc0"[..], b"\xe0\x80", b"\xed\xa0", b"\xf4\x90", b"\x80\x80"] {
            assert_eq!(chunks(&[never]).len(), 1, "{never:?}");
        }
    }

    #[test]
    fn a_character_across_the_size_limit_goes_into_the_next_chunk() {
        let text = format!("{}€", "x".repeat(CHUNK_BYTES - 1));
        let chunks = chunks(&[text.as_bytes()]);
        assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [CHUNK_BYTES - 1, 3]);
    }

    #[test]
    fn the_buffer_always_has_room() {
        let mut chunker = Chunker::default();
        for _ in 0..3 {
            let buffer = chunker.buffer();
            assert!(buffer.len() < buffer.capacity());
            buffer.resize(buffer.capacity(), b'x');
            while chunker.next_chunk().is_some() {}
        }
        assert!(chunker.buffer().capacity() >= CHUNK_BYTES);
    }

    /// Bytes that are often, but not always, UTF-8.
    fn output() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            ".*".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..64),
            prop::collection::vec(
                prop::sample::select(&b"a\x80\xbf\xc3\xe2\x82\xac\xed\xa0\xf0\x9f\xf4\x90"[..]),
                0..64
            ),
            Just("€".repeat(CHUNK_BYTES / 2).into_bytes()),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_come_out_unchanged(parts in prop::collection::vec(output(), 0..4), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let bytes = parts.concat();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let chunks = chunks(&pieces);
            prop_assert_eq!(&chunks.concat(), &bytes);
            prop_assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_BYTES));
            // Text that is valid as a whole stays valid in every chunk.
            if std::str::from_utf8(&bytes).is_ok() {
                prop_assert!(chunks.iter().all(|chunk| std::str::from_utf8(chunk).is_ok()));
            }
        }

        #[test]
        fn never_more_than_three_bytes_wait(parts in prop::collection::vec(output(), 0..6)) {
            let mut chunker = Chunker::default();
            for part in parts {
                chunker.buffer().extend_from_slice(&part);
                while chunker.next_chunk().is_some() {}
                prop_assert!(chunker.held() <= 3);
            }
        }
    }
}
