//! Starts that fail: a clear message, exit status 1, nothing damaged.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::fetch;
use crate::support::process::{Ended, Process, admin, free_address, gangline, run};

/// `gangline serve` that must fail, with every one of these words in what it says.
async fn fails(home: &Path, args: &[&str], words: &[&str]) {
    let mut all = vec!["serve"];
    all.extend(args);
    let Ended { status, stderr } = run(gangline(home, &all)).await;
    assert_eq!(status.code(), Some(1), "{args:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{args:?} should speak of {word:?}: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// A data directory below `home` that holds one queued job; the server has ended.
async fn used(home: &Path) -> String {
    let address = free_address();
    let mut server = Process::serve(home, address, &[]).await;
    let job = admin(home, address).await.queue(&json!({"command": "x"})).await;
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.words());
    job
}

/// The job of [`used`] is still there.
async fn is_whole(home: &Path, job: &str) {
    let address = free_address();
    let _server = Process::serve(home, address, &[]).await;
    assert_eq!(admin(home, address).await.job(job).await["status"], "pending");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let home = TempDir::new().unwrap();
    let job = used(home.path()).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    fails(home.path(), &["--data-dir", "data", "--listen", &listen], &[&listen, "in use", "--listen"]).await;
    is_whole(home.path(), &job).await;
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_leaves_the_first_alone() {
    let home = TempDir::new().unwrap();
    let address = free_address();
    let _first = Process::serve(home.path(), address, &[]).await;
    let mut peer = admin(home.path(), address).await;
    let job = peer.queue(&json!({"command": "x"})).await;
    fails(home.path(), &["--data-dir", "data", "--listen", "127.0.0.1:0"], &["data", "in use"]).await;
    assert_eq!(peer.job(&job).await["status"], "pending");
    peer.queue(&json!({"command": "y"})).await;
}

#[tokio::test]
async fn a_wrong_template_is_named_with_its_key() {
    let home = TempDir::new().unwrap();
    let templates = home.path().join("templates");
    fs::create_dir(&templates).unwrap();
    fs::write(templates.join("a.toml"), "command = 'x'\n[params.size]\ntype = 'integer'\ndefault = 'large'").unwrap();
    let args = ["--data-dir", "data", "--listen", "127.0.0.1:0", "--templates", "templates"];
    fails(home.path(), &args, &["templates/a.toml", "params.size.default", "an integer", "large"]).await;
    fs::write(templates.join("a.toml"), "command = 'x'\ncolour = 1").unwrap();
    fails(home.path(), &args, &["templates/a.toml", "line 2", "colour"]).await;
    fails(home.path(), &["--templates", "nowhere"], &["nowhere"]).await;
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_named() {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("file"), "x").unwrap();
    // Not by permissions: tests may run as root, whom they do not stop.
    for dir in ["file", "file/data", "/proc/gangline"] {
        fails(home.path(), &["--data-dir", dir, "--listen", "127.0.0.1:0"], &[dir, "cannot be written"]).await;
    }
    assert_eq!(fs::read_to_string(home.path().join("file")).unwrap(), "x");
}

#[tokio::test]
async fn a_corrupt_database_is_named_and_left_as_it_is() {
    let home = TempDir::new().unwrap();
    let database = home.path().join("data/gangline.db");
    let job = used(home.path()).await;
    let whole = fs::read(&database).unwrap();
    assert!(!home.path().join("data/gangline.db-wal").exists(), "a clean end leaves one file");
    let mut beginning = whole.clone();
    beginning[..100].fill(0x5a);
    let mut pages = whole.clone();
    for page in pages.chunks_mut(4096).skip(1) {
        page[..64].fill(0xff);
    }
    let cut = whole[..whole.len() / 2].to_vec();
    for (what, bytes) in
        [("beginning", beginning), ("pages", pages), ("cut", cut), ("text", b"not a database at all".to_vec())]
    {
        fs::write(&database, &bytes).unwrap();
        fails(home.path(), &["--data-dir", "data", "--listen", "127.0.0.1:0"], &["gangline.db"]).await;
        assert!(fs::read(&database).unwrap() == bytes, "{what}: the file was changed");
    }
    fs::write(&database, whole).unwrap();
    is_whole(home.path(), &job).await;
}

#[tokio::test]
async fn open_to_other_machines_needs_a_second_word() {
    let home = TempDir::new().unwrap();
    let args = ["--data-dir", "data", "--listen", "0.0.0.0:0", "--open"];
    fails(home.path(), &args, &["--open", "--open-anywhere"]).await;
    assert!(!home.path().join("data").exists(), "nothing was made");
}

#[tokio::test]
async fn what_is_no_setting_is_a_matter_of_usage() {
    let home = TempDir::new().unwrap();
    for args in [["serve", "--nonsense"], ["serve", "--listen=nowhere"]] {
        assert_eq!(run(gangline(home.path(), &args)).await.status.code(), Some(2), "{args:?}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing_that_was_answered() {
    let home = TempDir::new().unwrap();
    used(home.path()).await;
    let address = free_address();
    // No file may grow over this many KiB, as if the disk were full there.
    let limited = |kib: u32| {
        let mut command = std::process::Command::new("sh");
        let serve = gangline(home.path(), &[]);
        let script = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$@\"", kib * 2);
        command.arg("-c").arg(script).arg("sh").arg(serve.get_program());
        command.args(["serve", "--data-dir", "data", "--listen", &address.to_string()]);
        command.current_dir(home.path()).env_clear().envs(serve.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command
    };
    let mut server = Process::start(limited(400), home.path().join("full.log"));
    let mut peer = admin(home.path(), address).await;
    let submit = json!({"opt": "submit", "command": "x".repeat(30_000), "follow": false});
    let mut answered = Vec::new();
    let error = loop {
        let reply = peer.ask("job", &submit).await;
        match reply["data"]["opt"].as_str() {
            Some("submitted") => answered.push(reply["data"]["jobId"].as_str().unwrap().to_owned()),
            _ => break reply["data"].clone(),
        }
        assert!(answered.len() < 1000, "the limit has no effect");
    };
    assert_eq!((&error["code"], &error["retry"]), (&json!("store_unavailable"), &json!(true)));
    assert!(answered.len() > 1, "{error}");
    // It goes on: what was answered can be read.
    assert_eq!(peer.job(&answered[0]).await["status"], "pending");
    let ready = async || fetch(address, "/readyz").await.status().as_u16();
    assert_eq!(ready().await, 503, "nobody should send it more");
    // The disk has room again: it finds that out by itself.
    server.may_write_without_limit();
    eventually("the server to be ready", async || (ready().await == 200).then_some(())).await;
    let failures = server.words().matches("cannot be written").count();
    assert_eq!(failures, 1, "said once: {}", server.words());
    assert!(server.words().contains("can be written again"), "{}", server.words());
    server.kill();

    let _server = Process::serve(home.path(), address, &[]).await;
    let mut peer = admin(home.path(), address).await;
    for job in &answered {
        assert_eq!(peer.job(job).await["status"], "pending");
    }
    peer.queue(&json!({"command": "there is room again"})).await;
}
