//! The dashboard as a browser gets it: the page, its files, and what comes with them. What they do in a browser is told in
//! `tests/dashboard`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::{Reply, TestServer, soon};

/// What Vite built; `make test` has built it.
fn site() -> PathBuf {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard/dist/site");
    assert!(site.join("index.html").exists(), "there is no dashboard; `make dashboard` builds it");
    site
}

/// The names under which its files are served, the page and compressed copies aside.
fn files() -> Vec<String> {
    let site = site();
    let all = walkdir::WalkDir::new(&site).into_iter().map(|entry| entry.expect("it can be read"));
    let files = all.filter(|entry| entry.file_type().is_file());
    let names =
        files.map(|entry| entry.path().strip_prefix(&site).expect("it is in it").to_str().expect("text").to_owned());
    names.filter(|name| name != "index.html" && !name.ends_with(".br") && !name.ends_with(".gz")).collect()
}

#[tokio::test]
async fn the_page_may_load_only_what_is_its_own() {
    site();
    let server = TestServer::start().await;
    let page = server.web().get("/", "").await;
    assert_eq!((page.status, &page.headers[CONTENT_TYPE]), (200, &"text/html; charset=utf-8".parse().unwrap()));
    let nonce = nonce(&page);
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' blob:; connect-src 'self'; \
         font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    assert_eq!(page.headers[CONTENT_SECURITY_POLICY], policy);
    assert!(page.text.contains(&format!("nonce=\"{nonce}\"")) && !page.text.contains("__NONCE__"), "{}", page.text);
    assert_eq!(page.headers[REFERRER_POLICY], "no-referrer");
    assert_eq!(page.headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(page.headers["cross-origin-opener-policy"], "same-origin");
    assert!(page.headers["permissions-policy"].to_str().unwrap().contains("camera=()"));
}

#[tokio::test]
async fn each_answer_has_a_nonce_of_its_own_so_the_page_is_asked_for_each_time() {
    site();
    let server = TestServer::start().await;
    let (one, other) = (server.web().get("/", "").await, server.web().get("/", "").await);
    assert_ne!(nonce(&one), nonce(&other));
    assert_eq!(one.headers[CACHE_CONTROL], "no-cache");
    assert!(one.headers.get(ETAG).is_none(), "a kept page would come with another page's nonce");
}

#[tokio::test]
async fn every_file_of_the_page_is_sent_as_it_was_built_and_as_small_as_the_browser_takes_it() {
    let server = TestServer::start().await;
    let mut compressed = 0;
    for name in files() {
        let read = |ending: &str| fs::read(site().join(format!("{name}{ending}"))).ok();
        for (takes, copies) in [
            ("", [None, None]),
            ("identity", [None, None]),
            ("gzip, deflate, br, zstd", [Some(("br", ".br")), Some(("gzip", ".gz"))]),
            ("gzip", [Some(("gzip", ".gz")), None]),
            ("br;q=0, gzip", [Some(("gzip", ".gz")), None]),
        ] {
            let request = server.web().request("GET", &format!("/{name}")).header(ACCEPT_ENCODING, takes);
            let reply = request.send().await.unwrap();
            assert_eq!(reply.status(), 200, "{name}");
            let headers = reply.headers().clone();
            let there = copies.into_iter().flatten().find_map(|(encoding, ending)| Some((encoding, read(ending)?)));
            let (encoding, bytes) =
                there.map_or_else(|| (None, read("").unwrap()), |(name, bytes)| (Some(name), bytes));
            assert_eq!(headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap()), encoding, "{name}: {takes}");
            assert!(reply.bytes().await.unwrap() == bytes, "{name}: {takes}");
            assert_eq!(headers[VARY], "accept-encoding");
            compressed += usize::from(encoding.is_some());
        }
    }
    assert!(compressed > 0, "nothing has a compressed copy");
}

#[tokio::test]
async fn what_cannot_change_is_kept_for_good_and_the_rest_is_asked_for_again() {
    let server = TestServer::start().await;
    for name in files() {
        let path = format!("/{name}");
        let reply = server.web().get(&path, "").await;
        let kept = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
        assert_eq!(reply.headers[CACHE_CONTROL], kept, "{name}");
        let again = server.web().request("GET", &path).header(IF_NONE_MATCH, &reply.headers[ETAG]);
        let again = Reply::to(again).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{name}");
        assert_eq!(
            (&again.headers[ETAG], &again.headers[CACHE_CONTROL]),
            (&reply.headers[ETAG], &kept.parse().unwrap())
        );
        let other = server.web().request("GET", &path).header(IF_NONE_MATCH, "\"another\"");
        assert_eq!(Reply::to(other).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn the_kind_of_each_file_is_said() {
    let server = TestServer::start().await;
    let names = files();
    let of = |ending: &str| names.iter().find(|name| name.ends_with(ending)).unwrap_or_else(|| panic!("no {ending}"));
    for (name, kind) in [
        ("icon.svg", "image/svg+xml"),
        (of(".js"), "text/javascript; charset=utf-8"),
        (of(".css"), "text/css; charset=utf-8"),
    ] {
        assert_eq!(server.web().get(&format!("/{name}"), "").await.headers[CONTENT_TYPE], kind);
        let head = server.web().request("HEAD", &format!("/{name}"));
        let head = Reply::to(head).await;
        let len = fs::metadata(site().join(name)).unwrap().len();
        assert_eq!((head.status, head.text.as_str()), (200, ""));
        assert_eq!(head.headers[CONTENT_LENGTH], len.to_string());
    }
    assert_eq!(Reply::to(server.web().request("HEAD", "/")).await.status, 200);
}

#[tokio::test]
async fn nothing_else_is_served() {
    let server = TestServer::start().await;
    let script = files().into_iter().find(|name| name.ends_with(".js")).unwrap();
    let copy = format!("/{script}.br");
    let upper = format!("/{script}").to_uppercase();
    for path in [
        "/index.html",
        "/assets",
        "/assets/",
        "/assets/none.js",
        "/icon.png",
        "/favicon.ico",
        "/assets/%2e%2e%2ficon.svg",
    ] {
        assert_eq!(server.web().get(path, "").await.status, 404, "{path}");
    }
    for path in [&copy, &upper] {
        assert_eq!(server.web().get(path, "").await.status, 404, "{path}");
    }
    // Clients resolve dots before they ask.
    for path in ["/assets/../icon.svg", "/assets/../index.html", "/assets/../../package.json", "/assets//etc/passwd"] {
        assert_eq!(raw_status(&server, path).await, "HTTP/1.1 404", "{path}");
    }
    let post = server.web().post("/", "", serde_json::Value::Null).await;
    assert_eq!((post.status, &post.headers[ALLOW]), (405, &"GET,HEAD".parse().unwrap()));
}

#[tokio::test]
async fn the_types_of_the_pages_frames_are_those_of_the_server() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard");
    let dir = tempfile::tempdir().expect("a directory");
    let made = dir.path().join("frames.ts");
    let mut node = Command::new("node");
    node.arg(here.join("scripts/types.mjs")).arg(&made).stdin(Stdio::piped()).kill_on_drop(true);
    let mut node = node.spawn().expect("node starts");
    let schema = gangline::protocol::schema::protocol().to_string();
    node.stdin.take().expect("it is piped").write_all(schema.as_bytes()).await.expect("it reads");
    let status = soon("the types", node.wait()).await.expect("its end");
    assert!(status.success(), "`make setup` fetches what it needs");
    let kept = fs::read_to_string(here.join("src/protocol/frames.ts")).expect("it is kept");
    assert!(
        fs::read_to_string(made).expect("it was made") == kept,
        "`make dashboard-types` brings frames.ts up to date"
    );
}

/// The nonce that a page's policy names.
fn nonce(page: &Reply) -> String {
    let policy = page.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
    let nonce = policy.split_once("'nonce-").expect("a nonce").1.split('\'').next().unwrap();
    assert!(nonce.len() >= 22, "{nonce} is no 128 bits");
    nonce.to_owned()
}

/// The status of a path that is sent just as it is.
async fn raw_status(server: &TestServer, path: &str) -> String {
    let mut socket = TcpStream::connect(server.address).await.expect("it listens");
    socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.expect("it reads");
    let mut status = [0; 12];
    soon("a status", socket.read_exact(&mut status)).await.expect("an answer");
    String::from_utf8(status.to_vec()).expect("text")
}
