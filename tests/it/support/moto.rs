//! A private server that speaks S3, for the tests of this process: `moto`, which `make setup` fetches.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::private::{Server, free_address};

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let address = free_address();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/moto_server");
    assert!(program.exists(), "{} is missing: run make setup", program.display());
    let mut command = Command::new(program);
    command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]).stderr(Stdio::null());
    let about = "GET /moto-api/ HTTP/1.1\r\nHost: moto\r\nConnection: close\r\n\r\n";
    Server::start(address, &mut command, about, "<title>Moto</title>")
});

/// A new bucket, and what a process must have in its environment to reach it.
pub(crate) fn bucket(name: &str) -> [(&'static str, String); 5] {
    let address = SERVER.address;
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("PUT /{name} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    [
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "key".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
    ]
}
