//! The limit of fan-out: axum, and nothing but passing on. One peer writes, all others get it, none of it is kept.
//!
//! What a dispatcher does beside that is what it is measured for, so both are measured in one run.

use std::net::Ipv4Addr;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

use super::peer::Peer;
use super::target::Target;

/// Entries that the slowest follower may be behind. Beyond it its connection ends, and with it the run.
const BEHIND: usize = 16 * 1024;

/// What the writer's first frame says.
const WRITE: &str = "write";

/// A dispatcher's answer to `follow`.
const FOLLOWING: Utf8Bytes = Utf8Bytes::from_static(r#"{"type":"job","data":{"opt":"following"}}"#);

/// Flags of the process that serves.
#[derive(Debug, clap::Args)]
pub(super) struct LimitArgs {
    #[arg(long)]
    port: u16,
}

/// Serves until the process is killed.
pub(super) async fn serve(args: &LimitArgs) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await?;
    let listener = listener.tap_io(|io| {
        let _ = io.set_nodelay(true);
    });
    let news = broadcast::Sender::<Utf8Bytes>::new(BEHIND);
    let router = Router::new().route("/ws", any(upgrade)).with_state(news);
    Ok(axum::serve(listener, router).await?)
}

async fn upgrade(State(news): State<broadcast::Sender<Utf8Bytes>>, ws: WebSocketUpgrade) -> Response {
    ws.read_buffer_size(1024).write_buffer_size(64 * 1024).on_upgrade(|socket| session(socket, news))
}

async fn session(mut socket: WebSocket, news: broadcast::Sender<Utf8Bytes>) {
    match socket.recv().await {
        Some(Ok(Message::Text(first))) if first == WRITE => {
            while let Some(Ok(Message::Text(entry))) = socket.recv().await {
                // Without followers there is nobody to tell.
                let _ = news.send(entry);
            }
        }
        Some(Ok(_)) => {
            let (sink, mut stream) = socket.split();
            tokio::select! {
                () = pass_on(sink, news.subscribe()) => (),
                _ = stream.next() => (),
            }
        }
        Some(Err(_)) | None => (),
    }
}

/// Sends what comes, as much at a time as has come.
async fn pass_on(mut sink: SplitSink<WebSocket, Message>, mut news: broadcast::Receiver<Utf8Bytes>) {
    let mut next = Some(FOLLOWING);
    loop {
        while let Some(entry) = next {
            if sink.feed(Message::Text(entry)).await.is_err() {
                return;
            }
            next = match news.try_recv() {
                Ok(entry) => Some(entry),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Lagged(_) | TryRecvError::Closed) => return,
            };
        }
        if sink.flush().await.is_err() {
            return;
        }
        next = news.recv().await.ok();
        if next.is_none() {
            return;
        }
    }
}

/// A connection that writes.
pub(super) async fn writer(target: &Target) -> Result<Peer> {
    let mut peer = Peer::connect(&target.address, None).await?;
    peer.out().text(WRITE.as_bytes());
    Ok(peer)
}
