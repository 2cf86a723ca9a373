//! Containers that are more than jobs: reached, talked to, stopped and started, and never lost with their worker.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{Site, apart};
use crate::support::engine::{self, IMAGE, TestEngine};
use crate::support::process::free_address;
use crate::support::{SOON, TestServer, eventually};

/// Counts up, a line every hundredth of a second, in letters that are easy to compare.
const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo line $i; echo err $i >&2; usleep 10000; done";

/// The same; it tells /data/count how far it is, and is quiet, which it tells /data/hushed, while there is a /data/hush.
const QUIET_COUNTER: &str = "i=0; while :; do \
    [ ! -e /data/hush ] || { echo > /data/hushed; while [ -e /data/hush ]; do usleep 10000; done; }; \
    i=$((i+1)); echo line $i; echo err $i >&2; echo $i > /data/count; usleep 10000; done";

/// How long a console may take to say what a story waits for, all of it.
const SAID_WITHIN: Duration = SOON.saturating_mul(3);

/// What a console has said so far.
#[derive(Debug, Default)]
struct Console {
    /// By attempt.
    stdout: Vec<String>,
    stderr: Vec<String>,
    ends: Vec<Value>,
}

impl Console {
    fn take(&mut self, data: &Value) {
        let attempt = data["at"].as_str().and_then(|at| at.split('-').next()?.parse::<usize>().ok()).unwrap_or(0);
        match data["opt"].as_str() {
            Some("output") => {
                let streams = if data["stream"] == "stdout" { &mut self.stdout } else { &mut self.stderr };
                streams.resize(streams.len().max(attempt + 1), String::new());
                let bytes = data["text"].as_str().unwrap_or("?");
                if data["stream"] == "stdout" {
                    assert_eq!(data["offset"].as_u64(), Some(streams[attempt].len() as u64), "{data}");
                }
                streams[attempt].push_str(bytes);
            }
            Some("end") => self.ends.push(data.clone()),
            _ => (),
        }
    }

    /// All of standard output, over all attempts.
    fn all(&self) -> String {
        self.stdout.concat()
    }
}

impl Site {
    pub(super) async fn ask(&mut self, opt: &str, id: &str) -> Value {
        self.user.ask("container", &json!({"opt": opt, "containerId": id})).await
    }

    pub(super) async fn create(&mut self, mut spec: Value) -> (String, Value) {
        spec["opt"] = json!("create");
        spec["imageId"] = spec.get("imageId").cloned().unwrap_or(json!(IMAGE));
        spec["workerId"] = json!(self.id);
        let created = self.user.get("container", &spec, "created").await;
        (created["containerId"].as_str().expect("an id").to_owned(), created)
    }

    pub(super) async fn do_it(&mut self, opt: &str, id: &str) {
        self.user.get("container", &json!({"opt": opt, "containerId": id, "graceSecs": 1}), "ok").await;
    }

    async fn follow_console(&mut self, id: &str) {
        self.user.get("container", &json!({"opt": "follow", "containerId": id}), "following").await;
    }

    /// Reads the followed console until it says `wanted`.
    async fn until_console(&mut self, console: &mut Console, wanted: impl Fn(&Console) -> bool) {
        let said = async {
            while !wanted(console) {
                let frame = self.user.next().await;
                if frame["type"] == "container" {
                    console.take(&frame["data"]);
                }
            }
        };
        let said = timeout(SAID_WITHIN, said).await;
        assert!(said.is_ok(), "waited {SAID_WITHIN:?} for more than {console:?}");
    }

    pub(super) async fn record(&mut self, id: &str) -> Value {
        self.user.get("container", &json!({"opt": "get", "containerId": id}), "container").await["container"].clone()
    }

    pub(super) async fn status_is(&mut self, id: &str, status: &str) -> Value {
        eventually(&format!("{id} to be {status}"), async || {
            let record = self.record(id).await;
            (record["status"] == status).then_some(record)
        })
        .await
    }

    fn data(&self, id: &str) -> std::path::PathBuf {
        let worker = self.home.path().join(format!("worker-{}/worker/workers/{}", self.id, self.id));
        worker.join("containers").join(id).join("data")
    }

    pub(super) async fn remove_all(&mut self, ids: &[String]) {
        for id in ids {
            self.do_it("remove", id).await;
        }
        eventually("the engine to be rid of them", async || self.containers().is_empty().then_some(())).await;
    }
}

/// Every line of the counter once, in order, but for the last, which may be cut off.
fn is_whole(text: &str) {
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let expected = format!("line {}\n", index + 1);
        assert!(line == expected || expected.starts_with(line), "{line:?} instead of {expected:?} in {text}");
    }
}

/// Waits for the page of a container.
async fn is_served(address: std::net::SocketAddr) {
    let page = eventually("the page", async || {
        let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await.ok()?;
        Some(page).filter(|page| page.contains("200 OK"))
    })
    .await;
    assert!(page.ends_with("served\n"), "{page}");
}

#[tokio::test]
async fn a_container_is_reached_at_once_and_gone_when_it_is_removed() {
    let mut site = Site::start().await;
    let command = "mkdir /tmp/w; echo served > /tmp/w/index.html; echo up; exec httpd -f -p 8080 -h /tmp/w";
    let (id, created) = site.create(json!({"port": 8080, "command": command})).await;
    let address = created["ports"][0]["address"].as_str().expect("an address").to_owned();
    assert_eq!(created["ports"][0]["container"], 8080, "{created}");
    let address: std::net::SocketAddr = address.parse().expect("an address and a port");
    // The engine's own proxy listens before the program does.
    site.follow_console(&id).await;
    let mut console = Console::default();
    site.until_console(&mut console, |console| console.all() == "up\n").await;
    is_served(address).await;
    assert!(site.data(&id).exists());
    site.remove_all(std::slice::from_ref(&id)).await;
    site.until_console(&mut console, |console| !console.ends.is_empty()).await;
    eventually("its data to go", async || (!site.data(&id).exists()).then_some(())).await;
}

#[tokio::test]
async fn a_container_keeps_its_data_over_starts_and_every_start_is_an_attempt() {
    let mut site = Site::start().await;
    let command = "id -u; echo x >> /data/starts; echo y >> /srv/vol/kept; wc -l < /data/starts; cat; sleep 1000";
    let mounts = json!([{"volume": "v", "path": "/srv/vol"}]);
    let (id, _) = site.create(json!({"command": command, "mounts": mounts})).await;
    site.follow_console(&id).await;
    let mut console = Console::default();
    site.until_console(&mut console, |console| console.all() == "0\n1\n").await;
    site.user.say("container", &json!({"opt": "input", "containerId": id, "text": "said\n"})).await;
    site.until_console(&mut console, |console| console.all() == "0\n1\nsaid\n").await;
    site.do_it("stop", &id).await;
    assert_eq!(site.record(&id).await["status"], "stopped");
    site.do_it("start", &id).await;
    site.until_console(&mut console, |console| console.stdout.get(2).is_some_and(|said| said == "0\n2\n")).await;
    site.do_it("restart", &id).await;
    site.until_console(&mut console, |console| console.stdout.get(3).is_some_and(|said| said == "0\n3\n")).await;
    assert_eq!(site.record(&id).await["attempt"], 3);
    assert_eq!(std::fs::read_to_string(site.data(&id).join("volumes/v/kept")).expect("a file"), "y\ny\ny\n");
    assert_eq!(console.ends.len(), 2);
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why_and_leaves_nothing() {
    let mut site = Site::start().await;
    let create = |spec: Value| {
        let mut spec = spec;
        spec["opt"] = json!("create");
        spec
    };
    let unknown = create(json!({"imageId": "127.0.0.1:1/nowhere:1", "workerId": site.id}));
    let error = site.user.refused("container", &unknown, "not_found").await;
    assert_eq!(error["field"], "imageId", "{error}");
    let (id, created) = site.create(json!({"port": 80, "command": "sleep 1000"})).await;
    let taken = format!("{}:81", created["ports"][0]["host"]);
    let spec = create(json!({"imageId": IMAGE, "ports": [taken], "command": "sleep 1000", "workerId": site.id}));
    let error = site.user.refused("container", &spec, "conflict").await;
    assert_eq!(error["field"], "ports", "{error}");
    site.remove_all(&[id]).await;
    // To the engine it runs while its program is looked for.
    let long = "/:".repeat(30_000);
    let spec = create(json!({"imageId": IMAGE, "args": ["nope"], "env": {"PATH": long}, "workerId": site.id}));
    let error = site.user.refused("container", &spec, "conflict").await;
    assert!(error["message"].as_str().is_some_and(|why| why.contains("nope")), "{error}");
}

#[tokio::test]
async fn a_killed_worker_goes_on_with_its_container_to_the_byte() {
    let mut site = Site::start().await;
    let (id, _) = site.create(json!({"command": COUNTER})).await;
    site.follow_console(&id).await;
    let mut console = Console::default();
    for round in 1..=3 {
        let wanted = format!("line {}\n", round * 40);
        site.until_console(&mut console, |console| console.all().contains(&wanted)).await;
        site.worker.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        site.start_worker(engine::address());
    }
    site.until_console(&mut console, |console| console.all().contains("line 200\n")).await;
    is_whole(&console.all());
    assert_eq!(site.record(&id).await["attempt"], 1, "it never ended");
    site.do_it("stop", &id).await;
    site.until_console(&mut console, |console| !console.ends.is_empty()).await;
    is_whole(&console.all());
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn a_container_that_ended_while_its_worker_was_dead_tells_its_last_words() {
    let mut site = Site::start().await;
    let (id, _) = site.create(json!({"command": "echo first; sleep 1; echo last; exit 5"})).await;
    site.follow_console(&id).await;
    let mut console = Console::default();
    site.until_console(&mut console, |console| console.all() == "first\n").await;
    site.worker.kill();
    eventually("it to end", async || {
        let running = engine::docker(&["ps", "-q", "--filter", &format!("label=gangline.id={id}")]);
        running.is_empty().then_some(())
    })
    .await;
    site.start_worker(engine::address());
    site.until_console(&mut console, |console| !console.ends.is_empty()).await;
    assert_eq!(console.all(), "first\nlast\n");
    assert_eq!(console.ends[0]["exitCode"], 5, "{:?}", console.ends);
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn a_worker_that_leaves_lets_its_containers_go_on() {
    let mut site = Site::start().await;
    let (id, _) = site.create(json!({"command": COUNTER})).await;
    site.follow_console(&id).await;
    let mut console = Console::default();
    site.until_console(&mut console, |console| console.all().contains("line 20\n")).await;
    site.worker.signal(Signal::SIGTERM);
    site.worker.ended().await;
    assert_ne!(engine::docker(&["ps", "-q", "--filter", &format!("label=gangline.id={id}")]), "", "it runs on");
    site.start_worker(engine::address());
    let seen = console.all().lines().count();
    site.until_console(&mut console, |console| console.all().lines().count() > seen + 100).await;
    is_whole(&console.all());
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn a_container_whose_lease_ran_out_is_taken_over_by_the_next_start() {
    let server = TestServer::with(|settings| {
        settings.lease = Duration::from_secs(2);
        settings.heartbeat = Duration::from_secs(1);
    })
    .await;
    let mut site = Site::on(server, engine::address(), &[]).await;
    let (id, _) = site.create(json!({"command": COUNTER})).await;
    let docker = site.containers();
    site.follow_console(&id).await;
    let mut console = Console::default();
    site.until_console(&mut console, |console| console.all().contains("line 20\n")).await;
    site.worker.kill();
    site.until_console(&mut console, |console| !console.ends.is_empty()).await;
    assert_eq!(console.ends[0]["reason"], "worker_lost", "{:?}", console.ends);
    site.start_worker(engine::address());
    // Its lease may run out again, on a machine that has no time for it.
    let goes_on = |console: &Console| console.stdout.iter().skip(2).any(|said| said.lines().count() > 50);
    site.until_console(&mut console, goes_on).await;
    is_whole(&console.all());
    assert_eq!(site.containers(), docker, "it is the same one");
    // Killed once more, it is found by its new attempt.
    site.worker.kill();
    site.start_worker(engine::address());
    let seen = console.all().lines().count();
    site.until_console(&mut console, |console| console.all().lines().count() > seen + 50).await;
    is_whole(&console.all());
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn a_container_removed_while_its_worker_is_away_goes_when_that_is_back() {
    let mut site = Site::start().await;
    let (id, _) = site.create(json!({"command": "sleep 1000"})).await;
    site.worker.kill();
    // Whoever removes it does not have to wait for the worker.
    let removed = site.ask("remove", &id).await;
    assert_eq!(removed["data"]["opt"], "ok", "{removed}");
    assert_ne!(site.containers(), "");
    site.start_worker(engine::address());
    eventually("the engine to be rid of it", async || site.containers().is_empty().then_some(())).await;
    eventually("its data to go", async || (!site.data(&id).exists()).then_some(())).await;
}

#[tokio::test]
async fn a_restart_whose_worker_is_killed_within_the_grace_comes_about() {
    let mut site = Site::start().await;
    let command = "trap '' TERM; echo up; while :; do sleep 1; done";
    let (id, _) = site.create(json!({"command": command, "restart": "always"})).await;
    site.follow_console(&id).await;
    let mut console = Console::default();
    site.until_console(&mut console, |console| console.all() == "up\n").await;
    let restart = json!({"opt": "restart", "containerId": id, "graceSecs": 2});
    site.user.say("container", &restart).await;
    let number = id.parse::<gangline::protocol::ContainerId>().expect("an id").job();
    eventually("the wish to be kept", async || {
        let job = site.server.dispatcher.store().job(number.into()).await.expect("the store answers");
        job.and_then(|job| job.cancel_grace_ms)
    })
    .await;
    site.worker.kill();
    site.start_worker(engine::address());
    site.until_console(&mut console, |console| console.stdout.get(2).is_some_and(|said| said == "up\n")).await;
    assert_eq!(site.status_is(&id, "running").await["attempt"], 2);
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn twenty_containers_run_beside_each_other() {
    let mut site = Site::start().await;
    let mut ids = Vec::new();
    // An engine starts hardly more than four at a time, and the others wait for it.
    for round in 0..5 {
        let mut peers = Vec::new();
        for number in 0..4 {
            let mut peer = site.server.admin().await;
            let spec = json!({"opt": "create", "imageId": IMAGE, "workerId": site.id, "port": 80,
                "command": format!("echo I am {}; sleep 1000", round * 4 + number)});
            peers.push(tokio::spawn(async move { peer.get("container", &spec, "created").await }));
        }
        for peer in peers {
            let created = peer.await.expect("no panic");
            ids.push(created["containerId"].as_str().expect("an id").to_owned());
            assert!(created["ports"][0]["host"].as_u64() > Some(0), "{created}");
        }
    }
    let mut said = Vec::new();
    for id in &ids {
        site.follow_console(id).await;
        let mut console = Console::default();
        site.until_console(&mut console, |console| !console.all().is_empty()).await;
        said.push(console.all());
        site.user.get("container", &json!({"opt": "unfollow", "containerId": id}), "ok").await;
    }
    said.sort();
    said.dedup();
    assert_eq!(said.len(), 20, "{said:?}");
    for id in &ids {
        assert_eq!(site.record(id).await["status"], "running", "all at once");
    }
    site.remove_all(&ids).await;
}

#[tokio::test]
async fn a_port_that_was_chosen_stays_the_same_unless_somebody_takes_it() {
    let mut site = Site::start().await;
    let (id, created) = site.create(json!({"port": 80, "command": "sleep 1000"})).await;
    let port_of = |container: &Value| {
        let [port] = &container["ports"].as_array().expect("ports")[..] else { panic!("one port: {container}") };
        u16::try_from(port["host"].as_u64().expect("a number")).expect("a port")
    };
    let port = port_of(&created);
    // Other engines of this machine choose ports, too, and may have taken it meanwhile.
    let is_kept_or_taken = |now: u16, port: u16| now == port || std::net::TcpListener::bind(("0.0.0.0", port)).is_err();
    site.do_it("restart", &id).await;
    let restarted = port_of(&site.record(&id).await);
    assert!(is_kept_or_taken(restarted, port), "over a restart: {port} and {restarted}");
    site.do_it("stop", &id).await;
    site.restart_worker(engine::address()).await;
    site.do_it("start", &id).await;
    let started = port_of(&site.record(&id).await);
    assert!(is_kept_or_taken(started, restarted), "over a stop, and another worker: {restarted} and {started}");
    site.do_it("stop", &id).await;
    let taken = tokio::net::TcpListener::bind(("0.0.0.0", started)).await;
    site.do_it("start", &id).await;
    let another = port_of(&site.record(&id).await);
    assert_ne!(another, started);
    drop(taken);
    site.do_it("restart", &id).await;
    let last = port_of(&site.record(&id).await);
    assert!(is_kept_or_taken(last, another), "the latest is the one to keep: {another} and {last}");
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn a_port_of_a_container_without_a_network_is_refused() {
    let mut site = Site::with(engine::address(), &["--container-service-network", "none"]).await;
    let spec = json!({"opt": "create", "imageId": IMAGE, "port": 80, "command": "sleep 1000", "workerId": site.id});
    let error = site.user.refused("container", &spec, "unsatisfiable").await;
    assert_eq!((&error["field"], &error["retry"]), (&json!("ports"), &json!(false)), "{error}");
    let (id, _) = site.create(json!({"command": "sleep 1000"})).await;
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn a_container_on_its_machines_network_is_reached_by_its_own_port() {
    let mut site = Site::with(engine::address(), &["--container-service-network", "host"]).await;
    let port = free_address().port();
    let elsewhere = json!({"opt": "create", "imageId": IMAGE, "ports": [{"container": port, "host": port - 1}],
        "command": "sleep 1000", "workerId": site.id});
    let error = site.user.refused("container", &elsewhere, "unsatisfiable").await;
    assert_eq!((&error["field"], &error["retry"]), (&json!("ports"), &json!(false)), "{error}");
    let command = format!("mkdir /tmp/w; echo served > /tmp/w/index.html; exec httpd -f -p {port} -h /tmp/w");
    let (id, created) = site.create(json!({"port": port, "command": command})).await;
    assert_eq!((&created["ports"][0]["host"], created["ports"].as_array().map(Vec::len)), (&json!(port), Some(1)));
    let address = created["ports"][0]["address"].as_str().expect("an address");
    is_served(address.parse().expect("an address and a port")).await;
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn memory_that_is_not_limited_has_no_limit() {
    let mut site = Site::start().await;
    let (id, _) = site.create(json!({"command": "sleep 1000"})).await;
    site.do_it("stats", &id).await;
    let stats = site.user.until("container", "stats").await;
    assert_eq!((&stats["memoryLimitBytes"], stats["memoryBytes"].as_u64() > Some(0)), (&json!(0), true), "{stats}");
    site.do_it("unstats", &id).await;
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn what_a_container_uses_is_told_about_once_a_second() {
    let mut site = Site::start().await;
    let (id, _) = site.create(json!({"command": "while :; do :; done", "memoryBytes": 64 << 20})).await;
    site.do_it("stats", &id).await;
    let mut seen = 0;
    while seen < 3 {
        let data = site.user.until("container", "stats").await;
        assert_eq!(data["containerId"], json!(id));
        assert_eq!(data["memoryLimitBytes"], 64 << 20, "{data}");
        assert!(data["pids"].as_u64() >= Some(1), "{data}");
        seen += u32::from(data["cpu"].as_f64() > Some(0.05));
    }
    site.do_it("unstats", &id).await;
    site.do_it("kill", &id).await;
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn a_container_that_dies_starts_again_as_its_policy_says() {
    let mut site = Site::start().await;
    let command = "echo start; test $(wc -c < /data/count 2>/dev/null || echo 0) -ge 2 && sleep 1000; printf x >> /data/count; exit 1";
    let (id, _) = site.create(json!({"command": command, "restart": "on-failure"})).await;
    site.follow_console(&id).await;
    let mut console = Console::default();
    site.until_console(&mut console, |console| console.stdout.len() == 4).await;
    assert_eq!(console.all(), "start\n".repeat(3));
    assert_eq!(site.status_is(&id, "running").await["attempt"], 3);
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn an_engine_that_keeps_containers_alive_may_restart_under_them() {
    let mut engine = TestEngine::with(&["--live-restore"]);
    let mut site = Site::with(engine.address(), &[]).await;
    let (id, _) = site.create(json!({"command": QUIET_COUNTER})).await;
    let docker = engine.docker(&["ps", "--quiet"]);
    site.follow_console(&id).await;
    let mut console = Console::default();
    site.until_console(&mut console, |console| console.all().contains("line 20\n")).await;
    // An engine that stops may lose what it has read and not written down, though others have heard it: there is nothing
    // then. What is written while there is no engine waits for it.
    let data = site.data(&id);
    std::fs::write(data.join("hush"), "").expect("a file");
    eventually("it to be quiet", async || data.join("hushed").exists().then_some(())).await;
    let count = || std::fs::read_to_string(data.join("count")).ok()?.trim().parse::<u32>().ok();
    let last = count().expect("nobody writes it now");
    let (line, error) = (format!("line {last}\n"), format!("err {last}\n"));
    let all_said = |console: &Console| console.all().ends_with(&line) && console.stderr.concat().ends_with(&error);
    site.until_console(&mut console, all_said).await;
    let said = [console.all(), console.stderr.concat()];
    eventually("the engine to have it all", async || (engine.logs(&docker) == said).then_some(())).await;
    engine = apart(engine, TestEngine::stop).await;
    std::fs::remove_file(data.join("hush")).expect("it is there");
    eventually("it to go on", async || count().filter(|count| *count > last + 20)).await;
    engine = apart(engine, TestEngine::start_again).await;
    let said = |console: &Console| console.stderr.concat().contains("the container engine was restarted");
    site.until_console(&mut console, said).await;
    let seen = console.all().lines().count();
    site.until_console(&mut console, |console| console.all().lines().count() > seen + 100).await;
    // Our own words are not looked for in the engine's log.
    site.worker.kill();
    site.start_worker(engine.address());
    let seen = console.all().lines().count();
    site.until_console(&mut console, |console| console.all().lines().count() > seen + 100).await;
    is_whole(&console.all());
    let [stdout, stderr] = engine.logs(&docker);
    assert_eq!(stdout.get(..console.all().len()), Some(&*console.all()));
    let said = console.stderr.concat();
    let errors: String = said.split_inclusive('\n').filter(|line| line.starts_with("err")).collect();
    assert_eq!(stderr.get(..errors.len()), Some(&*errors));
    assert_eq!(site.record(&id).await["attempt"], 1, "it never ended");
    site.do_it("remove", &id).await;
}

#[tokio::test]
async fn an_engine_that_ends_its_containers_is_named_and_what_shall_run_runs_again() {
    let engine = TestEngine::private();
    let mut site = Site::with(engine.address(), &[]).await;
    let (once, _) = site.create(json!({"command": "echo ready; sleep 1000"})).await;
    // One that is only chosen, others may take while there is no engine.
    let ports = json!([{"container": 80, "host": free_address().port()}]);
    let (always, created) =
        site.create(json!({"command": "echo ready; sleep 1000", "restart": "always", "ports": ports})).await;
    let restart = |engine: &mut TestEngine| {
        engine.stop();
        engine.start_again();
    };
    let engine = apart(engine, restart).await;
    let record = site.status_is(&once, "failed").await;
    assert!(record["errorMessage"].as_str().is_some_and(|why| why.contains("container engine")), "{record}");
    let record = site.status_is(&always, "running").await;
    assert!(record["attempt"].as_u64() >= Some(2), "{record}");
    assert_eq!(record["ports"], created["ports"], "reached as before");
    site.do_it("remove", &once).await;
    site.do_it("remove", &always).await;
    eventually("the engine to be rid of them", async || engine.docker(&["ps", "-aq"]).is_empty().then_some(())).await;
}
