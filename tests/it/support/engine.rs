//! A private container engine for the tests of this process, with an image made of this machine's busybox.
//!
//! `GANGLINE_TEST_ENGINE=unix:///path` uses one that runs already. Where none can be started, the stories fail.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The image that there is. Its programs are busybox's; it has no command of its own.
pub(crate) const IMAGE: &str = "busybox:test";
/// The same, with a command and a directory of its own: it says where it is.
pub(crate) const SPEAKING_IMAGE: &str = "busybox:speaking";

/// A container engine.
pub(crate) struct TestEngine {
    address: String,
    dir: TempDir,
    /// More flags of it.
    flags: Vec<String>,
    /// Ends the engine when it is closed, which the end of this process does.
    leash: Option<Child>,
}

/// An engine that does nothing.
pub(crate) struct Frozen(Pid);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

static SHARED: LazyLock<TestEngine> = LazyLock::new(|| {
    let running = std::env::var("GANGLINE_TEST_ENGINE").ok().filter(|address| !address.is_empty());
    let engine = match running {
        Some(address) => TestEngine { address, dir: dir(), flags: Vec::new(), leash: None },
        None => TestEngine::start(dir(), "", &[]),
    };
    engine.import();
    engine
});

/// The address of the engine that the stories share.
pub(crate) fn address() -> &'static str {
    &SHARED.address
}

/// Asks the shared engine, as its own command line does.
pub(crate) fn docker(args: &[&str]) -> String {
    SHARED.docker(args)
}

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

impl TestEngine {
    /// One of its own, for a story that breaks it.
    pub(crate) fn private() -> Self {
        Self::with(&[])
    }

    /// The same with more flags.
    pub(crate) fn with(flags: &[&str]) -> Self {
        let engine = Self::start(dir(), "keep", flags);
        engine.import();
        engine
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn start(dir: TempDir, after: &str, flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let leash = Some(start(dir.path(), after, &flags));
        let engine = Self { address: format!("unix://{}/docker.sock", dir.path().display()), dir, flags, leash };
        engine.wait();
        engine
    }

    /// Ends the engine, and with it, unless it keeps them alive, its containers.
    pub(crate) fn stop(&mut self) {
        self.end(b"leave");
    }

    fn end(&mut self, word: &[u8]) {
        if let Some(mut leash) = self.leash.take() {
            if let Some(mut input) = leash.stdin.take() {
                let _ = input.write_all(word);
            }
            let _ = leash.wait();
        }
    }

    /// Has it answer nobody until what is returned is dropped.
    pub(crate) fn freeze(&self) -> Frozen {
        let pid = std::fs::read_to_string(self.dir.path().join("pid")).expect("the engine's process id");
        let pid = Pid::from_raw(pid.trim().parse().expect("a number"));
        kill(pid, Signal::SIGSTOP).expect("it runs");
        Frozen(pid)
    }

    /// Starts it again.
    pub(crate) fn start_again(&mut self) {
        self.leash = Some(start(self.dir.path(), "keep", &self.flags));
        self.wait();
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.answers() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            let end = log.lines().rev().take(5).collect::<Vec<_>>().join("\n");
            assert!(
                Instant::now() < deadline,
                "no container engine could be started: is docker.io installed (make setup), and is this root? {end}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self) -> bool {
        let version = self.command(&["version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.expect("a docker command: is docker.io installed (make setup)?").success()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command.args(["--host", &self.address]).args(args);
        command
    }

    pub(crate) fn docker(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("a docker command");
        assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// What the engine has kept of what a container wrote to stdout and stderr.
    pub(crate) fn logs(&self, container: &str) -> [String; 2] {
        let output = self.command(&["logs", container]).output().expect("a docker command");
        assert!(output.status.success(), "docker logs: {}", String::from_utf8_lossy(&output.stderr));
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Makes the images, from this machine's own busybox.
    fn import(&self) {
        let script = r#"set -e
            busybox=$(command -v busybox)
            mkdir -p "$0/root/bin" "$0/root/tmp" "$0/root/etc" "$0/root/dev" "$0/root/proc" "$0/root/sys" "$0/root/srv"
            cp -L "$busybox" "$0/root/bin/busybox"
            for applet in $("$busybox" --list | grep -vx busybox); do ln -s busybox "$0/root/bin/$applet"; done
            chmod 1777 "$0/root/tmp"
            tar -C "$0/root" -cf "$0/root.tar" .
            /usr/bin/docker --host "$1" import "$0/root.tar" busybox:test
            /usr/bin/docker --host "$1" import -c 'CMD ["sh", "-c", "echo I am in $PWD"]' -c 'WORKDIR /srv' \
                "$0/root.tar" busybox:speaking"#;
        let made = Command::new("sh").args(["-c", script]).arg(self.dir.path()).arg(&self.address).output();
        let made = made.expect("a shell");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "no image could be made: is busybox-static installed (make setup)? {said}");
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        self.end(b"");
    }
}

/// Starts an engine in `dir` that touches nothing of the machine's own: a bridge that is no other engine's, and no rules of
/// the firewall. The engine ends when the returned child's input is closed, with its containers (unless that says `leave`) and
/// mounts, and with the directory unless `after` is `keep`.
///
/// The bridge is given an address: by itself it takes that of one of its containers, another one whenever such a
/// container comes or goes, and what the others are sending to the former address then is lost.
fn start(dir: &Path, after: &str, flags: &[String]) -> Child {
    let script = r#"trap : INT TERM
        number=$(($$ % 4096)); tries=64
        until bridge=gltest$number; address=$(printf 02:67:6c:00:%02x:%02x $((number / 256)) $((number % 256)))
            ip link add "$bridge" address "$address" type bridge
        do [ $((tries -= 1)) -gt 0 ] || exit; number=$(((number + 1) % 4096)); done
        ip address add "10.$((208 + number / 256)).$((number % 256)).1/24" dev "$bridge"
        ip link set "$bridge" up
        dir=$0; after=$1; shift
        dockerd --host "unix://$dir/docker.sock" --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" \
            --bridge "$bridge" --iptables=false --ip6tables=false --shutdown-timeout 2 "$@" >>"$dir/log" 2>&1 &
        engine=$!
        [ "$(cat)" = leave ] || docker --host "unix://$dir/docker.sock" ps -aq |
            xargs -r docker --host "unix://$dir/docker.sock" rm -f
        kill "$engine"; wait "$engine"
        grep " $dir/" /proc/mounts | cut -d' ' -f2 | xargs -r umount -l
        ip link delete "$bridge"
        [ "$after" = keep ] || rm -rf "$dir""#;
    Command::new("sh")
        .args(["-c", script])
        .arg(dir)
        .arg(after)
        .args(flags)
        .env("PATH", path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

/// Where daemons are, too, even if that is not in the PATH of people.
fn path() -> String {
    format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
