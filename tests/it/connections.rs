//! The contract's sections on the envelope, the opening, errors and closing, told by peers that
//! write their frames by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use gangline::model::ApiToken;
use gangline::protocol::auth::Role;
use gangline::protocol::{Cursor, JobId};
use gangline::store::Store;
use gangline::store::error::StoreError;
use gangline::store::log::LogPage;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::peer::Heard;
use crate::support::server::Stage;
use crate::support::store::{Fault, faulty};
use crate::support::{Peer, TestServer, Worker};

#[tokio::test]
async fn hello_comes_first_and_says_what_the_server_is() {
    let server = TestServer::start().await;
    let (mut peer, hello) = server.stranger().await;
    assert_eq!(hello["protocol"], 1);
    assert!(hello["server"].as_str().unwrap().starts_with("gangline/"), "{hello}");
    assert!(hello["instance"].is_string() && hello["now"].is_u64(), "{hello}");
    assert_eq!((&hello["auth"], &hello["pingSecs"]), (&json!("required"), &json!(25)));
    assert_eq!(hello["maxFrameBytes"], 64 * 1024);
    peer.is_quiet().await;
}

#[tokio::test]
async fn a_token_comes_in_a_frame_a_header_or_a_subprotocol() {
    let server = TestServer::start().await;
    let token = server.user_token("ada").await;

    let (mut peer, _) = server.stranger().await;
    peer.send_text(&json!({"type": "auth", "id": 5, "data": {"token": token}}).to_string()).await;
    let reply = peer.next().await;
    let expected = json!({"opt": "ok", "account": "ada", "role": "user", "expiresAt": null});
    assert_eq!((&reply["id"], &reply["data"]), (&json!(5), &expected));
    peer.get("job", &json!({"opt": "list"}), "jobs").await;

    let (mut peer, _) = Peer::connect(server.address, &[("authorization", &format!("Bearer {token}"))]).await;
    assert_eq!(peer.expect("auth", "ok").await, expected);
    peer.get("job", &json!({"opt": "list"}), "jobs").await;

    let offered = format!("gangline.v1, bearer.{token}");
    let (mut peer, _) = Peer::connect(server.address, &[("sec-websocket-protocol", &offered)]).await;
    assert_eq!(peer.response.headers()["sec-websocket-protocol"], "gangline.v1");
    assert_eq!(peer.expect("auth", "ok").await, expected);
}

#[tokio::test]
async fn a_password_buys_a_token_that_runs_out() {
    let server = TestServer::start().await;
    let mut admin = server.admin().await;
    let add = json!({"opt": "userAdd", "account": "ada", "email": "Ada@Example.org", "password": "correct horse"});
    admin.get("auth", &add, "ok").await;

    let (mut peer, _) = server.stranger().await;
    let ok = peer.get("auth", &json!({"account": "ada@example.org", "password": "correct horse"}), "ok").await;
    assert_eq!((&ok["account"], &ok["role"]), (&json!("ada"), &json!("user")));
    assert!(ok["expiresAt"].as_u64().unwrap() > server.clock.now());
    let (mut again, _) = server.stranger().await;
    again.get("auth", &json!({"token": ok["token"]}), "ok").await;

    let (mut wrong, _) = server.stranger().await;
    wrong.refused("auth", &json!({"account": "ada", "password": "battery staple"}), "unauthorized").await;
    wrong.refused("auth", &json!({"account": "nobody", "password": "correct horse"}), "unauthorized").await;
    let error = wrong.refused("auth", &json!({"account": "ada"}), "bad_frame").await;
    assert_eq!(error["field"], "password");
}

#[tokio::test]
async fn a_wrong_token_in_a_frame_may_be_mended_twice() {
    let server = TestServer::start().await;
    let (mut peer, _) = server.stranger().await;
    for _ in 0..2 {
        peer.refused("auth", &json!({"token": "gl_0_0"}), "unauthorized").await;
    }
    peer.get("auth", &json!({"token": server.admin_token()}), "ok").await;

    let (mut peer, _) = server.stranger().await;
    for wrong in ["gl_0_0", "nonsense", "x.y.z"] {
        peer.refused("auth", &json!({"token": wrong}), "unauthorized").await;
    }
    assert_eq!(peer.closed().await, 4501);
}

#[tokio::test]
async fn a_wrong_token_in_the_upgrade_is_told_on_the_socket() {
    let server = TestServer::start().await;
    for header in [("authorization", "Bearer gl_0_0"), ("sec-websocket-protocol", "gangline.v1, bearer.gl_0_0")] {
        let (mut peer, _) = Peer::connect(server.address, &[header]).await;
        let error = peer.next().await;
        assert_eq!((&error["type"], &error["data"]["code"]), (&json!("error"), &json!("unauthorized")));
        assert_eq!(peer.hear().await, Heard::Closed(4501));
    }
}

/// Revokes a token right after it was found good, once.
struct Revoking(Arc<AtomicBool>);

#[async_trait]
impl Fault for Revoking {
    async fn token(&self, store: &dyn Store, id: &str) -> Result<Option<ApiToken>, StoreError> {
        let token = store.token(id).await?;
        if self.0.swap(false, Ordering::Relaxed) {
            store.remove_token(id).await?;
        }
        Ok(token)
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_while_its_socket_opens_closes_it() {
    let now = Arc::new(AtomicBool::new(false));
    let fault = Revoking(Arc::clone(&now));
    let server = Stage::new().store(|store| faulty(store, fault)).start().await;
    let token = server.user_token("ada").await;
    now.store(true, Ordering::Relaxed);
    let (mut peer, _) = Peer::connect(server.address, &[("authorization", &format!("Bearer {token}"))]).await;
    assert_eq!(peer.next().await["data"]["code"], "unauthorized");
    assert_eq!(peer.closed().await, 4501);

    let token = server.user_token("ada").await;
    let (mut peer, _) = server.stranger().await;
    now.store(true, Ordering::Relaxed);
    peer.refused("auth", &json!({"token": token}), "unauthorized").await;
    assert_eq!(peer.closed().await, 4501);
}

#[tokio::test]
async fn before_auth_there_is_only_ping() {
    let server = TestServer::start().await;
    let (mut peer, _) = server.stranger().await;
    peer.send_text(r#"{"type":"ping","id":"p"}"#).await;
    let pong = peer.next().await;
    assert_eq!((&pong["type"], &pong["id"]), (&json!("pong"), &json!("p")));
    peer.refused("job", &json!({"opt": "list"}), "unauthorized").await;
    peer.refused("worker", &json!({"opt": "list"}), "unauthorized").await;
    peer.refused("auth", &json!({"opt": "userList"}), "unauthorized").await;
    peer.refused("worker", &Worker::registration("w", &json!({})), "unauthorized").await;
    let output =
        json!({"opt": "output", "jobId": "job-1-00000000", "attempt": 1, "n": 1, "stream": "stdout", "text": "x"});
    peer.refused("job", &output, "unauthorized").await;
    // Nor is what it sends looked at.
    for opt in ["get", "submit", "output", "nonsense"] {
        peer.refused("job", &json!({"opt": opt}), "unauthorized").await;
    }
    peer.refused("auth", &json!({"opt": "userAdd"}), "unauthorized").await;
    peer.refused("worker", &json!({"opt": "register"}), "unauthorized").await;
}

#[tokio::test]
async fn a_socket_that_does_not_authenticate_is_closed_after_ten_seconds() {
    let server = TestServer::with_manual_clock().await;
    let (mut late, _) = server.stranger().await;
    server.advance(9);
    late.send_text(r#"{"type":"ping"}"#).await;
    assert_eq!(late.next().await["type"], "pong");
    server.advance(1);
    assert_eq!(late.closed().await, 4508);
}

#[tokio::test]
async fn a_renewal_leaves_subscriptions_untouched_and_is_for_the_same_account() {
    let server = TestServer::start().await;
    let mut ada = server.user("ada").await;
    let job = ada.submit(&json!({"command": "x"})).await["jobId"].as_str().unwrap().to_owned();
    let fresh = server.token(Role::User, "ada").await;
    ada.get("auth", &json!({"token": fresh}), "ok").await;
    let others = server.user_token("bob").await;
    ada.refused("auth", &json!({"token": others}), "forbidden").await;

    let mut worker = server.worker("w", &json!({})).await;
    let assigned = worker.accepted().await;
    assert_eq!(assigned.job, job);
    worker.run(&assigned, "hi\n").await;
    assert_eq!(ada.log().await.last().unwrap().1, "completed/exit");
}

#[tokio::test]
async fn the_end_of_a_token_is_announced_and_then_closes_the_socket() {
    let server = TestServer::with_manual_clock().await;
    let mut admin = server.admin().await;
    let create = json!({"opt": "tokenCreate", "role": "admin", "ttlSecs": 100});
    let made = admin.get("auth", &create, "token").await;
    let expires_at = made["record"]["expiresAt"].as_u64().unwrap();
    assert_eq!(expires_at, server.clock.now() + 100_000);
    let mut peer = Peer::with_token(server.address, made["token"].as_str().unwrap()).await;
    let mut renewed = Peer::with_token(server.address, made["token"].as_str().unwrap()).await;

    server.advance(39);
    peer.is_quiet().await;
    server.advance(1);
    for peer in [&mut peer, &mut renewed] {
        assert_eq!(peer.expect("auth", "expiring").await["expiresAt"], expires_at);
    }
    let token = server.admin_token().to_owned();
    renewed.get("auth", &json!({"token": token}), "ok").await;
    // Thirty seconds of clock skew are forgiven.
    server.advance(58);
    for peer in [&mut peer, &mut renewed] {
        peer.is_quiet().await;
    }
    server.advance(31);
    peer.get("job", &json!({"opt": "list"}), "jobs").await;
    server.advance(1);
    assert_eq!(peer.closed().await, 4101);
    renewed.get("job", &json!({"opt": "list"}), "jobs").await;
}

#[tokio::test]
async fn a_revoked_token_closes_its_sockets_at_once_and_ends_no_job() {
    // Time stands still, so that nothing but the revocation closes anything.
    let server = TestServer::with_manual_clock().await;
    let mut admin = server.admin().await;
    let made = admin.get("auth", &json!({"opt": "tokenCreate", "role": "worker"}), "token").await;
    let token = made["token"].as_str().unwrap();
    let mut worker = Worker::register(server.address, token, "w", &json!({})).await;
    let job = admin.queue(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;

    admin.get("auth", &json!({"opt": "tokenRevoke", "token": made["record"]["id"]}), "ok").await;
    assert_eq!(worker.peer.closed().await, 4501);
    assert_eq!(admin.job(&job).await["status"], "running");

    let resume = json!({"resume": [assigned.resume(0, "running")]});
    let mut worker = server.worker("w", &resume).await;
    assert_eq!(worker.registered["resume"][0]["verdict"], "continue");
    worker.run(&assigned, "hi\n").await;
    admin.job_is(&job, "completed").await;
}

#[tokio::test]
async fn a_removed_account_and_a_changed_password_close_their_sockets() {
    let server = TestServer::start().await;
    let mut admin = server.admin().await;
    admin.get("auth", &json!({"opt": "userAdd", "account": "ada", "password": "correct horse"}), "ok").await;
    let (mut by_password, _) = server.stranger().await;
    by_password.get("auth", &json!({"account": "ada", "password": "correct horse"}), "ok").await;
    let mut by_token = server.user("ada").await;

    let change = json!({"opt": "userPassword", "account": "ada", "password": "battery staple"});
    admin.get("auth", &change, "ok").await;
    assert_eq!(by_password.closed().await, 4501);
    by_token.is_quiet().await;
    admin.get("auth", &json!({"opt": "userRemove", "account": "ada"}), "ok").await;
    assert_eq!(by_token.closed().await, 4501);
}

#[tokio::test]
async fn each_role_sends_only_its_own_frames() {
    let server = TestServer::start().await;
    let mut user = server.user("ada").await;
    let mut worker = server.worker("w", &json!({})).await;
    let plugin = server.token(Role::Plugin, "admin").await;
    let mut plugin = Peer::with_token(server.address, &plugin).await;
    let mut admin = server.admin().await;

    let as_client = json!({"opt": "submit", "command": "x"});
    let as_worker = Worker::registration("v", &json!({}));
    worker.peer.refused("job", &as_client, "forbidden").await;
    worker.peer.refused("worker", &json!({"opt": "list"}), "forbidden").await;
    plugin.refused("job", &as_client, "forbidden").await;
    plugin.refused("worker", &as_worker, "forbidden").await;
    plugin.refused("worker", &json!({"opt": "list"}), "forbidden").await;
    user.refused("worker", &as_worker, "forbidden").await;
    user.refused("worker", &json!({"opt": "drain", "workerId": "w"}), "forbidden").await;
    user.refused("job", &json!({"opt": "accept", "jobId": "job-1-00000000", "attempt": 1}), "forbidden").await;
    user.refused("plugin", &json!({"opt": "x"}), "forbidden").await;
    user.refused("auth", &json!({"opt": "userList"}), "forbidden").await;
    for verb in ["userList", "tokenList", "sessionList", "audit"] {
        worker.peer.refused("auth", &json!({"opt": verb}), "forbidden").await;
    }
    user.refused("auth", &json!({"opt": "tokenCreate", "role": "admin"}), "forbidden").await;
    admin.refused("worker", &as_worker, "forbidden").await;
    // Who may not is not told what else is wrong.
    for opt in ["register", "heartbeat"] {
        user.refused("worker", &json!({"opt": opt, "jobs": 7}), "forbidden").await;
        plugin.refused("worker", &json!({"opt": opt, "jobs": 7}), "forbidden").await;
    }
    user.refused("job", &json!({"opt": "output"}), "forbidden").await;
    user.refused("auth", &json!({"opt": "userAdd"}), "forbidden").await;
    user.refused("worker", &json!({"opt": "drain", "workerId": "../up"}), "forbidden").await;
    worker.peer.refused("job", &json!({"opt": "get"}), "forbidden").await;
    plugin.refused("job", &json!({"opt": "submit", "command": 7}), "forbidden").await;
    user.refused("job", &json!({"opt": "nonsense"}), "unknown_type").await;
}

#[tokio::test]
async fn a_foreign_page_may_not_connect() {
    let server = TestServer::with(|settings| settings.allowed_origins = vec!["https://ok.example".to_owned()]).await;
    let own = format!("http://{}", server.address);
    for origin in ["http://evil.example", "null", "https://ok.example.evil"] {
        let (mut peer, _) = Peer::connect(server.address, &[("origin", origin)]).await;
        assert_eq!(peer.hear().await, Heard::Closed(4503), "{origin}");
    }
    for origin in [own.as_str(), "https://ok.example"] {
        let (mut peer, _) = Peer::connect(server.address, &[("origin", origin)]).await;
        peer.is_quiet().await;
    }
}

#[tokio::test]
async fn frames_beyond_the_rate_are_refused_and_administrators_are_exempt() {
    let server = TestServer::with(|settings| settings.limits.frames_per_second = 1).await;
    // A hundred more than may come at once: more than come in by the rate meanwhile, and no more than are forgiven.
    let pings = || (0..5_100).map(|id| format!(r#"{{"type":"ping","id":{id}}}"#));
    let mut user = server.user("ada").await;
    user.say_all(pings()).await;
    let mut pongs = 0;
    let limited = loop {
        let frame = user.next().await;
        match frame["type"].as_str().unwrap() {
            "pong" => pongs += 1,
            _ => break frame,
        }
    };
    assert!(pongs >= 5_000, "{pongs}");
    assert_eq!(limited["data"]["code"], "rate_limited");
    assert_eq!(limited["id"], pongs);
    assert_eq!(limited["data"]["retry"], true);
    assert!(limited["data"]["retryAfterMs"].is_u64(), "{limited}");

    let mut admin = server.admin().await;
    admin.say_all(pings()).await;
    for id in 0..5_100 {
        assert_eq!(admin.next().await["id"], id);
    }
}

#[tokio::test]
async fn who_sends_on_and_on_beyond_the_rate_is_sent_away_with_4029() {
    let server = TestServer::with(|settings| {
        settings.limits.frames_per_second = 1;
        settings.limits.frame_burst = 1;
    })
    .await;
    let mut user = server.user("ada").await;
    user.say_all((0..200).map(|id| format!(r#"{{"type":"ping","id":{id}}}"#))).await;
    let mut refused = 0;
    let code = loop {
        match user.hear().await {
            Heard::Frame(frame) if frame["type"] == "pong" => (),
            Heard::Frame(error) => {
                assert_eq!(error["data"]["code"], "rate_limited");
                refused += 1;
            }
            Heard::Ping => (),
            Heard::Closed(code) => break code,
            Heard::Broken => panic!("the socket broke without a close"),
        }
    };
    assert_eq!((refused, code), (100, 4029));
}

#[tokio::test]
async fn who_does_not_read_its_orders_is_sent_away_with_4002() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = Peer::holding_little(server.address, server.worker_token()).await;
    worker.get("worker", &Worker::registration("w", &json!({})), "registered").await;
    let job = peer.queue(&json!({"command": "cat", "tty": true})).await;
    worker.until("job", "assign").await;
    // More than the socket's buffers hold, and then more than may wait in front of them.
    let input = json!({"opt": "input", "jobId": job, "text": "x".repeat(60_000)});
    let resize = json!({"opt": "resize", "jobId": job, "cols": 80, "rows": 24});
    let frame = |data: &Value| json!({"type": "job", "data": data}).to_string();
    peer.say_all(std::iter::repeat_n(frame(&input), 150)).await;
    peer.say_all(std::iter::repeat_n(frame(&resize), 1_100)).await;
    peer.get("job", &resize, "ok").await;
    assert_eq!(worker.closed().await, 4002);
}

/// A store whose tokens and logs cannot be read, though it knows where logs end.
struct Unreadable(Arc<AtomicBool>);

impl Unreadable {
    fn check(&self) -> Result<(), StoreError> {
        if self.0.load(Ordering::Relaxed) { Err(StoreError::Unavailable("away".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Fault for Unreadable {
    async fn read(
        &self,
        store: &dyn Store,
        job: JobId,
        after: Cursor,
        max_bytes: usize,
    ) -> Result<Option<LogPage>, StoreError> {
        if max_bytes > 0 {
            self.check()?;
        }
        store.read(job, after, max_bytes).await
    }

    async fn token(&self, store: &dyn Store, id: &str) -> Result<Option<ApiToken>, StoreError> {
        self.check()?;
        store.token(id).await
    }
}

#[tokio::test]
async fn who_needs_the_store_while_it_is_away_is_sent_away_with_4001() {
    let away = Arc::new(AtomicBool::new(false));
    let fault = Unreadable(Arc::clone(&away));
    let server = Stage::new().store(|store| faulty(store, fault)).start().await;
    let mut peer = server.admin().await;
    let job = peer.queue(&json!({"command": "x"})).await;
    away.store(true, Ordering::Relaxed);
    peer.follow(&job, "0").await;
    assert_eq!(peer.closed().await, 4001);
    let header = format!("Bearer {}", server.admin_token());
    let (mut late, _) = Peer::connect(server.address, &[("authorization", &header)]).await;
    assert_eq!(late.hear().await, Heard::Closed(4001));

    away.store(false, Ordering::Relaxed);
    server.admin().await.follow(&job, "0").await;
}

#[tokio::test]
async fn more_than_a_hundred_errors_in_a_minute_close_the_socket() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    // Any minute counts: each error is forgotten a minute after it was made.
    for (errors, pause) in [(60, 50), (40, 10), (60, 1)] {
        for _ in 0..errors {
            peer.refused("job", &json!({"opt": "nonsense"}), "unknown_type").await;
        }
        peer.is_quiet().await;
        server.advance(pause);
    }
    peer.say("job", &json!({"opt": "nonsense"})).await;
    assert_eq!(peer.closed().await, 4500);
}

#[tokio::test]
async fn frames_over_the_limit_are_too_large() {
    let server = TestServer::start().await;
    let padded = |bytes: usize| {
        let frame = json!({"type": "ping", "id": "big", "pad": ""}).to_string();
        frame.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - frame.len())))
    };
    let (stranger, _) = server.stranger().await;
    let user = server.user("ada").await;
    let worker = server.worker("w", &json!({})).await.peer;
    for (mut peer, most) in [(stranger, 4 * 1024), (user, 64 * 1024), (worker, 1024 * 1024)] {
        peer.send_text(&padded(most)).await;
        assert_eq!(peer.next().await["type"], "pong", "{most}");
        peer.send_text(&padded(most + 1)).await;
        let error = peer.next().await;
        assert_eq!(error["data"]["code"], "too_large", "{most}");
        // What is over every limit, as a worker's is here, is never read.
        assert_eq!(error["id"] == "big", most < 1024 * 1024, "{most}");
        assert_eq!(peer.closed().await, 1009, "{most}");
    }
    // Far over every limit: refused before it has been read.
    let mut peer = server.user("ada").await;
    let _ = peer.try_send(Message::text("x".repeat(3 << 20))).await;
    match peer.hear().await {
        Heard::Frame(error) => assert_eq!(error["data"]["code"], "too_large"),
        Heard::Closed(code) => assert_eq!(code, 1009),
        other => assert_eq!(other, Heard::Broken),
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_named_and_the_connection_stays_open() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let submit = |fields: &str| format!(r#"{{"type":"job","data":{{"opt":"submit",{fields}}}}}"#);
    let cases: Vec<(String, &str, Value)> = vec![
        ("".into(), "bad_frame", Value::Null),
        ("hello".into(), "bad_frame", Value::Null),
        ("[1]".into(), "bad_frame", Value::Null),
        (r#"{"type":"job","data":{"opt":"list"}"#.into(), "bad_frame", Value::Null),
        ("{}".into(), "bad_frame", json!("type")),
        (r#"{"type":7}"#.into(), "bad_frame", json!("type")),
        (r#"{"type":"jobs"}"#.into(), "unknown_type", json!("type")),
        (r#"{"type":"job","data":[]}"#.into(), "bad_frame", json!("data")),
        (r#"{"type":"job"}"#.into(), "bad_frame", json!("opt")),
        (r#"{"type":"job","data":{"opt":"explode"}}"#.into(), "unknown_type", json!("opt")),
        (r#"{"type":"job","data":{"opt":3}}"#.into(), "bad_frame", json!("opt")),
        (r#"{"type":"job","id":[1],"data":{"opt":"list"}}"#.into(), "bad_frame", json!("id")),
        (r#"{"type":"job","id":null,"data":{"opt":"list"}}"#.into(), "bad_frame", json!("id")),
        (r#"{"type":"job","id":true,"data":{"opt":"list"}}"#.into(), "bad_frame", json!("id")),
        (r#"{"type":"job","data":{"opt":"get"}}"#.into(), "bad_frame", json!("jobId")),
        (r#"{"type":"job","data":{"opt":"get","jobId":{}}}"#.into(), "bad_frame", json!("jobId")),
        (r#"{"type":"job","data":{"opt":"get","jobId":"nonsense"}}"#.into(), "bad_frame", json!("jobId")),
        (r#"{"type":"job","data":{"opt":"follow","jobId":1,"after":"1"}}"#.into(), "bad_frame", json!("after")),
        (r#"{"type":"job","data":{"opt":"list","limit":0}}"#.into(), "bad_frame", json!("limit")),
        (r#"{"type":"job","data":{"opt":"list","limit":-1}}"#.into(), "bad_frame", json!("limit")),
        (r#"{"type":"worker","data":{"opt":"list","limit":1.5}}"#.into(), "bad_frame", json!("limit")),
        (r#"{"type":"worker","data":{"opt":"list","limit":"9"}}"#.into(), "bad_frame", json!("limit")),
        (r#"{"type":"job","data":{"opt":"list","status":"done"}}"#.into(), "bad_frame", json!("status")),
        (submit(r#""name":"x""#), "bad_frame", json!("command")),
        (submit(r#""command":7"#), "bad_frame", json!("command")),
        (submit(r#""command":" ""#), "bad_frame", json!("command")),
        (submit(r#""command":"x","args":["x"]"#), "bad_frame", json!("args")),
        (submit(r#""args":[]"#), "bad_frame", json!("args")),
        (submit(r#""command":"x","cwd":"../up""#), "bad_frame", json!("cwd")),
        (submit(r#""command":"x","cwd":"/etc""#), "bad_frame", json!("cwd")),
        (submit(r#""command":"x","env":{"A":1}"#), "bad_frame", json!("env.A")),
        (submit(r#""command":"x","requires":{"gpus":"two"}"#), "bad_frame", json!("requires.gpus")),
        (submit(r#""command":"x","requires":{"labels":{"a":1}}"#), "bad_frame", json!("requires.labels.a")),
        (submit(r#""command":"x","timeoutSecs":-1"#), "bad_frame", json!("timeoutSecs")),
        (submit(r#""command":"x","timeoutSecs":"5""#), "bad_frame", json!("timeoutSecs")),
        (submit(r#""command":"x","onLost":"shrug""#), "bad_frame", json!("onLost")),
        (submit(r#""command":"x","maxAttempts":0"#), "bad_frame", json!("maxAttempts")),
        (submit(r#""command":"x","tty":{"cols":80}"#), "bad_frame", json!("tty.rows")),
        (submit(r#""command":"x","tty":{"cols":0,"rows":1}"#), "bad_frame", json!("tty.cols")),
        (submit(r#""command":"x","tty":{"cols":1,"rows":0}"#), "bad_frame", json!("tty.rows")),
        (submit(r#""command":"x","key":"""#), "bad_frame", json!("key")),
        (submit(r#""command":"x","artifacts":["../x"]"#), "bad_frame", json!("artifacts[0]")),
        (submit(r#""template":"none""#), "not_found", json!("template")),
        (submit(r#""command":"x","requires":{"gpus":5000}"#), "unsatisfiable", json!("requires.gpus")),
        (r#"{"type":"job","data":{"opt":"get","jobId":99}}"#.into(), "not_found", Value::Null),
    ];
    for (text, code, field) in &cases {
        peer.send_text(text).await;
        let error = peer.next().await;
        assert_eq!(error["type"], "error", "{text} was answered with {error}");
        assert_eq!((&error["data"]["code"], &error["data"]["field"]), (&json!(code), field), "{text}: {error}");
        assert!(error["data"]["message"].is_string() && error["data"]["retry"].is_boolean(), "{error}");
    }
    peer.try_send(Message::binary(b"{}".to_vec())).await.unwrap();
    assert_eq!(peer.next().await["data"]["code"], "bad_frame");
    peer.is_quiet().await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_refused_and_closes_the_socket_with_1007() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let frame = Frame::message(b"{\"type\":\"ping\xff\"}".to_vec(), OpCode::Data(Data::Text), true);
    peer.try_send(Message::Frame(frame)).await.unwrap();
    let error = peer.next().await;
    assert_eq!((&error["type"], &error["data"]["code"]), (&json!("error"), &json!("bad_frame")));
    assert_eq!(peer.closed().await, 1007);
}

#[tokio::test]
async fn ids_of_both_kinds_come_back_as_they_were_written() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    for id in [r#""a""#, r#""""#, "7", "-1", "18446744073709551616", "1.50", r#""\u00e9""#] {
        for data in [r#""data":{"opt":"list"}"#, r#""data":{"opt":"nonsense"}"#] {
            peer.send_text(&format!(r#"{{"type":"job","id":{id},{data}}}"#)).await;
            let reply = peer.next().await;
            let expected: Value = serde_json::from_str(id).unwrap();
            assert_eq!(reply["id"], expected, "{reply}");
        }
    }
    // An error names the id wherever it can be read.
    peer.send_text(r#"{"data":{"opt":"get"},"id":"late","type":"job"}"#).await;
    assert_eq!(peer.next().await["id"], "late");
}

#[tokio::test]
async fn frames_typed_sloppily_are_understood() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    peer.send_text("  { \"data\" : { \"follow\":false, \"command\" : \"x\", \"opt\":\"submit\", \"what\":1 }, \"type\":\"job\" }\n")
        .await;
    let submitted = peer.expect("job", "submitted").await;
    let (job, task) = (submitted["jobId"].as_str().unwrap(), submitted["taskId"].as_u64().unwrap());
    for named in [json!(task), json!(task.to_string()), json!(job)] {
        assert_eq!(peer.get("job", &json!({"opt": "get", "jobId": named}), "job").await["job"]["jobId"], job);
    }
    assert_eq!(peer.get("job", &json!({"opt": "get", "task_id": task}), "job").await["job"]["jobId"], job);
    let pinned =
        json!({"opt": "submit", "command": "x", "follow": false, "requires": {"machine_id": "m", "gpu_count": 1}});
    let job = peer.get("job", &pinned, "submitted").await["jobId"].clone();
    let record = peer.job(job.as_str().unwrap()).await;
    assert_eq!(record["spec"]["requires"], json!({"workerId": "m", "gpus": 1}));
}

#[tokio::test]
async fn older_spellings_beside_requires_are_part_of_it() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let spec = |more: Value| {
        let mut spec = json!({"opt": "submit", "command": "x", "follow": false});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    for more in [
        json!({"machine_id": "m", "gpu_count": 2}),
        json!({"machineId": "m", "gpuCount": 2}),
        json!({"machine_id": "m", "requires": {"gpus": 2}}),
        json!({"machine_id": "m", "gpu_count": 2, "requires": {"worker_id": "m", "gpu_count": 2}}),
    ] {
        let job = peer.get("job", &spec(more), "submitted").await["jobId"].clone();
        let record = peer.job(job.as_str().unwrap()).await;
        assert_eq!(record["spec"]["requires"], json!({"workerId": "m", "gpus": 2}));
    }
    for (more, field) in [
        (json!({"machine_id": "m", "requires": {"workerId": "n"}}), "requires.workerId"),
        (json!({"gpu_count": 1, "requires": {"gpus": 2}}), "requires.gpus"),
        (json!({"gpu_count": "one"}), "gpu_count"),
    ] {
        assert_eq!(peer.refused("job", &spec(more), "bad_frame").await["field"], field);
    }
    let mut worker = Peer::with_token(server.address, server.worker_token()).await;
    let mut registration = Worker::registration("m", &json!({"gpus": [{"index": 0}, {"index": 1}]}));
    let name = registration.as_object_mut().unwrap().remove("workerId").unwrap();
    registration["machine_id"] = name;
    worker.get("worker", &registration, "registered").await;
    let assigned = worker.until("job", "assign").await;
    let (job, attempt) = (&assigned["jobId"], &assigned["attempt"]);
    worker.say("job", &json!({"opt": "accept", "job_id": job, "attempt": attempt})).await;
    worker.say("job", &json!({"opt": "end", "job_id": job, "attempt": attempt, "n": 1, "reason": "exit"})).await;
    assert_eq!(worker.until("job", "ack").await["jobId"], *job);
}

#[tokio::test]
async fn null_is_as_good_as_absent() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut spec = json!({"opt": "submit", "command": "x"});
    for field in [
        "args",
        "image",
        "env",
        "cwd",
        "name",
        "tags",
        "fileUrl",
        "filename",
        "template",
        "params",
        "stdin",
        "tty",
        "requires",
        "priority",
        "timeoutSecs",
        "queueTimeoutSecs",
        "graceSecs",
        "onLost",
        "maxAttempts",
        "artifacts",
        "key",
        "follow",
    ] {
        spec[field] = Value::Null;
    }
    let job = peer.get("job", &spec, "submitted").await["jobId"].clone();
    assert_eq!(peer.job(job.as_str().unwrap()).await["spec"], json!({"command": "x"}));
    spec["requires"] =
        json!({"workerId": null, "labels": null, "cpus": null, "memoryBytes": null, "gpus": null, "gpuIds": null});
    peer.get("job", &spec, "submitted").await;
    peer.get("job", &json!({"opt": "follow", "jobId": job, "after": null}), "following").await;
    peer.get("job", &json!({"opt": "list", "status": null, "limit": null, "before": null}), "jobs").await;
}

#[tokio::test]
async fn a_list_is_never_longer_than_a_thousand_however_long_it_was_asked_to_be() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    for limit in ["1000", "1001", "4294967296", "18446744073709551616", "1e40"] {
        for noun in ["job", "worker"] {
            peer.send_text(&format!(r#"{{"type":"{noun}","data":{{"opt":"list","limit":{limit}}}}}"#)).await;
            peer.expect(noun, &format!("{noun}s")).await;
        }
    }
}

#[tokio::test]
async fn the_fields_of_submitted_may_be_pasted_back() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let submitted = peer.submit(&json!({"command": "cat", "stdin": true, "follow": false})).await;
    let with = |opt: &str, more: Value| {
        let mut frame = submitted.clone();
        frame["opt"] = json!(opt);
        frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        frame
    };
    assert_eq!(peer.get("job", &with("get", json!({})), "job").await["job"]["jobId"], submitted["jobId"]);
    peer.get("job", &with("follow", json!({"after": "0"})), "following").await;
    peer.get("job", &with("unfollow", json!({})), "ok").await;
    let error = peer.refused("job", &with("resize", json!({"cols": 1, "rows": "2"})), "bad_frame").await;
    assert_eq!(error["field"], "rows");
    peer.refused("job", &with("input", json!({"text": "x"})), "conflict").await;
    // Where they differ the id counts.
    let other = peer.queue(&json!({"command": "x"})).await;
    let named = peer.get("job", &with("get", json!({"jobId": other})), "job").await;
    assert_eq!(named["job"]["jobId"], json!(other));
    peer.get("job", &with("cancel", json!({})), "ok").await;
}

#[tokio::test]
async fn another_protocol_version_is_refused_with_4506() {
    let server = TestServer::start().await;
    let (mut peer, _) = server.stranger().await;
    peer.send_text(r#"{"type":"hello","id":1,"data":{"protocol":1}}"#).await;
    assert_eq!(peer.next().await, json!({"type": "hello", "id": 1, "data": {"opt": "ok", "of": "hello"}}));
    peer.refused("hello", &json!({"protocol": 2}), "unsupported_version").await;
    assert_eq!(peer.closed().await, 4506);
}

#[tokio::test]
async fn the_server_pings_and_gives_up_on_the_silent() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    server.advance(25);
    assert_eq!(peer.hear().await, Heard::Ping);
    // The answer to the ping counts as a sign of life.
    peer.is_quiet().await;
    server.advance(59);
    assert_eq!(peer.hear().await, Heard::Ping);
    peer.is_quiet().await;
    server.advance(60);
    assert_eq!(peer.closed().await, 4003);
}

#[tokio::test]
async fn a_draining_server_sends_its_peers_away() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    server.dispatcher.shutdown().start_drain();
    assert_eq!(peer.closed().await, 4000);
    let (mut late, _) = server.stranger().await;
    assert_eq!(late.hear().await, Heard::Closed(4000));
}

#[tokio::test]
async fn under_open_a_stranger_is_an_administrator_and_may_be_a_worker() {
    let server = TestServer::with(|settings| settings.open = true).await;
    let (mut peer, hello) = server.stranger().await;
    assert_eq!(hello["auth"], "open");
    let job = peer.submit(&json!({"command": "x"})).await["jobId"].as_str().unwrap().to_owned();
    assert_eq!(peer.job(&job).await["account"], "anonymous");
    peer.get("auth", &json!({"opt": "userList"}), "users").await;

    let (mut worker, hello) = server.stranger().await;
    assert_eq!(hello["maxFrameBytes"], 1024 * 1024);
    let held: Vec<Value> =
        (1..=2_000).map(|n| json!({"jobId": format!("job-{n}-00000000"), "attempt": 9, "lastN": 0})).collect();
    let registration = Worker::registration("w", &json!({"resume": held}));
    assert!(registration.to_string().len() > 64 * 1024);
    worker.get("worker", &registration, "registered").await;
    assert_eq!(worker.until("job", "assign").await["jobId"], json!(job));

    // Who shows a token is who the token says.
    let mut ada = server.user("ada").await;
    ada.refused("auth", &json!({"opt": "userList"}), "forbidden").await;
    ada.refused("job", &json!({"opt": "get", "jobId": job}), "not_found").await;
}

#[tokio::test]
async fn accounts_and_tokens_are_administered_by_frames() {
    let server = TestServer::start().await;
    let mut admin = server.admin().await;
    let add = json!({"opt": "userAdd", "account": "ada", "role": "user"});
    assert_eq!(admin.get("auth", &add, "ok").await["of"], "userAdd");
    admin.refused("auth", &add, "conflict").await;
    let error = admin.refused("auth", &json!({"opt": "userAdd", "account": "a b"}), "bad_frame").await;
    assert_eq!(error["field"], "account");
    let users = admin.get("auth", &json!({"opt": "userList"}), "users").await;
    let names: Vec<&str> = users["users"].as_array().unwrap().iter().map(|u| u["account"].as_str().unwrap()).collect();
    assert_eq!(names, ["ada", "admin", "worker"]);

    let made = admin.get("auth", &json!({"opt": "tokenCreate", "role": "user", "account": "ada"}), "token").await;
    let token = made["token"].as_str().unwrap().to_owned();
    let mut ada = Peer::with_token(server.address, &token).await;
    let listed = admin.get("auth", &json!({"opt": "tokenList"}), "tokens").await;
    assert_eq!(listed["tokens"][0], made["record"]);
    assert!(!listed.to_string().contains(token.rsplit('_').next().unwrap()), "a secret is shown once");
    admin.refused("auth", &json!({"opt": "tokenRevoke", "token": "nonsense"}), "not_found").await;
    admin.get("auth", &json!({"opt": "tokenRevoke", "token": token}), "ok").await;
    assert_eq!(ada.closed().await, 4501);
    admin.refused("auth", &json!({"opt": "userRemove", "account": "admin"}), "conflict").await;
    admin.refused("auth", &json!({"opt": "userRemove", "account": "nobody"}), "not_found").await;
}

#[tokio::test]
async fn tokens_and_jobs_outlive_the_server() {
    let server = TestServer::start().await;
    let token = server.user_token("ada").await;
    let job = Peer::with_token(server.address, &token).await.queue(&json!({"command": "x"})).await;
    let dir = server.stop().await;
    let server = Stage::new().dir(dir).start().await;
    let mut ada = Peer::with_token(server.address, &token).await;
    assert_eq!(ada.job(&job).await["status"], "pending");
}
