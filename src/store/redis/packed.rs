//! Large chunks of output, compressed with LZ4 on their way into Redis.
//!
//! Redis copies every byte of a write several times in its one thread, and keeps it in memory; what programs write is
//! mostly repetitive text. Small chunks stay as they are: there is little to gain, and a lone line is not to wait.
//! Not here: finished logs as files (`blobs`), which are compressed as a whole.

use super::corrupt;
use crate::store::error::StoreError;
use crate::store::log::AttemptWrite;

/// Chunks below this size are kept as they are.
const PACK_FROM: usize = 16 * 1024;

/// A chunk's size at the most, as far as reading trusts it: what a worker's frame can carry is far below.
const CHUNK_MOST: usize = 64 * 1024 * 1024;

/// The chunks of some writes, in their order, compressed where that pays.
pub(super) async fn packed(writes: &[(usize, AttemptWrite)]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    let chunks = || writes.iter().flat_map(|(_, write)| &write.output).map(|chunk| &chunk.bytes);
    if chunks().all(|bytes| bytes.len() < PACK_FROM) {
        return Ok(vec![None; chunks().count()]);
    }
    let chunks: Vec<_> = chunks().cloned().collect();
    // Megabytes take milliseconds, for which no other task of this thread is to wait.
    let packing = tokio::task::spawn_blocking(move || chunks.iter().map(|bytes| pack(bytes)).collect());
    packing.await.map_err(|error| StoreError::Unavailable(format!("output was not compressed: {error}")))
}

fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < PACK_FROM {
        return None;
    }
    let small = lz4_flex::block::compress(bytes);
    (small.len() < bytes.len() / 4 * 3).then_some(small)
}

/// What was packed, of which `size` says how long it is.
pub(super) fn unpacked(packed: &[u8], size: usize) -> Result<Vec<u8>, StoreError> {
    let broken = || corrupt("a compressed chunk of output");
    if size > CHUNK_MOST {
        return Err(broken());
    }
    let bytes = lz4_flex::block::decompress(packed, size).map_err(|_| broken())?;
    if bytes.len() == size { Ok(bytes) } else { Err(broken()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitive_chunks_are_packed_and_come_back_whole() {
        let lines = "the same line again and again\n".repeat(2_000);
        let small = pack(lines.as_bytes()).unwrap();
        assert!(small.len() < lines.len() / 10);
        assert_eq!(unpacked(&small, lines.len()).unwrap(), lines.as_bytes());
    }

    #[test]
    fn what_is_small_or_gains_nothing_stays_as_it_is() {
        assert_eq!(pack(&[b'x'; PACK_FROM - 1]), None);
        let mut state = 1_u32;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_be_bytes()[0]
        });
        let noise: Vec<u8> = noise.take(PACK_FROM).collect();
        assert_eq!(pack(&noise), None);
    }

    #[test]
    fn a_packed_chunk_that_is_broken_is_refused() {
        let small = pack(&[b'x'; PACK_FROM]).unwrap();
        for (packed, size) in [
            (&small[..], PACK_FROM - 1),
            (&small[..], PACK_FROM + 1),
            (&small[1..], PACK_FROM),
            (&small[..], usize::MAX),
        ] {
            assert!(unpacked(packed, size).is_err(), "{size}");
        }
    }
}
