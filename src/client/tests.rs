//! Against a scripted dispatcher: what a real one does only when something goes wrong.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;

use super::*;
use crate::base::secret::Secret;
use crate::config::ClientSettings;
use crate::model::EntryKind;
use crate::protocol::job::Submit;
use crate::protocol::{After, ErrorCode, JobRef};

const HELLO: &str = r#"{"type":"hello","data":{"protocol":1,"server":"gangline/0.1.0","instance":"i","now":1,"auth":"required","pingSecs":25,"maxFrameBytes":65536}}"#;
const JOB: &str = "job-7-001f0c33";

/// A dispatcher that says what the test tells it to.
struct Scripted(TcpListener);

struct Peer(WebSocketStream<TcpStream>);

impl Scripted {
    async fn start() -> (Self, ClientSettings) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        (Self(listener), ClientSettings { url, token: Some(Secret::new("t0ken")), ..ClientSettings::default() })
    }

    async fn accept(&self) -> Peer {
        let (tcp, _) = self.0.accept().await.unwrap();
        let mut peer = Peer(tokio_tungstenite::accept_async(tcp).await.unwrap());
        peer.0.send(Message::text(HELLO)).await.unwrap();
        peer
    }
}

impl Peer {
    /// The next request: its `data`, and its id.
    async fn request(&mut self) -> (serde_json::Value, serde_json::Value) {
        let text = self.0.next().await.unwrap().unwrap().into_text().unwrap();
        let mut frame: serde_json::Value = serde_json::from_str(&text).unwrap();
        (frame["data"].take(), frame["id"].take())
    }

    async fn reply(&mut self, noun: &str, id: &serde_json::Value, data: &str) {
        let frame = format!(r#"{{"type":"{noun}","id":{id},"data":{data}}}"#);
        self.0.send(Message::text(frame)).await.unwrap();
    }

    async fn push(&mut self, data: &str) {
        let frame = format!(r#"{{"type":"job","data":{data}}}"#).replace("JOB", JOB);
        self.0.send(Message::text(frame)).await.unwrap();
    }

    async fn output(&mut self, at: &str, text: &str) {
        let data = format!(
            r#"{{"opt":"output","jobId":"JOB","at":"{at}","stream":"stdout","offset":0,"text":"{text}","time":1}}"#
        );
        self.push(&data).await;
    }

    async fn end(&mut self, at: &str) {
        let data = format!(
            r#"{{"opt":"end","jobId":"JOB","at":"{at}","status":"completed","exitCode":0,"reason":"exit","time":1}}"#
        );
        self.push(&data).await;
    }

    /// Answers a `follow`, and says what it asked for.
    async fn take_follow(&mut self, top: &str) -> String {
        let (data, id) = self.request().await;
        assert_eq!(data["opt"], "follow");
        let after = data["after"].as_str().unwrap().to_owned();
        let from = if after == "0" { "0-0" } else { &after };
        let reply =
            format!(r#"{{"opt":"following","jobId":"{JOB}","from":"{from}","top":"{top}","status":"running"}}"#);
        self.reply("job", &id, &reply).await;
        after
    }

    /// Answers a `submit`, and says with which key it came.
    async fn take_submit(&mut self) -> String {
        let (data, id) = self.request().await;
        assert_eq!((data["opt"].as_str(), data["follow"].as_bool()), (Some("submit"), Some(true)));
        let reply = format!(r#"{{"opt":"submitted","jobId":"{JOB}","taskId":7,"status":"pending","duplicate":false}}"#);
        self.reply("job", &id, &reply).await;
        data["key"].as_str().unwrap().to_owned()
    }

    async fn close(mut self, code: u16) {
        let _ = self.0.close(Some(CloseFrame { code: code.into(), reason: "test".into() })).await;
        while self.0.next().await.is_some() {}
    }
}

/// Everything a follower hears, as short words.
async fn hear(follower: &mut Follower) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        heard.push(match follower.next().await {
            Ok(None) => return heard,
            Ok(Some(FollowEvent::Entry(entry))) => match entry.kind {
                EntryKind::Output { bytes, .. } => format!("{} {}", entry.at, String::from_utf8_lossy(&bytes)),
                EntryKind::Status { .. } => format!("{} status", entry.at),
                EntryKind::End { .. } => format!("{} end", entry.at),
            },
            Ok(Some(FollowEvent::Live(at))) => format!("live {at}"),
            Ok(Some(FollowEvent::Truncated { from, to })) => format!("gone {from} {to}"),
            Ok(Some(FollowEvent::Interrupted { .. })) => "interrupted".to_owned(),
            Ok(Some(FollowEvent::Resumed)) => "resumed".to_owned(),
            Err(FollowError::Gone(_)) => "job gone".to_owned(),
            Err(FollowError::Lost(_)) => "lost".to_owned(),
        });
    }
}

fn job() -> JobRef {
    JOB.parse().unwrap()
}

#[tokio::test]
async fn an_outage_neither_loses_nor_repeats_an_entry() {
    let (dispatcher, settings) = Scripted::start().await;
    let script = tokio::spawn(async move {
        let mut peer = dispatcher.accept().await;
        peer.take_submit().await;
        peer.push(r#"{"opt":"status","jobId":"JOB","at":"1-0","status":"running","attempt":1,"time":1}"#).await;
        peer.output("1-1", "a").await;
        drop(peer);
        // The second connection breaks before it is good for anything, the third repeats an entry.
        drop(dispatcher.accept().await);
        let mut peer = dispatcher.accept().await;
        assert_eq!(peer.take_follow("1-2").await, "1-1");
        peer.output("1-1", "a").await;
        peer.output("1-2", "b").await;
        peer.push(r#"{"opt":"live","jobId":"JOB","at":"1-2"}"#).await;
        peer.end("1-3").await;
        while peer.0.next().await.is_some() {}
    });
    let patience = Patience::default();
    let (mut follower, submitted) = Follower::submit(&settings, Submit::default(), patience).await.unwrap();
    assert_eq!(submitted.task_id, 7);
    let heard = hear(&mut follower).await;
    assert_eq!(heard, ["1-0 status", "1-1 a", "interrupted", "resumed", "1-2 b", "live 1-2", "1-3 end"]);
    follower.close().await;
    script.await.unwrap();
}

#[tokio::test]
async fn a_submit_whose_answer_was_lost_is_sent_again_with_its_key() {
    let (dispatcher, settings) = Scripted::start().await;
    let script = tokio::spawn(async move {
        let mut peer = dispatcher.accept().await;
        let (first, _) = peer.request().await;
        drop(peer);
        let mut peer = dispatcher.accept().await;
        let key = peer.take_submit().await;
        assert_eq!(first["key"], key);
        assert!(!key.is_empty());
    });
    let patience = Patience { connect: Duration::from_secs(60), reconnect: Duration::ZERO };
    Follower::submit(&settings, Submit::default(), patience).await.unwrap();
    script.await.unwrap();
}

#[tokio::test]
async fn a_hole_is_filled_by_asking_again() {
    let (dispatcher, settings) = Scripted::start().await;
    let script = tokio::spawn(async move {
        let mut peer = dispatcher.accept().await;
        assert_eq!(peer.take_follow("1-3").await, "0");
        peer.push(r#"{"opt":"truncated","jobId":"JOB","from":"1-0","to":"1-1"}"#).await;
        peer.output("1-2", "b").await;
        peer.output("1-4", "d").await;
        let mut second = dispatcher.accept().await;
        assert_eq!(second.take_follow("1-5").await, "1-2");
        second.output("1-3", "c").await;
        second.output("1-4", "d").await;
        second.end("1-5").await;
        while second.0.next().await.is_some() {}
    });
    let mut follower = Follower::follow(&settings, job(), After::Start, Patience::default()).await.unwrap();
    let heard = hear(&mut follower).await;
    assert_eq!(heard, ["gone 1-0 1-1", "1-2 b", "interrupted", "resumed", "1-3 c", "1-4 d", "1-5 end"]);
    follower.close().await;
    script.await.unwrap();
}

#[tokio::test]
async fn a_job_that_is_gone_after_an_outage_is_an_error() {
    let (dispatcher, settings) = Scripted::start().await;
    let script = tokio::spawn(async move {
        let mut peer = dispatcher.accept().await;
        peer.take_follow("1-0").await;
        peer.close(4000).await;
        let mut peer = dispatcher.accept().await;
        let (_, id) = peer.request().await;
        peer.reply("error", &id, r#"{"code":"not_found","message":"no such job"}"#).await;
        while peer.0.next().await.is_some() {}
    });
    let mut follower = Follower::follow(&settings, job(), After::Start, Patience::default()).await.unwrap();
    assert_eq!(hear(&mut follower).await, ["interrupted", "job gone"]);
    script.await.unwrap();
}

#[tokio::test]
async fn a_close_code_that_forbids_it_ends_the_follower() {
    let (dispatcher, settings) = Scripted::start().await;
    let script = tokio::spawn(async move {
        let mut peer = dispatcher.accept().await;
        peer.take_follow("1-0").await;
        peer.close(4501).await;
    });
    let mut follower = Follower::follow(&settings, job(), After::Start, Patience::default()).await.unwrap();
    assert_eq!(hear(&mut follower).await, ["lost"]);
    script.await.unwrap();
}

#[tokio::test]
async fn a_client_takes_the_reply_with_its_id_and_nothing_else() {
    let (dispatcher, settings) = Scripted::start().await;
    let script = tokio::spawn(async move {
        let mut peer = dispatcher.accept().await;
        let (data, id) = peer.request().await;
        assert_eq!((data["opt"].as_str(), data["jobId"].as_u64()), (Some("cancel"), Some(7)));
        peer.0.send(Message::text(r#"{"type":"auth","data":{"opt":"expiring","expiresAt":1}}"#)).await.unwrap();
        peer.reply("job", &9.into(), r#"{"opt":"ok","of":"watch"}"#).await;
        peer.reply("job", &id, r#"{"opt":"ok","of":"cancel"}"#).await;
        let (_, id) = peer.request().await;
        peer.reply("error", &id, r#"{"code":"not_found","message":"no such job"}"#).await;
    });
    let mut client = Client::connect(&settings).await.unwrap();
    client.cancel(JobRef::Number(7), None).await.unwrap();
    let refused = client.get(JobRef::Number(7)).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::NotFound));
    assert!(!refused.reconnect());
    script.await.unwrap();
}

#[tokio::test]
async fn a_token_that_was_refused_is_the_answer_to_the_first_request() {
    let (dispatcher, settings) = Scripted::start().await;
    tokio::spawn(async move {
        let mut peer = dispatcher.accept().await;
        let error = r#"{"type":"error","data":{"code":"unauthorized","message":"wrong token"}}"#;
        peer.0.send(Message::text(error)).await.unwrap();
        peer.close(4501).await;
    });
    let mut client = Client::connect(&settings).await.unwrap();
    let refused = client.get(JobRef::Number(7)).await.unwrap_err();
    assert_eq!(refused.to_string(), "wrong token");
}
