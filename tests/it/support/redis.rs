//! A private Redis for the tests of this process.

use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

use super::private::{Server, free_address};

static SERVER: LazyLock<(Server, TempDir)> = LazyLock::new(|| {
    let (address, dir) = (free_address(), tempfile::tempdir().expect("a temporary directory"));
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", "", "--dir"]).arg(dir.path());
    (Server::start(address, &mut command, "PING\r\n", "+PONG"), dir)
});

/// Its URL. Who uses it takes a prefix of its own.
pub(crate) fn url() -> String {
    format!("redis://{}", SERVER.0.address)
}
