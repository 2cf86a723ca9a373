//! The compute broker's document, replayed; and what it leaves open, tried.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Reply, TestServer, Web, server::Stage};

const PASSWORD: &str = "p";

fn client(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "pubKey": format!("key of {email}"), "address": "203.0.113.7:9000"})
}

async fn login(web: &Web, email: &str) -> String {
    let reply = web.post("/login", "", json!({"email": email, "password": PASSWORD})).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json["token"].as_str().expect("a token").to_owned()
}

/// Registers a client and returns its API key.
async fn registered(web: &Web, email: &str) -> String {
    let reply = web.post("/client", "", client(email)).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    login(web, email).await
}

async fn signal(web: &Web, key: &str, available: u32) {
    let reply = web.post(&format!("/client/signal/{available}"), key, json!({})).await;
    assert_eq!((reply.status, reply.json), (200, json!({"available": available})));
}

/// Clients named `0@c`, `1@c` and so on, each ready for so many workloads.
async fn ready(web: &Web, clients: u32, available: u32) {
    for index in 0..clients {
        let key = registered(web, &format!("{index}@c")).await;
        signal(web, &key, available).await;
    }
}

async fn session(web: &Web, key: &str, workers: u64) -> Reply {
    web.post("/session", key, json!({"workers": workers})).await
}

/// The keys of those who were handed out.
fn handed_out(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.text);
    let workers = reply.json["workers"].as_array().expect("workers");
    workers.iter().map(|worker| worker["pubKey"].as_str().expect("a key").to_owned()).collect()
}

fn refused(reply: &Reply, status: u16, field: &str) {
    assert_eq!(reply.status, status, "{}", reply.text);
    let error = reply.json["error"].as_str().expect("the error is a text");
    let named = reply.json["field"].as_str().unwrap_or_default();
    assert_eq!(named, field, "{error}");
    assert!(error.contains(field), "{error} does not name {field}");
}

#[tokio::test]
async fn the_document_holds_route_by_route() {
    let server = TestServer::start().await;
    let web = server.web();
    let echo = web.post("/client", "", client("ada@example.org")).await;
    assert_eq!(echo.status, 201);
    let masked = json!({"email": "ada@example.org", "password": "********", "pubKey": "key of ada@example.org",
        "address": "203.0.113.7:9000"});
    assert_eq!(echo.json, masked);
    let worker = registered(&web, "bob@example.org").await;
    signal(&web, &worker, 2).await;

    // The document's own spelling.
    let reply = web.post("/login", "", json!({"email": "ada@example.org", "passord": PASSWORD})).await;
    assert_eq!(reply.json.as_object().map(serde_json::Map::len), Some(1), "{}", reply.text);
    let key = reply.json["token"].as_str().expect("a token");

    // As the Python client writes the header.
    let request = web.request("POST", "/session").header("Authorization", format!("bearer {key}"));
    let begun = Reply::to(request.json(&json!({"workers": 1}))).await;
    let bob = json!([{"pubKey": "key of bob@example.org", "address": "203.0.113.7:9000"}]);
    assert_eq!((begun.status, &begun.json["workers"]), (200, &bob));
    let again = web.post("/session/refresh", key, json!({"token": begun.json["token"]})).await;
    assert_eq!((again.status, again.json), (200, json!({"workers": bob})));
}

#[tokio::test]
async fn a_known_email_is_refused_and_every_wrong_field_is_named() {
    let server = TestServer::start().await;
    let web = server.web();
    registered(&web, "ada@example.org").await;
    let again = web.post("/client", "", client("ADA@example.org")).await;
    assert_eq!((again.status, &again.json["error"]), (409, &json!("the email is taken")));
    for field in ["email", "password", "pubKey", "address"] {
        let mut less = client("bob@example.org");
        less.as_object_mut().expect("fields").remove(field);
        refused(&web.post("/client", "", less).await, 400, field);
        for wrong in [json!(5), json!(null), json!(["x"]), json!({"$gt": ""}), json!("")] {
            let mut body = client("bob@example.org");
            body[field] = wrong;
            refused(&web.post("/client", "", body).await, 400, field);
        }
    }
    for address in
        ["nowhere", "host:0", "host:65536", "host:http", "a b:80", "'; DROP TABLE accounts; --", "*:80\r\nDEL x"]
    {
        let mut body = client("bob@example.org");
        body["address"] = json!(address);
        refused(&web.post("/client", "", body).await, 400, "address");
    }
    for email in ["no-address", "a b@c", "@", &format!("{}@c", "x".repeat(100))] {
        refused(&web.post("/client", "", client(email)).await, 400, "email");
    }
    refused(&web.post("/login", "", json!({"password": "p"})).await, 400, "email");
    refused(&web.post("/login", "", json!({"email": "ada@example.org"})).await, 400, "password");
    for wrong in
        [json!({"email": "ada@example.org", "password": "wrong"}), json!({"email": "nobody@c", "password": "p"})]
    {
        refused(&web.post("/login", "", wrong).await, 401, "");
    }
    let odd = Reply::to(web.request("POST", "/client").body("email=a&password=b")).await;
    assert_eq!(odd.status, 400);
    let form =
        web.request("POST", "/client").header("content-type", "application/x-www-form-urlencoded").body("email=a");
    assert_eq!(Reply::to(form).await.status, 415);
    let large = web.post("/client", "", json!({"email": "x".repeat(2 << 20)})).await;
    assert_eq!((large.status, large.json["error"].is_string()), (413, true));
    for (method, path) in [("GET", "/client"), ("GET", "/session"), ("DELETE", "/login"), ("PUT", "/client/signal/1")] {
        let reply = Reply::to(web.request(method, path)).await;
        assert_eq!((reply.status, reply.headers["allow"].as_bytes()), (405, &b"POST"[..]), "{method} {path}");
    }
}

#[tokio::test]
async fn what_a_client_is_ready_for_is_a_whole_number() {
    let server = TestServer::start().await;
    let web = server.web();
    let key = registered(&web, "ada@c").await;
    for good in [0, 1, u32::MAX] {
        signal(&web, &key, good).await;
    }
    for wrong in
        ["-1", "+1", "1.5", "1e3", "", "%20", "many", "4294967296", "99999999999999999999999", "1%00", "..%2F1"]
    {
        let reply = web.post(&format!("/client/signal/{wrong}"), &key, json!({})).await;
        assert!(matches!(reply.status, 400 | 404), "{wrong}: {} {}", reply.status, reply.text);
    }
    for (token, status) in [("", 401), ("nonsense", 401), (server.worker_token(), 403), (server.admin_token(), 409)] {
        assert_eq!(web.post("/client/signal/1", token, json!({})).await.status, status);
    }
}

#[tokio::test]
async fn a_session_is_all_or_none_and_never_the_asker() {
    let server = TestServer::start().await;
    let web = server.web();
    let asker = registered(&web, "ada@c").await;
    signal(&web, &asker, 9).await;
    ready(&web, 3, 1).await;

    let many = session(&web, &asker, 4).await;
    assert_eq!((many.status, &many.json["available"]), (409, &json!(3)));
    assert_eq!(many.json["error"], "4 workers were asked for, 3 are available");
    let mut all = handed_out(&session(&web, &asker, 3).await);
    all.sort();
    assert_eq!(all, ["key of 0@c", "key of 1@c", "key of 2@c"], "nothing was taken before");
    assert_eq!(session(&web, &asker, 1).await.json["available"], 0, "each was ready for one");

    let other = login(&web, "0@c").await;
    assert_eq!(handed_out(&session(&web, &other, 1).await), ["key of ada@c"]);
    for (wrong, field) in [
        (json!({}), "workers"),
        (json!({"workers": 0}), "workers"),
        (json!({"workers": -1}), "workers"),
        (json!({"workers": "1"}), "workers"),
        (json!({"workers": 1.5}), "workers"),
        (json!({"workers": 1e30}), "workers"),
    ] {
        refused(&web.post("/session", &asker, wrong).await, 400, field);
    }
    assert_eq!(session(&web, &asker, u64::MAX).await.status, 409);
    assert_eq!(session(&web, "", 1).await.status, 401);
}

#[tokio::test]
async fn a_session_is_its_owners_for_an_hour() {
    let server = TestServer::with_manual_clock().await;
    let web = server.web();
    let [owner, other] = [registered(&web, "ada@c").await, registered(&web, "eve@c").await];
    ready(&web, 1, 1).await;
    let token = session(&web, &owner, 1).await.json["token"].clone();
    let refresh = async |key: &str, token: &Value| web.post("/session/refresh", key, json!({"token": token})).await;
    assert_eq!(refresh(&owner, &token).await.status, 200);
    assert_eq!(refresh(&other, &token).await.status, 403);
    assert_eq!(refresh("", &token).await.status, 401);
    for unknown in ["", "*", "' OR 1=1 --", &"x".repeat(10_000)] {
        assert_eq!(refresh(&owner, &json!(unknown)).await.status, 404, "{unknown}");
    }
    assert_eq!(refresh(&owner, &json!(5)).await.status, 400);
    server.advance(3600);
    let owner = login(&web, "ada@c").await;
    assert_eq!(refresh(&owner, &token).await.status, 404);
}

#[tokio::test]
async fn a_removed_client_is_not_handed_out_nor_is_its_namesake() {
    let server = TestServer::start().await;
    let web = server.web();
    let asker = registered(&web, "ada@c").await;
    ready(&web, 1, 5).await;
    let mut admin = server.admin().await;
    admin.get("auth", &json!({"opt": "userRemove", "account": "0@c"}), "ok").await;
    assert_eq!(session(&web, &asker, 1).await.json["available"], 0);
    let namesake = registered(&web, "0@c").await;
    assert_eq!(session(&web, &asker, 1).await.json["available"], 0);
    signal(&web, &namesake, 1).await;
    assert_eq!(session(&web, &asker, 1).await.status, 200);
}

#[tokio::test]
async fn an_account_with_a_key_and_an_address_in_its_profile_is_a_client() {
    let server = TestServer::start().await;
    let web = server.web();
    let asker = registered(&web, "ada@c").await;
    let user = server.user_token("bob").await;
    assert_eq!(web.post("/client/signal/1", &user, json!({})).await.status, 409);
    let said = json!({"pubKey": "bob's", "address": "[2001:db8::1]:9000"});
    assert_eq!(web.post("/api/user/set_profile", &user, said.clone()).await.status, 200);
    signal(&web, &user, 1).await;
    assert_eq!(session(&web, &asker, 1).await.json["workers"], json!([said]));
}

#[tokio::test]
async fn a_worker_that_registers_with_key_and_address_is_brokered_for_its_free_slots() {
    let server = TestServer::with_manual_clock().await;
    let web = server.web();
    let asker = registered(&web, "ada@c").await;
    let contact = json!({"slots": 3, "pubKey": "a worker's", "address": "worker.example.org:9000"});
    let mut worker = server.worker("w", &contact).await;
    server.worker("plain", &json!({"slots": 9})).await;

    // One slot is a job's.
    let job = server.admin().await.queue(&json!({"command": "x", "requires": {"workerId": "w"}})).await;
    let assigned = worker.accepted().await;
    assert_eq!(assigned.job, job);
    assert_eq!(session(&web, &asker, 2).await.json["available"], 1, "a session's workers are distinct");
    let expected = json!([{"pubKey": "a worker's", "address": "worker.example.org:9000"}]);
    assert_eq!(session(&web, &asker, 1).await.json["workers"], expected);
    assert_eq!(session(&web, &asker, 1).await.status, 200);
    assert_eq!(session(&web, &asker, 1).await.json["available"], 0, "two sessions and a job are three slots");
    worker.run(&assigned, "done").await;
    assert_eq!(session(&web, &asker, 1).await.status, 200);
    assert_eq!(session(&web, &asker, 1).await.status, 409);

    worker.peer.get("worker", &json!({"opt": "drain"}), "drain").await;
    server.advance(3600);
    let asker = login(&web, "ada@c").await;
    assert_eq!(session(&web, &asker, 1).await.json["available"], 0, "it takes nothing new");
    worker.beat(&[]).await;
    worker.peer.get("worker", &json!({"opt": "undrain"}), "undrain").await;
    assert_eq!(session(&web, &asker, 1).await.status, 200, "sessions last for an hour");
}

#[tokio::test]
async fn half_a_contact_is_refused_at_registration() {
    let server = TestServer::start().await;
    let mut peer = crate::support::Peer::with_token(server.address, server.worker_token()).await;
    for (more, field) in [
        (json!({"pubKey": "k"}), "address"),
        (json!({"address": "h:1"}), "pubKey"),
        (json!({"pubKey": "", "address": "h:1"}), "pubKey"),
        (json!({"pubKey": "k", "address": "h"}), "address"),
    ] {
        let register = crate::support::Worker::registration("w", &more);
        assert_eq!(peer.refused("worker", &register, "bad_frame").await["field"], field);
    }
}

/// Fifty sessions of two at once, for eight clients that are ready for five each and a worker with ten slots.
async fn fifty_at_once(servers: &[TestServer]) {
    let web = servers[0].web();
    let asker = registered(&web, "ada@c").await;
    ready(&web, 8, 5).await;
    let contact = json!({"slots": 10, "pubKey": "a worker's", "address": "w:1"});
    let _worker = servers[0].worker("w", &contact).await;
    let webs: Vec<Web> = servers.iter().map(TestServer::web).collect();
    let replies = join_all((0..50).map(|index| session(&webs[index % webs.len()], &asker, 2))).await;

    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    for reply in &replies {
        if reply.status == 409 {
            assert!(reply.json["available"].as_u64() < Some(2), "{}", reply.text);
            continue;
        }
        let workers = handed_out(reply);
        assert_eq!(workers.len(), 2);
        assert_ne!(workers[0], workers[1]);
        for worker in workers {
            *taken.entry(worker).or_default() += 1;
        }
    }
    for (worker, times) in &taken {
        let most = if worker == "a worker's" { 10 } else { 5 };
        assert!(*times <= most, "{worker} was handed out {times} times");
    }
    // What is left is too little for one more session of two, and was not lost either.
    let left = session(&web, &asker, 2).await;
    let total: u32 = taken.values().sum();
    assert_eq!(left.status, 409, "{total} were handed out: {taken:?}");
    assert!(total >= 34, "at most one client was not used up: {taken:?}");
}

#[tokio::test]
async fn fifty_sessions_at_once_take_nothing_twice() {
    fifty_at_once(&[TestServer::start().await]).await;
}

#[tokio::test]
async fn fifty_sessions_at_once_on_two_dispatchers_take_nothing_twice() {
    fifty_at_once(&TestServer::pair().await).await;
}

#[tokio::test]
async fn two_dispatchers_are_one_broker() {
    let [one, other] = TestServer::pair().await;
    let asker = registered(&one.web(), "ada@c").await;
    let _worker = one.worker("w", &json!({"slots": 1, "pubKey": "a worker's", "address": "w:1"})).await;
    let begun = session(&other.web(), &asker, 1).await;
    assert_eq!(handed_out(&begun), ["a worker's"]);
    let token = json!({"token": begun.json["token"]});
    let again = one.web().post("/session/refresh", &asker, token).await;
    assert_eq!((again.status, &again.json["workers"]), (200, &begun.json["workers"]));
    assert_eq!(session(&one.web(), &asker, 1).await.json["available"], 0);
}

#[tokio::test]
async fn under_open_nobody_needs_a_token() {
    let server = Stage::new().settings(|settings| settings.open = true).start().await;
    let web = server.web();
    ready(&web, 1, 1).await;
    assert_eq!(handed_out(&session(&web, "", 1).await), ["key of 0@c"]);
    assert_eq!(web.post("/client/signal/1", "", json!({})).await.status, 409, "nobody cannot be reached");
}
