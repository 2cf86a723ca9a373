//! One's own account: the logins that last and the end of one, the password, tokens, and what ends with a role.

use gangline::protocol::auth::Role;
use serde_json::{Value, json};

use crate::support::server::Stage;
use crate::support::{Peer, Reply, TestServer};

const PASSWORD: &str = "correct horse";

/// An account that can log in.
async fn add(server: &TestServer, name: &str) {
    let add = json!({"opt": "userAdd", "account": name, "password": PASSWORD, "email": format!("{name}@example.org")});
    server.admin().await.get("auth", &add, "ok").await;
}

/// A connection that has logged in with a password, by a program of this name; and its token.
async fn logged_in(server: &TestServer, name: &str, program: &str) -> (Peer, String) {
    let (mut peer, _) = Peer::connect(server.address, &[("user-agent", program)]).await;
    let ok = peer.get("auth", &json!({"account": name, "password": PASSWORD}), "ok").await;
    (peer, ok["token"].as_str().unwrap().to_owned())
}

/// What `sessionList` answers.
async fn sessions(peer: &mut Peer, account: Option<&str>) -> Vec<Value> {
    let mut ask = json!({"opt": "sessionList"});
    if let Some(account) = account {
        ask["account"] = json!(account);
    }
    peer.get("auth", &ask, "sessions").await["sessions"].as_array().unwrap().clone()
}

fn end(session: &Value) -> Value {
    json!({"opt": "sessionEnd", "id": session["id"]})
}

/// The session that a program of this name began.
fn of<'a>(sessions: &'a [Value], program: &str) -> &'a Value {
    let found = sessions.iter().find(|session| session["userAgent"] == program);
    found.unwrap_or_else(|| panic!("no session of {program}: {sessions:?}"))
}

#[tokio::test]
async fn a_login_is_listed_through_whatever_door_it_came() {
    let server = TestServer::start().await;
    add(&server, "ada").await;
    let (mut ada, _) = logged_in(&server, "ada", "socket").await;
    let web = server.web();
    let post = async |path: &str, program: &str, body: Value| {
        let reply = Reply::to(web.request("POST", path).header("user-agent", program).json(&body)).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    };
    let email = "ada@example.org";
    post("/login", "broker", json!({"email": email, "password": PASSWORD})).await;
    post("/api/auth/login", "machines", json!({"account": "ada", "password": PASSWORD})).await;
    post("/auth/login", "panel", json!({"email": email, "password": PASSWORD})).await;
    post("/sign-in", "fractals", json!({"username": "ada", "password": PASSWORD})).await;
    web.post("/api/auth/login", "", json!({"account": "ada", "password": PASSWORD})).await;

    let listed = sessions(&mut ada, None).await;
    let programs: Vec<&Value> = listed.iter().map(|session| &session["userAgent"]).collect();
    assert_eq!(programs.len(), 6, "{programs:?}");
    assert!(programs.contains(&&Value::Null), "a program that does not say what it is: {programs:?}");
    for program in ["socket", "broker", "machines", "panel", "fractals"] {
        let session = of(&listed, program);
        assert_eq!((&session["account"], &session["from"]), (&json!("ada"), &json!("127.0.0.1")));
        assert_eq!(session["current"], program == "socket", "{session}");
        let time = |field: &str| session[field].as_u64().unwrap();
        assert!(time("createdAt") <= time("lastUsedAt") && time("lastUsedAt") < time("expiresAt"), "{session}");
    }
    let lasts = |program: &str| of(&listed, program)["expiresAt"].as_u64().unwrap();
    assert!(lasts("panel") > lasts("machines") + 86_400_000, "it can be refreshed for a month");
}

#[tokio::test]
async fn the_name_of_a_program_is_cut_and_a_token_begins_no_session() {
    let server = TestServer::start().await;
    add(&server, "ada").await;
    let (_, token) = logged_in(&server, "ada", &"x".repeat(1_000)).await;
    let mut by_api_token = server.user("ada").await;
    Peer::with_token(server.address, &token).await;
    let listed = sessions(&mut by_api_token, None).await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["userAgent"], "x".repeat(256));
    assert_eq!(listed[0]["current"], false);
    let mut again = Peer::with_token(server.address, &token).await;
    assert_eq!(sessions(&mut again, None).await[0]["current"], true);
}

#[tokio::test]
async fn a_session_that_is_ended_closes_its_sockets_and_no_others() {
    let server = TestServer::start().await;
    add(&server, "ada").await;
    let (mut laptop, _) = logged_in(&server, "ada", "laptop").await;
    let (mut phone, token) = logged_in(&server, "ada", "phone").await;
    let mut phone_again = Peer::with_token(server.address, &token).await;
    let listed = sessions(&mut laptop, None).await;
    assert_eq!(laptop.get("auth", &end(of(&listed, "phone")), "ok").await["of"], "sessionEnd");
    assert_eq!((phone.closed().await, phone_again.closed().await), (4501, 4501));
    let (mut late, _) = server.stranger().await;
    late.refused("auth", &json!({"token": token}), "unauthorized").await;
    let left = sessions(&mut laptop, None).await;
    assert_eq!(left.len(), 1, "{left:?}");
    laptop.refused("auth", &end(of(&listed, "phone")), "not_found").await;
    laptop.refused("auth", &json!({"opt": "sessionEnd", "id": "nonsense"}), "not_found").await;

    // One's own may be ended, too.
    laptop.say("auth", &end(&left[0])).await;
    assert_eq!(laptop.closed().await, 4501);
}

#[tokio::test]
async fn sessions_are_ones_own_and_administrators_see_and_end_all() {
    let server = TestServer::start().await;
    add(&server, "ada").await;
    add(&server, "grace").await;
    let (mut ada, _) = logged_in(&server, "ada", "hers").await;
    let (mut grace, _) = logged_in(&server, "grace", "other").await;
    let other = sessions(&mut grace, Some("grace")).await;
    ada.refused("auth", &end(&other[0]), "not_found").await;
    for account in ["grace", "*"] {
        ada.refused("auth", &json!({"opt": "sessionList", "account": account}), "forbidden").await;
    }
    let mut admin = server.admin().await;
    assert_eq!(sessions(&mut admin, None).await, [] as [Value; 0]);
    assert_eq!(sessions(&mut admin, Some("grace")).await, {
        let mut seen = other.clone();
        seen[0]["current"] = json!(false);
        seen
    });
    let all = sessions(&mut admin, Some("*")).await;
    let owners: Vec<&Value> = all.iter().map(|session| &session["account"]).collect();
    assert_eq!(owners.len(), 2, "{owners:?}");
    admin.refused("auth", &json!({"opt": "sessionList", "account": "nobody"}), "not_found").await;
    admin.get("auth", &end(&other[0]), "ok").await;
    assert_eq!(grace.closed().await, 4501);
    ada.is_quiet().await;
    // Who runs the machine has no account to log in to.
    let open = TestServer::with(|settings| settings.open = true).await;
    assert_eq!(sessions(&mut open.stranger().await.0, None).await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_session_moves_with_its_tokens_and_is_gone_with_the_last() {
    let server = TestServer::with_manual_clock().await;
    add(&server, "ada").await;
    let web = server.web();
    let lasting = web.post("/auth/login", "", json!({"username": "ada", "password": PASSWORD})).await.json;
    let short = web.post("/api/auth/login", "", json!({"account": "ada", "password": PASSWORD})).await.json;
    let mut ada = server.user("ada").await;
    let times = async |ada: &mut Peer| {
        let mut listed = sessions(ada, None).await;
        listed.sort_by_key(|session| session["expiresAt"].as_u64());
        let time = |session: &Value, field: &str| session[field].as_u64().unwrap();
        listed
            .iter()
            .map(|session| (time(session, "lastUsedAt"), time(session, "expiresAt")))
            .map(|(used, expires)| (server.clock.now() - used, expires - server.clock.now()))
            .collect::<Vec<_>>()
    };
    const HOUR: u64 = 3_600_000;
    const MONTH: u64 = 30 * 24 * HOUR;
    assert_eq!(times(&mut ada).await, [(0, HOUR), (0, MONTH)]);
    server.advance(20);
    assert_eq!(times(&mut ada).await, [(20_000, HOUR - 20_000), (20_000, MONTH - 20_000)]);
    let renewed = web.get("/api/auth/session", short["access_token"].as_str().unwrap()).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    let refreshed = web.get("/auth/refresh", lasting["refreshToken"].as_str().unwrap()).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text);
    assert_eq!(times(&mut ada).await, [(0, HOUR), (0, MONTH)]);
    for _ in 0..80 {
        server.advance(45);
        ada.is_quiet().await;
    }
    assert_eq!(times(&mut ada).await.len(), 1, "an hour later the short one is gone");

    // A refresh token that comes twice ends its session.
    web.get("/auth/refresh", lasting["refreshToken"].as_str().unwrap()).await;
    assert_eq!(times(&mut ada).await, []);
}

#[tokio::test]
async fn a_session_that_is_ended_at_one_dispatcher_closes_its_socket_at_the_other() {
    let [here, there] = TestServer::pair().await;
    add(&here, "ada").await;
    let (mut far, token) = logged_in(&there, "ada", "far").await;
    let (mut near, _) = logged_in(&here, "ada", "near").await;
    let listed = sessions(&mut near, None).await;
    near.get("auth", &end(of(&listed, "far")), "ok").await;
    assert_eq!(far.closed().await, 4501);
    let (mut late, _) = there.stranger().await;
    late.refused("auth", &json!({"token": token}), "unauthorized").await;
    let (mut again, _) = logged_in(&there, "ada", "again").await;
    assert_eq!(sessions(&mut again, None).await.len(), 2);

    // So does another role.
    let role = json!({"opt": "userRole", "account": "ada", "role": "admin"});
    here.admin().await.get("auth", &role, "ok").await;
    assert_eq!((near.closed().await, again.closed().await), (4501, 4501));
    let (mut promoted, _) = there.stranger().await;
    let ok = promoted.get("auth", &json!({"account": "ada", "password": PASSWORD}), "ok").await;
    assert_eq!(ok["role"], "admin");
}

#[tokio::test]
async fn sessions_outlive_the_server() {
    let server = TestServer::start().await;
    add(&server, "ada").await;
    let (mut ada, token) = logged_in(&server, "ada", "laptop").await;
    let before = sessions(&mut ada, None).await;
    drop(ada);
    let dir = server.stop().await;
    let server = Stage::new().dir(dir).start().await;
    let mut ada = Peer::with_token(server.address, &token).await;
    assert_eq!(sessions(&mut ada, None).await, before);
}

#[tokio::test]
async fn who_changes_the_password_goes_on_and_the_others_end() {
    let server = TestServer::start().await;
    add(&server, "ada").await;
    let (mut here, before) = logged_in(&server, "ada", "here").await;
    let (mut there, _) = logged_in(&server, "ada", "there").await;
    let mut by_api_token = server.user("ada").await;
    let change = |present: &str, new: &str| json!({"opt": "passwordChange", "present": present, "password": new});
    let error = here.refused("auth", &change("wrong", "battery staple"), "unauthorized").await;
    assert_eq!(error["field"], "present");
    assert_eq!(here.refused("auth", &change(PASSWORD, ""), "bad_frame").await["field"], "password");
    here.get("job", &json!({"opt": "watch"}), "ok").await;

    let ok = here.get("auth", &change(PASSWORD, "battery staple"), "ok").await;
    assert_eq!((&ok["account"], &ok["role"]), (&json!("ada"), &json!("user")));
    assert!(ok["expiresAt"].as_u64().unwrap() > server.clock.now(), "{ok}");
    assert_eq!(there.closed().await, 4501);
    by_api_token.is_quiet().await;
    let listed = sessions(&mut here, None).await;
    assert_eq!((listed.len(), &listed[0]["current"]), (1, &json!(true)));
    assert_eq!(listed[0]["userAgent"], "here");
    // What it watched it watches still.
    let job = by_api_token.queue(&json!({"command": "x"})).await;
    assert_eq!(here.until("job", "status").await["jobId"], job);

    let (mut late, _) = server.stranger().await;
    late.refused("auth", &json!({"token": before}), "unauthorized").await;
    late.refused("auth", &json!({"account": "ada", "password": PASSWORD}), "unauthorized").await;
    late.get("auth", &json!({"token": ok["token"]}), "ok").await;
    // Administrators' passwords are nobody's to guess here, and there is none under an open door.
    let mut admin = server.admin().await;
    admin.refused("auth", &change(PASSWORD, "battery staple"), "unauthorized").await;
}

#[tokio::test]
async fn users_make_tokens_of_their_own_and_no_others() {
    let server = TestServer::start().await;
    let mut ada = server.user("ada").await;
    let mut grace = server.user("grace").await;
    let create = |more: Value| {
        let mut create = json!({"opt": "tokenCreate", "role": "user"});
        create.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        create
    };
    let made = ada.get("auth", &create(json!({"name": "ci", "ttlSecs": 3600})), "token").await;
    let record = &made["record"];
    let shown = (&record["account"], &record["role"], &record["name"]);
    assert_eq!(shown, (&json!("ada"), &json!("user"), &json!("ci")));
    let unnamed = ada.get("auth", &create(json!({"account": "ada"})), "token").await;
    assert_eq!(unnamed["record"]["name"], Value::Null);
    let mut program = Peer::with_token(server.address, made["token"].as_str().unwrap()).await;
    assert_eq!(program.get("auth", &create(json!({})), "token").await["record"]["account"], "ada");

    for more in
        [json!({"account": "grace"}), json!({"role": "admin"}), json!({"role": "worker"}), json!({"role": "plugin"})]
    {
        ada.refused("auth", &create(more), "forbidden").await;
    }
    for name in ["", "two\nlines", &"x".repeat(65)] {
        assert_eq!(ada.refused("auth", &create(json!({"name": name})), "bad_frame").await["field"], "name");
    }
    let list = async |peer: &mut Peer| {
        let tokens = peer.get("auth", &json!({"opt": "tokenList"}), "tokens").await;
        tokens["tokens"].as_array().unwrap().clone()
    };
    let hers = list(&mut ada).await;
    assert!(hers.contains(record) && hers.iter().all(|token| token["account"] == "ada"), "{hers:?}");
    assert_eq!(list(&mut grace).await.len(), 1);
    assert!(list(&mut server.admin().await).await.len() > hers.len());

    let revoke = |token: &Value| json!({"opt": "tokenRevoke", "token": token});
    for by in [&record["id"], &made["token"]] {
        grace.refused("auth", &revoke(by), "not_found").await;
    }
    program.is_quiet().await;
    ada.get("auth", &revoke(&record["id"]), "ok").await;
    assert_eq!(program.closed().await, 4501);
    ada.refused("auth", &revoke(&record["id"]), "not_found").await;

    let mut worker = server.worker("w", &json!({})).await;
    worker.peer.refused("auth", &create(json!({})), "forbidden").await;
}

#[tokio::test]
async fn a_user_has_so_many_tokens() {
    let server = TestServer::start().await;
    let mut ada = server.user("ada").await;
    let create = json!({"opt": "tokenCreate", "role": "user"});
    for _ in 1..100 {
        ada.get("auth", &create, "token").await;
    }
    let error = ada.refused("auth", &create, "limit_exceeded").await;
    assert_eq!(error["retry"], false, "{error}");
    server.user("grace").await.get("auth", &create, "token").await;
}

#[tokio::test]
async fn nobody_goes_on_with_an_old_role() {
    let server = TestServer::start().await;
    add(&server, "ada").await;
    let mut admin = server.admin().await;
    let role = |account: &str, role: &str| json!({"opt": "userRole", "account": account, "role": role});
    let (mut user, _) = logged_in(&server, "ada", "x").await;
    assert_eq!(admin.get("auth", &role("ada", "admin"), "ok").await["of"], "userRole");
    assert_eq!(user.closed().await, 4501);

    let (mut by_password, _) = logged_in(&server, "ada", "x").await;
    by_password.get("auth", &json!({"opt": "userList"}), "users").await;
    let of_role = async |role| {
        let token = server.token(role, "ada").await;
        Peer::with_token(server.address, &token).await
    };
    let (mut as_admin, mut as_user) = (of_role(Role::Admin).await, of_role(Role::User).await);
    admin.get("auth", &role("ada", "user"), "ok").await;
    assert_eq!((by_password.closed().await, as_admin.closed().await), (4501, 4501));
    as_user.is_quiet().await;
    let tokens = admin.get("auth", &json!({"opt": "tokenList"}), "tokens").await;
    let left: Vec<&Value> =
        tokens["tokens"].as_array().unwrap().iter().filter(|token| token["account"] == "ada").collect();
    assert_eq!((left.len(), &left[0]["role"]), (1, &json!("user")));
    let (mut user, _) = logged_in(&server, "ada", "x").await;
    user.refused("auth", &role("ada", "admin"), "forbidden").await;
    // The role that one has already ends nothing.
    admin.get("auth", &role("ada", "user"), "ok").await;
    user.is_quiet().await;

    assert_eq!(admin.refused("auth", &role("admin", "user"), "conflict").await["field"], "account");
    admin.get("auth", &role("admin", "admin"), "ok").await;
    admin.refused("auth", &role("nobody", "user"), "not_found").await;
    for wrong in ["worker", "plugin", "king"] {
        assert_eq!(admin.refused("auth", &role("ada", wrong), "bad_frame").await["field"], "role");
    }
}
