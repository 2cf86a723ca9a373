use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;

use super::*;
use crate::base::secret::Secret;
use crate::base::tls::Trust;
use crate::protocol::{CloseCode, ErrorCode, WireError, codec};

const HELLO: &str = r#"{"type":"hello","data":{"protocol":1,"server":"gangline/0.1.0","instance":"i","now":1,"auth":"required","pingSecs":25,"maxFrameBytes":65536}}"#;

async fn listen() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, at(address))
}

fn at(address: SocketAddr) -> Address {
    address.to_string().parse().unwrap()
}

/// Takes one connection, and says what its `Authorization` header was.
async fn accept(listener: TcpListener) -> (WebSocketStream<TcpStream>, Option<String>) {
    let (tcp, _) = listener.accept().await.unwrap();
    let mut header = None;
    #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
    let look = |request: &Request, response: Response| {
        header = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(tcp, look).await.unwrap();
    (socket, header)
}

#[tokio::test]
async fn a_token_travels_in_the_upgrade_and_frames_go_both_ways() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut socket, header) = accept(listener).await;
        assert_eq!(header.as_deref(), Some("Bearer t0ken"));
        socket.send(Message::text(HELLO)).await.unwrap();
        for expected in ["one", "two"] {
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(expected));
        }
        socket.send(Message::Ping(vec![1].into())).await.unwrap();
        socket.send(Message::text("three")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(vec![1].into()));
        let end = CloseFrame { code: CloseCode::Draining.code().into(), reason: "draining".into() };
        socket.close(Some(end)).await.unwrap();
        while socket.next().await.is_some() {}
    });
    let Link { hello, mut sender, mut receiver } =
        dial(&address, Some(&Secret::new("t0ken")), &Trust::default()).await.unwrap();
    assert_eq!(hello.instance, "i");
    sender.feed("one").await.unwrap();
    sender.feed("two").await.unwrap();
    sender.flush().await.unwrap();
    assert_eq!(receiver.recv().await.unwrap().as_str(), "three");
    let end = receiver.recv().await.unwrap_err();
    assert_eq!(end, LinkEnd { code: Some(4000), reason: "draining".to_owned() });
    assert!(end.should_reconnect());
    server.await.unwrap();
}

#[tokio::test]
async fn a_broken_connection_is_worth_another_try_and_a_superseded_one_is_not() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = accept(listener).await;
        socket.send(Message::text(HELLO)).await.unwrap();
    });
    let mut link = dial(&address, None, &Trust::default()).await.unwrap();
    server.await.unwrap();
    let end = link.receiver.recv().await.unwrap_err();
    assert_eq!(end.code, None);
    assert!(end.should_reconnect());
    assert!(!LinkEnd { code: Some(CloseCode::Superseded.code()), reason: String::new() }.should_reconnect());
}

#[tokio::test]
async fn nobody_there_is_worth_another_try() {
    // Held, so that nobody else comes to listen there.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = at(held.local_addr().unwrap());
    let error = dial(&address, None, &Trust::default()).await.unwrap_err();
    assert!(matches!(error, LinkError::Unreachable { .. }), "{error}");
    assert!(error.retry());
}

#[tokio::test]
async fn a_plain_web_server_is_named_as_one() {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    });
    let error = dial(&address, None, &Trust::default()).await.unwrap_err();
    assert!(matches!(error, LinkError::NotUpgraded { status: Some(404), .. }), "{error}");
    // A proxy says the same while it does not know the dispatcher behind it yet.
    assert!(error.retry());
}

#[tokio::test]
async fn another_version_and_a_refusal_are_told_apart() {
    let refusal = codec::encode(&WireError::new(ErrorCode::Unauthorized, "wrong token"));
    let other_version = HELLO.replace(r#""protocol":1"#, r#""protocol":2"#);
    for (first, unauthorized) in [(refusal, true), (other_version, false), (r#"{"type":"pong"}"#.to_owned(), false)] {
        let (listener, address) = listen().await;
        tokio::spawn(async move {
            let (mut socket, _) = accept(listener).await;
            socket.send(Message::text(first)).await.unwrap();
            while socket.next().await.is_some() {}
        });
        let error = dial(&address, None, &Trust::default()).await.unwrap_err();
        assert_eq!(error.unauthorized(), unauthorized, "{error}");
    }
}

#[tokio::test]
async fn a_token_that_no_header_may_hold_is_refused_here() {
    let (_listener, address) = listen().await;
    let error = dial(&address, Some(&Secret::new("a\nb")), &Trust::default()).await.unwrap_err();
    assert!(matches!(error, LinkError::BadToken));
}
