//! TLS, between real processes with real certificates.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::process::{Ended, Process, free_address, gangline, run};
use crate::support::{eventually, soon};

/// Who signs certificates.
struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// A new one; clients that are given `home/NAME` believe it.
    fn new(home: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(home.join(name), params.self_signed(&key).unwrap().pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    /// Signs a certificate for `names`, into `home/cert.pem` and `home/key.pem`.
    fn sign(&self, home: &Path, names: &[&str]) {
        self.sign_until(home, names, 2999);
    }

    fn sign_until(&self, home: &Path, names: &[&str], year: i32) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        fs::write(home.join("cert.pem"), params.signed_by(&key, &self.0).unwrap().pem()).unwrap();
        fs::write(home.join("key.pem"), key.serialize_pem()).unwrap();
    }
}

const TLS: [&str; 4] = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];

/// Starts `gangline serve` or `up` on `home/data` with the certificate in `home`.
async fn start(home: &Path, command: &str, more: &[&str]) -> (Process, SocketAddr) {
    let address = free_address();
    let listen = address.to_string();
    let args = [&[command, "--log=info", "--data-dir", "data", "--listen", &listen], &TLS[..], more].concat();
    let server = Process::start(gangline(home, &args), home.join("server.log"));
    eventually("the server to serve", async || server.words().contains("serving").then_some(())).await;
    (server, address)
}

/// Runs a client's command to its end.
async fn call(home: &Path, url: &str, args: &[&str]) -> Ended {
    run(gangline(home, &[&["--data-dir", "data", "--url", url], args].concat())).await
}

/// A client's command that succeeds.
async fn works(home: &Path, url: &str, args: &[&str]) {
    let Ended { status, stderr } = call(home, url, args).await;
    assert!(status.success(), "{url} {args:?}: {stderr}");
}

/// A client's command, and a worker, that give up at once with these words.
async fn fails(home: &Path, url: &str, args: &[&str], words: &[&str]) {
    for command in [&["ps"][..], &["worker"], &["run", "--file", "project", "true"]] {
        let args = [args, command].concat();
        let Ended { status, stderr } = call(home, url, &args).await;
        let code = if command[0] == "run" { 125 } else { 1 };
        assert_eq!(status.code(), Some(code), "{args:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{args:?} should speak of {word:?}: {stderr}");
        }
    }
}

fn project(home: &Path) {
    fs::create_dir(home.join("project")).unwrap();
    fs::write(home.join("project/in.txt"), "over TLS").unwrap();
}

#[tokio::test]
async fn a_whole_job_goes_over_tls_with_its_files() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    project(home);
    Authority::new(home, "ca.pem").sign(home, &["localhost"]);
    let (_server, address) = start(home, "serve", &[]).await;
    let url = format!("wss://localhost:{}/ws", address.port());
    let worker =
        ["worker", "--log=info", "--url", &url, "--ca", "ca.pem", "--data-dir", "data", "--id", "w", "--slots=1"];
    let worker = Process::start(gangline(home, &worker), home.join("worker.log"));

    let script = "cat in.txt > out.txt; test \"$(cat in.txt)\" = 'over TLS'";
    let web = format!("https://localhost:{}", address.port());
    works(home, &web, &["--ca", "ca.pem", "run", "--file", "project", "--artifact=out.txt", script]).await;
    works(home, &url, &["--ca", "ca.pem", "artifacts", "1", "--output", "here"]).await;
    assert_eq!(fs::read_to_string(home.join("here/out.txt")).unwrap(), "over TLS");
    assert!(worker.words().contains("registered"), "{}", worker.words());
    // Whoever the worker belongs to need not say it on the command line.
    let mut ps = gangline(home, &["--data-dir", "data", "--url", &url, "ps"]);
    ps.env("GANGLINE_CA", home.join("ca.pem"));
    assert!(run(ps).await.status.success());
}

#[tokio::test]
async fn the_worker_in_up_knows_its_dispatcher_by_any_name() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    // The worker connects to 127.0.0.1, for which this certificate is not, and is told of no authority.
    Authority::new(home, "ca.pem").sign(home, &["localhost"]);
    let (_up, address) = start(home, "up", &[]).await;
    works(home, &format!("wss://localhost:{}", address.port()), &["--ca", "ca.pem", "run", "true"]).await;
}

#[tokio::test]
async fn a_certificate_that_proves_nothing_is_refused_at_once_and_in_words() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    project(home);
    Authority::new(home, "other.pem");
    let authority = Authority::new(home, "ca.pem");
    authority.sign(home, &["localhost"]);
    let (server, address) = start(home, "serve", &[]).await;
    let port = address.port();
    let url = format!("wss://localhost:{port}");
    fails(home, &url, &[], &["not to be trusted", "--ca"]).await;
    fails(home, &url, &["--ca", "other.pem"], &["not to be trusted", "--ca"]).await;
    let by_address = format!("wss://127.0.0.1:{port}");
    fails(home, &by_address, &["--ca", "ca.pem"], &["127.0.0.1", "localhost"]).await;
    works(home, &url, &["--ca", "ca.pem", "ps"]).await;
    drop(server);

    authority.sign_until(home, &["localhost"], 2020);
    let (_server, address) = start(home, "serve", &[]).await;
    fails(home, &format!("wss://localhost:{}", address.port()), &["--ca", "ca.pem"], &["expired"]).await;
}

#[tokio::test]
async fn who_mistakes_tls_for_the_clear_is_told() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    Authority::new(home, "ca.pem").sign(home, &["localhost"]);
    let (_server, address) = start(home, "serve", &[]).await;
    let Ended { status, stderr } = call(home, &format!("ws://{address}"), &["ps"]).await;
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("wss://"), "{stderr}");

    let clear = free_address();
    let clear_home = TempDir::new().unwrap();
    let _clear = Process::serve(clear_home.path(), clear, &[]).await;
    let Ended { status, stderr } = call(home, &format!("wss://{clear}"), &["ps"]).await;
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("ws://"), "{stderr}");
}

#[tokio::test]
async fn files_that_cannot_be_served_with_are_named_at_the_start() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    let authority = Authority::new(home, "ca.pem");
    authority.sign(home, &["localhost"]);
    fs::rename(home.join("key.pem"), home.join("other-key.pem")).unwrap();
    authority.sign(home, &["localhost"]);
    fs::write(home.join("text.pem"), "no PEM at all").unwrap();
    for (cert, key, words) in [
        ("nowhere.pem", "key.pem", ["nowhere.pem", "cannot read"]),
        ("cert.pem", "nowhere.pem", ["nowhere.pem", "cannot read"]),
        ("text.pem", "key.pem", ["text.pem", "no certificate in PEM form"]),
        ("cert.pem", "cert.pem", ["cert.pem", "no unencrypted private key"]),
        ("cert.pem", "other-key.pem", ["other-key.pem", "is not that of the certificate in cert.pem"]),
    ] {
        let args = ["serve", "--data-dir", "data", "--listen=127.0.0.1:0", "--tls-cert", cert, "--tls-key", key];
        let Ended { status, stderr } = run(gangline(home, &args)).await;
        assert_eq!(status.code(), Some(1), "{cert} {key}: {stderr}");
        assert!(words.iter().all(|word| stderr.contains(word)), "{cert} {key}: {stderr}");
        assert!(!home.join("data").exists(), "nothing was made");
    }
    let Ended { status, stderr } = run(gangline(home, &["serve", "--tls-cert", "cert.pem"])).await;
    assert_eq!(status.code(), Some(2));
    assert!(stderr.contains("tls-key"), "{stderr}");
    let Ended { status, stderr } = call(home, "wss://localhost:1", &["--ca", "text.pem", "ps"]).await;
    assert_eq!(status.code(), Some(2));
    assert!(stderr.contains("text.pem"), "{stderr}");
}

#[tokio::test]
async fn slow_handshakes_hold_up_nobody_and_end() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    Authority::new(home, "ca.pem").sign(home, &["localhost"]);
    let (_server, address) = start(home, "serve", &[]).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut begun = Vec::new();
    for _ in 0..200 {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        // The beginning of a first message of 512 bytes.
        tcp.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        begun.push(tcp);
    }
    works(home, &format!("wss://localhost:{}", address.port()), &["--ca", "ca.pem", "ps"]).await;
    for tcp in [&mut silent, &mut begun[199]] {
        let mut rest = Vec::new();
        // Reset or closed, with or without an alert: it is over.
        let _ = soon("the server to hang up", tcp.read_to_end(&mut rest)).await;
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_after_sighup_and_a_bad_one_is_not() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    Authority::new(home, "old.pem").sign(home, &["localhost"]);
    let (server, address) = start(home, "serve", &[]).await;
    let url = format!("wss://localhost:{}", address.port());
    works(home, &url, &["--ca", "old.pem", "ps"]).await;

    fs::write(home.join("cert.pem"), "half a file").unwrap();
    server.signal(Signal::SIGHUP);
    eventually("the server to complain", async || server.words().contains("cannot be renewed").then_some(())).await;
    works(home, &url, &["--ca", "old.pem", "ps"]).await;

    Authority::new(home, "new.pem").sign(home, &["localhost"]);
    server.signal(Signal::SIGHUP);
    eventually("the new certificate", async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        call(home, &url, &["--ca", "new.pem", "ps"]).await.status.success().then_some(())
    })
    .await;
}
