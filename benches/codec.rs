//! The codec: small frames by the piece, output by the byte.
//!
//! `cargo bench --bench codec`. Output is measured in raw bytes, as the program wrote them, so
//! that the figures stand beside those of whole paths in `docs/benchmarks.md`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gangline::protocol::agent::AgentOutput;
use gangline::protocol::codec::{read_at_client, read_at_server};
use gangline::protocol::job::OutputEvent;
use gangline::protocol::output::{encode_event, encode_report};
use gangline::protocol::{Chunk, Cursor, JobId, StreamName};

const JOB: JobId = JobId { number: 1564, nonce: 0x1f0c_33aa };
const NOW: u64 = 1_767_225_600_000;

/// Frames that are answered one by one: their cost is per piece.
const SMALL: &[(&str, &str)] = &[
    ("ping", r#"{"type":"ping"}"#),
    ("submit", r#"{"type":"job","id":7,"data":{"opt":"submit","command":"/bin/true","follow":false,"key":"n-42"}}"#),
    ("accept", r#"{"type":"job","data":{"opt":"accept","jobId":"job-1564-1f0c33aa","attempt":1}}"#),
    (
        "end",
        r#"{"type":"job","data":{"opt":"end","jobId":"job-1564-1f0c33aa","attempt":1,"n":1,"exitCode":0,"reason":"exit","time":1767225600000}}"#,
    ),
];

/// What a program prints, in chunks as a worker sends them.
fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let line = format!("{:<79}\n", "2026-01-01T00:00:00Z INFO build: compiling gangline v0.1.0 (12 of 347)");
    let colour = "\u{1b}[32m     Running\u{1b}[0m unittests src/lib.rs \"quoted\" C:\\path\r\n";
    let binary: Vec<u8> = (0..64 * 1024_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![
        ("one line", line.clone().into_bytes()),
        ("64 KiB of lines", line.repeat(819).into_bytes()),
        ("64 KiB in colour", colour.repeat(65_536 / colour.len()).into_bytes()),
        ("64 KiB in Greek", "αβγδεζηθικλμνξοπρστυφχψω \n".repeat(1_285).into_bytes()),
        ("64 KiB of binary", binary),
    ]
}

fn event(bytes: &[u8]) -> OutputEvent<'_> {
    let (text, base64) = Chunk::of(bytes).into_fields();
    let (at, stream) = (Cursor::new(1, 42), StreamName::Stdout);
    OutputEvent { job_id: JOB, at, stream, offset: 1_048_576, text, base64, time: NOW }
}

fn report(bytes: &[u8]) -> AgentOutput<'_> {
    let (text, base64) = Chunk::of(bytes).into_fields();
    let (stream, time) = (StreamName::Stdout, Some(NOW));
    AgentOutput { job_id: JOB, attempt: 1, n: 42, stream, offset: 1_048_576, text, base64, time }
}

fn small(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    for (name, frame) in SMALL {
        group.bench_function(*name, |b| b.iter(|| black_box(read_at_server(black_box(frame)).is_ok())));
    }
}

fn output(c: &mut Criterion) {
    for (name, bytes) in payloads() {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("choose text or base64", |b| {
            b.iter(|| black_box(matches!(Chunk::of(black_box(&bytes)), Chunk::Text(_))));
        });
        let (event, report) = (event(&bytes), report(&bytes));
        group.bench_function("write", |b| b.iter(|| encode_event(black_box(&event))));
        let (to_client, to_server) = (encode_event(&event), encode_report(&report));
        group.bench_function("read at the client", |b| {
            b.iter(|| black_box(read_at_client(black_box(&to_client)).is_ok()));
        });
        group.bench_function("read at the server", |b| {
            b.iter(|| black_box(read_at_server(black_box(&to_server)).is_ok()));
        });
    }
}

criterion_group!(benches, small, output);
criterion_main!(benches);
