//! What the tests of this process have for themselves: ports, and servers that end with it.
//!
//! The library's own tests include this file too, so it uses nothing else of the support.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a server may take to start, and to answer once.
const START_WITHIN: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Ports that were given away.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody listens on now, and that is given to nobody else in this process: a server may take its time to
/// listen there, and come back to it. Not one that the system gives to outgoing connections, which would take it
/// meanwhile.
pub(crate) fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::random_range(10_000..32_000)));
        if GIVEN.lock().insert(address.port()) && TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A server that ends when this process does.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _process: Child,
    _leash: Child,
}

impl Server {
    /// Starts a server, and waits until it answers `question` with a line that has `answer` in it.
    pub(crate) fn start(address: SocketAddr, command: &mut Command, question: &str, answer: &str) -> Self {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it is installed");
        // Servers are kept in statics, which are never dropped: somebody else must notice that this process is gone.
        let leash = Command::new("sh")
            .args(["-c", r#"cat; kill "$0""#, &process.id().to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let deadline = Instant::now() + START_WITHIN;
        while !answers(address, question, answer) {
            let ended = process.try_wait().expect("its status");
            assert!(ended.is_none(), "{command:?} ended: {ended:?}");
            assert!(Instant::now() < deadline, "{command:?} did not answer at {address}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { address, _process: process, _leash: leash }
    }
}

fn answers(address: SocketAddr, question: &str, answer: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    stream.set_read_timeout(Some(ANSWER_WITHIN)).expect("that is a time");
    let asked = stream.write_all(question.as_bytes()).is_ok();
    asked && BufReader::new(stream).lines().map_while(Result::ok).any(|line| line.contains(answer))
}
