//! A private Redis for the tests of this process.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

struct Server {
    port: u16,
    /// Ends the server when it is closed, which the end of this process does.
    _leash: Child,
    _dir: TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    // Statics are never dropped, so the server must notice by itself that this process is gone.
    let script = r#"redis-server --port "$0" --bind 127.0.0.1 --save "" --dir "$1" >/dev/null & cat; kill $!"#;
    let leash = Command::new("sh")
        .args(["-c", script, &port.to_string()])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a shell");
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "redis-server did not start; is it installed?");
        std::thread::sleep(Duration::from_millis(10));
    }
    Server { port, _leash: leash, _dir: dir }
});

/// Its URL. Who uses it takes a prefix of its own.
pub(crate) fn url() -> String {
    format!("redis://127.0.0.1:{}", SERVER.port)
}
