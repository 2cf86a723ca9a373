//! Plugins: what they decide, what submitters see of it by every door, and what happens when they do not answer.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use gangline::config::{PluginSettings, ServerSettings};
use gangline::protocol::auth::Role;
use gangline::protocol::plugin::{Hook, Policy};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::peer::Heard;
use crate::support::process::{Process, admin, free_address, gangline};
use crate::support::{Peer, TestServer, eventually, fetch};

/// A plugin that answers as a story wants.
struct Plugin {
    peer: Peer,
}

impl Plugin {
    async fn connect(server: &TestServer, name: &str, hooks: &[&str]) -> Self {
        let token = server.token(Role::Plugin, "admin").await;
        let mut peer = Peer::with_token(server.address, &token).await;
        let register = json!({"opt": "register", "name": name, "hooks": hooks});
        let registered = peer.get("plugin", &register, "registered").await;
        assert_eq!(registered["name"], name);
        Self { peer }
    }

    async fn call(&mut self) -> Value {
        self.peer.until("plugin", "call").await
    }

    async fn answer(&mut self, call: &Value, answer: Value) {
        let mut data = answer;
        data["opt"] = json!("answer");
        data["callId"] = call["callId"].clone();
        self.peer.say("plugin", &data).await;
    }

    /// The next event of a hook.
    async fn event(&mut self, hook: &str) -> Value {
        loop {
            let event = self.peer.until("plugin", "event").await;
            if event["hook"] == hook {
                return event;
            }
        }
    }
}

fn configured(name: &str, policy: Policy, timeout: Duration) -> PluginSettings {
    PluginSettings { name: name.parse().unwrap(), hooks: vec![Hook::JobSubmit], policy, timeout, command: Vec::new() }
}

fn with(plugin: PluginSettings) -> impl FnOnce(&mut ServerSettings) {
    move |settings| settings.plugins = vec![plugin]
}

/// Sends a submit and does not wait for its answer.
async fn begin(peer: &mut Peer, spec: &Value) {
    let mut data = spec.clone();
    data["opt"] = json!("submit");
    data["follow"] = json!(false);
    peer.say("job", &data).await;
}

async fn plugins(server: &TestServer) -> Vec<Value> {
    let list = server.admin().await.get("plugin", &json!({"opt": "list"}), "plugins").await;
    list["plugins"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_plugin_is_asked_before_a_job_is_stored_and_may_allow_it() {
    let server = TestServer::start().await;
    let mut plugin = Plugin::connect(&server, "prices", &["job.submit"]).await;
    let mut ada = server.user("ada").await;
    begin(&mut ada, &json!({"command": "x", "key": "k", "tty": true, "requires": {"gpus": 2}})).await;

    let call = plugin.call().await;
    assert_eq!((&call["hook"], &call["account"], &call["key"]), (&json!("job.submit"), &json!("ada"), &json!("k")));
    let job = json!({"command": "x", "tty": {"cols": 80, "rows": 24}, "requires": {"gpus": 2}});
    assert_eq!(call["job"], job);
    assert!(call["deadlineMs"].as_u64() > Some(server.clock.now()));
    assert_eq!(server.admin().await.get("job", &json!({"opt": "list"}), "jobs").await["jobs"], json!([]));

    plugin.answer(&call, json!({"action": "allow"})).await;
    assert_eq!(ada.expect("job", "submitted").await["status"], "pending");
}

#[tokio::test]
async fn a_plugin_may_change_a_job_and_the_next_one_sees_that() {
    let server = TestServer::start().await;
    let mut second = Plugin::connect(&server, "b-last", &["job.submit"]).await;
    let mut first = Plugin::connect(&server, "a-first", &["job.submit"]).await;
    let mut ada = server.user("ada").await;
    begin(&mut ada, &json!({"command": "x", "env": {"A": "1"}})).await;

    let call = first.call().await;
    let mut job = call["job"].clone();
    job["env"]["PRICE"] = json!("7");
    first.answer(&call, json!({"action": "change", "job": job})).await;
    let call = second.call().await;
    assert_eq!(call["job"]["env"], json!({"A": "1", "PRICE": "7"}));
    let mut job = call["job"].clone();
    job["priority"] = json!(-5);
    second.answer(&call, json!({"action": "change", "job": job})).await;

    let job = ada.expect("job", "submitted").await["jobId"].as_str().unwrap().to_owned();
    let record = ada.job(&job).await;
    assert_eq!((&record["spec"]["env"]["PRICE"], &record["priority"]), (&json!("7"), &json!(-5)));
}

#[tokio::test]
async fn a_refusal_reaches_the_submitter_in_the_plugins_words() {
    let server = TestServer::start().await;
    let mut plugin = Plugin::connect(&server, "prices", &["job.submit"]).await;
    let mut ada = server.user("ada").await;
    begin(&mut ada, &json!({"command": "x"})).await;
    let call = plugin.call().await;
    plugin.answer(&call, json!({"action": "refuse", "message": "no money left"})).await;
    let error = ada.until_error().await;
    assert_eq!(
        (&error["code"], &error["message"], &error["retry"]),
        (&json!("forbidden"), &json!("no money left"), &json!(false))
    );

    begin(&mut ada, &json!({"command": "x"})).await;
    let call = plugin.call().await;
    plugin.answer(&call, json!({"action": "refuse"})).await;
    assert_eq!(ada.until_error().await["message"], "refused by the plugin prices");
    assert_eq!(ada.get("job", &json!({"opt": "list"}), "jobs").await["jobs"], json!([]));
}

#[tokio::test]
async fn the_http_routes_ask_too_and_refuse_in_their_own_shape() {
    let server = TestServer::start().await;
    let mut plugin = Plugin::connect(&server, "prices", &["job.submit"]).await;
    let token = server.user_token("ada").await;
    let web = server.web();
    let _worker = server.worker("m", &json!({})).await;
    let job = json!({"command": "x", "fileUrl": "/uploads/a/b.zip", "filename": "b.zip"});
    let refuse = async {
        for _ in 0..3 {
            let call = plugin.call().await;
            plugin.answer(&call, json!({"action": "refuse", "message": "no money left"})).await;
        }
        let call = plugin.call().await;
        let (template, args) = (&call["job"]["template"], &call["job"]["args"]);
        assert!(template == "fractal" && args.is_array(), "what the template makes of it is shown, too: {call}");
        plugin.answer(&call, json!({"action": "change", "job": call["job"]})).await;
    };
    let ask = async {
        let created = web.post("/api/jobs/create", &token, job).await;
        assert_eq!((created.status, &created.json["error"]), (403, &json!("no money left")), "{}", created.text);
        let added = web.post("/add", &token, json!({"task": {"command": "x"}})).await;
        assert!(added.status == 403 && added.text.contains("no money left"), "{}", added.text);
        let task = json!({"machine_id": "m", "command": "x", "gpu_count": 0});
        let requested = web.post("/api/task/request", &token, task).await;
        assert!(requested.status == 403 && requested.text.contains("no money left"), "{}", requested.text);
        let added = web.post("/add", &token, json!({"task": {"template": "fractal", "params": {"width": 64}}})).await;
        added.json["jobId"].as_str().expect("a job").to_owned()
    };
    let ((), job) = tokio::join!(refuse, ask);
    let spec = &server.admin().await.job(&job).await["spec"];
    assert_eq!((&spec["template"], &spec["params"]), (&json!("fractal"), &json!({"width": 64})));
}

#[tokio::test]
async fn a_slow_plugin_is_passed_over_where_it_may_be() {
    let server = TestServer::with(with(configured("prices", Policy::Open, Duration::from_millis(50)))).await;
    let mut plugin = Plugin::connect(&server, "prices", &["job.submit"]).await;
    let mut ada = server.user("ada").await;
    let job = ada.queue(&json!({"command": "x"})).await;
    let call = plugin.call().await;
    plugin.answer(&call, json!({"action": "refuse"})).await;
    plugin.peer.is_quiet().await;
    assert_eq!(ada.job(&job).await["status"], "pending", "what comes late is passed over");
    let record = &plugins(&server).await[0];
    assert_eq!((&record["calls"], &record["failures"], &record["policy"]), (&json!(1), &json!(1), &json!("open")));
    let mut late = json!({"opt": "answer", "callId": call["callId"], "action": "allow"});
    plugin.peer.refused("plugin", &late, "not_found").await;
    late["callId"] = json!(7_000_000);
    plugin.peer.refused("plugin", &late, "not_found").await;
}

#[tokio::test]
async fn without_a_plugin_that_must_be_asked_nothing_is_submitted() {
    let server = TestServer::with(with(configured("prices", Policy::Closed, Duration::from_secs(50)))).await;
    let mut ada = server.user("ada").await;
    let submit = json!({"opt": "submit", "command": "x", "follow": false});
    let away = ada.refused("job", &submit, "store_unavailable").await;
    assert!(away["retry"] == true && away["message"].as_str().unwrap().contains("prices"), "{away}");

    let task = json!({"task": {"command": "x"}});
    let added = server.web().post("/add", &server.user_token("ada").await, task).await;
    assert!(added.status == 503 && added.headers.contains_key("retry-after"), "{added:?}");
    assert!(added.text.contains("prices"), "{added:?}");

    let mut plugin = Plugin::connect(&server, "prices", &["job.submit"]).await;
    begin(&mut ada, &json!({"command": "x"})).await;
    let call = plugin.call().await;
    plugin.answer(&call, json!({"action": "allow"})).await;
    ada.expect("job", "submitted").await;

    // It takes part in something else only: whoever must be asked is not there.
    let _other = Plugin::connect(&server, "prices", &["job.end"]).await;
    assert_eq!(plugin.peer.closed().await, 4509);
    ada.refused("job", &submit, "store_unavailable").await;
    let metrics = fetch(server.address, "/metrics").await.text().await.unwrap();
    for line in [
        r#"gangline_plugin_calls_total{outcome="away"} 3"#,
        r#"gangline_plugin_calls_total{outcome="late"} 0"#,
        r#"gangline_plugin_calls_total{outcome="allow"} 1"#,
        r#"gangline_store_errors_total{operation="request"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn a_plugin_that_must_be_asked_and_is_slow_refuses() {
    let server = TestServer::with(with(configured("prices", Policy::Closed, Duration::from_millis(50)))).await;
    let mut plugin = Plugin::connect(&server, "prices", &["job.submit"]).await;
    let mut ada = server.user("ada").await;
    let submit = json!({"opt": "submit", "command": "x", "follow": false});
    let late = ada.refused("job", &submit, "store_unavailable").await;
    assert!(late["message"].as_str().unwrap().contains("prices"), "{late}");
    plugin.call().await;
    let metrics = fetch(server.address, "/metrics").await.text().await.unwrap();
    assert!(metrics.contains(r#"gangline_plugin_calls_total{outcome="late"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_plugin_that_dies_with_a_question_answers_it_by_its_policy_at_once() {
    let long = Duration::from_secs(50);
    for (policy, opt) in [(Policy::Open, "submitted"), (Policy::Closed, "")] {
        let server = TestServer::with(with(configured("prices", policy, long))).await;
        let mut plugin = Plugin::connect(&server, "prices", &["job.submit"]).await;
        let mut ada = server.user("ada").await;
        begin(&mut ada, &json!({"command": "x"})).await;
        plugin.call().await;
        plugin.peer.vanish();
        match opt {
            "" => assert_eq!(ada.until_error().await["code"], "store_unavailable"),
            opt => drop(ada.expect("job", opt).await),
        }
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_is_none() {
    let server = TestServer::with(with(configured("prices", Policy::Closed, Duration::from_secs(50)))).await;
    let mut plugin = Plugin::connect(&server, "prices", &["job.submit"]).await;
    let mut ada = server.user("ada").await;
    for (answer, field) in [
        (json!({"action": "change", "job": {"command": "x", "cwd": "../up"}}), "job.cwd"),
        (json!({"action": "change", "job": {"command": "x", "requires": {"gpus": 5000}}}), "job.requires.gpus"),
        (json!({"action": "change"}), "job"),
    ] {
        begin(&mut ada, &json!({"command": "x"})).await;
        let call = plugin.call().await;
        plugin.answer(&call, answer).await;
        assert_eq!(plugin.peer.until_error().await["field"], field);
        assert_eq!(ada.until_error().await["code"], "store_unavailable");
    }
    // Words that are no answer at all leave the question open.
    begin(&mut ada, &json!({"command": "x"})).await;
    let call = plugin.call().await;
    plugin.answer(&call, json!({"action": "perhaps"})).await;
    assert_eq!(plugin.peer.until_error().await["field"], "action");
    plugin.answer(&call, json!({"action": "allow"})).await;
    ada.expect("job", "submitted").await;
}

#[tokio::test]
async fn more_questions_than_a_plugin_can_have_do_not_wait_for_it() {
    let server = TestServer::with(with(configured("prices", Policy::Open, Duration::from_secs(50)))).await;
    let mut plugin = Plugin::connect(&server, "prices", &["job.submit"]).await;
    // Each connection has 128 submits under way: two fill the plugin, the third is not held up.
    let mut holders = Vec::new();
    for name in ["a", "b"] {
        let mut peer = server.user(name).await;
        for _ in 0..128 {
            begin(&mut peer, &json!({"command": "x"})).await;
        }
        holders.push(peer);
    }
    for _ in 0..256 {
        plugin.call().await;
    }
    let mut third = server.user("c").await;
    third.queue(&json!({"command": "x"})).await;
    plugin.peer.is_quiet().await;
    let metrics = fetch(server.address, "/metrics").await.text().await.unwrap();
    assert!(metrics.contains(r#"gangline_plugin_calls_total{outcome="busy"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_plugin_hears_of_jobs_and_workers() {
    let server = TestServer::with_manual_clock().await;
    let hooks = ["job.start", "job.end", "worker.online", "worker.offline"];
    let mut plugin = Plugin::connect(&server, "pager", &hooks).await;
    let mut worker = server.worker("w", &json!({})).await;
    let online = plugin.event("worker.online").await;
    assert_eq!((&online["worker"]["workerId"], &online["worker"]["status"]), (&json!("w"), &json!("idle")));

    let mut ada = server.user("ada").await;
    let job = ada.queue(&json!({"command": "x", "name": "n"})).await;
    let assigned = worker.accepted().await;
    let start = plugin.event("job.start").await;
    assert_eq!((&start["job"]["jobId"], &start["job"]["workerId"]), (&json!(job), &json!("w")));
    worker.run(&assigned, "hi\n").await;
    let end = plugin.event("job.end").await;
    assert_eq!(
        (&end["job"]["jobId"], &end["job"]["status"], &end["job"]["stdoutBytes"]),
        (&json!(job), &json!("completed"), &json!(3))
    );
    assert!(end.get("dropped").is_none());

    // One that is cancelled before it ran has an end without a start.
    let job = ada.queue(&json!({"command": "x", "requires": {"workerId": "nobody"}})).await;
    ada.get("job", &json!({"opt": "cancel", "jobId": job}), "ok").await;
    assert_eq!(plugin.event("job.end").await["job"]["reason"], "cancelled");

    worker.peer.vanish();
    server.pass_time(40).await;
    let offline = plugin.event("worker.offline").await;
    assert_eq!((&offline["worker"]["workerId"], &offline["worker"]["status"]), (&json!("w"), &json!("offline")));
}

#[tokio::test]
async fn a_plugin_decides_on_containers_and_hears_of_them() {
    let server = TestServer::start().await;
    let hooks = ["container.create", "container.start", "container.end", "job.start", "job.end"];
    let mut plugin = Plugin::connect(&server, "prices", &hooks).await;
    let mut worker = server.worker("n", &json!({"images": []})).await;
    let mut ada = server.user("ada").await;
    let create = json!({"opt": "create", "image_id": "postgres", "port": 5432});
    ada.say("container", &create).await;
    let call = plugin.call().await;
    assert_eq!((&call["hook"], &call["account"]), (&json!("container.create"), &json!("ada")));
    assert_eq!(call["container"], json!({"imageId": "postgres", "port": {"container": 5432}}));
    plugin.answer(&call, json!({"action": "refuse", "message": "no databases"})).await;
    assert_eq!(ada.until_error().await["message"], "no databases");

    ada.say("container", &create).await;
    let call = plugin.call().await;
    let answer = json!({"action": "change", "container": {"imageId": "p", "mounts": [{"volume": "..", "path": "/x"}]}});
    plugin.answer(&call, answer).await;
    assert_eq!(plugin.peer.until_error().await["field"], "container.mounts[0].volume");

    // Its policy is open: the container is made as it was asked for.
    let assigned = worker.accepted().await;
    assert_eq!(assigned.data["spec"]["image"], "postgres");
    let started = json!({"opt": "started", "containerId": assigned.job, "attempt": 1, "ports": []});
    worker.peer.say("container", &started).await;
    let id = ada.until("container", "created").await["containerId"].clone();
    let start = plugin.event("container.start").await;
    assert_eq!((&start["container"]["containerId"], &start["container"]["status"]), (&id, &json!("running")));
    worker.say(&assigned.end(1, 3)).await;
    let end = plugin.event("container.end").await;
    assert_eq!((&end["container"]["containerId"], &end["container"]["exitCode"]), (&id, &json!(3)));

    ada.say("container", &create).await;
    let call = plugin.call().await;
    plugin.answer(&call, json!({"action": "change", "container": {"imageId": "postgres:17", "cpus": 0.5}})).await;
    let assigned = worker.accepted().await;
    let spec = &assigned.data["spec"];
    assert_eq!((&spec["image"], &spec["requires"]["cpus"]), (&json!("postgres:17"), &json!(0.5)));
    for frame in plugin.peer.on_its_way().await {
        assert!(frame["data"].get("job").is_none(), "a container is no job: {frame}");
    }
}

#[tokio::test]
async fn each_of_several_dispatchers_asks_and_tells_its_own_plugins() {
    let [one, two] = TestServer::pair().await;
    let hooks = ["job.submit", "job.start", "job.end", "worker.online"];
    let mut at_one = Plugin::connect(&one, "prices", &hooks).await;
    let mut at_two = Plugin::connect(&two, "prices", &hooks).await;
    let mut worker = two.worker("w", &json!({})).await;
    assert_eq!(at_one.event("worker.online").await["worker"]["workerId"], "w");
    assert_eq!(at_two.event("worker.online").await["worker"]["workerId"], "w");

    let mut ada = one.user("ada").await;
    begin(&mut ada, &json!({"command": "x"})).await;
    let call = at_one.call().await;
    at_one.answer(&call, json!({"action": "allow"})).await;
    ada.expect("job", "submitted").await;
    let assigned = worker.accepted().await;
    worker.run(&assigned, "hi\n").await;
    // Where it happens, and there only: whoever starts a plugin beside each dispatcher hears of everything once.
    assert_eq!(at_two.event("job.start").await["job"]["jobId"], json!(assigned.job));
    assert_eq!(at_two.event("job.end").await["job"]["jobId"], json!(assigned.job));
    at_one.peer.is_quiet().await;
    at_two.peer.is_quiet().await;
}

#[tokio::test]
async fn a_name_has_one_connection_and_a_connection_one_name() {
    let server = TestServer::start().await;
    let mut older = Plugin::connect(&server, "prices", &["job.submit"]).await;
    let mut newer = Plugin::connect(&server, "prices", &["job.submit", "job.submit", "job.end"]).await;
    assert_eq!(older.peer.hear().await, Heard::Closed(4509));
    let register = json!({"opt": "register", "name": "other", "hooks": ["job.end"]});
    newer.peer.refused("plugin", &register, "conflict").await;
    let all = plugins(&server).await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["hooks"], json!(["job.submit", "job.end"]));
    assert!(all[0]["connectedAt"].is_u64() && all[0]["configured"] == false);
    newer.peer.vanish();
    eventually("it to be forgotten", async || plugins(&server).await.is_empty().then_some(())).await;
}

#[tokio::test]
async fn wrong_registrations_are_named() {
    let server = TestServer::start().await;
    let token = server.token(Role::Plugin, "admin").await;
    let mut peer = Peer::with_token(server.address, &token).await;
    for (data, field) in [
        (json!({"opt": "register", "name": "p", "hooks": ["job.submit", "job.sumbit"]}), "hooks[1]"),
        (json!({"opt": "register", "name": "p", "hooks": []}), "hooks"),
        (json!({"opt": "register", "name": "p"}), "hooks"),
        (json!({"opt": "register", "name": "../up", "hooks": ["job.end"]}), "name"),
    ] {
        assert_eq!(peer.refused("plugin", &data, "bad_frame").await["field"], field, "{data}");
    }
    let answer = json!({"opt": "answer", "callId": 1, "action": "allow"});
    peer.refused("plugin", &answer, "conflict").await;
    peer.refused("plugin", &json!({"opt": "lsit"}), "unknown_type").await;
    peer.refused("plugin", &json!({"opt": "list"}), "forbidden").await;
    let register = json!({"opt": "register", "name": "p", "hooks": ["job.end"]});
    for mut other in
        [server.user("ada").await, server.admin().await, Peer::with_token(server.address, server.worker_token()).await]
    {
        other.refused("plugin", &register, "forbidden").await;
    }
    server.user("ada").await.refused("plugin", &json!({"opt": "list"}), "forbidden").await;
}

#[tokio::test]
async fn under_open_whoever_connects_may_be_a_plugin() {
    let server = TestServer::with(|settings| settings.open = true).await;
    let (mut peer, _) = server.stranger().await;
    let register = json!({"opt": "register", "name": "p", "hooks": ["job.end"]});
    peer.get("plugin", &register, "registered").await;
    assert_eq!(peer.get("plugin", &json!({"opt": "list"}), "plugins").await["plugins"][0]["name"], "p");
}

/// A dispatcher in a process of its own that starts the plugin of `examples`.
struct Supervised {
    home: TempDir,
    address: SocketAddr,
    server: Process,
}

impl Supervised {
    async fn start() -> Self {
        Self::starting(async |home, address| Process::serve(home, address, &[]).await).await
    }

    /// The same with a worker in the process of the dispatcher, which beats every second.
    async fn up() -> Self {
        Self::starting(async |home, address| {
            let listen = address.to_string();
            let args = ["up", "--data-dir", "data", "--listen", &listen, "--heartbeat", "1s", "--log", "info"];
            let process = Process::start(gangline(home, &args), home.join("up.log"));
            eventually("the dispatcher to say hello", async || Peer::dial(address, &[]).await.ok()).await;
            process
        })
        .await
    }

    async fn starting(start: impl AsyncFnOnce(&Path, SocketAddr) -> Process) -> Self {
        let home = TempDir::new().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/plugin.mjs");
        // The shell leaves a helper behind that has to go with the plugin.
        let script = format!("echo $$ > pid; sleep 1000 & exec node '{}'", example.display());
        let settings = format!(
            "[[plugin]]\nname = 'prices'\nhooks = ['job.submit']\npolicy = 'closed'\ntimeout = '20s'\n\
             command = ['sh', '-c', {}]\n",
            json!(script)
        );
        std::fs::write(home.path().join("gangline.toml"), settings).unwrap();
        let address = free_address();
        let server = start(home.path(), address).await;
        Self { home, address, server }
    }

    async fn admin(&self) -> Peer {
        admin(self.home.path(), self.address).await
    }

    /// Waits until the plugin is connected, and returns since when.
    async fn plugged(&self, after: u64) -> u64 {
        let mut admin = self.admin().await;
        eventually("the plugin to be connected", async || {
            let list = admin.get("plugin", &json!({"opt": "list"}), "plugins").await;
            list["plugins"][0]["connectedAt"].as_u64().filter(|at| *at > after)
        })
        .await
    }

    /// Ends the dispatcher, and with it the plugin and its helper.
    async fn end(mut self) {
        let group = self.group();
        self.server.signal(Signal::SIGTERM);
        assert!(self.server.ended().await.success());
        is_gone(group).await;
    }

    /// The process group of the plugin.
    fn group(&self) -> Pid {
        let pid = std::fs::read_to_string(self.home.path().join("pid")).unwrap();
        Pid::from_raw(pid.trim().parse().unwrap())
    }
}

/// Waits until nothing of a process group runs any more.
async fn is_gone(group: Pid) {
    eventually("the plugin and its helper to be gone", async || killpg(group, None).is_err().then_some(())).await;
}

#[tokio::test]
async fn the_example_prices_jobs_and_is_started_again_when_it_dies() {
    let server = Supervised::start().await;
    let first = server.plugged(0).await;
    let mut admin = server.admin().await;
    let refused = json!({"opt": "submit", "image": "registry/nothing:1", "follow": false});
    let words = admin.refused("job", &refused, "forbidden").await["message"].clone();
    assert_eq!(words, "admin: there is no price for the image registry/nothing:1");
    let job = admin.queue(&json!({"image": "cuda:13", "env": {"A": "1"}})).await;
    let record = admin.job(&job).await;
    assert_eq!(
        (&record["spec"]["env"], &record["priority"]),
        (&json!({"A": "1", "PRICE_PER_HOUR": "250"}), &json!(-1))
    );
    admin.get("job", &json!({"opt": "cancel", "jobId": job}), "ok").await;
    eventually("what the plugin says of it in the log", async || {
        let words = server.server.words();
        words.contains(&format!("admin: {job} is cancelled")).then_some(())
    })
    .await;

    let group = server.group();
    kill(group, Signal::SIGKILL).unwrap();
    is_gone(group).await;
    server.plugged(first).await;
    let job = admin.queue(&json!({"command": "x"})).await;
    assert_eq!(admin.job(&job).await["spec"]["env"]["PRICE_PER_HOUR"], "2");
    server.end().await;
}

#[tokio::test]
async fn a_plugin_that_was_started_again_beside_a_worker_is_no_stray_of_its_jobs() {
    let server = Supervised::up().await;
    let first = server.plugged(0).await;
    let mut admin = server.admin().await;
    // One job from before the plugin is started again to after it.
    let earlier = admin.queue(&json!({"command": "read -r end", "stdin": true})).await;
    admin.job_is(&earlier, "running").await;
    let group = server.group();
    kill(group, Signal::SIGKILL).unwrap();
    is_gone(group).await;
    let second = server.plugged(first).await;
    let plugin = server.group();

    admin.get("job", &json!({"opt": "input", "jobId": earlier, "text": "end\n"}), "ok").await;
    admin.job_is(&earlier, "completed").await;
    // The worker looks for strays with every heartbeat, too.
    let mut watcher = server.admin().await;
    watcher.get("worker", &json!({"opt": "watch"}), "ok").await;
    for _ in 0..2 {
        watcher.until("worker", "usage").await;
    }
    let job = admin.queue(&json!({"command": "true"})).await;
    assert_eq!(admin.job_is(&job, "completed").await["spec"]["env"]["PRICE_PER_HOUR"], "2");
    assert_eq!((server.plugged(0).await, server.group()), (second, plugin), "the same plugin answered");
    assert!(kill(plugin, None).is_ok());
    server.end().await;
}

#[tokio::test]
async fn a_supervised_plugin_ends_with_its_dispatcher() {
    let server = Supervised::start().await;
    server.plugged(0).await;
    server.end().await;
}

#[tokio::test]
async fn a_supervised_plugin_hears_that_its_dispatcher_was_killed() {
    let mut server = Supervised::start().await;
    server.plugged(0).await;
    let plugin = server.group();
    server.server.kill();
    eventually("the plugin to end", async || kill(plugin, None).is_err().then_some(())).await;
    // What it has left behind was its own: nobody is there to end that.
    let _ = killpg(plugin, Signal::SIGKILL);
}
