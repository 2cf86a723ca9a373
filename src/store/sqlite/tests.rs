use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bytes::Bytes;

use super::failure::corrupt;
use super::segment::{self, Offsets};
use super::*;
use crate::model::{Entry, EntryKind, JobSpec, Program, Requires};
use crate::protocol::job::Status;
use crate::protocol::{Cursor, JobId, StreamName};
use crate::store::jobs::{Claim, JobFilter, NewJob, QueueLimits, Submitted};
use crate::store::log::{AttemptWrite, NewOutput};
use crate::store::{JobStore, LogStore};

const LIMITS: QueueLimits = QueueLimits { total: 100_000, account: 100_000 };

fn open(dir: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(dir, &SqliteOptions::default(), Clock::manual(1_000_000))
}

fn job() -> NewJob {
    let spec = Arc::new(JobSpec::new(Program::Shell("true".to_owned())));
    NewJob { nonce: 7, account: "ada".parse().unwrap(), spec, key: None }
}

async fn submit(store: &SqliteStore) -> Submitted {
    store.submit(job(), LIMITS).await.unwrap()
}

/// Submits a job and claims it.
async fn running(store: &SqliteStore) -> JobId {
    let id = submit(store).await.job.id;
    let classes = vec![(Requires::default(), Vec::new())];
    let claim = Claim { worker: "w".parse().unwrap(), classes, limit: 1, lease: limits::LEASE };
    assert_eq!(store.claim(claim).await.unwrap()[0].job.id, id);
    id
}

/// Bytes that no compression makes smaller, so that rows are as large as they say.
fn noise(bytes: usize) -> Bytes {
    use rand::{RngExt, SeedableRng};
    let mut random = rand::rngs::SmallRng::seed_from_u64(7);
    (0..bytes).map(|_| random.random::<u8>()).collect()
}

fn output(job: JobId, n: u64, bytes: usize) -> Vec<AttemptWrite> {
    let chunk = NewOutput { n, stream: StreamName::Stdout, bytes: noise(bytes), time: 1 };
    vec![AttemptWrite { job, attempt: 1, output: vec![chunk], end: None }]
}

#[tokio::test]
async fn what_was_answered_is_there_after_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("new/data")).unwrap();
    let id = running(&store).await;
    store.append(output(id, 1, 5)).await.unwrap()[0].as_ref().unwrap();
    let page = store.read(id, Cursor::START, 100).await.unwrap().unwrap();
    store.close();

    let store = open(&dir.path().join("new/data")).unwrap();
    assert_eq!(store.read(id, Cursor::START, 100).await.unwrap().unwrap(), page);
    let again = store.job(id.into()).await.unwrap().unwrap();
    assert_eq!((again.status, again.stdout_bytes), (Status::Running, 5));
    assert_eq!(store.last_n(id, 1).await.unwrap(), Ok(1));
    assert_eq!(submit(&store).await.job.id.number, 2);
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("new/data"), mode("new/data/gangline.db")), (0o700, 0o600));
}

#[tokio::test]
async fn the_output_cap_counts_what_was_there_before_the_open() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let options = SqliteOptions { output_bytes: 10, ..SqliteOptions::default() };
        SqliteStore::open(dir.path(), &options, Clock::manual(1_000_000)).unwrap()
    };
    let store = open();
    let id = running(&store).await;
    store.append(output(id, 1, 6)).await.unwrap()[0].as_ref().unwrap();
    store.close();
    let store = open();
    store.append(output(id, 2, 6)).await.unwrap()[0].as_ref().unwrap();
    let page = store.read(id, Cursor::new(1, 0), 100).await.unwrap().unwrap();
    assert_eq!(page.removed, Some((Cursor::new(1, 1), Cursor::new(1, 1))));
    assert_eq!(page.entries.len(), 1);
}

#[tokio::test]
async fn a_directory_has_one_owner_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"));
    submit(&store).await;
    store.close();
    open(dir.path()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = open(&file.path().join("data")).unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains(&*file.path().to_string_lossy()));
}

/// Opens a directory with `content` as its database; the error, once it is sure that the file is as it was.
fn refused(content: &[u8]) -> OpenError {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gangline.db");
    fs::write(&path, content).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), content);
    error
}

/// A closed database with some jobs in it, changed by `change`.
async fn database(change: impl FnOnce(&rusqlite::Connection)) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for _ in 0..200 {
        submit(&store).await;
    }
    store.close();
    let path = dir.path().join("gangline.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    change(&conn);
    conn.close().unwrap();
    fs::read(&path).unwrap()
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_left_alone() {
    assert!(matches!(
        refused(b"not a database at all, just some text".repeat(99).as_slice()),
        OpenError::Corrupt { .. }
    ));

    let foreign = database(|conn| conn.pragma_update(None, "application_id", 5).unwrap()).await;
    let error = refused(&foreign);
    assert!(matches!(error, OpenError::Corrupt { .. }));
    assert!(error.to_string().contains("another program"));

    let newer = database(|conn| conn.pragma_update(None, "user_version", 999).unwrap()).await;
    assert!(matches!(refused(&newer), OpenError::Newer { found: 999, .. }));
}

#[tokio::test]
async fn a_file_of_an_older_version_gets_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().close();
    let conn = || rusqlite::Connection::open(dir.path().join("gangline.db")).unwrap();
    conn().execute_batch("DROP INDEX tokens_by_account; PRAGMA user_version = 2").unwrap();
    open(dir.path()).unwrap().close();
    let found = conn().query_row("SELECT tbl_name FROM sqlite_schema WHERE name = 'tokens_by_account'", [], |row| {
        row.get::<_, String>(0)
    });
    assert_eq!(found.unwrap(), "tokens");
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let mut torn = database(|_| ()).await;
    // The header stays, so it looks like a database; the pages behind it do not.
    for byte in &mut torn[8192..] {
        *byte = 0x5a;
    }
    let error = refused(&torn);
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");

    let unreadable = database(|conn| conn.execute_batch("UPDATE jobs SET spec = 'x' WHERE number = 9").unwrap()).await;
    assert!(matches!(refused(&unreadable), OpenError::Corrupt { .. }));
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_got_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let id = running(&store).await;
    let limit = |pages: i64| {
        store.on_writer(0, move |engine| Ok(engine.connection().pragma_update(None, "max_page_count", pages)?))
    };
    limit(24).await.unwrap();
    let too_much = store.append(output(id, 1, 1024 * 1024)).await;
    assert!(matches!(&too_much, Err(StoreError::Unavailable(why)) if why.contains("full")), "{too_much:?}");

    // What is small enough still goes, and what failed has left no trace.
    assert_eq!(store.last_n(id, 1).await.unwrap(), Ok(0));
    store.append(output(id, 1, 10)).await.unwrap()[0].as_ref().unwrap();
    assert_eq!(submit(&store).await.job.id.number, 2);
    let mut submitted = 2;
    while store.submit(job(), LIMITS).await.is_ok() {
        submitted += 1;
    }
    let jobs = || store.jobs(JobFilter { limit: 100_000, ..JobFilter::default() });
    assert_eq!(jobs().await.unwrap().len(), submitted);
    assert_eq!(store.ready().await.unwrap()[0].len, submitted - 1);

    limit(1_000_000).await.unwrap();
    assert_eq!(submit(&store).await.job.id.number, submitted as u64 + 1);
    store.append(output(id, 2, 1024 * 1024)).await.unwrap()[0].as_ref().unwrap();
    store.close();
    let store = open(dir.path()).unwrap();
    assert_eq!(store.last_n(id, 1).await.unwrap(), Ok(2));
    assert_eq!(store.ready().await.unwrap()[0].len, submitted);
}

#[tokio::test]
async fn work_that_fails_takes_no_other_work_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let fails = store.on_writer(0, |engine| {
        let new = job();
        let submitted = engine.submit(&new, "{\"program\":\"Image\"}", LIMITS)?;
        assert!(submitted.is_ok());
        Err::<(), _>(corrupt("this is what the test asked for".to_owned()))
    });
    // All three wait together, so they share a transaction; what fails comes last, so that nothing covers its traces.
    let (first, second, failed) = tokio::join!(submit(&store), submit(&store), fails);
    assert!(matches!(failed, Err(StoreError::Corrupt(_))));
    assert_eq!((first.job.id.number, second.job.id.number), (1, 2));
    assert_eq!(store.ready().await.unwrap()[0].len, 2);
    assert_eq!(store.jobs(JobFilter { limit: 9, ..JobFilter::default() }).await.unwrap().len(), 2);
    assert_eq!(submit(&store).await.job.id.number, 3);
}

#[tokio::test]
async fn a_clean_close_leaves_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let id = running(&store).await;
    // Enough to set the checkpointer's thread to work.
    for n in 1..=40 {
        store.append(output(id, n, 1024 * 1024)).await.unwrap()[0].as_ref().unwrap();
    }
    assert_eq!(store.last_n(id, 1).await.unwrap(), Ok(40));
    store.close();
    let mut files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["gangline.db", "gangline.lock"]);
    assert!(fs::metadata(dir.path().join("gangline.db")).unwrap().len() > 40 * 1024 * 1024);
}

#[tokio::test]
async fn nothing_is_searched_for_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().close();
    let conn = rusqlite::Connection::open(dir.path().join("gangline.db")).unwrap();
    let plan = |sql: &str| -> String {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    for (sql, expected) in [
        (
            "SELECT entries FROM log WHERE job = 1 AND (attempt, first) >= (2, 3) ORDER BY attempt, first",
            "SEARCH log USING INDEX log_by_place (job=? AND (attempt,first)>(?,?))",
        ),
        (
            "SELECT number FROM jobs WHERE account = 'a' AND key = 'k'",
            "SEARCH jobs USING COVERING INDEX jobs_by_key (account=? AND key=?)",
        ),
        (
            "SELECT number FROM jobs INDEXED BY over_by_account WHERE account = 'a' AND status = 2 AND status >= 2 \
             AND number < 9 ORDER BY number DESC LIMIT 5",
            "SEARCH jobs USING COVERING INDEX over_by_account (account=? AND status=? AND rowid<?)",
        ),
        (
            "SELECT number FROM jobs INDEXED BY over_by_status WHERE status = 2 AND status >= 2 AND number < 9 \
             ORDER BY number DESC LIMIT 5",
            "SEARCH jobs USING COVERING INDEX over_by_status (status=? AND rowid<?)",
        ),
        (
            "SELECT number, nonce FROM jobs INDEXED BY over_by_end WHERE status >= 2 ORDER BY completed_at, number LIMIT 5",
            "SCAN jobs USING INDEX over_by_end",
        ),
        (
            "SELECT key FROM documents WHERE collection = 'c' AND key < 'k' ORDER BY key DESC LIMIT 5",
            "SEARCH documents USING PRIMARY KEY (collection=? AND key<?)",
        ),
        ("SELECT record FROM tokens WHERE account = 'a'", "SEARCH tokens USING INDEX tokens_by_account (account=?)"),
    ] {
        assert_eq!(plan(sql), expected);
    }
}

#[test]
fn large_rows_are_kept_small_and_come_back_as_they_were() {
    let conn = rusqlite::Connection::open_in_memory().unwrap();
    for step in schema::STEPS {
        conn.execute_batch(step).unwrap();
    }
    let line = Bytes::from("a line of a build, much like the one before it\n".repeat(4_000));
    let noise = noise(100_000);
    let output = |n, bytes: Bytes, offset| Entry {
        at: Cursor::new(1, n),
        time: 7,
        kind: EntryKind::Output { stream: StreamName::Stdout, offset, bytes },
    };
    let len = line.len() as u64;
    let written = [output(1, line, 0), output(2, noise, len), output(3, "short\n".into(), len + 100_000)];
    let mut stdout = 0;
    for entry in &written {
        stdout += entry.output_len() as u64;
        segment::insert(&conn, 1, std::slice::from_ref(entry), Offsets { stdout, stderr: 0 }).unwrap();
    }
    let size = |first: i64| {
        let sql = "SELECT length(entries) FROM log WHERE first = ?1";
        conn.query_row(sql, [first], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert!(size(1) < 10_000, "{} bytes for a repetitive row", size(1));
    // Noise would only have grown.
    assert!(size(2) < 100_100);
    let mut read = Vec::new();
    segment::scan(&conn, 1, Cursor::new(1, 1), |row| {
        read.extend(row.decode()?);
        Ok(true)
    })
    .unwrap();
    assert_eq!(read, written);

    conn.execute("UPDATE log SET entries = x'04ffffffff00' WHERE first = 1", []).unwrap();
    assert!(segment::scan(&conn, 1, Cursor::new(1, 1), |row| row.decode().map(|_| true)).is_err());
}
