//! Files of running jobs over SFTP, with OpenSSH's own `sftp`, `scp` and `ssh`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use gangline::protocol::auth::{Role, UserAdd};
use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

use crate::support::process::{Process, free_address, gangline};
use crate::support::{Peer, TestServer, eventually, soon};

const PASSWORD: &str = "correct horse";

/// A dispatcher, and a worker that serves SFTP.
struct Scene {
    server: TestServer,
    worker: Process,
    home: TempDir,
    sftp: SocketAddr,
}

/// Somebody with an OpenSSH client: whom they log in as, and with what.
struct Client<'a> {
    scene: &'a Scene,
    name: String,
    password: String,
    options: Vec<&'static str>,
}

impl Scene {
    async fn start() -> Self {
        Self::with(TestServer::start().await).await
    }

    async fn with(server: TestServer) -> Self {
        let (home, sftp) = (TempDir::new().unwrap(), free_address());
        fs::write(home.path().join("worker.token"), server.worker_token()).unwrap();
        let askpass = home.path().join("askpass");
        fs::write(&askpass, "#!/bin/sh\nprintf '%s\\n' \"$STORY_PASSWORD\"\n").unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        for account in ["ada", "bob"] {
            let password = Some(PASSWORD.to_owned());
            let user = UserAdd { account: account.to_owned(), role: Some(Role::User), email: None, password };
            server.dispatcher.auth().add_user(user).await.unwrap();
        }
        let worker = worker(home.path(), server.address, sftp);
        Self { server, worker, home, sftp }
    }

    /// An account's connection.
    async fn account(&self, name: &str) -> Peer {
        let token = self.server.token(Role::User, name).await;
        Peer::with_token(self.server.address, &token).await
    }

    /// A job of `account` that does `script` and then stays; returns its id, and its workspace.
    async fn job(&self, account: &str, script: &str) -> (String, PathBuf) {
        let mut peer = self.account(account).await;
        let script = format!("{script}\npwd\nread -r end");
        let job = peer.submit(&json!({"command": script, "stdin": true})).await;
        let written = peer.until("job", "output").await;
        (job["jobId"].as_str().unwrap().to_owned(), PathBuf::from(written["text"].as_str().unwrap().trim_end()))
    }

    /// A client that logs in as `account` for `job`, with the password.
    fn client(&self, account: &str, job: &str) -> Client<'_> {
        Client { scene: self, name: format!("{account}.{job}"), password: PASSWORD.to_owned(), options: Vec::new() }
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }
}

fn worker(home: &Path, dispatcher: SocketAddr, sftp: SocketAddr) -> Process {
    let (url, sftp) = (format!("ws://{dispatcher}/ws"), sftp.to_string());
    let args = ["worker", "--url", &url, "--id", "w", "--slots", "4", "--data-dir", "worker", "--token-file"];
    let args = [&args[..], &["worker.token", "--sftp", &sftp]].concat();
    Process::start(gangline(home, &args), home.join("worker.log"))
}

impl Client<'_> {
    fn with(mut self, password: impl Into<String>) -> Self {
        self.password = password.into();
        self
    }

    fn option(mut self, option: &'static str) -> Self {
        self.options.push(option);
        self
    }

    /// One of OpenSSH's programs, which asks nobody here.
    fn command(&self, program: &str, port: &str) -> Command {
        let home = self.scene.home.path();
        let mut command = Command::new(program);
        command.arg("-F").arg("/dev/null").arg(port).arg(self.scene.sftp.port().to_string());
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        let known = format!("UserKnownHostsFile={}", home.join("known_hosts").display());
        for option in ["StrictHostKeyChecking=accept-new", "NumberOfPasswordPrompts=1", "BatchMode=no", &known] {
            command.arg("-o").arg(option);
        }
        command
            .env("SSH_ASKPASS", home.join("askpass"))
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("STORY_PASSWORD", &self.password)
            .env_remove("SSH_AUTH_SOCK")
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Where `path` is, for a command line.
    fn at(&self, path: &str) -> String {
        format!("{}@{}:{path}", self.name, self.scene.sftp.ip())
    }

    /// `sftp` with these commands, of which the first that fails is the last.
    async fn sftp(&self, commands: &[&str]) -> Output {
        let mut command = self.command("sftp", "-P");
        command.args(["-b", "-"]).arg(self.at("")).stdin(Stdio::piped());
        let mut child = command.spawn().expect("sftp starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all((commands.join("\n") + "\n").as_bytes()).await.expect("it reads");
        drop(stdin);
        soon("sftp to end", child.wait_with_output()).await.expect("sftp ends")
    }

    /// `sftp` that has been told this, and waits for more.
    async fn visit(&self, command: &[u8]) -> (Child, ChildStdin) {
        let mut sftp = self.command("sftp", "-P");
        let mut visit = sftp.args(["-b", "-"]).arg(self.at("")).stdin(Stdio::piped()).spawn().expect("sftp starts");
        let mut stdin = visit.stdin.take().expect("it is piped");
        stdin.write_all(command).await.expect("it reads");
        (visit, stdin)
    }

    /// The same, where all of it must succeed; returns what it says.
    async fn does(&self, commands: &[&str]) -> String {
        let output = self.sftp(commands).await;
        assert!(output.status.success(), "{commands:?}: {}", words(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, where the last command must fail with these words.
    async fn fails(&self, commands: &[&str], expected: &str) {
        let output = self.sftp(commands).await;
        assert!(!output.status.success(), "{commands:?} should fail: {}", words(&output));
        assert!(!words(&output).contains("Connection closed"), "{commands:?} should be heard: {}", words(&output));
        assert!(words(&output).contains(expected), "{commands:?} should say {expected:?}: {}", words(&output));
    }

    /// Nobody is let in.
    async fn is_refused(&self) {
        let output = self.sftp(&["pwd"]).await;
        assert!(!output.status.success(), "{} should be refused: {}", self.name, words(&output));
        assert!(words(&output).contains("Permission denied ("), "{} should be refused: {}", self.name, words(&output));
    }

    async fn scp(&self, args: &[&str]) {
        let output = soon("scp to end", self.command("scp", "-P").args(args).output()).await.expect("scp starts");
        assert!(output.status.success(), "{args:?}: {}", words(&output));
    }
}

fn words(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// Bytes that are like nothing else.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

#[tokio::test]
async fn files_of_a_running_job_are_listed_read_written_renamed_and_removed() {
    let scene = Scene::start().await;
    let (job, workspace) = scene.job("ada", "mkdir out; echo hello > out/greeting").await;
    let client = scene.client("ada", &job);
    fs::write(scene.path("notes"), "from outside\n").unwrap();
    fs::set_permissions(scene.path("notes"), fs::Permissions::from_mode(0o640)).unwrap();

    let said = client
        .does(&[
            "pwd",
            "cd out",
            "pwd",
            "ls",
            "get greeting",
            "mkdir deeper",
            "put -p notes deeper/notes",
            "chmod 600 greeting",
            "rename deeper/notes renamed",
            "ls -l",
            "cd ..",
            "ls -a out",
        ])
        .await;
    for words in ["working directory: /\n", "working directory: /out\n", "greeting", "-rw-r-----", "renamed", "deeper"]
    {
        assert!(said.contains(words), "{words:?} in {said}");
    }
    assert_eq!(fs::read_to_string(scene.path("greeting")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(workspace.join("out/renamed")).unwrap(), "from outside\n");
    let [here, there] =
        [scene.home.path().join("notes"), workspace.join("out/renamed")].map(|at| at.metadata().unwrap());
    assert_eq!((here.mtime(), here.mode()), (there.mtime(), there.mode()), "put -p keeps both");
    assert_eq!(workspace.join("out/greeting").metadata().unwrap().mode() & 0o777, 0o600);

    client.does(&["rm out/renamed", "rmdir out/deeper", "put notes out/greeting"]).await;
    let mut left: Vec<_> = fs::read_dir(workspace.join("out")).unwrap().map(|it| it.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["greeting"]);
    assert_eq!(fs::read_to_string(workspace.join("out/greeting")).unwrap(), "from outside\n");

    client.fails(&["get missing"], "not found").await;
    client.fails(&["rmdir out"], "Failure").await;
    client.fails(&["rm out"], "Failure").await;
    client.fails(&["mkdir out"], "Failure").await;
}

#[tokio::test]
async fn a_long_list_is_that_of_ls() {
    let scene = Scene::start().await;
    let script = "mkdir d; chmod 1777 d; mkfifo -m 640 p; ln -s nowhere l; printf 12345 > f; chmod 4755 f; ln f g; touch -d 2001-02-03 f";
    let (job, workspace) = scene.job("ada", script).await;
    let listed = scene.client("ada", &job).does(&["ls -l"]).await;
    let expected = Command::new("ls").args(["-lno", "."]).env("LC_ALL", "C").current_dir(&workspace).output().await;
    let words = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = listed.lines().filter(|line| !line.starts_with("sftp>")).collect();
    let mut seen: Vec<_> = lines.iter().map(|line| words(line)).collect();
    let mut expected: Vec<_> =
        String::from_utf8(expected.unwrap().stdout).unwrap().lines().skip(1).map(words).collect();
    for line in &mut expected {
        // Where a link leads is not in it.
        line.truncate(8);
    }
    for line in &mut seen {
        line.remove(3);
    }
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    let column = lines[0].len() - " d".len();
    assert!(lines.iter().all(|line| line.len() == column + 2), "the columns are aligned: {listed}");
}

#[tokio::test]
async fn transfers_go_on_where_they_were_interrupted() {
    let scene = Scene::start().await;
    let whole = noise(3_000_001);
    let (job, workspace) = scene.job("ada", "true").await;
    let client = scene.client("ada", &job);

    fs::write(scene.path("up"), &whole).unwrap();
    fs::write(workspace.join("up"), &whole[..1_234_567]).unwrap();
    client.does(&["reput up"]).await;
    assert!(fs::read(workspace.join("up")).unwrap() == whole, "what was there is gone on with");

    fs::write(scene.path("down"), &whole[..2_345_678]).unwrap();
    client.does(&["rename up down", "reget down"]).await;
    assert!(fs::read(scene.path("down")).unwrap() == whole, "what was here is gone on with");

    // Shorter than what is there: it is cut.
    fs::write(scene.path("down"), "short").unwrap();
    client.does(&["put down"]).await;
    assert_eq!(fs::read(workspace.join("down")).unwrap(), b"short");
}

#[tokio::test]
async fn a_big_file_arrives_as_it_was_and_so_does_a_tree() {
    let scene = Scene::start().await;
    let big = noise(48 * 1024 * 1024 + 7);
    let (job, workspace) = scene.job("ada", "true").await;
    let client = scene.client("ada", &job);
    fs::create_dir_all(scene.path("tree/branch")).unwrap();
    fs::write(scene.path("tree/branch/big"), &big).unwrap();
    fs::write(scene.path("tree/empty"), "").unwrap();
    for leaf in 0..300 {
        fs::write(scene.path(&format!("tree/leaf-{leaf}")), leaf.to_string()).unwrap();
    }

    client.scp(&["-r", "-q", &scene.path("tree"), &client.at("/")]).await;
    assert!(fs::read(workspace.join("tree/branch/big")).unwrap() == big, "up");
    assert_eq!(fs::read_dir(workspace.join("tree")).unwrap().count(), 302);

    client.scp(&["-r", "-q", &client.at("tree"), &scene.path("back")]).await;
    assert!(fs::read(scene.path("back/branch/big")).unwrap() == big, "down");
    assert_eq!(fs::read_dir(scene.path("back")).unwrap().count(), 302);
    assert_eq!(fs::read(scene.path("back/empty")).unwrap(), b"");
    assert_eq!(fs::read(scene.path("back/leaf-299")).unwrap(), b"299");

    // Small pieces, very many at a time, the largest pieces, and another cipher.
    for options in
        [&["-B", "1000", "-R", "1000"][..], &["-B", "261120", "-R", "256"], &["-c", "aes256-gcm@openssh.com"]]
    {
        let mut command = client.command("sftp", "-P");
        command.args(["-q", "-a"]).args(options).arg(client.at("tree/branch/big")).arg(scene.path("again"));
        let output = soon("sftp to end", command.output()).await.unwrap();
        assert!(output.status.success(), "{options:?}: {}", words(&output));
        assert!(fs::read(scene.path("again")).unwrap() == big, "{options:?}");
        fs::remove_file(scene.path("again")).unwrap();
    }
}

#[tokio::test]
async fn nothing_leads_out_of_the_workspace() {
    let scene = Scene::start().await;
    fs::write(scene.path("secret"), "secret").unwrap();
    fs::create_dir(scene.path("elsewhere")).unwrap();
    let outside = scene.home.path().canonicalize().unwrap();
    let outside = outside.display();
    let script = format!(
        "mkdir inner; echo inside > inner/file; ln -s {outside} absolute; ln -s ../../../../.. up; ln -s inner within
         ln -s {outside}/secret secret-link; ln -s /proc/self/root/etc/hostname proc; ln -s absolute/secret twice; ln -s loop loop
         mkfifo pipe; mknod device c 1 3"
    );
    let (job, workspace) = scene.job("ada", &script).await;
    // A token, because this takes more logins than an account has in a minute.
    let client = scene.client("ada", &job).with(scene.server.token(Role::User, "ada").await);
    fs::write(scene.path("planted"), "planted").unwrap();

    // A path from the root is a path from the workspace, and above it there is nothing.
    client.fails(&[&format!("get {outside}/secret stolen")], "not found").await;
    client.fails(&["get ../../../../../../../../etc/hostname stolen"], "not found").await;
    client.fails(&["cd inner", "get ../../../../../../../etc/hostname stolen"], "not found").await;
    client.does(&["get /../inner/../../inner/file stolen"]).await;
    assert_eq!(fs::read_to_string(scene.path("stolen")).unwrap(), "inside\n");
    assert!(client.does(&["cd ../..", "pwd", "cd inner/../..", "pwd"]).await.ends_with("working directory: /\n"));

    // A link within is followed, one that leads out is shown, and can be removed.
    client.does(&["get within/file stolen"]).await;
    assert!(client.does(&["ls -l"]).await.lines().any(|line| line.starts_with('l') && line.ends_with("absolute")));
    for path in ["absolute/secret", "up/etc/hostname", "secret-link", "proc", "twice", "loop", "pipe", "device"] {
        client.fails(&[&format!("get {path} stolen")], "").await;
    }
    for command in [
        "cd absolute",
        "cd up",
        "ls up/etc",
        "put planted absolute/planted",
        "put planted secret-link",
        "put planted pipe",
        "put planted device",
        "mkdir absolute/made",
        "rmdir absolute/elsewhere",
        "rm absolute/secret",
        "rename absolute/secret taken",
        "rename inner absolute/inner",
        "chmod 777 secret-link",
        "chmod 777 absolute",
        "ln -s / root",
        "ln inner/file absolute/hard",
    ] {
        client.fails(&[command], "").await;
    }
    client.does(&["rm secret-link", "rm absolute", "rename up renamed"]).await;

    assert_eq!(fs::read_to_string(scene.path("secret")).unwrap(), "secret");
    assert_ne!(fs::metadata(scene.path("secret")).unwrap().mode() & 0o777, 0o777);
    let elsewhere = fs::read_dir(scene.home.path()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut elsewhere: Vec<_> = elsewhere.collect();
    elsewhere.sort();
    let expected = "askpass elsewhere known_hosts planted secret stolen worker worker.log worker.token";
    assert_eq!(elsewhere.join(" "), expected);
    assert!(workspace.join("inner/file").is_file() && workspace.join("renamed").is_symlink());
}

#[tokio::test]
async fn nobody_comes_in_but_who_may_see_the_job() {
    let scene = Scene::start().await;
    let (job, _) = scene.job("ada", "true").await;
    let number = job.split('-').nth(1).unwrap();

    scene.client("ada", &job).with("wrong horse").is_refused().await;
    scene.client("ada", &job).with("").is_refused().await;
    scene.client("bob", &job).is_refused().await;
    scene.client("eve", &job).is_refused().await;
    scene.client("ada", "job-9999-00000000").is_refused().await;
    scene.client("ada", "job").is_refused().await;
    let token = scene.server.token(Role::User, "ada").await;
    scene.client("bob", &job).with(&token).is_refused().await;
    scene.client("admin", &job).with(scene.server.worker_token()).is_refused().await;
    assert!(scene.worker.words().contains("wrong account or password"), "{}", scene.worker.words());
    assert!(!scene.worker.words().contains("wrong horse"));
    let asked = json!({"opt": "audit", "account": "ada"});
    let log = scene.server.admin().await.get("auth", &asked, "auditLog").await;
    let failed = log["entries"].as_array().unwrap().iter().find(|entry| entry["action"] == "loginFailed").unwrap();
    let shown = (&failed["action"], &failed["target"], &failed["detail"]);
    assert_eq!(shown, (&json!("loginFailed"), &json!("ada"), &json!("sftp")));
    let (mut peer, sessions) = (scene.account("bob").await, json!({"opt": "sessionList"}));
    assert_eq!(peer.get("auth", &sessions, "sessions").await["sessions"], json!([]), "nothing that could come back");
    let workers = peer.get("worker", &json!({"opt": "list"}), "workers").await;
    assert_eq!(workers["workers"][0]["sftp"], json!(scene.sftp.to_string()));

    scene.client("ada", number).does(&["pwd"]).await;
    scene.client("ada", &job).with(&token).does(&["pwd"]).await;
    scene.client("admin", &job).with(scene.server.admin_token()).does(&["pwd"]).await;
    scene.client("ada", &job).option("PreferredAuthentications=keyboard-interactive").does(&["pwd"]).await;
    scene.client("ada", &job).option("PreferredAuthentications=publickey").is_refused().await;
}

#[tokio::test]
async fn a_job_that_runs_elsewhere_or_not_at_all_has_no_files_here() {
    let scene = Scene::start().await;
    let mut ada = scene.account("ada").await;
    let over = ada.queue(&json!({"command": "true"})).await;
    ada.job_is(&over, "completed").await;
    scene.client("ada", &over).is_refused().await;
    let waiting = ada.queue(&json!({"command": "true", "requires": {"workerId": "absent"}})).await;
    scene.client("ada", &waiting).is_refused().await;

    let mut other = scene.server.worker("other", &json!({})).await;
    let elsewhere = ada.queue(&json!({"command": "true", "requires": {"workerId": "other"}})).await;
    other.assigned().await;
    scene.client("ada", &elsewhere).is_refused().await;
}

#[tokio::test]
async fn the_data_of_a_container_is_there_until_it_is_removed() {
    let server = TestServer::start().await;
    let carol = server.user_token("carol").await;
    let mut peer = Peer::with_token(server.address, &carol).await;
    // One that ran on `w`, and has ended.
    let mut earlier = server.worker("w", &json!({"images": ["busybox:latest"]})).await;
    let create = json!({"opt": "create", "imageId": "busybox"});
    let starts = async {
        let assigned = earlier.accepted().await;
        let started = json!({"opt": "started", "containerId": assigned.job, "attempt": 1, "ports": []});
        earlier.peer.say("container", &started).await;
        assigned
    };
    let (created, assigned) = tokio::join!(peer.get("container", &create, "created"), starts);
    let id = created["containerId"].as_str().unwrap().to_owned();
    earlier.run(&assigned, "up\n").await;
    let get = json!({"opt": "get", "containerId": id});
    eventually("it has stopped", async || {
        let record = peer.get("container", &get, "container").await;
        (record["container"]["status"] == "stopped").then_some(())
    })
    .await;
    earlier.peer.vanish();

    let scene = Scene::with(server).await;
    scene.job("ada", "true").await;
    let client = scene.client("carol", &id).with(&carol);
    client.is_refused().await;
    assert!(scene.worker.words().contains("no files"), "nothing was kept of it here: {}", scene.worker.words());
    let data = scene.home.path().join("worker/worker/workers/w/containers").join(&id).join("data");
    fs::create_dir_all(data.join("volumes/world")).unwrap();
    fs::write(data.join("volumes/world/level"), "flat").unwrap();
    std::os::unix::fs::symlink("/etc", data.join("etc")).unwrap();

    client.does(&["mkdir m", "rename m m2", "cd volumes/world", "get level", "rename level level-1"]).await;
    assert!(data.join("m2").is_dir() && !data.join("m").exists());
    for command in ["rename volumes moved", "rename etc volumes/etc", "rename volumes/world volumes/moved"] {
        client.fails(&[command], "Permission denied").await;
    }
    assert_eq!(fs::read_to_string(scene.path("level")).unwrap(), "flat");
    assert!(data.join("volumes/world/level-1").is_file());
    client.fails(&["get etc/hostname stolen"], "").await;
    client.fails(&["get ../../../sftp_host_key stolen"], "not found").await;
    scene.client("carol", id.split('-').nth(1).unwrap()).with(&carol).does(&["pwd"]).await;
    scene.client("admin", &id).with(scene.server.admin_token()).does(&["pwd"]).await;
    scene.client("ada", &id).is_refused().await;

    let (visit, mut stdin) = client.visit(b"get volumes/world/level-1 in\n").await;
    eventually("the file", async || fs::metadata(scene.path("in")).ok()).await;
    peer.get("container", &json!({"opt": "remove", "containerId": id}), "ok").await;
    eventually("its data to go", async || (!data.exists()).then_some(())).await;
    // It only notices when it has something to do.
    let _ = stdin.write_all(b"get volumes/world/level-1 in\n").await;
    let output = soon("the visit to end", visit.wait_with_output()).await.unwrap();
    assert!(!output.status.success() && words(&output).contains("the container removed"), "{}", words(&output));
    client.is_refused().await;
}

#[tokio::test]
async fn guessing_is_counted_with_all_other_logins_and_what_is_right_is_not() {
    // Tries come back with time.
    let scene = Scene::with(TestServer::with_manual_clock().await).await;
    let (job, _) = scene.job("ada", "true").await;
    // As `for file in *; do scp …` does it. A token is no guess, either.
    for _ in 0..11 {
        scene.client("ada", &job).does(&["pwd"]).await;
    }
    scene.client("ada", &job).with(scene.server.token(Role::User, "ada").await).does(&["pwd"]).await;
    // Ten a minute that are wrong: here, and elsewhere.
    let once = "PreferredAuthentications=password";
    scene.client("ada", &job).option(once).with("guess").is_refused().await;
    for _ in 0..9 {
        let login = json!({"account": "ada", "password": "guess"});
        let (mut stranger, _) = scene.server.stranger().await;
        stranger.refused("auth", &login, "unauthorized").await;
    }
    scene.client("ada", &job).is_refused().await;
    assert!(scene.worker.words().contains("too many logins"), "{}", scene.worker.words());
    scene.client("ada", &job).with(scene.server.token(Role::User, "ada").await).does(&["pwd"]).await;
}

#[tokio::test]
async fn without_tokens_anybody_on_this_machine_comes_in() {
    let scene = Scene::with(TestServer::with(|settings| settings.open = true).await).await;
    let (job, _) = scene.job("ada", "echo hello > greeting").await;
    scene.client("anonymous", &job).with("").does(&["get greeting"]).await;
    scene.client("bob", &job).is_refused().await;
}

#[tokio::test]
async fn a_visit_ends_with_the_job() {
    let scene = Scene::start().await;
    let (job, workspace) = scene.job("ada", "echo hello > greeting").await;
    let client = scene.client("ada", &job);
    let (visit, mut stdin) = client.visit(b"get greeting\n").await;
    eventually("the file", async || fs::metadata(scene.path("greeting")).ok()).await;

    let mut ada = scene.account("ada").await;
    ada.get("job", &json!({"opt": "cancel", "jobId": job}), "ok").await;
    ada.job_is(&job, "cancelled").await;
    // It only notices when it has something to do.
    let _ = stdin.write_all(b"get greeting again\n").await;
    let output = soon("the visit to end", visit.wait_with_output()).await.unwrap();
    assert!(!output.status.success() && words(&output).contains("the job is over"), "{}", words(&output));
    assert!(!workspace.exists());
    client.is_refused().await;
}

#[tokio::test]
async fn the_host_key_stays_over_a_restart_and_without_a_dispatcher_nobody_comes_in() {
    let mut scene = Scene::start().await;
    let (job, _) = scene.job("ada", "true").await;
    scene.client("ada", &job).does(&["pwd"]).await;
    scene.worker.signal(Signal::SIGKILL);
    scene.worker.ended().await;
    scene.worker = worker(scene.home.path(), scene.server.address, scene.sftp);
    let (job, _) = scene.job("ada", "true").await;
    scene.client("ada", &job).option("StrictHostKeyChecking=yes").does(&["pwd"]).await;
    let key = scene.home.path().join("worker/worker/workers/w/sftp_host_key");
    assert_eq!(fs::metadata(key).unwrap().mode() & 0o777, 0o600);

    let Scene { server, worker, home, sftp } = scene;
    let (token, elsewhere) = (server.worker_token().to_owned(), TestServer::start().await);
    drop(server);
    eventually("the worker to notice", async || worker.words().contains("connecting again").then_some(())).await;
    let scene = Scene { server: elsewhere, worker, home, sftp };
    scene.client("ada", &job).is_refused().await;
    let words = scene.worker.words();
    assert!(words.contains("no dispatcher is connected"), "{words}");
    assert!(words.contains("SHA256:") && !words.contains(PASSWORD) && !words.contains(&token), "{words}");
}

#[tokio::test]
async fn there_is_no_shell_no_program_and_no_way_through() {
    let scene = Scene::start().await;
    let (job, _) = scene.job("ada", "true").await;
    let client = scene.client("ada", &job);
    let destination = format!("{}@{}", client.name, scene.sftp.ip());
    let dispatcher = scene.server.address.to_string();
    for args in [
        &[destination.as_str(), "true"][..],
        &[&destination],
        &["-tt", &destination],
        &["-s", &destination, "netconf"],
        &["-W", &dispatcher, &destination],
        &["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "-N", &destination],
    ] {
        let output = soon("ssh to end", client.command("ssh", "-p").args(args).output()).await.unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{args:?}: {}", words(&output));
    }
    // The older `scp` runs a program on the other side.
    let output = client.command("scp", "-P").args(["-O", &client.at("x"), &scene.path("x")]).output();
    assert!(!soon("scp to end", output).await.unwrap().status.success());
    client.does(&["pwd"]).await;
}

#[tokio::test]
async fn clients_learn_where_the_files_of_a_worker_are() {
    let scene = Scene::start().await;
    // It is there once it runs something.
    scene.job("ada", "true").await;
    let worker = scene.account("ada").await.get("worker", &json!({"opt": "get", "workerId": "w"}), "worker").await;
    assert_eq!(worker["worker"]["sftp"], json!(scene.sftp.to_string()));
}
