//! A private server that speaks S3, for the tests of this process: `moto`, which `make setup` fetches.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

struct Server {
    port: u16,
    /// Ends the server when it is closed, which the end of this process does.
    _leash: Child,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/moto_server");
    assert!(program.exists(), "{} is missing: run make setup", program.display());
    // Statics are never dropped, so the server must notice by itself that this process is gone.
    let script = r#""$1" -H 127.0.0.1 -p "$0" >/dev/null 2>&1 & cat; kill $!"#;
    let leash = Command::new("sh")
        .args(["-c", script, &port.to_string()])
        .arg(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a shell");
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "moto_server did not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    Server { port, _leash: leash }
});

/// A new bucket, and what a process must have in its environment to reach it.
pub(crate) fn bucket(name: &str) -> [(&'static str, String); 5] {
    let port = SERVER.port;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let request =
        format!("PUT /{name} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    [
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "key".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
    ]
}
