//! Logs: what is written, what is refused, and what readers see.

use super::vocabulary::{Subject, ended, exited, said, shell};
use crate::model::{EntryKind, JobSpec};
use crate::protocol::job::Status;
use crate::protocol::{Cursor, StreamName};
use crate::store::error::AppendError;
use crate::store::log::{AttemptWrite, Gone, NewOutput};

fn at(text: &str) -> Cursor {
    text.parse().unwrap()
}

pub(super) async fn output_gets_offsets_by_stream(s: &Subject) {
    let job = s.running("w", shell("true")).await;
    let chunk = |n, stream, text: &'static str| NewOutput { n, stream, bytes: text.into(), time: n * 10 };
    let (out, err) = (StreamName::Stdout, StreamName::Stderr);
    let output = vec![chunk(1, out, "abc"), chunk(2, err, "x"), chunk(3, out, "d")];
    let first = s.write(AttemptWrite { job: job.id, attempt: 1, output, end: None }).await.unwrap();
    assert_eq!((first.entries.len(), first.last_n, first.ended), (3, 3, None));
    let output = vec![chunk(4, out, "\u{fffd}"), chunk(5, err, "y")];
    let end = Some((6, 99, exited(3)));
    let second = s.write(AttemptWrite { job: job.id, attempt: 1, output, end }).await.unwrap();
    let over = second.ended.unwrap();
    assert_eq!((over.status, over.exit_code, over.completed_at), (Status::Failed, Some(3), Some(99)));
    assert_eq!((over.stdout_bytes, over.stderr_bytes), (7, 2));

    let log = s.log(job.id, usize::MAX).await;
    assert_eq!(log[1..], [first.entries, second.entries].concat());
    assert_eq!(log.iter().map(|entry| entry.time).collect::<Vec<_>>(), [1_000_000, 10, 20, 30, 40, 50, 99]);
    let offsets: Vec<_> = log
        .iter()
        .filter_map(|entry| match entry.kind {
            EntryKind::Output { offset, .. } => Some(offset),
            EntryKind::Status { .. } | EntryKind::End { .. } => None,
        })
        .collect();
    assert_eq!(offsets, [0, 0, 3, 4, 1]);
}

pub(super) async fn what_is_gone_is_passed_over_and_said_so(s: &Subject) {
    let job = s.running("w", shell("true")).await;
    s.say(&job, 1, &["a"]).await.unwrap();
    let gone = Gone { n: 4, stdout: 9, stderr: 2 };
    s.store.skip(job.id, 1, gone).await.unwrap().unwrap();
    s.say(&job, 5, &["b"]).await.unwrap();
    // Said again, and too late.
    s.store.skip(job.id, 1, gone).await.unwrap().unwrap();
    assert_eq!(s.store.last_n(job.id, 1).await.unwrap(), Ok(5));
    let page = s.store.read(job.id, at("1-1"), usize::MAX).await.unwrap().unwrap();
    assert_eq!(page.removed, Some((at("1-2"), at("1-4"))));
    assert_eq!(s.story(job.id).await, ["1-0 on w", "1-1 Stdout@0 a", "1-5 Stdout@9 b"]);
    s.end(&job, 6, exited(0)).await.unwrap();
    assert!(s.store.skip(job.id, 1, Gone { n: 9, ..gone }).await.unwrap().is_err());
    assert_eq!((s.job(job.id).await.stdout_bytes, s.job(job.id).await.stderr_bytes), (10, 2));
}

pub(super) async fn repeats_are_dropped_and_holes_refused(s: &Subject) {
    let job = s.running("w", shell("true")).await;
    assert_eq!(s.say(&job, 2, &["b"]).await.unwrap_err(), AppendError::Gap { expect: 1, got: 2 });
    s.say(&job, 1, &["a", "b"]).await.unwrap();
    let repeat = s.say(&job, 1, &["a", "b"]).await.unwrap();
    assert_eq!((repeat.entries.len(), repeat.last_n), (0, 2));
    let overlap = s.say(&job, 2, &["b", "c"]).await.unwrap();
    assert_eq!((overlap.entries.len(), overlap.entries[0].at, overlap.last_n), (1, at("1-3"), 3));

    // A hole anywhere refuses the whole write.
    let mut holed = said(job.id, 1, 4, &["d", "e"]);
    holed.output[1].n = 6;
    assert_eq!(s.write(holed).await.unwrap_err(), AppendError::Gap { expect: 5, got: 6 });
    assert_eq!(s.end(&job, 5, exited(0)).await.unwrap_err(), AppendError::Gap { expect: 4, got: 5 });
    assert_eq!(s.end(&job, 3, exited(0)).await.unwrap_err(), AppendError::Gap { expect: 4, got: 3 });
    assert_eq!(s.store.last_n(job.id, 1).await.unwrap(), Ok(3));
    assert_eq!(s.job(job.id).await.stdout_bytes, 3);
    let story = ["1-0 on w", "1-1 Stdout@0 a", "1-2 Stdout@1 b", "1-3 Stdout@2 c"];
    assert_eq!(s.story(job.id).await, story);
}

pub(super) async fn an_end_may_be_said_twice(s: &Subject) {
    let job = s.running("w", shell("true")).await;
    let mut write = said(job.id, 1, 1, &["a"]);
    write.end = Some((2, 5, exited(0)));
    let first = s.write(write.clone()).await.unwrap();
    assert_eq!((first.entries.len(), first.last_n), (2, 2));
    let again = s.write(write).await.unwrap();
    assert_eq!((again.entries.len(), again.last_n, again.ended), (0, 2, None));

    // Another end, or more output, is something else.
    let stale = AppendError::Stale { job: job.id, stale: 1, current: 1 };
    assert_eq!(s.end(&job, 2, exited(1)).await.unwrap_err(), stale);
    assert_eq!(s.end(&job, 3, exited(0)).await.unwrap_err(), stale);
    assert_eq!(s.say(&job, 3, &["late"]).await.unwrap_err(), stale);
    assert_eq!(s.story(job.id).await.len(), 3);
    assert_eq!(s.job(job.id).await, first.ended.unwrap());
}

pub(super) async fn a_log_reads_back_in_pages_of_any_size(s: &Subject) {
    let job = s.running("w", shell("true")).await;
    for n in 0..10 {
        s.say(&job, 3 * n + 1, &["one", "2", "fife"]).await.unwrap();
    }
    s.end(&job, 31, exited(0)).await.unwrap();
    let whole = s.log(job.id, usize::MAX).await;
    assert_eq!(whole.len(), 32);
    for max_bytes in [0, 1, 3, 4, 7, 8, 79, 80, 81] {
        assert_eq!(s.log(job.id, max_bytes).await, whole, "in pages of {max_bytes} bytes");
    }
    let page = s.store.read(job.id, at("1-0"), 8).await.unwrap().unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.at.n).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((page.top, page.status, page.removed), (at("1-31"), Status::Completed, None));
}

pub(super) async fn large_chunks_come_back_byte_for_byte(s: &Subject) {
    let job = s.running("w", shell("true")).await;
    let lines = "one line is much like the other\n".repeat(1_500);
    let mut state = 7_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    let noise: Vec<u8> = noise.take(20_000).collect();
    let (out, err) = (StreamName::Stdout, StreamName::Stderr);
    let chunks =
        [(out, lines.clone().into_bytes()), (err, lines[..20_000].into()), (out, noise), (out, b"end".to_vec())];
    let output: Vec<_> =
        (1..).zip(chunks).map(|(n, (stream, bytes))| NewOutput { n, stream, bytes: bytes.into(), time: n }).collect();
    let write = AttemptWrite { job: job.id, attempt: 1, output, end: None };
    let written = s.write(write.clone()).await.unwrap();
    assert!(s.write(write).await.unwrap().entries.is_empty());
    for max_bytes in [1, 20_000, 50_000, usize::MAX] {
        assert_eq!(s.log(job.id, max_bytes).await[1..], written.entries, "in pages of {max_bytes} bytes");
    }
    assert_eq!((s.job(job.id).await.stdout_bytes, s.job(job.id).await.stderr_bytes), (68_003, 20_000));

    // However it is kept, it counts as what was written.
    s.say(&job, 5, &["x"]).await.unwrap();
    assert_eq!(s.story(job.id).await, ["1-0 on w", "1-5 Stdout@68003 x"]);
}

pub(super) async fn every_cursor_has_its_answer(s: &Subject) {
    let spec = JobSpec { requeue: Some(2), ..shell("true") };
    let job = s.running("w", spec).await;
    s.say(&job, 1, &["a", "b"]).await.unwrap();
    let next = async |after: &str| {
        let page = s.store.read(job.id, at(after), 1).await.unwrap().unwrap();
        page.entries.first().map(|entry| entry.at.to_string())
    };
    assert_eq!(next("0-0").await.as_deref(), Some("1-0"));
    assert_eq!(next("1-1").await.as_deref(), Some("1-2"));
    assert_eq!(next("1-2").await, None);
    s.lose(&job).await;
    let page = s.store.read(job.id, at("1-3"), 1).await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.top, page.status), (0, at("1-3"), Status::Pending));
    s.claim("w").await;
    // Of an attempt before the first, beyond the end of one, and of one that was never begun.
    for (after, expected) in [
        ("0-7", Some("1-0")),
        ("1-2", Some("1-3")),
        ("1-3", Some("2-0")),
        ("1-99", Some("2-0")),
        ("2-0", None),
        ("7-0", None),
    ] {
        assert_eq!(next(after).await.as_deref(), expected, "after {after}");
    }
    let nobody = crate::protocol::JobId { number: 99, nonce: 1 };
    assert_eq!(s.store.read(nobody, Cursor::START, 1).await.unwrap(), None);
}

pub(super) async fn an_older_attempt_stays_readable(s: &Subject) {
    let spec = JobSpec { requeue: Some(3), ..shell("true") };
    let id = s.submit(spec).await.id;
    for attempt in 1..=3 {
        let job = s.claim(&format!("w{attempt}")).await.job;
        s.say(&job, 1, &["a", "b"]).await.unwrap();
        s.lose(&job).await;
    }
    let story = s.story(id).await;
    assert_eq!(story.len(), 12);
    assert_eq!(story[0], "1-0 on w1");
    assert_eq!(story[4..7], ["2-0 on w2", "2-1 Stdout@0 a", "2-2 Stdout@1 b"]);
    assert_eq!(story[11], "3-3 Failed WorkerLost");
}

pub(super) async fn too_much_output_is_removed_from_the_front_and_said_so(s: &Subject) {
    let spec = JobSpec { requeue: Some(2), ..shell("true") };
    let job = s.running("w", spec).await;
    // 100 bytes may be kept: the first two writes have to go for the fourth.
    let forty = "x".repeat(20);
    for n in [1, 3, 5, 7] {
        s.say(&job, n, &[&forty, &forty]).await.unwrap();
    }
    let read = async |after: &str| s.store.read(job.id, at(after), usize::MAX).await.unwrap().unwrap();
    let begin = read("0-0").await;
    assert_eq!((begin.entries.len(), begin.entries[0].at, begin.removed), (1, at("1-0"), None));
    for (after, from) in [("1-0", "1-1"), ("1-1", "1-2"), ("1-3", "1-4")] {
        let page = read(after).await;
        assert_eq!(page.removed, Some((at(from), at("1-4"))), "after {after}");
        assert_eq!((page.entries[0].at, page.entries.len()), (at("1-5"), 4));
    }
    for after in ["1-4", "1-5"] {
        assert_eq!(read(after).await.removed, None, "after {after}");
    }
    let EntryKind::Output { offset, .. } = read("1-0").await.entries[0].kind else { panic!("output was kept") };
    assert_eq!(offset, 80, "offsets count what was removed");
    assert_eq!(s.job(job.id).await.stdout_bytes, 160);

    // One write that is too large by itself is kept, and nothing but it.
    s.say(&job, 9, &[&"y".repeat(200)]).await.unwrap();
    let page = read("1-0").await;
    assert_eq!((page.removed, page.entries.len()), (Some((at("1-1"), at("1-8"))), 1));

    // The cap is the job's: a later attempt pushes out an earlier one's output, but never its story.
    s.lose(&job).await;
    let second = s.claim("w").await.job;
    s.say(&second, 1, &["z"]).await.unwrap();
    s.end(&second, 2, exited(0)).await.unwrap();
    let story = ["1-0 on w", "1-10 pending Some(WorkerLost)", "2-0 on w", "2-1 Stdout@0 z", "2-2 Completed Exit"];
    assert_eq!(s.story(job.id).await, story);
    assert_eq!(read("1-0").await.removed, Some((at("1-1"), at("1-9"))));
}

pub(super) async fn one_bad_write_does_not_hold_up_the_others(s: &Subject) {
    let (a, b, c) =
        (s.running("w", shell("a")).await, s.running("w", shell("b")).await, s.running("w", shell("c")).await);
    let writes = vec![
        said(a.id, 1, 1, &["a"]),
        said(b.id, 1, 5, &["b"]),
        ended(c.id, 1, 1, exited(0)),
        said(a.id, 1, 2, &["a"]),
    ];
    let answers = s.store.append(writes).await.unwrap();
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(s.story(a.id).await.len(), 3);
    assert_eq!(s.story(b.id).await.len(), 1);
    assert_eq!(s.job(c.id).await.status, Status::Completed);
}
