//! Uploads that are interrupted go on where they were, by the tus protocol.

use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::server::Stage;
use crate::support::{Reply, TestServer, eventually};

const PLACE: &str = "/api/uploads/resumable";

/// Somebody who speaks the protocol.
struct Sender<'a> {
    server: &'a TestServer,
    token: String,
}

impl Sender<'_> {
    fn admin(server: &TestServer) -> Sender<'_> {
        Sender { server, token: server.admin_token().to_owned() }
    }

    async fn asks(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        let request = self.server.web().request(method, path).bearer_auth(&self.token).header("Tus-Resumable", "1.0.0");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Reply::to(request.body(body)).await
    }

    /// Begins an upload named `a b.bin`; returns where it goes.
    async fn begins(&self, length: usize) -> String {
        let length = length.to_string();
        let headers = [("Upload-Length", length.as_str()), ("Upload-Metadata", "filename YSBiLmJpbg==")];
        let reply = self.asks("POST", PLACE, &headers, Vec::new()).await;
        assert_eq!((reply.status, &reply.headers["tus-resumable"]), (201, &"1.0.0".parse().unwrap()), "{}", reply.text);
        reply.headers["location"].to_str().expect("text").to_owned()
    }

    async fn sends(&self, place: &str, offset: usize, body: &[u8]) -> Reply {
        let offset = offset.to_string();
        let headers = [("Upload-Offset", offset.as_str()), ("Content-Type", "application/offset+octet-stream")];
        self.asks("PATCH", place, &headers, body.to_vec()).await
    }

    /// Sends all of a body before it reads, as the simplest programs do; returns the status.
    async fn sends_all(&self, head: &str, body: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.server.address).await.expect("it listens");
        let more = format!("Authorization: Bearer {}\r\nContent-Length: {}", self.token, body.len());
        let head = format!("{head}\r\nHost: x\r\n{more}\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.expect("it reads");
        socket.write_all(body).await.expect("it reads to the end");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("an answer");
        let status = answer.lines().next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        status.unwrap_or_else(|| panic!("no answer: {answer}")).to_owned()
    }

    async fn looks(&self, place: &str) -> Reply {
        self.asks("HEAD", place, &[], Vec::new()).await
    }

    async fn fetches(&self, headers: &HeaderMap) -> Vec<u8> {
        let url = headers["gangline-file-url"].to_str().expect("text");
        let reply = self.server.web().request("GET", url).bearer_auth(&self.token).send().await.expect("an answer");
        assert_eq!(reply.status(), 200);
        reply.bytes().await.expect("a whole body").to_vec()
    }
}

fn offset(reply: &Reply) -> usize {
    reply.headers["upload-offset"].to_str().expect("text").parse().expect("a number")
}

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, &reply.json["error"]["code"]), (status, &Value::from(code)), "{}", reply.text);
}

/// Bytes that are not alike, more than two pieces.
fn noise() -> Vec<u8> {
    (0..9_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn an_upload_arrives_in_pieces() {
    let server = TestServer::start().await;
    let sender = Sender::admin(&server);
    let about = Reply::to(server.web().request("OPTIONS", PLACE)).await;
    assert_eq!(about.status, 204);
    assert_eq!(about.headers["tus-extension"], "creation,expiration,termination");
    assert_eq!(
        (&about.headers["tus-version"], &about.headers["tus-max-size"]),
        (&"1.0.0".parse().unwrap(), &"4294967296".parse().unwrap())
    );

    let noise = noise();
    let place = sender.begins(noise.len()).await;
    let looked = sender.looks(&place).await;
    assert_eq!((looked.status, offset(&looked)), (200, 0));
    assert_eq!(
        (&looked.headers["cache-control"], &looked.headers["upload-length"]),
        (&"no-store".parse().unwrap(), &"9000000".parse().unwrap())
    );
    assert!(looked.headers["upload-expires"].to_str().expect("text").ends_with("GMT"));
    let mut sent = 0;
    for end in [1, 5_000_000, 5_000_000, noise.len()] {
        let reply = sender.sends(&place, sent, &noise[sent..end]).await;
        assert_eq!((reply.status, offset(&reply)), (204, end), "{}", reply.text);
        sent = end;
    }
    let done = sender.looks(&place).await;
    assert_eq!(offset(&done), noise.len());
    assert!(done.headers["gangline-file-url"].to_str().expect("text").ends_with("/a_b.bin"));
    assert_eq!(sender.fetches(&done.headers).await, noise);
    assert_eq!(sender.asks("DELETE", &place, &[], Vec::new()).await.status, 204);
    assert_eq!(sender.looks(&place).await.status, 404);
    assert_eq!(sender.fetches(&done.headers).await, noise, "what is complete stays");

    let nothing = sender.begins(0).await;
    assert!(sender.fetches(&sender.looks(&nothing).await.headers).await.is_empty());
}

#[tokio::test]
async fn what_had_arrived_when_the_connection_broke_is_kept() {
    let server = TestServer::start().await;
    let sender = Sender::admin(&server);
    let noise = noise();
    let place = sender.begins(noise.len()).await;
    let mut socket = TcpStream::connect(server.address).await.expect("it listens");
    let head = format!(
        "PATCH {place} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n\
         Content-Type: application/offset+octet-stream\r\nContent-Length: {}\r\n\r\n",
        sender.token,
        noise.len()
    );
    socket.write_all(head.as_bytes()).await.expect("it reads");
    socket.write_all(&noise[..6_000_000]).await.expect("it reads");
    socket.shutdown().await.expect("it breaks");
    let _ = socket.read_to_end(&mut Vec::new()).await;
    let arrived = eventually("what was sent to be kept", async || {
        let arrived = offset(&sender.looks(&place).await);
        (arrived == 6_000_000).then_some(arrived)
    })
    .await;
    let reply = sender.sends(&place, arrived, &noise[arrived..]).await;
    assert_eq!(reply.status, 204, "{}", reply.text);
    assert_eq!(sender.fetches(&reply.headers).await, noise);
}

#[tokio::test]
async fn only_what_comes_next_is_taken_and_only_from_its_owner() {
    let server = TestServer::with(|settings| settings.limits.upload_bytes = 1_000).await;
    let sender = Sender::admin(&server);
    let place = sender.begins(10).await;
    refused(&sender.sends(&place, 3, b"x").await, 409, "conflict");
    refused(&sender.sends(&place, 0, &[0; 11]).await, 413, "too_large");
    assert_eq!(sender.sends(&place, 0, b"12345").await.status, 204);
    refused(&sender.sends(&place, 0, b"12345").await, 409, "conflict");
    let ada = Sender { server: &server, token: server.user_token("ada").await };
    let hers = ada.begins(3).await;
    let eve = Sender { server: &server, token: server.user_token("eve").await };
    refused(&eve.sends(&hers, 0, b"123").await, 404, "not_found");
    assert_eq!(eve.asks("DELETE", &hers, &[], Vec::new()).await.status, 404);
    refused(&sender.sends(&format!("{PLACE}/..%2f..%2fetc"), 0, b"x").await, 404, "not_found");
    let worker = Sender { server: &server, token: server.worker_token().to_owned() };
    refused(&worker.asks("POST", PLACE, &[("Upload-Length", "1")], Vec::new()).await, 403, "forbidden");
    for (length, status, code) in [
        ("1001", 413, "too_large"),
        ("99999999999999999999999", 413, "too_large"),
        ("-1", 400, "bad_frame"),
        ("x", 400, "bad_frame"),
    ] {
        refused(&sender.asks("POST", PLACE, &[("Upload-Length", length)], Vec::new()).await, status, code);
    }
    refused(&sender.asks("POST", PLACE, &[], Vec::new()).await, 400, "bad_frame");
    let text = [("Upload-Offset", "5"), ("Content-Type", "text/plain")];
    refused(&sender.asks("PATCH", &place, &text, b"6".to_vec()).await, 415, "bad_frame");
    let old = server.web().request("HEAD", &place).bearer_auth(&sender.token).header("Tus-Resumable", "0.2.2");
    assert_eq!(Reply::to(old).await.status, 412);
}

#[tokio::test]
async fn whoever_still_sends_when_it_is_refused_gets_to_read_why() {
    let server = TestServer::start().await;
    let sender = Sender::admin(&server);
    let place = sender.begins(10).await;
    let patch = |offset: usize| {
        let protocol = "Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream";
        format!("PATCH {place} HTTP/1.1\r\n{protocol}\r\nUpload-Offset: {offset}")
    };
    let noise = noise();
    assert_eq!(sender.sends_all(&patch(3), &noise).await, "409 Conflict");
    assert_eq!(sender.sends_all(&patch(0), &noise).await, "413 Payload Too Large");

    let form = |boundary: &str| {
        format!("POST /api/uploads HTTP/1.1\r\nContent-Type: multipart/form-data; boundary={boundary}")
    };
    let file = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    let twice = [format!("{file}a\r\n{file}").as_bytes(), &noise, b"\r\n--XX--\r\n"].concat();
    assert_eq!(sender.sends_all(&form("XX"), &twice).await, "400 Bad Request");
    let endless = [b"--XX\r\nX: ", &[b'x'; 9_000_000][..]].concat();
    assert_eq!(sender.sends_all(&form("XX"), &endless).await, "400 Bad Request");
    assert_eq!(sender.sends_all(&form(""), &twice).await, "400 Bad Request");
}

#[tokio::test]
async fn of_two_who_send_the_same_at_once_one_wins_and_the_file_is_whole() {
    let server = TestServer::start().await;
    let sender = Sender::admin(&server);
    let noise = noise();
    let place = sender.begins(noise.len()).await;
    let (one, other) = tokio::join!(sender.sends(&place, 0, &noise), sender.sends(&place, 0, &noise));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses[0], 204, "{} {}", one.text, other.text);
    let looked = sender.looks(&place).await;
    assert_eq!(sender.fetches(&looked.headers).await, noise);
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_is_given_up() {
    let server = Stage::new().manual_clock().start().await;
    let sender = Sender::admin(&server);
    let place = sender.begins(10).await;
    assert_eq!(sender.sends(&place, 0, b"12345").await.status, 204);
    server.advance(24 * 3600 - 1);
    assert_eq!(offset(&sender.looks(&place).await), 5);
    server.advance(2);
    assert_eq!(sender.looks(&place).await.status, 404);
}
