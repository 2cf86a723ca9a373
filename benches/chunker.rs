//! What cutting output into chunks costs: plain lines, text with many long characters, and bytes
//! that are no text, read by read as from a pipe.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gangline::worker::chunker::Chunker;

/// What one read of a busy pipe brings.
const READ: usize = 64 * 1024;
const READS: usize = 64;

fn cut(input: &[u8]) -> usize {
    let mut chunker = Chunker::default();
    let mut chunks = 0;
    for read in input.chunks(READ) {
        let mut rest = read;
        while !rest.is_empty() {
            let buffer = chunker.buffer();
            let taken = rest.len().min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            while let Some(chunk) = chunker.next_chunk() {
                chunks += black_box(chunk).len().min(1);
            }
        }
    }
    chunks
}

fn chunker(criterion: &mut Criterion) {
    let line = format!("{}\n", "x".repeat(79));
    let inputs = [
        ("lines", line.repeat(READ * READS / line.len()).into_bytes()),
        ("characters", "€".repeat(READ * READS / 3).into_bytes()),
        ("bytes", vec![0xff; READ * READS]),
    ];
    let mut group = criterion.benchmark_group("chunker");
    for (name, input) in &inputs {
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(*name, |bencher| bencher.iter(|| cut(black_box(input))));
    }
    group.finish();
}

criterion_group!(benches, chunker);
criterion_main!(benches);
