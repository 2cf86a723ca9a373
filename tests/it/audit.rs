//! Who did what: what is written down, who may read it, and what never stands in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use gangline::store::documents::{Collection, DocumentWrite};
use gangline::store::{Store, StoreError};
use serde_json::{Value, json};

use crate::support::server::Stage;
use crate::support::store::{Fault, faulty};
use crate::support::{Peer, TestServer, Worker, eventually, fetch};

const PASSWORD: &str = "correct horse";

/// The entries that a query answers with.
async fn entries(peer: &mut Peer, more: Value) -> Vec<Value> {
    page(peer, more).await.0
}

async fn page(peer: &mut Peer, more: Value) -> (Vec<Value>, Value) {
    let mut ask = more;
    ask["opt"] = json!("audit");
    let log = peer.get("auth", &ask, "auditLog").await;
    (log["entries"].as_array().unwrap().clone(), log["next"].clone())
}

/// `account action target outcome` of each, oldest first.
fn told(entries: &[Value]) -> Vec<String> {
    let word = |entry: &Value, field: &str| entry[field].as_str().unwrap_or("-").to_owned();
    let line = |entry: &Value| ["account", "action", "target", "outcome"].map(|field| word(entry, field)).join(" ");
    entries.iter().rev().map(line).collect()
}

/// What there is in all.
async fn all(server: &TestServer) -> Vec<String> {
    told(&entries(&mut server.admin().await, json!({"limit": 1_000})).await)
}

fn add(name: &str) -> Value {
    json!({"opt": "userAdd", "account": name, "password": PASSWORD, "email": format!("{name}@example.org")})
}

#[tokio::test]
async fn what_administrators_do_is_written_down_before_they_are_told() {
    let server = TestServer::start().await;
    let mut admin = server.admin().await;
    let _worker = server.worker("w", &json!({})).await;
    admin.get("auth", &add("ada"), "ok").await;
    let create = json!({"opt": "tokenCreate", "role": "user", "account": "ada", "name": "ci"});
    let made = admin.get("auth", &create, "token").await;
    let token = made["record"]["id"].as_str().unwrap();
    let mut ada = Peer::with_token(server.address, made["token"].as_str().unwrap()).await;
    let job = ada.queue(&json!({"command": "x", "requires": {"workerId": "elsewhere"}})).await;
    admin.get("job", &json!({"opt": "cancel", "jobId": job}), "ok").await;
    admin.get("auth", &json!({"opt": "tokenRevoke", "token": made["token"]}), "ok").await;
    admin.get("auth", &json!({"opt": "userPassword", "account": "ada", "password": "battery staple"}), "ok").await;
    admin.get("auth", &json!({"opt": "userRole", "account": "ada", "role": "admin"}), "ok").await;
    admin.get("worker", &json!({"opt": "drain", "workerId": "w"}), "ok").await;
    admin.get("worker", &json!({"opt": "undrain", "workerId": "w"}), "ok").await;
    admin.get("auth", &json!({"opt": "userRemove", "account": "ada"}), "ok").await;
    // What failed was not done.
    admin.refused("auth", &json!({"opt": "userRemove", "account": "ada"}), "not_found").await;

    let log = entries(&mut admin, json!({})).await;
    assert_eq!(
        told(&log),
        [
            "admin userAdd ada ok",
            &format!("admin tokenCreate {token} ok"),
            &format!("admin jobCancel {job} ok"),
            &format!("admin tokenRevoke {token} ok"),
            "admin userPassword ada ok",
            "admin userRole ada ok",
            "admin drain w ok",
            "admin undrain w ok",
            "admin userRemove ada ok",
        ]
    );
    let detail: Vec<&str> = log.iter().rev().filter_map(|entry| entry["detail"].as_str()).collect();
    assert_eq!(detail, ["role user", "role user for ada, ci", "of ada", "of ada", "user to admin"]);
    for entry in &log {
        assert_eq!((&entry["role"], &entry["from"]), (&json!("admin"), &json!("127.0.0.1")), "{entry}");
        assert!(entry["time"].as_u64().is_some_and(|time| time <= server.clock.now()), "{entry}");
    }
}

#[tokio::test]
async fn coming_and_going_is_written_down_at_every_door() {
    let server = TestServer::start().await;
    let web = server.web();
    let account = json!({"account": "ada", "password": PASSWORD});
    let register = json!({"account": "ada", "password": PASSWORD, "email": "ada@example.org"});
    web.post("/api/auth/register", "", register).await;
    let login = web.post("/api/auth/login", "", account.clone()).await;
    let token = login.json["access_token"].as_str().unwrap();
    web.post("/api/user/set_profile", token, json!({"nickname": "Countess"})).await;
    web.post("/api/auth/logout", token, json!({})).await;
    let wrong = json!({"email": "ada@example.org", "password": "battery staple"});
    assert_eq!(web.post("/auth/login", "", wrong).await.status, 401);
    let (mut peer, _) = server.stranger().await;
    peer.refused("auth", &json!({"account": "nobody", "password": "hunter2hunter2"}), "unauthorized").await;
    peer.get("auth", &json!({"account": "ada", "password": PASSWORD}), "ok").await;
    let session = peer.get("auth", &json!({"opt": "sessionList"}), "sessions").await["sessions"][0]["id"].clone();
    let session = session.as_str().unwrap();
    let change = json!({"password": PASSWORD, "new_password": "horse battery"});
    let token = web.post("/api/auth/login", "", account).await.json["access_token"].as_str().unwrap().to_owned();
    assert_eq!(web.post("/api/user/set_password", &token, change).await.status, 200);

    let log = entries(&mut server.admin().await, json!({})).await;
    let sessions: Vec<&str> = log
        .iter()
        .rev()
        .filter(|entry| entry["action"] == "login")
        .map(|entry| entry["target"].as_str().unwrap())
        .collect();
    assert_eq!(sessions[1], session);
    assert_eq!(
        told(&log),
        [
            "ada register ada ok",
            &format!("ada login {} ok", sessions[0]),
            "ada profile ada ok",
            &format!("ada logout {} ok", sessions[0]),
            "ada loginFailed ada@example.org unauthorized",
            "nobody loginFailed nobody unauthorized",
            &format!("ada login {} ok", sessions[1]),
            &format!("ada login {} ok", sessions[2]),
            "ada passwordChange ada ok",
        ]
    );
    let failed = &log.iter().find(|entry| entry["action"] == "loginFailed").unwrap();
    assert_eq!((&failed["role"], &failed["from"]), (&Value::Null, &json!("127.0.0.1")));
    // Nothing secret, and nothing that was typed beside a name.
    let text = json!(log).to_string();
    for secret in [PASSWORD, "battery", "hunter2", "Countess", &token, "gl_", "argon2"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn who_may_not_is_written_down_and_sees_only_the_own_acts() {
    let server = TestServer::start().await;
    let mut admin = server.admin().await;
    admin.get("auth", &add("ada"), "ok").await;
    let mut ada = server.user("ada").await;
    ada.refused("auth", &add("grace"), "forbidden").await;
    ada.refused("auth", &json!({"opt": "userRole", "account": "ada", "role": "admin"}), "forbidden").await;
    ada.refused("auth", &json!({"opt": "userRemove"}), "forbidden").await;
    ada.refused("worker", &json!({"opt": "drain", "workerId": "w"}), "forbidden").await;
    ada.refused("auth", &json!({"opt": "tokenCreate", "role": "admin"}), "forbidden").await;
    // Looking is no act.
    ada.refused("auth", &json!({"opt": "userList"}), "forbidden").await;
    let mut stranger = server.stranger().await.0;
    stranger.refused("auth", &add("grace"), "unauthorized").await;

    let hers = [
        "ada userAdd grace forbidden",
        "ada userRole ada forbidden",
        "ada userRemove - forbidden",
        "ada drain w forbidden",
        "ada tokenCreate - forbidden",
    ];
    assert_eq!(told(&entries(&mut ada, json!({})).await), hers);
    assert_eq!(told(&entries(&mut ada, json!({"account": "ada"})).await), hers);
    assert_eq!(told(&entries(&mut admin, json!({"account": "ada"})).await), hers);
    assert_eq!(told(&entries(&mut admin, json!({"account": "admin"})).await), ["admin userAdd ada ok"]);
    ada.refused("auth", &json!({"opt": "audit", "account": "admin"}), "forbidden").await;
    stranger.refused("auth", &json!({"opt": "audit"}), "unauthorized").await;
    let mut worker = server.worker("w", &json!({})).await;
    worker.peer.refused("auth", &json!({"opt": "audit"}), "forbidden").await;
}

#[tokio::test]
async fn the_log_comes_in_pages_without_gap_or_repeat() {
    let server = TestServer::start().await;
    let mut admin = server.admin().await;
    let _worker = server.worker("w", &json!({})).await;
    for n in 0..3 {
        admin.get("auth", &json!({"opt": "userAdd", "account": format!("u{n}")}), "ok").await;
        admin.get("worker", &json!({"opt": "drain", "workerId": "w"}), "ok").await;
    }
    let whole = entries(&mut admin, json!({})).await;
    assert_eq!(whole.len(), 6);
    for query in [json!({"limit": 2}), json!({"limit": 2, "account": "admin"}), json!({"limit": 5})] {
        let (mut seen, mut query) = (Vec::new(), query);
        loop {
            let (mut some, next) = page(&mut admin, query.clone()).await;
            seen.append(&mut some);
            if next.is_null() {
                break;
            }
            query["before"] = next;
        }
        assert_eq!(seen, whole);
    }
    assert_eq!(admin.refused("auth", &json!({"opt": "audit", "limit": 0}), "bad_frame").await["field"], "limit");
    assert_eq!(entries(&mut admin, json!({"before": ""})).await, [] as [Value; 0]);
}

#[tokio::test]
async fn what_is_done_to_containers_is_written_down() {
    let server = TestServer::start().await;
    let mut ada = server.user("ada").await;
    let mut worker = server.worker("w", &json!({"images": ["busybox:latest"], "slots": 4})).await;
    let create = json!({"opt": "create", "imageId": "busybox", "name": "web", "command": "a secret"});
    let starts = async |worker: &mut Worker| {
        let assigned = worker.accepted().await;
        let started = json!({"opt": "started", "containerId": assigned.job, "attempt": assigned.attempt, "ports": []});
        worker.peer.say("container", &started).await;
        assigned
    };
    let (_, assigned) = tokio::join!(ada.get("container", &create, "created"), starts(&mut worker));
    let container = assigned.job.clone();
    let exec = json!({"opt": "exec", "containerId": "web", "args": ["a secret"], "follow": false});
    let job = ada.ask("container", &exec).await["data"]["jobId"].as_str().unwrap().to_owned();
    let program = worker.accepted().await;
    worker.run(&program, "done\n").await;

    let mut admin = server.admin().await;
    let about = |opt: &str| json!({"opt": opt, "containerId": container});
    let kill = about("kill");
    let (_, ()) = tokio::join!(admin.get("container", &kill, "ok"), async {
        worker.peer.until("job", "cancel").await;
        worker.say(&assigned.end(1, 137)).await;
    });
    ada.get("container", &about("remove"), "ok").await;
    assert_eq!(
        all(&server).await,
        [
            format!("ada containerCreate {container} ok"),
            format!("ada containerExec {container} ok"),
            format!("admin containerKill {container} ok"),
            format!("ada containerRemove {container} ok"),
        ]
    );
    let log = entries(&mut admin, json!({})).await;
    let detail: Vec<&Value> = log.iter().rev().map(|entry| &entry["detail"]).collect();
    assert_eq!(detail, [&json!("named web"), &json!(job), &json!("of ada"), &Value::Null]);
    assert!(!json!(log).to_string().contains("secret"), "{log:?}");
}

/// Takes nothing into the audit log.
struct Forgetful(Arc<AtomicBool>);

#[async_trait]
impl Fault for Forgetful {
    async fn write_documents(&self, store: &dyn Store, writes: Vec<DocumentWrite>) -> Result<bool, StoreError> {
        if self.0.load(Ordering::Relaxed) && writes.iter().any(|write| write.collection == Collection::Audit) {
            return Err(StoreError::Unavailable("no room".to_owned()));
        }
        store.write_documents(writes).await
    }
}

#[tokio::test]
async fn an_act_that_cannot_be_written_down_is_done_all_the_same_and_counted() {
    let away = Arc::new(AtomicBool::new(true));
    let fault = Forgetful(Arc::clone(&away));
    let server = Stage::new().store(|store| faulty(store, fault)).start().await;
    let mut admin = server.admin().await;
    admin.get("auth", &add("ada"), "ok").await;
    let users = admin.get("auth", &json!({"opt": "userList"}), "users").await;
    assert!(users.to_string().contains("ada"), "{users}");
    let metrics = fetch(server.address, "/metrics").await.text().await.unwrap();
    assert!(metrics.contains("gangline_audit_lost_total 1"), "{metrics}");
    away.store(false, Ordering::Relaxed);
    admin.get("auth", &add("grace"), "ok").await;
    assert_eq!(all(&server).await, ["admin userAdd grace ok"]);
}

#[tokio::test]
async fn a_user_who_does_much_cannot_push_out_what_others_did() {
    let server = TestServer::start().await;
    let mut admin = server.admin().await;
    let mut ada = server.user("ada").await;
    for _ in 0..300 {
        let job = ada.queue(&json!({"command": "x"})).await;
        ada.get("job", &json!({"opt": "cancel", "jobId": job}), "ok").await;
    }
    for n in 0..150 {
        admin.get("auth", &json!({"opt": "userAdd", "account": format!("u{n}")}), "ok").await;
    }
    let log = all(&server).await;
    let of = |who: &str| log.iter().filter(|entry| entry.starts_with(who)).count();
    // One that was allowed a moment later may be among them.
    assert!((100..150).contains(&of("ada")), "{}", of("ada"));
    assert_eq!(of("admin"), 150);
}

#[tokio::test]
async fn the_log_is_kept_for_ninety_days_and_is_the_same_everywhere() {
    let server = TestServer::with_manual_clock().await;
    let mut admin = server.admin().await;
    admin.get("auth", &add("ada"), "ok").await;
    server.advance(90 * 24 * 3600 - 1);
    assert_eq!(all(&server).await, ["admin userAdd ada ok"]);
    server.advance(1);
    assert_eq!(all(&server).await, [] as [String; 0]);

    let [here, there] = TestServer::pair().await;
    here.admin().await.get("auth", &add("ada"), "ok").await;
    assert_eq!(all(&there).await, ["admin userAdd ada ok"]);
}

#[tokio::test]
async fn the_log_is_cut_to_its_newest_ten_thousand() {
    let server = TestServer::start().await;
    let mut admin = server.admin().await;
    admin.get("auth", &add("ada"), "ok").await;
    let kept = server.dispatcher.store().documents(Collection::Audit).await.unwrap();
    // Older ones, as many as there may be in all.
    let older = |n: usize| DocumentWrite {
        collection: Collection::Audit,
        key: format!("{n:020}-00000000"),
        expected: None,
        value: Some(kept[0].value.clone()),
        expires_at: None,
    };
    let writes: Vec<DocumentWrite> = (0..10_000).map(older).collect();
    for some in writes.chunks(1_000) {
        assert!(server.dispatcher.store().write_documents(some.to_vec()).await.unwrap());
    }
    let dir = server.stop().await;
    let server = Stage::new().dir(dir).start().await;
    let left = eventually("the log to be cut", async || {
        let left = server.dispatcher.store().documents(Collection::Audit).await.unwrap();
        (left.len() == 10_000).then_some(left)
    })
    .await;
    assert_eq!(left[0].key, format!("{:020}-00000000", 1), "the oldest goes");
    assert_eq!(left[9_999].key, kept[0].key);
    // The others were written as an older version did, and are found by their account, too.
    let by_account = eventually("the log to be in order", async || {
        let all = server.dispatcher.store().documents(Collection::AuditByAccount).await.unwrap();
        (all.len() == 10_000).then_some(all)
    })
    .await;
    assert_eq!(by_account[0].key, format!("\"admin\"{:020}-00000000", 1));
    let (page, next) = page(&mut server.admin().await, json!({"account": "admin", "limit": 2})).await;
    assert_eq!([page[0]["id"].as_str(), next.as_str()], [Some(kept[0].key.as_str()), Some(left[9_998].key.as_str())]);
}

#[tokio::test]
async fn names_that_look_like_another_do_not_get_into_its_log() {
    let server = TestServer::start().await;
    let mut admin = server.admin().await;
    for name in ["ad", "ada", "ada\"", "ada\"0", "adam", "ada 0"] {
        let (mut stranger, _) = server.stranger().await;
        stranger.refused("auth", &json!({"account": name, "password": "battery staple"}), "unauthorized").await;
    }
    for name in ["ad", "ada", "ada\"", "ada\"0", "adam", "ada 0"] {
        let tried = format!("{name} loginFailed {name} unauthorized");
        for before in [Value::Null, json!("~")] {
            let query = json!({"account": name, "before": before});
            assert_eq!(told(&entries(&mut admin, query).await), [tried.as_str()]);
        }
    }
    assert_eq!(entries(&mut admin, json!({"account": "adb"})).await, [] as [Value; 0]);
}
