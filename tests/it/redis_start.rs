//! What a dispatcher asks of a Redis before it trusts it with jobs.

use std::path::Path;

use tempfile::TempDir;

use crate::faults::redis::RedisServer;
use crate::support::process::{Ended, Process, free_address, gangline, run};
use crate::support::{eventually, fetch};

/// `gangline serve` on this Redis must fail, with these words in what it says.
async fn refuses(home: &Path, redis: &str, more: &[&str], words: &[&str]) {
    let args = [&["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--redis", redis], more].concat();
    let Ended { status, stderr } = run(gangline(home, &args)).await;
    assert_eq!(status.code(), Some(1), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "it should speak of {word:?}: {stderr}");
    }
}

async fn set(redis: &RedisServer, name: &str, value: &str) {
    let done: Option<String> = redis.ask(redis::cmd("CONFIG").arg("SET").arg(name).arg(value)).await;
    assert_eq!(done.as_deref(), Some("OK"), "{name}");
}

#[tokio::test]
async fn a_redis_that_would_lose_jobs_or_lets_nobody_in_is_refused_in_words() {
    let (home, redis) = (TempDir::new().unwrap(), RedisServer::start().await);
    let (home, url) = (home.path(), format!("redis://{}", redis.address));
    set(&redis, "maxmemory-policy", "allkeys-lru").await;
    refuses(home, &url, &[], &["allkeys-lru", "set it to noeviction"]).await;
    set(&redis, "maxmemory-policy", "noeviction").await;

    let address = free_address();
    drop(Process::serve(home, address, &["--redis", &url]).await);
    refuses(home, &url, &["--redis-partitions", "4"], &["--redis-partitions 1"]).await;

    let replica = RedisServer::replica_of(&redis).await;
    refuses(home, &format!("redis://{}", replica.address), &[], &["replica", "name the primary"]).await;

    set(&redis, "requirepass", "secret").await;
    refuses(home, &url, &[], &["does not let this dispatcher in"]).await;
    let wrong = format!("redis://:guess@{}", redis.address);
    refuses(home, &wrong, &[], &["does not let this dispatcher in"]).await;
    let right = format!("redis://:secret@{}", redis.address);
    Process::serve(home, address, &["--redis", &right]).await;
}

#[tokio::test]
async fn a_redis_that_is_not_there_yet_is_waited_for() {
    let (home, mut redis) = (TempDir::new().unwrap(), RedisServer::start().await);
    redis.kill();
    let (address, url) = (free_address(), format!("redis://{}", redis.address));
    let listen = address.to_string();
    let args = ["serve", "--listen", &listen, "--data-dir", "data", "--redis", &url];
    let mut server = Process::start(gangline(home.path(), &args), home.path().join("serve.log"));
    let status = async |path: &str| Some(reqwest::get(format!("http://{address}{path}")).await.ok()?.status().as_u16());
    gangline::base::tls::provider();
    eventually("an answer", async || (status("/readyz").await? == 503).then_some(())).await;
    assert_eq!(status("/healthz").await, Some(200), "it lives");
    redis.restart().await;
    eventually("readiness", async || (status("/readyz").await? == 200).then_some(())).await;
    assert!(server.words().contains("waiting for Redis"), "{}", server.words());
    assert_eq!(fetch(address, "/readyz").await.status(), 200);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.ended().await.code(), Some(0));
}
