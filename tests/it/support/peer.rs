//! A WebSocket peer that speaks JSON by hand.

use std::collections::VecDeque;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::soon;

/// What came off the socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Frame(Value),
    Ping,
    /// Closed with this code.
    Closed(u16),
    /// Gone without a close.
    Broken,
}

/// One connection.
pub(crate) struct Peer {
    socket: WebSocketStream<TcpStream>,
    /// Frames that came while a reply was waited for.
    inbox: VecDeque<Value>,
    last_id: u64,
    /// The upgrade's response headers.
    pub(crate) response: Response<Option<Vec<u8>>>,
}

impl Peer {
    /// Opens a socket with these headers; its first frame is still to be read.
    pub(crate) async fn dial(address: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, Error> {
        let tcp = TcpStream::connect(address).await.map_err(Error::Io)?;
        Self::dial_over(tcp, address, headers).await
    }

    async fn dial_over(tcp: TcpStream, address: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, Error> {
        tcp.set_nodelay(true).map_err(Error::Io)?;
        let mut request = format!("ws://{address}/ws").into_client_request()?;
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a test's header is one");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a test's header is one"));
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, response) = tokio_tungstenite::client_async_with_config(request, tcp, Some(config)).await?;
        Ok(Self { socket, inbox: VecDeque::new(), last_id: 0, response })
    }

    /// Opens a socket and reads its `hello`.
    pub(crate) async fn connect(address: SocketAddr, headers: &[(&str, &str)]) -> (Self, Value) {
        let mut peer = soon("a connection", Self::dial(address, headers)).await.expect("the socket opens");
        let hello = peer.next().await;
        assert_eq!(hello["type"], "hello", "the first frame is hello: {hello}");
        (peer, hello["data"].clone())
    }

    /// As [`Peer::with_token`]; little lies in this machine's buffers while the peer does not read.
    pub(crate) async fn holding_little(address: SocketAddr, token: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(64 * 1024).expect("a socket has a buffer");
        let tcp = soon("a connection", socket.connect(address)).await.expect("the socket connects");
        let header = format!("Bearer {token}");
        let mut peer = Self::dial_over(tcp, address, &[("authorization", &header)]).await.expect("the socket opens");
        assert_eq!(peer.next().await["type"], "hello");
        peer.expect("auth", "ok").await;
        peer
    }

    /// Opens a socket with a token in its header, and reads `hello` and `auth ok`.
    pub(crate) async fn with_token(address: SocketAddr, token: &str) -> Self {
        let (mut peer, _) = Self::connect(address, &[("authorization", &format!("Bearer {token}"))]).await;
        let ok = peer.next().await;
        assert_eq!((&ok["type"], &ok["data"]["opt"]), (&json!("auth"), &json!("ok")), "{ok}");
        peer
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.try_send(Message::text(text)).await.expect("the socket takes a frame");
    }

    pub(crate) async fn try_send(&mut self, message: Message) -> Result<(), Error> {
        soon("room in the socket", self.socket.send(message)).await
    }

    /// Sends a frame without an id.
    pub(crate) async fn say(&mut self, noun: &str, data: &Value) {
        self.send_text(&json!({"type": noun, "data": data}).to_string()).await;
    }

    /// Sends many frames in one go.
    pub(crate) async fn say_all(&mut self, frames: impl IntoIterator<Item = String>) {
        for frame in frames {
            soon("room in the socket", self.socket.feed(Message::text(frame))).await.expect("the socket takes a frame");
        }
        soon("room in the socket", self.socket.flush()).await.expect("the socket takes frames");
    }

    /// Whatever comes next, pushed frames that were kept aside first.
    pub(crate) async fn hear(&mut self) -> Heard {
        if let Some(frame) = self.inbox.pop_front() {
            return Heard::Frame(frame);
        }
        soon("a frame", self.hear_at_last()).await
    }

    /// The same, however long it takes.
    pub(crate) async fn hear_at_last(&mut self) -> Heard {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).expect("every frame is JSON");
                    assert!(frame.is_object() && frame["type"].is_string(), "a frame has a type: {frame}");
                    return Heard::Frame(frame);
                }
                Some(Ok(Message::Ping(_))) => {
                    let _ = self.socket.flush().await;
                    return Heard::Ping;
                }
                Some(Ok(Message::Close(frame))) => {
                    let _ = self.socket.flush().await;
                    return Heard::Closed(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => (),
                Some(Ok(Message::Binary(bytes))) => panic!("a binary frame of {} bytes", bytes.len()),
                Some(Err(_)) | None => return Heard::Broken,
            }
        }
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.hear().await {
                Heard::Frame(frame) => return frame,
                Heard::Ping => (),
                end @ (Heard::Closed(_) | Heard::Broken) => panic!("expected a frame, got {end:?}"),
            }
        }
    }

    /// The code that the socket is closed with; frames before it are passed over.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match self.hear().await {
                Heard::Frame(_) | Heard::Ping => (),
                Heard::Closed(code) => return code,
                Heard::Broken => panic!("the socket broke without a close"),
            }
        }
    }

    /// Sends a request with an id and returns its reply. What comes before that is kept for later.
    pub(crate) async fn ask(&mut self, noun: &str, data: &Value) -> Value {
        self.last_id += 1;
        let id = format!("q{}", self.last_id);
        self.send_text(&json!({"type": noun, "id": id, "data": data}).to_string()).await;
        let mut kept = VecDeque::new();
        loop {
            match self.hear().await {
                Heard::Frame(frame) if frame["id"] == json!(id) => {
                    self.put_back(kept);
                    return frame;
                }
                Heard::Frame(frame) => kept.push_back(frame),
                Heard::Ping => (),
                end @ (Heard::Closed(_) | Heard::Broken) => panic!("expected a reply to {data}, got {end:?}"),
            }
        }
    }

    /// As [`Peer::ask`], for a request that must succeed with the reply `opt`; returns its data.
    pub(crate) async fn get(&mut self, noun: &str, data: &Value, opt: &str) -> Value {
        let reply = self.ask(noun, data).await;
        assert_eq!(reply["type"], noun, "{data} was answered with {reply}");
        assert_eq!(reply["data"]["opt"], opt, "{data} was answered with {reply}");
        reply["data"].clone()
    }

    /// As [`Peer::ask`], for a request that must be refused with `code`; returns the error's data.
    pub(crate) async fn refused(&mut self, noun: &str, data: &Value, code: &str) -> Value {
        let reply = self.ask(noun, data).await;
        assert_eq!(reply["type"], "error", "{data} was answered with {reply}");
        assert_eq!(reply["data"]["code"], code, "{data} was answered with {reply}");
        reply["data"].clone()
    }

    /// The next frame, which must be of this kind; returns its data.
    pub(crate) async fn expect(&mut self, noun: &str, opt: &str) -> Value {
        let frame = self.next().await;
        let data = &frame["data"];
        assert!(frame["type"] == noun && data["opt"] == opt, "expected {noun} {opt}, got {frame}");
        assert!(frame.get("id").is_none(), "a pushed frame has no id: {frame}");
        data.clone()
    }

    /// The next frame of this kind; others are passed over.
    pub(crate) async fn until(&mut self, noun: &str, opt: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == noun && frame["data"]["opt"] == opt {
                return frame["data"].clone();
            }
        }
    }

    /// Passes over what comes until the data of a frame is `wanted`, except for what is to be kept.
    pub(crate) async fn until_keeping(
        &mut self,
        keep: impl Fn(&Value) -> bool,
        wanted: impl Fn(&Value) -> bool,
    ) -> VecDeque<Value> {
        let mut kept = VecDeque::new();
        loop {
            let frame = self.next().await;
            if wanted(&frame["data"]) {
                return kept;
            }
            if keep(&frame["data"]) {
                kept.push_back(frame);
            }
        }
    }

    /// These frames come again, before all others.
    pub(crate) fn put_back(&mut self, mut frames: VecDeque<Value>) {
        frames.append(&mut self.inbox);
        self.inbox = frames;
    }

    /// The next error that answers no request, other frames are passed over; returns its data.
    pub(crate) async fn until_error(&mut self) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == "error" && frame.get("id").is_none() {
                return frame["data"].clone();
            }
        }
    }

    /// Everything that was on its way: what comes before the answer to a ping.
    pub(crate) async fn on_its_way(&mut self) -> Vec<Value> {
        self.last_id += 1;
        let id = format!("ping{}", self.last_id);
        self.send_text(&json!({"type": "ping", "id": id}).to_string()).await;
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            if frame["type"] == "pong" && frame["id"] == json!(id) {
                return frames;
            }
            frames.push(frame);
        }
    }

    /// Nothing is on its way.
    pub(crate) async fn is_quiet(&mut self) {
        let frames = self.on_its_way().await;
        assert!(frames.is_empty(), "expected nothing, got {frames:?}");
    }

    // What clients do most.

    /// Submits and returns the reply.
    pub(crate) async fn submit(&mut self, spec: &Value) -> Value {
        let mut data = spec.clone();
        data["opt"] = json!("submit");
        self.get("job", &data, "submitted").await
    }

    /// Submits without following and returns the job's id.
    pub(crate) async fn queue(&mut self, spec: &Value) -> String {
        let mut data = spec.clone();
        data["follow"] = json!(false);
        self.submit(&data).await["jobId"].as_str().expect("a job id").to_owned()
    }

    /// A job's record.
    pub(crate) async fn job(&mut self, job: &str) -> Value {
        self.get("job", &json!({"opt": "get", "jobId": job}), "job").await["job"].clone()
    }

    /// Waits until the job's record says `status`, and returns it.
    pub(crate) async fn job_is(&mut self, job: &str, status: &str) -> Value {
        soon(&format!("{job} to be {status}"), async {
            loop {
                let record = self.job(job).await;
                if record["status"] == status {
                    return record;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// Follows a job; returns the reply.
    pub(crate) async fn follow(&mut self, job: &str, after: &str) -> Value {
        self.get("job", &json!({"opt": "follow", "jobId": job, "after": after}), "following").await
    }

    /// What a followed job sends up to its `end`, as `at` and what the entry says.
    pub(crate) async fn log(&mut self) -> Vec<(String, String)> {
        let mut log = Vec::new();
        loop {
            let frame = self.next().await;
            assert_eq!(frame["type"], "job", "{frame}");
            let data = &frame["data"];
            let at = data["at"].as_str().unwrap_or_default().to_owned();
            let word = |field: &str| data[field].as_str().unwrap_or_default().to_owned();
            match data["opt"].as_str() {
                Some("output") => log.push((at, format!("{}:{}", word("stream"), word("text")))),
                Some("status") => log.push((at, word("status"))),
                Some("live") => log.push((at, "live".to_owned())),
                Some("truncated") => log.push((word("from"), format!("truncated..{}", word("to")))),
                Some("end") => {
                    log.push((at, format!("{}/{}", word("status"), word("reason"))));
                    return log;
                }
                _ => panic!("not an entry: {frame}"),
            }
        }
    }

    /// Goes away without a word.
    pub(crate) fn vanish(self) {
        drop(self.socket);
    }
}
