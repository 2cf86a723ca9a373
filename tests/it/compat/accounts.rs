//! The machines family's accounts, replayed: `/api/auth/*` and `/api/user/*`.

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::support::{Peer, Reply, TestServer, Web, server::Stage};

/// The first bytes of a picture, and something behind them.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n, as far as anybody looks";

async fn register(web: &Web, account: &str) {
    let body = json!({"account": account, "password": "p", "nickname": "A", "phone": "+44 20", "team": {"id": 7}});
    let reply = web.post("/api/auth/register", "", body).await;
    assert_eq!((reply.status, &reply.json["account"]), (200, &json!(account)), "{}", reply.text);
}

async fn login(web: &Web, account: &str) -> String {
    let reply = web.post("/api/auth/login", "", json!({"account": account, "password": "p"})).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json["access_token"].as_str().expect("a token").to_owned()
}

/// Registers and logs in.
async fn somebody(web: &Web, account: &str) -> String {
    register(web, account).await;
    login(web, account).await
}

async fn info(web: &Web, token: &str) -> Value {
    let reply = web.get("/api/user/info", token).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json
}

fn says(reply: &Reply, status: u16, message: &str) {
    assert_eq!((reply.status, &reply.json["message"]), (status, &json!(message)), "{}", reply.text);
}

fn refused(reply: &Reply, status: u16, field: &str) {
    assert_eq!((reply.status, &reply.json["field"]), (status, &json!(field)), "{}", reply.text);
    assert!(reply.json["message"].is_string());
}

async fn set_photo(web: &Web, method: &str, token: &str, bytes: Vec<u8>) -> Reply {
    let form = Form::new().text("note", "x").part("file", Part::bytes(bytes).file_name("../../me.png"));
    Reply::to(web.request(method, "/api/user/set_photo").bearer_auth(token).multipart(form)).await
}

#[tokio::test]
async fn the_document_holds_route_by_route() {
    let server = TestServer::start().await;
    let web = server.web();
    let token = somebody(&web, "ada").await;
    says(
        &web.post("/api/auth/login", "", json!({"account": "ada", "password": "wrong"})).await,
        401,
        "wrong account or password",
    );
    says(&web.post("/api/auth/login", "", json!({"account": "eve", "password": "p"})).await, 404, "no such account");

    let who = info(&web, &token).await;
    let expected = json!({"id": "ada", "account": "ada", "role": "user", "nickname": "A", "email": null, "phone": "+44 20",
        "photo": null, "team": {"id": 7}});
    assert_eq!(who, expected);
    let said = json!({"nickname": "Countess", "email": "ada@example.org", "phone": null, "motto": "…"});
    assert_eq!(web.post("/api/user/set_profile", &token, said).await.status, 200);
    let who = info(&web, &token).await;
    assert_eq!(
        (&who["nickname"], &who["email"], &who["phone"]),
        (&json!("Countess"), &json!("ada@example.org"), &Value::Null)
    );
    assert_eq!((&who["motto"], &who["team"]), (&json!("…"), &json!({"id": 7})));

    // The header takes the bare token, too; and the email is a name to log in with at once.
    let bare = web.request("GET", "/api/auth/session").header("authorization", &token);
    let fresh = Reply::to(bare).await.json["access_token"].as_str().expect("a fresh token").to_owned();
    assert_ne!(fresh, token);
    let other = login(&web, "ADA@example.org").await;
    let mut socket = Peer::with_token(server.address, &fresh).await;

    assert_eq!(web.get("/api/auth/logout", &token).await.status, 200);
    for ended in [&token, &fresh] {
        says(&web.get("/api/user/info", ended).await, 401, "Invalid token");
    }
    assert_eq!(socket.closed().await, 4501, "sockets of the login end with it");
    assert_eq!(web.post("/api/auth/logout", &other, json!({})).await.status, 200, "another login is another matter");
    says(&web.post("/api/auth/logout", &other, json!({})).await, 401, "Invalid token");
}

#[tokio::test]
async fn the_four_sentences_about_tokens_are_exact() {
    let server = TestServer::with_manual_clock().await;
    let web = server.web();
    let routes = [
        ("GET", "/api/auth/session"),
        ("GET", "/api/auth/logout"),
        ("POST", "/api/auth/logout"),
        ("POST", "/api/user/set_profile"),
        ("POST", "/api/user/set_photo"),
        ("PUT", "/api/user/set_photo"),
        ("GET", "/api/user/info"),
    ];
    let all = async |token: &str, message: &str| {
        for (method, path) in routes {
            says(&web.send(method, path, token, json!({"nickname": 1})).await, 401, message);
        }
    };
    all("", "Token Not Found").await;
    for forged in ["nonsense", "gl_1_2", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", "' OR 1=1 --"] {
        all(forged, "Invalid token").await;
    }
    let token = somebody(&web, "ada").await;
    server.advance(3600 + 31);
    all(&token, "Token expired").await;
    let token = login(&web, "ada").await;
    server.admin().await.get("auth", &json!({"opt": "userRemove", "account": "ada"}), "ok").await;
    all(&token, "User not include").await;
    let basic = web.request("GET", "/api/user/info").header("authorization", "Basic YWRhOnA=");
    assert_eq!(Reply::to(basic).await.status, 401);
}

#[tokio::test]
async fn registration_takes_any_name_and_password_and_refuses_what_is_wrong() {
    let server = TestServer::start().await;
    let web = server.web();
    register(&web, "ada").await;
    for taken in ["ada", "ADA", "admin"] {
        refused(&web.post("/api/auth/register", "", json!({"account": taken, "password": "p"})).await, 409, "account");
    }
    let email = json!({"account": "bob", "password": "p", "email": "b@c"});
    assert_eq!(web.post("/api/auth/register", "", email).await.status, 200);
    refused(
        &web.post("/api/auth/register", "", json!({"account": "eve", "password": "p", "email": "B@C"})).await,
        409,
        "email",
    );
    for (body, field) in [
        (json!({"password": "p"}), "account"),
        (json!({"account": "eve"}), "password"),
        (json!({"account": 5, "password": "p"}), "account"),
        (json!({"account": "eve", "password": {"$ne": 1}}), "password"),
        (json!({"account": "eve", "password": ""}), "password"),
        (json!({"account": "eve", "password": "x".repeat(1025)}), "password"),
        (json!({"account": "a b", "password": "p"}), "account"),
        (json!({"account": "anonymous", "password": "p"}), "account"),
        (json!({"account": "eve", "password": "p", "email": "none"}), "email"),
        (json!({"account": "eve", "password": "p", "bio": "x".repeat(20_000)}), "bio"),
        (json!({"account": "eve", "password": "p", "x".repeat(65): 1}), &"x".repeat(65)),
    ] {
        refused(&web.post("/api/auth/register", "", body).await, 400, field);
    }
    // What is not one's own to say is passed over; strange names are names.
    for name in ["eve'; DROP TABLE accounts; --", "*", "{gangline}:x", "größe😀", "a/../b"] {
        let name = name.replace(' ', "_");
        let body = json!({"account": name, "password": "p", "role": "admin", "id": "admin", "photo": "http://elsewhere", "email": ""});
        assert_eq!(web.post("/api/auth/register", "", body).await.status, 200, "{name}");
        let who = info(&web, &login(&web, &name).await).await;
        assert_eq!((&who["id"], &who["role"], &who["photo"]), (&json!(name), &json!("user"), &Value::Null));
    }
}

#[tokio::test]
async fn a_profile_cannot_make_one_somebody_else() {
    let server = TestServer::start().await;
    let web = server.web();
    let token = somebody(&web, "ada").await;
    register(&web, "bob").await;
    let said = json!({"role": "admin", "account": "bob", "id": "bob", "password": "q", "photo": "x", "createdAt": 1});
    assert_eq!(web.post("/api/user/set_profile", &token, said).await.status, 200);
    let who = info(&web, &token).await;
    assert_eq!((&who["id"], &who["role"], &who["photo"]), (&json!("ada"), &json!("user"), &Value::Null));
    login(&web, "ada").await;
    for taken in ["bob", "BOB"] {
        assert_eq!(web.post("/api/user/set_profile", &token, json!({"email": taken})).await.status, 400, "no email");
    }
    assert_eq!(web.post("/api/user/set_profile", &token, json!({"email": "a@b"})).await.status, 200);
    let bob = login(&web, "bob").await;
    refused(&web.post("/api/user/set_profile", &bob, json!({"email": "A@B"})).await, 409, "email");
    for wrong in [json!({"email": 5}), json!({"email": ["a@b"]}), json!({"email": "a b@c"})] {
        refused(&web.post("/api/user/set_profile", &bob, wrong).await, 400, "email");
    }
    for wrong in [json!([]), json!("x"), json!(null)] {
        assert_eq!(web.post("/api/user/set_profile", &bob, wrong).await.status, 400);
    }
    assert_eq!(web.post("/api/user/set_profile", &bob, json!({"email": ""})).await.json["email"], Value::Null);
}

#[tokio::test]
async fn a_picture_is_what_is_in_it() {
    let server = TestServer::start().await;
    let web = server.web();
    let token = somebody(&web, "a/b").await;
    let reply = set_photo(&web, "POST", &token, PNG.to_vec()).await;
    let first = reply.json["photo"].as_str().expect("an address").to_owned();
    assert_eq!(info(&web, &token).await["photo"], json!(first));
    let shown = web.get(&first, "").await;
    assert_eq!((shown.status, shown.text.len()), (200, PNG.len() - 1 + "\u{fffd}".len()));
    assert_eq!(shown.headers["content-type"], "image/png");
    assert_eq!(shown.headers["x-content-type-options"], "nosniff");

    let second = set_photo(&web, "PUT", &token, b"GIF89a...".to_vec()).await.json["photo"].clone();
    assert_eq!(web.get(second.as_str().expect("an address"), "").await.headers["content-type"], "image/gif");
    assert_eq!(web.get(&first, "").await.status, 404, "the former one is gone");
    for other in [&b"<svg onload=alert(1)>"[..], b"#!/bin/sh", b""] {
        refused(&set_photo(&web, "POST", &token, other.to_vec()).await, 400, "file");
    }
    let mut large = PNG.to_vec();
    large.resize(2 * 1024 * 1024, 0);
    assert_eq!(set_photo(&web, "POST", &token, large.clone()).await.status, 200);
    large.push(0);
    refused(&set_photo(&web, "POST", &token, large.clone()).await, 413, "file");
    large.resize(3 * 1024 * 1024, 0);
    refused(&set_photo(&web, "POST", &token, large).await, 413, "file");
    let empty = web.request("POST", "/api/user/set_photo").bearer_auth(&token).multipart(Form::new().text("a", "b"));
    refused(&Reply::to(empty).await, 400, "file");
    assert_eq!(web.post("/api/user/set_photo", &token, json!({})).await.status, 415);

    let without = web.request("PUT", "/api/user/set_photo").bearer_auth(&token).header("with_file", "false");
    assert_eq!(Reply::to(without).await.json["photo"], Value::Null);
    assert_eq!(web.get(second.as_str().expect("an address"), "").await.status, 404);
    for path in ["ada/x", "ada/00000000000000000000000000000000", "..%2F..%2Fadmin.token/x", "%00/%00"] {
        assert_eq!(web.get(&format!("/api/user/photo/{path}"), "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let server = TestServer::start().await;
    let web = server.web();
    let token = somebody(&web, "ada").await;
    let change = async |old: &str, new: &str| {
        web.post("/api/user/set_password", &token, json!({"password": old, "new_password": new})).await
    };
    assert_eq!(change("wrong", "q").await.status, 401);
    refused(&change("p", "").await, 400, "password");
    let changed = change("p", "q").await;
    info(&web, changed.json["access_token"].as_str().expect("a new token")).await;
    says(&web.get("/api/user/info", &token).await, 401, "Invalid token");
    assert_eq!(web.post("/api/auth/login", "", json!({"account": "ada", "password": "p"})).await.status, 401);
}

#[tokio::test]
async fn guesses_at_one_account_are_counted_together_whatever_the_door_and_the_dispatcher() {
    // One guess is forgiven every six seconds, and each takes its time.
    let [one, other] = TestServer::pair_with_manual_clocks().await;
    register(&one.web(), "ada@example.org").await;
    let doors = [("/api/auth/login", "account"), ("/login", "email"), ("/auth/login", "username")];
    for (index, (path, field)) in doors.iter().cycle().take(9).enumerate() {
        let web = if index % 2 == 0 { one.web() } else { other.web() };
        assert_eq!(web.post(path, "", json!({*field: "ada@example.org", "password": "guess"})).await.status, 401);
    }
    let (mut socket, _) = one.stranger().await;
    let guess = json!({"account": "ada@example.org", "password": "guess"});
    socket.refused("auth", &guess, "unauthorized").await;
    assert!(socket.refused("auth", &guess, "rate_limited").await["retryAfterMs"].as_u64() > Some(0));
    for (path, field) in doors {
        let reply = other.web().post(path, "", json!({field: "ada@example.org", "password": "p"})).await;
        assert_eq!(reply.status, 429, "even the right one waits: {}", reply.text);
        let seconds: u64 = reply.headers["retry-after"].to_str().expect("a text").parse().expect("seconds");
        assert!((1..=6).contains(&seconds));
    }
    register(&one.web(), "grace").await;
    login(&other.web(), "grace").await;
}

#[tokio::test]
async fn what_is_logged_out_on_one_dispatcher_is_logged_out_on_the_other() {
    let [one, other] = TestServer::pair().await;
    let token = somebody(&one.web(), "ada").await;
    info(&other.web(), &token).await;
    let mut socket = Peer::with_token(other.address, &token).await;
    assert_eq!(one.web().post("/api/auth/logout", &token, json!({})).await.status, 200);
    says(&other.web().get("/api/user/info", &token).await, 401, "Invalid token");
    assert_eq!(socket.closed().await, 4501);
    assert_eq!(
        other.web().post("/api/user/set_profile", &login(&one.web(), "ada").await, json!({"phone": "1"})).await.status,
        200
    );
    assert_eq!(info(&one.web(), &login(&other.web(), "ada").await).await["phone"], "1");
}

#[tokio::test]
async fn an_api_token_is_no_login_and_does_not_end_by_a_logout() {
    let server = TestServer::start().await;
    let web = server.web();
    let token = server.user_token("ada").await;
    for (method, path) in [("GET", "/api/auth/session"), ("GET", "/api/auth/logout"), ("POST", "/api/auth/logout")] {
        assert_eq!(web.send(method, path, &token, json!({})).await.status, 403, "{method} {path}");
    }
    assert_eq!(info(&web, &token).await["id"], "ada");
}

#[tokio::test]
async fn under_open_the_routes_answer_nobody() {
    let server = Stage::new().settings(|settings| settings.open = true).start().await;
    let web = server.web();
    let who = info(&web, "").await;
    assert_eq!((&who["id"], &who["role"]), (&json!("anonymous"), &json!("admin")));
    assert_eq!(web.post("/api/auth/logout", "", json!({})).await.status, 200);
    says(&web.post("/api/user/set_profile", "", json!({"nickname": "n"})).await, 401, "User not include");
    let token = somebody(&web, "ada").await;
    assert_eq!(info(&web, &token).await["id"], "ada");
}

#[tokio::test]
async fn where_registration_is_closed_nobody_makes_an_account_by_any_route() {
    let server = TestServer::with(|settings| settings.registration = false).await;
    let web = server.web();
    let client = json!({"email": "eve@x.org", "password": "secret", "pubKey": "K", "address": "10.0.0.1:1"});
    for (route, body, says) in [
        ("/client", client, "error"),
        ("/api/auth/register", json!({"account": "eve", "password": "secret"}), "message"),
        ("/sign-up", json!({"username": "eve", "password": "secret"}), "error"),
    ] {
        let reply = web.post(route, "", body).await;
        assert_eq!(reply.status, 403, "{route}: {}", reply.text);
        assert!(reply.json[says].as_str().unwrap().contains("closed"), "{route}: {}", reply.text);
    }
    assert_eq!(web.post("/api/auth/login", "", json!({"account": "eve", "password": "secret"})).await.status, 404);
}
