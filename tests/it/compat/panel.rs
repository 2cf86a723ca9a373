//! The panel's document, replayed: logins that last.

use gangline::protocol::auth::UserAdd;
use serde_json::{Value, json};

use crate::support::{Peer, Reply, TestServer, Web};

const PASSWORD: &str = "correct horse";

/// An account `ada` with an email.
async fn with_ada(server: &TestServer) {
    let ada = UserAdd {
        account: "ada".to_owned(),
        role: None,
        email: Some("ada@example.org".to_owned()),
        password: Some(PASSWORD.to_owned()),
    };
    server.dispatcher.auth().add_user(ada).await.expect("the name is free");
}

/// Access token and refresh token.
fn tokens(reply: &Reply) -> (String, String) {
    assert_eq!(reply.status, 200, "{}", reply.text);
    let token = |name: &str| reply.json[name].as_str().expect("a token").to_owned();
    (token("accessToken"), token("refreshToken"))
}

async fn login(web: &Web) -> (String, String) {
    tokens(&web.post("/auth/login", "", json!({"username": "ada", "password": PASSWORD})).await)
}

async fn is_good(web: &Web, access: &str) -> bool {
    match web.get("/api/user/info", access).await.status {
        200 => true,
        401 => false,
        status => panic!("a status of {status}"),
    }
}

#[tokio::test]
async fn one_logs_in_by_email_or_by_name() {
    let server = TestServer::start().await;
    with_ada(&server).await;
    let web = server.web();
    for names in [
        json!({"email": "ADA@example.org"}),
        json!({"username": "ada"}),
        json!({"email": "", "username": "ada"}),
        json!({"email": null, "username": "ada", "remember": true}),
    ] {
        let mut body = names;
        body["password"] = json!(PASSWORD);
        let (access, _) = tokens(&web.post("/auth/login", "", body).await);
        assert!(is_good(&web, &access).await);
        // The same token opens a socket.
        Peer::with_token(server.address, &access).await;
    }
    let refused = async |body: Value| web.post("/auth/login", "", body).await;
    let wrong = refused(json!({"username": "ada", "password": "correct hors"})).await;
    assert_eq!((wrong.status, &wrong.json), (401, &json!({"message": "wrong account or password"})));
    let unknown = refused(json!({"username": "eve", "password": PASSWORD})).await;
    assert_eq!((unknown.status, unknown.json), (401, wrong.json), "who is known is not told");
    for (body, field) in [
        (json!({"password": PASSWORD}), "email"),
        (json!({"username": "ada"}), "password"),
        (json!({"username": 5, "password": PASSWORD}), "username"),
        (json!({"username": "ada", "password": ["x"]}), "password"),
    ] {
        let reply = refused(body).await;
        assert_eq!((reply.status, &reply.json["field"]), (400, &json!(field)), "{}", reply.text);
    }
    assert_eq!(web.get("/auth/login", "").await.status, 405);
}

#[tokio::test]
async fn a_refresh_token_is_good_once_by_either_method_and_needs_no_body() {
    let server = TestServer::start().await;
    with_ada(&server).await;
    let web = server.web();
    let (first, mut refresh) = login(&web).await;
    for method in ["GET", "POST", "GET"] {
        let request = web.request(method, "/auth/refresh").header("Authorization", format!("Bearer {refresh}"));
        let (access, next) = tokens(&Reply::to(request).await);
        assert!(is_good(&web, &access).await && is_good(&web, &first).await);
        assert_ne!(next, refresh);
        refresh = next;
    }
}

#[tokio::test]
async fn a_refresh_token_that_comes_twice_ends_its_login_and_no_other() {
    let server = TestServer::start().await;
    with_ada(&server).await;
    let web = server.web();
    let (other, other_refresh) = login(&web).await;
    let (first, stolen) = login(&web).await;
    let (second, next) = tokens(&web.get("/auth/refresh", &stolen).await);
    let mut socket = Peer::with_token(server.address, &second).await;

    let again = web.get("/auth/refresh", &stolen).await;
    assert_eq!((again.status, &again.json["message"]), (401, &json!("the token was revoked")));
    for access in [&first, &second] {
        assert!(!is_good(&web, access).await);
    }
    assert_eq!(web.get("/auth/refresh", &next).await.status, 401, "the thief's or the owner's: nobody knows");
    assert_eq!(socket.closed().await, 4501);
    assert!(is_good(&web, &other).await);
    tokens(&web.get("/auth/refresh", &other_refresh).await);
}

#[tokio::test]
async fn of_two_that_use_a_refresh_token_at_once_at_most_one_gets_on() {
    let [one, other] = TestServer::pair().await;
    with_ada(&one).await;
    let (_, refresh) = login(&one.web()).await;
    let (here, there) = (one.web(), other.web());
    let (a, b) = tokio::join!(here.get("/auth/refresh", &refresh), there.get("/auth/refresh", &refresh));
    let won: Vec<&Reply> = [&a, &b].into_iter().filter(|reply| reply.status == 200).collect();
    assert!(won.len() <= 1, "{a:?} {b:?}");
    for reply in won {
        let (access, next) = tokens(reply);
        assert!(!is_good(&here, &access).await && !is_good(&there, &access).await);
        assert_eq!(there.get("/auth/refresh", &next).await.status, 401);
    }
}

#[tokio::test]
async fn what_one_dispatcher_gave_another_takes() {
    let [one, other] = TestServer::pair().await;
    with_ada(&one).await;
    let (access, refresh) = login(&one.web()).await;
    assert!(is_good(&other.web(), &access).await);
    let (access, refresh) = tokens(&other.web().post("/auth/refresh", &refresh, json!(null)).await);
    assert!(is_good(&one.web(), &access).await);

    let mut socket = Peer::with_token(one.address, &access).await;
    assert_eq!(other.web().post("/api/auth/logout", &access, json!({})).await.status, 200);
    assert!(!is_good(&one.web(), &access).await && !is_good(&other.web(), &access).await);
    assert_eq!(one.web().get("/auth/refresh", &refresh).await.status, 401);
    assert_eq!(socket.closed().await, 4501);
}

#[tokio::test]
async fn neither_kind_of_token_passes_for_the_other() {
    let server = TestServer::start().await;
    with_ada(&server).await;
    let web = server.web();
    let (access, refresh) = login(&web).await;
    assert!(!is_good(&web, &refresh).await);
    for token in ["", "x.y.z", "eyJhbGciOiJub25lIn0.e30.", &access, server.admin_token(), &"a".repeat(8_000)] {
        let reply = web.get("/auth/refresh", token).await;
        assert_eq!((reply.status, reply.json["message"].is_string()), (401, true), "{token}");
    }
    tokens(&web.get("/auth/refresh", &refresh).await);
}

#[tokio::test]
async fn a_login_lasts_as_long_as_it_is_refreshed_within_a_month() {
    let server = TestServer::with_manual_clock().await;
    with_ada(&server).await;
    let web = server.web();
    let (_, mut refresh) = login(&web).await;
    for _ in 0..3 {
        server.advance(29 * 24 * 3600);
        refresh = tokens(&web.get("/auth/refresh", &refresh).await).1;
    }
    server.advance(30 * 24 * 3600 + 31);
    let late = web.get("/auth/refresh", &refresh).await;
    assert_eq!((late.status, &late.json["message"]), (401, &json!("the token has expired")));
}

#[tokio::test]
async fn a_new_password_ends_every_login() {
    let server = TestServer::start().await;
    with_ada(&server).await;
    let web = server.web();
    let (access, refresh) = login(&web).await;
    let change = json!({"opt": "userPassword", "account": "ada", "password": "battery staple"});
    server.admin().await.get("auth", &change, "ok").await;
    assert!(!is_good(&web, &access).await);
    assert_eq!(web.get("/auth/refresh", &refresh).await.status, 401);
}
