use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{JobSpec, Outcome, Program, Requires};
use crate::protocol::job::{Reason, Status};
use crate::protocol::{Cursor, StreamName};
use crate::store::jobs::{Claim, NewJob, QueueLimits};
use crate::store::log::{AttemptWrite, NewOutput};
use crate::store::{JobStore, LogStore};

#[tokio::test]
async fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), &SqliteOptions::default(), Clock::manual(1000)).unwrap();
    let limits = QueueLimits { total: 10, account: 10 };
    let new = NewJob {
        nonce: 7,
        account: "ada".parse().unwrap(),
        spec: Arc::new(JobSpec::new(Program::Shell("true".into()))),
        key: None,
    };
    let job = store.submit(new, limits).await.unwrap().job;
    let claim = Claim {
        worker: "w".parse().unwrap(),
        classes: vec![(Requires::default(), vec![])],
        limit: 5,
        lease: Duration::from_secs(30),
    };
    let changes = store.claim(claim).await.unwrap();
    assert_eq!(changes.len(), 1);
    let output = vec![NewOutput { n: 1, stream: StreamName::Stdout, bytes: "hi\n".into(), time: 5 }];
    let outcome = Outcome { reason: Reason::Exit, exit_code: Some(0), message: None };
    let write = AttemptWrite { job: job.id, attempt: 1, output, end: Some((2, 1005, outcome)) };
    let done = store.append(vec![write]).await.unwrap().remove(0).unwrap();
    assert_eq!(done.ended.unwrap().status, Status::Completed);
    let page = store.read(job.id, Cursor::START, 1000).await.unwrap().unwrap();
    assert_eq!(page.entries.len(), 3);
    store.close();
    let store = SqliteStore::open(dir.path(), &SqliteOptions::default(), Clock::manual(1000)).unwrap();
    assert_eq!(store.read(job.id, Cursor::START, 1000).await.unwrap().unwrap(), page);
}
