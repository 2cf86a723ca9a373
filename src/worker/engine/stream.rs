//! A connection to the engine that carries a container's streams: an HTTP request that is taken over, or one whose answer
//! goes on.
//!
//! Guards: an engine that does not take the connection, or does not begin to answer, is gone in time.
//! What is read is what the engine wrote, to the byte, and what is not read, the engine does not write.

use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_util::io::StreamReader;

use super::EngineError;

/// Most of an answer that says why not.
const ERROR_BYTES: usize = 4096;

/// What comes from the engine.
pub(super) type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// What goes to it. Dropping it says that no more will come.
pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Posts `body` to `path` of the engine at `address`, and takes the connection over.
///
/// # Errors
/// The engine refuses, does not answer in time, or is not there. Nothing is left open.
pub(super) async fn open(
    address: &str,
    path: &str,
    body: String,
    within: Duration,
) -> Result<(Reader, Writer), EngineError> {
    in_time(within, async {
        match address.strip_prefix("unix://") {
            Some(socket) => {
                let (stream, early) = take_over(UnixStream::connect(socket).await.map_err(gone)?, path, body).await?;
                let (reader, writer) = stream.into_split();
                Ok((after(early, reader), Box::new(writer) as Writer))
            }
            None => {
                let (stream, early) =
                    take_over(TcpStream::connect(host(address)).await.map_err(gone)?, path, body).await?;
                let (reader, writer) = stream.into_split();
                Ok((after(early, reader), Box::new(writer) as Writer))
            }
        }
    })
    .await
}

/// Gets `path` of the engine at `address`, as it comes: what follows the head of the answer may take any time.
///
/// # Errors
/// The engine refuses, does not answer in time, or is not there.
pub(super) async fn get(address: &str, path: &str, within: Duration) -> Result<Reader, EngineError> {
    in_time(within, async {
        match address.strip_prefix("unix://") {
            Some(socket) => download(UnixStream::connect(socket).await.map_err(gone)?, path).await,
            None => download(TcpStream::connect(host(address)).await.map_err(gone)?, path).await,
        }
    })
    .await
}

/// What the engine says, if it does so `within` this time.
///
/// # Errors
/// It does not, or `answer` is an error.
pub(super) async fn in_time<T>(
    within: Duration,
    answer: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    match timeout(within, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(gone(format!("nothing came from it in {within:?}"))),
    }
}

fn host(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, host)| host)
}

async fn download<S>(stream: S, path: &str) -> Result<Reader, EngineError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(gone)?;
    let request = Request::get(path).header(HOST, "engine").body(String::new()).map_err(gone)?;
    let mut connection = Box::pin(connection);
    let mut exchange = pin!(sender.send_request(request));
    let response = std::future::poll_fn(|context| {
        // It ends with the answer at the earliest, and whatever ends it before is the answer, too.
        let _ = connection.as_mut().poll(context);
        exchange.as_mut().poll(context)
    })
    .await
    .map_err(gone)?;
    if response.status() != StatusCode::OK {
        return Err(EngineError::said(&words(response).await));
    }
    let mut body = response.into_body();
    let pieces = futures_util::stream::poll_fn(move |context| {
        loop {
            // What moves the body on; done once that is whole.
            let _ = connection.as_mut().poll(context);
            let frame = ready!(Pin::new(&mut body).poll_frame(context));
            match frame.map(|frame| frame.map(hyper::body::Frame::into_data)) {
                Some(Ok(Ok(bytes))) => return Poll::Ready(Some(Ok(bytes))),
                // Trailers.
                Some(Ok(Err(_))) => (),
                Some(Err(error)) => return Poll::Ready(Some(Err(std::io::Error::other(error)))),
                None => return Poll::Ready(None),
            }
        }
    });
    Ok(Box::new(StreamReader::new(pieces)))
}

fn gone(error: impl std::fmt::Display) -> EngineError {
    EngineError::Gone(error.to_string())
}

/// What came with the answer, then the rest.
fn after(early: Bytes, rest: impl AsyncRead + Send + Unpin + 'static) -> Reader {
    if early.is_empty() { Box::new(rest) } else { Box::new(std::io::Cursor::new(early).chain(rest)) }
}

async fn take_over<S>(stream: S, path: &str, body: String) -> Result<(S, Bytes), EngineError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(gone)?;
    let request = Request::post(path)
        .header(HOST, "engine")
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "tcp")
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(gone)?;
    let mut connection = pin!(connection.with_upgrades());
    let mut exchange = pin!(async {
        let response = sender.send_request(request).await.map_err(gone)?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => hyper::upgrade::on(response).await.map_err(gone),
            _ => Err(EngineError::said(&words(response).await)),
        }
    });
    // The connection hands itself over and ends when it is taken over, and before only if it breaks.
    let upgraded = tokio::select! {
        biased;
        exchanged = &mut exchange => exchanged,
        _ = &mut connection => exchange.await,
    }?;
    let parts = upgraded.downcast::<TokioIo<S>>().map_err(|_| gone("the connection is of another kind"))?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

/// What an answer says, or as much of it as is there.
async fn words(response: Response<Incoming>) -> String {
    let status = response.status();
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while bytes.len() < ERROR_BYTES
        && let Some(Ok(frame)) =
            std::future::poll_fn(|context| -> Poll<_> { Pin::new(&mut body).poll_frame(context) }).await
    {
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    let said: Option<String> = serde_json::from_slice::<serde_json::Value>(&bytes)
        .ok()
        .and_then(|said| Some(said.get("message")?.as_str()?.to_owned()));
    said.unwrap_or_else(|| format!("{status} {}", String::from_utf8_lossy(&bytes)))
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn an_engine_that_never_answers_is_gone_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        // It takes connections, as one that was stopped does.
        let _engine = UnixListener::bind(&socket).unwrap();
        let address = format!("unix://{}", socket.display());
        let within = Duration::from_millis(50);
        for words in [
            open(&address, "/attach", String::new(), within).await.err().map(|error| error.to_string()),
            get(&address, "/logs", within).await.err().map(|error| error.to_string()),
        ] {
            assert_eq!(words.as_deref(), Some("the container engine does not answer: nothing came from it in 50ms"));
        }
    }
}
