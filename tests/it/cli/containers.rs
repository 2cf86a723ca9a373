//! Containers from the command line, in a real engine.

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::support::engine::{self, IMAGE};
use crate::support::{TestServer, eventually};

/// Says what it reads, with its number, until it reads `end`.
const PARROT: &str =
    r#"echo begins; i=0; while read line; do i=$((i+1)); echo "$i $line"; test "$line" = end && exit 5; done"#;

pub(super) async fn up() -> Up {
    let up = Up::start_with(&["--container-engine", engine::address()]).await;
    up.has_a_worker().await;
    up
}

impl Up {
    /// Makes a container that runs `script`, and returns its id.
    pub(super) async fn container(&self, flags: &[&str], script: &str) -> String {
        let id = self.text(&[&["container", "create", IMAGE], flags, &["--", script]].concat()).await;
        id.trim().to_owned()
    }

    /// `show --json` of a container.
    async fn record(&self, container: &str) -> Value {
        serde_json::from_str(&self.text(&["container", "show", container, "--json"]).await).unwrap()
    }

    /// Waits until a container's console says `wanted`.
    async fn said(&self, container: &str, wanted: &str) {
        let said = async || {
            let logs = self.call(&["container", "logs", container]).await;
            String::from_utf8([logs.stdout, logs.stderr].concat()).unwrap().contains(wanted).then_some(())
        };
        eventually(wanted, said).await;
    }
}

/// What a web server says.
async fn page(address: SocketAddr) -> std::io::Result<String> {
    let mut connection = tokio::net::TcpStream::connect(address).await?;
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut reply = String::new();
    connection.read_to_string(&mut reply).await?;
    let body = reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    body.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

/// A command under a terminal of 31 rows and 101 columns.
struct Terminal {
    pty: pty_process::Pty,
    child: Child,
    seen: String,
}

impl Terminal {
    fn of(up: &Up, args: &[&str]) -> Self {
        let (pty, pts) = pty_process::open().unwrap();
        pty.resize(pty_process::Size::new(31, 101)).unwrap();
        let plain = up.command(args);
        let args: Vec<_> = plain.as_std().get_args().collect();
        let mut command = pty_process::Command::new(plain.as_std().get_program()).args(args).kill_on_drop(true);
        for (name, value) in plain.as_std().get_envs() {
            command = command.env(name, value.unwrap_or_default());
        }
        let child = command.current_dir(up.home.0.path()).spawn(pts).unwrap();
        Self { pty, child, seen: String::new() }
    }

    async fn types(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).await.unwrap();
    }

    /// Reads until `wanted` is on the screen, and forgets what is before its end.
    async fn until(&mut self, wanted: &str) {
        while !self.read_more(wanted).await {}
    }

    async fn read_more(&mut self, wanted: &str) -> bool {
        if let Some(at) = self.seen.find(wanted) {
            self.seen.drain(..at + wanted.len());
            return true;
        }
        let mut buffer = [0; 1024];
        let len = timeout(WITHIN, self.pty.read(&mut buffer)).await.unwrap().unwrap_or(0);
        assert!(len > 0, "{wanted:?} never came after {:?}", self.seen);
        self.seen.push_str(&String::from_utf8_lossy(&buffer[..len]));
        false
    }

    async fn status(mut self) -> Option<i32> {
        let mut buffer = [0; 1024];
        // A terminal whose other side is closed reads as an error.
        while timeout(WITHIN, self.pty.read(&mut buffer)).await.unwrap().is_ok_and(|len| len > 0) {}
        status(self.child).await
    }
}

#[tokio::test]
async fn a_container_is_made_reached_and_removed() {
    let up = up().await;
    let create = ["container", "create", IMAGE, "--name", "web", "--port", "80", "-e", "WORD=hello", "--json", "--"];
    let created =
        up.text(&[&create[..], &["echo $WORD > /data/index.html; exec httpd -f -p 80 -h /data"]].concat()).await;
    let created: Value = serde_json::from_str(&created).unwrap();
    let port = &created["ports"][0];
    let at = |port: &Value| port["address"].as_str().unwrap().parse::<SocketAddr>().unwrap();
    assert_eq!(
        (&port["container"], at(port).port()),
        (&80.into(), u16::try_from(port["host"].as_u64().unwrap()).unwrap())
    );
    // It runs; that its program listens is its own affair.
    let hello = async |address: SocketAddr| {
        let reply = async || page(address).await.ok();
        eventually("its program to answer", reply).await
    };
    assert_eq!(hello(at(port)).await, "hello\n");

    let rows = up.text(&["container", "ls", "--json", "--status", "running"]).await;
    let row: Value = serde_json::from_str(rows.trim()).unwrap();
    assert_eq!((&row["name"], &row["ports"]), (&"web".into(), &created["ports"]));
    let table = up.text(&["container", "ls"]).await;
    assert!(table.starts_with("ID ") && table.contains("running") && table.contains("->80/tcp"), "{table}");

    // What it wrote to /data is there again; its port may be another.
    assert_eq!(up.text(&["container", "restart", "--grace", "1s", "web"]).await, "web\n");
    let again = up.record("web").await;
    assert_eq!((&again["attempt"], &again["status"]), (&2.into(), &"running".into()));
    assert_eq!(hello(at(&again["ports"][0])).await, "hello\n");

    let other = up.container(&[], "sleep 1000").await;
    assert!(other.starts_with("ctr-"), "{other}");
    assert_eq!(up.text(&["container", "stop", "--grace", "0s", "web", &other]).await, format!("web\n{other}\n"));
    assert_eq!(up.record("web").await["status"], "stopped");
    assert_eq!(up.call(&["container", "kill", "web"]).await.status.code(), Some(1), "it does not run");
    assert_eq!(up.text(&["container", "start", "web", "web"]).await, "web\nweb\n");
    assert_eq!(up.text(&["container", "kill", "web"]).await, "web\n");
    assert_eq!(up.text(&["container", "rm", "-f", "web", &other]).await, format!("web\n{other}\n"));
    assert_eq!(up.text(&["container", "ls", "--json"]).await, "");
    assert_eq!(up.call(&["container", "show", "web"]).await.status.code(), Some(1));
    up.end().await;
}

#[tokio::test]
async fn a_container_that_cannot_be_says_why() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = format!("{}:80", taken.local_addr().unwrap().port());
    let up = up().await;
    for (args, code, field) in [
        (&["container", "create", "no.such.registry.invalid/nothing"][..], "not_found", "imageId"),
        (&["container", "create", IMAGE, "--port", &port, "--", "sleep", "9"], "conflict", "ports"),
        (&["container", "create", IMAGE, "--worker", "nobody", "--", "sleep", "9"], "unsatisfiable", ""),
        (&["container", "create", IMAGE, "--name", "7"], "bad_frame", "name"),
        (&["container", "create", IMAGE, "--", "no-such-program", "x"], "conflict", ""),
        (&["container", "create", IMAGE, "--tty", "--", "/etc", "x"], "conflict", ""),
        (&["container", "stop", "nothing"], "not_found", ""),
        (&["container", "logs", "nothing"], "not_found", ""),
    ] {
        let failed = up.call(&[&["--json"], args].concat()).await;
        let error: Value = serde_json::from_slice(&failed.stderr).unwrap_or_default();
        assert_eq!((failed.status.code(), &error["error"]["code"]), (Some(1), &code.into()), "{args:?}: {failed:?}");
        assert_eq!(error["error"]["field"].as_str().unwrap_or_default(), field, "{error}");
        assert!(failed.stdout.is_empty(), "{failed:?}");
    }
    assert_eq!(up.text(&["container", "ls", "--json"]).await, "", "nothing is left");
    assert_eq!(up.call(&["container", "attach", "nothing"]).await.status.code(), Some(1));
    assert_eq!(up.call(&["container", "exec", "nothing", "--", "true"]).await.status.code(), Some(1));
    up.end().await;
}

#[tokio::test]
async fn one_that_is_refused_holds_up_no_other() {
    let up = up().await;
    for name in ["m1", "m2"] {
        up.container(&["--name", name], "exec sleep 1000").await;
    }
    for (verb, status) in [("stop", "stopped"), ("start", "running"), ("restart", "running"), ("kill", "stopped")] {
        let done = up.call(&["container", verb, "m1", "nope", "m2"]).await;
        assert_eq!(done.status.code(), Some(1), "{verb}");
        assert_eq!(String::from_utf8(done.stdout).unwrap(), "m1\nm2\n", "{verb}");
        let words = String::from_utf8(done.stderr).unwrap();
        assert!(words.starts_with("gangline: nope: ") && words.lines().count() == 1, "{verb}: {words}");
        assert_eq!(up.record("m2").await["status"], status, "{verb}");
    }
    let gone = up.call(&["container", "rm", "--json", "nope", "m1", "no", "m2"]).await;
    assert_eq!(gone.status.code(), Some(1));
    assert_eq!(String::from_utf8(gone.stderr).unwrap().matches("not_found").count(), 2);
    assert_eq!(up.text(&["container", "ls", "--json"]).await, "");
    up.end().await;
}

#[tokio::test]
async fn ctrl_c_during_a_create_says_that_it_goes_on() {
    let (home, server) = (Home::new(), TestServer::start().await);
    let mut worker = server.worker("w", &serde_json::json!({"images": []})).await;
    let (url, token) = (format!("ws://{}/ws", server.address), server.user_token("ada").await);
    let command = |args: &[&str]| {
        let mut command = home.command(args);
        command.env("GANGLINE_URL", &url).env("GANGLINE_TOKEN", &token);
        command
    };
    let create = command(&["container", "create", "large", "--name", "web"]).spawn().unwrap();
    worker.accepted().await;
    signal(&create, Signal::SIGINT);
    let left = timeout(WITHIN, create.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((left.status.code(), left.stdout), (Some(130), Vec::new()));
    assert!(String::from_utf8(left.stderr).unwrap().contains("gangline container ls"));
    let listed = String::from_utf8(output(command(&["container", "ls"])).await.stdout).unwrap();
    assert!(listed.contains("web") && listed.contains("creating"), "{listed}");
}

#[tokio::test]
async fn a_console_is_printed_as_it_was_written() {
    let up = up().await;
    let id = up.container(&["--name", "talker"], "seq 5; echo oops >&2; exec sleep 1000").await;
    up.said("talker", "oops").await;
    assert_eq!(up.text(&["container", "logs", "--stdout", "--tail", "2", "talker"]).await, "4\n5\n");
    let errors = up.call(&["container", "logs", "--stderr", &id]).await;
    assert_eq!((errors.stdout, errors.stderr), (Vec::new(), b"oops\n".to_vec()));
    let frames = up.text(&["container", "logs", "--json", "talker"]).await;
    let frames: Vec<Value> = frames.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&frames[0]["opt"], &frames[0]["at"], &frames[0]["status"]),
        (&"status".into(), &"1-0".into(), &"running".into())
    );
    assert!(frames.iter().all(|frame| frame["containerId"] == id.as_str()), "{frames:?}");

    // Followed, it goes on over starts, and ends with the container.
    let mut follow = up.command(&["container", "logs", "-f", "--stdout", "--after", "1-0", "talker"]).spawn().unwrap();
    let mut followed = BufReader::new(follow.stdout.take().unwrap());
    let mut lines = String::new();
    timeout(WITHIN, followed.read_line(&mut lines)).await.unwrap().unwrap();
    up.text(&["container", "restart", "--grace", "0s", "talker"]).await;
    let twice = async || {
        let written = up.text(&["container", "logs", "--stdout", "talker"]).await;
        (written.lines().count() == 10).then_some(())
    };
    eventually("what the second start writes", twice).await;
    up.text(&["container", "rm", "talker"]).await;
    timeout(WITHIN, followed.read_to_string(&mut lines)).await.unwrap().unwrap();
    assert_eq!(lines, "1\n2\n3\n4\n5\n1\n2\n3\n4\n5\n");
    assert_eq!(status(follow).await, Some(0));
    up.end().await;
}

#[tokio::test]
async fn programs_run_inside_a_container_as_if_they_ran_here() {
    let up = up().await;
    up.container(&["--name", "box", "--env", "FROM=create"], "sleep 1000").await;
    let run = up.call(&["container", "exec", "box", "--", "echo $FROM; echo err >&2; exit 7"]).await;
    assert_eq!((run.status.code(), &run.stdout[..], &run.stderr[..]), (Some(7), &b"create\n"[..], &b"err\n"[..]));
    let flags = ["container", "exec", "-e", "A=b c", "--cwd", "/tmp", "box", "sh", "-c", "echo \"$A\"; pwd"];
    assert_eq!(up.text(&flags).await, "b c\n/tmp\n");
    let unknown = up.call(&["container", "exec", "box", "no-such-program", "with", "arguments"]).await;
    assert_eq!(unknown.status.code(), Some(127), "{unknown:?}");

    let input: Vec<u8> = (0..50_000u32).flat_map(u32::to_le_bytes).collect();
    let mut cat = up.command(&["container", "exec", "-i", "box", "--", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let (mut stdin, sent) = (cat.stdin.take().unwrap(), input.clone());
    let feeding = tokio::spawn(async move { stdin.write_all(&sent).await });
    let cat = timeout(WITHIN, cat.wait_with_output()).await.unwrap().unwrap();
    feeding.await.unwrap().unwrap();
    assert!(cat.status.success() && cat.stdout == input, "{} bytes came back", cat.stdout.len());

    let mut run = up.command(&["container", "exec", "box", "--", "echo ready; exec sleep 1000"]).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(run.stdout.take().unwrap());
    timeout(WITHIN, stdout.read_line(&mut line)).await.unwrap().unwrap();
    signal(&run, Signal::SIGINT);
    assert_eq!(status(run).await, Some(130));

    let mut terminal =
        Terminal::of(&up, &["container", "exec", "-it", "box", "--", "stty size; read l; echo got $l; exit 4"]);
    terminal.until("31 101").await;
    terminal.types("hello\r").await;
    terminal.until("got hello\r\n").await;
    assert_eq!(terminal.status().await, Some(4));
    up.text(&["container", "rm", "box"]).await;
    up.end().await;
}

#[tokio::test]
async fn attach_brings_the_last_lines_and_what_is_written_there_goes_in() {
    let up = up().await;
    up.container(&["--name", "parrot"], PARROT).await;
    up.said("parrot", "begins").await;
    let attach = || up.command(&["container", "attach", "parrot"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut first = attach();
    let mut stdout = BufReader::new(first.stdout.take().unwrap()).lines();
    let mut stdin = first.stdin.take().unwrap();
    assert_eq!(timeout(WITHIN, stdout.next_line()).await.unwrap().unwrap().unwrap(), "begins");
    stdin.write_all(b"one\n").await.unwrap();
    assert_eq!(timeout(WITHIN, stdout.next_line()).await.unwrap().unwrap().unwrap(), "1 one");
    // The end of the input here is not the end of the container's: others may write to it.
    drop(stdin);
    signal(&first, Signal::SIGINT);
    assert_eq!(status(first).await, Some(130));

    let mut second = attach();
    second.stdin.take().unwrap().write_all(b"two\nend\n").await.unwrap();
    let ended = timeout(WITHIN, second.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), "begins\n1 one\n2 two\n3 end\n");
    assert_eq!(ended.status.code(), Some(5), "as the container did");
    assert_eq!(up.call(&["container", "attach", "parrot"]).await.status.code(), Some(1), "it does not run");
    up.text(&["container", "rm", "parrot"]).await;
    up.end().await;
}

#[tokio::test]
async fn attach_to_a_terminal_is_that_terminal_until_the_keys_to_leave() {
    let up = up().await;
    // Its own prompt, without which a shell asks the terminal where its cursor is.
    up.container(&["--name", "shell", "-t"], "stty -echo; echo begins; while read l; do eval \"$l\"; done; exit 9")
        .await;
    up.said("shell", "begins").await;
    let mut terminal = Terminal::of(&up, &["container", "attach", "shell"]);
    terminal.until("begins\r\n").await;
    // What is typed goes to the program, its size to the engine: neither waits for the other.
    terminal.types("until stty size | grep '31 101'; do sleep 0.05; done\r").await;
    terminal.until("31 101\r\n").await;
    terminal.pty.resize(pty_process::Size::new(40, 120)).unwrap();
    terminal.types("until stty size | grep '40 120'; do sleep 0.05; done\r").await;
    terminal.until("40 120\r\n").await;
    terminal.types("\x10\x11").await;
    terminal.until("shell goes on; ").await;
    assert_eq!(terminal.status().await, Some(0));
    assert_eq!(up.record("shell").await["status"], "running");

    let mut terminal = Terminal::of(&up, &["container", "attach", "shell"]);
    terminal.until("40 120\r\n").await;
    // The key for the end of the input.
    terminal.types("\x04").await;
    assert_eq!(terminal.status().await, Some(9));
    up.text(&["container", "rm", "shell"]).await;
    up.end().await;
}

#[tokio::test]
async fn attach_outlives_the_dispatchers_death() {
    let home = Home::new();
    let address = free_address().to_string();
    let url = format!("ws://{address}/ws");
    let mut dispatcher = serve(&home, &address).await;
    let worker = ["worker", "--url", &url, "--container-engine", engine::address()];
    let _worker = home.command(&worker).stderr(Stdio::null()).spawn().unwrap();
    while !output(home.command(&["workers", "--url", &url])).await.stdout.windows(4).any(|word| word == b"idle") {}
    let create = ["container", "create", IMAGE, "--url", &url, "--name", "parrot", "--", PARROT];
    assert!(output(home.command(&create)).await.status.success());
    let mut attach =
        home.command(&["container", "attach", "parrot", "--url", &url]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(attach.stdout.take().unwrap()).lines();
    let mut says = async || timeout(WITHIN, stdout.next_line()).await.unwrap().unwrap();
    let mut stdin = attach.stdin.take().unwrap();
    assert_eq!(says().await.as_deref(), Some("begins"));
    stdin.write_all(b"one\n").await.unwrap();
    assert_eq!(says().await.as_deref(), Some("1 one"));
    dispatcher.kill().await.unwrap();
    let _dispatcher = serve(&home, &address).await;
    // By another door, so that what is typed is not what was lost on the way.
    let mut other =
        home.command(&["container", "attach", "parrot", "--url", &url]).stdin(Stdio::piped()).spawn().unwrap();
    other.stdin.take().unwrap().write_all(b"two\nend\n").await.unwrap();
    assert_eq!((says().await.as_deref(), says().await.as_deref()), (Some("2 two"), Some("3 end")));
    assert_eq!(says().await, None);
    assert_eq!((status(attach).await, status(other).await), (Some(5), Some(5)));
    let removed = output(home.command(&["container", "rm", "parrot", "--url", &url])).await;
    assert!(removed.status.success(), "{removed:?}");
}

#[tokio::test]
async fn stats_tell_what_containers_use() {
    let up = up().await;
    let busy = up.container(&["--name", "busy", "--memory", "64MiB", "--cpus", "0.5"], "while :; do :; done").await;
    let mut stats = up.command(&["container", "stats", "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(stats.stdout.take().unwrap()).lines();
    loop {
        let line = timeout(WITHIN, lines.next_line()).await.unwrap().unwrap().expect("it goes on");
        let report: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&report["containerId"], &report["memoryLimitBytes"]), (&busy.as_str().into(), &(64 << 20).into()));
        if report["cpu"].as_f64().unwrap() > 0.1 {
            break;
        }
    }
    drop(lines);
    assert_eq!(status(stats).await, Some(0), "its reader went away");
    let mut table = up.command(&["container", "stats", "busy"]).spawn().unwrap();
    let mut lines = BufReader::new(table.stdout.take().unwrap()).lines();
    while !timeout(WITHIN, lines.next_line()).await.unwrap().unwrap().expect("it goes on").contains(" of 64 MiB") {}
    table.kill().await.unwrap();
    up.text(&["container", "rm", "busy"]).await;
    up.end().await;
}

#[tokio::test]
async fn a_job_runs_in_a_container_as_if_it_ran_here() {
    let up = up().await;
    let run = up.call(&["run", "--image", IMAGE, "--", "sh", "-c", "busybox | head -n 1; echo err >&2; exit 6"]).await;
    assert_eq!((run.status.code(), run.stderr), (Some(6), b"err\n".to_vec()));
    assert!(run.stdout.starts_with(b"BusyBox"), "{:?}", String::from_utf8_lossy(&run.stdout));
    let mut terminal = Terminal::of(&up, &["run", "-t", "--image", IMAGE, "stty size; read l; echo got $l"]);
    terminal.until("31 101").await;
    terminal.types("hello\r").await;
    terminal.until("got hello\r\n").await;
    assert_eq!(terminal.status().await, Some(0));
    up.end().await;
}
