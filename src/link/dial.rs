//! Reaching a dispatcher: TCP, TLS where the address asks for it, the upgrade, its `hello`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, UPGRADE, USER_AGENT};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::either::Either;

use super::address::Address;
use super::halves::{Link, LinkEnd, LinkReceiver};
use crate::base::secret::Secret;
use crate::base::tls::{self, PemError, Trust};
use crate::protocol::codec::{ToAgent, read_at_agent};
use crate::protocol::hello::ServerHello;
use crate::protocol::{CloseCode, ErrorCode, PROTOCOL_VERSION, WireError};

/// Time for each of the three steps. A dispatcher on the same continent needs a few round
/// trips; ten seconds forgive a lost SYN or two.
const STEP_WITHIN: Duration = Duration::from_secs(10);
/// Largest message taken from a dispatcher: well above what its own frames reach.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// One chunk of output a read.
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Several chunks of output a write.
const WRITE_BUFFER_BYTES: usize = 256 * 1024;
/// What may wait in memory when the dispatcher does not read: the writer stops long before.
const MAX_WRITE_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address makes no sense.
    #[error("cannot use {url:?} as the dispatcher's URL: {why}")]
    BadUrl {
        /// What was written.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file of authorities to trust cannot be used.
    #[error(transparent)]
    Ca(#[from] PemError),
    /// The token holds characters that no header may.
    #[error("the token is not one: it holds characters that cannot be sent")]
    BadToken,
    /// No TCP connection: refused, unreachable, or a name that does not resolve.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// Whom.
        address: String,
        /// The operating system's word.
        source: io::Error,
    },
    /// Who answers has not proved to be who was asked for.
    #[error("{address} is not to be trusted: {why}")]
    Untrusted {
        /// Whom.
        address: String,
        /// What is wrong with its certificate, and what to do.
        why: String,
    },
    /// What answers does not speak TLS, or nothing that both sides know.
    #[error("{address} does not speak TLS as it should ({why}); is it one for ws:// or http://?")]
    NoTls {
        /// Whom.
        address: String,
        /// What went wrong.
        why: String,
    },
    /// What answers speaks nothing but TLS.
    #[error("{address} speaks TLS only: write wss:// or https://")]
    WantsTls {
        /// Whom.
        address: String,
    },
    /// A step took too long.
    #[error("{address} did not answer in time ({step})")]
    TimedOut {
        /// Whom.
        address: String,
        /// Which step.
        step: &'static str,
    },
    /// Something answered, but not with a WebSocket.
    #[error("{address} did not open a WebSocket: {why}")]
    NotUpgraded {
        /// Whom.
        address: String,
        /// The HTTP status, where it answered in HTTP.
        status: Option<u16>,
        /// What went wrong.
        why: String,
    },
    /// A WebSocket opened, but no dispatcher spoke.
    #[error("{address} is no Gangline dispatcher: {why}")]
    NotGangline {
        /// Whom.
        address: String,
        /// What it said instead of `hello`.
        why: String,
    },
    /// The dispatcher speaks another version of the protocol.
    #[error("the dispatcher speaks protocol version {theirs}, this program version {PROTOCOL_VERSION}")]
    UnsupportedVersion {
        /// Its version.
        theirs: u32,
    },
    /// The dispatcher said no instead of `hello`.
    #[error("the dispatcher refused: {0}")]
    Refused(WireError),
    /// The connection ended before `hello`.
    #[error(transparent)]
    Ended(#[from] LinkEnd),
}

impl LinkError {
    /// Whether dialling again can help.
    pub fn retry(&self) -> bool {
        match self {
            Self::BadUrl { .. }
            | Self::BadToken
            | Self::Ca(_)
            | Self::Untrusted { .. }
            | Self::NoTls { .. }
            | Self::WantsTls { .. }
            | Self::UnsupportedVersion { .. } => false,
            // What is no dispatcher may be one soon, as while a machine boots.
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::NotGangline { .. } => true,
            // A proxy in front of a dispatcher that is away answers in 5xx, and 404 while it does not know it yet;
            // 429 asks for patience.
            Self::NotUpgraded { status, .. } => {
                status.is_none_or(|status| status >= 500 || status == 404 || status == 429)
            }
            Self::Refused(error) => error.retry,
            Self::Ended(end) => end.should_reconnect(),
        }
    }

    /// Whether the token was refused.
    pub fn unauthorized(&self) -> bool {
        match self {
            Self::Refused(error) => error.code == ErrorCode::Unauthorized,
            Self::Ended(end) => end.code == Some(CloseCode::Unauthorized.code()),
            Self::NotUpgraded { status, .. } => *status == Some(401),
            Self::BadToken => true,
            Self::BadUrl { .. }
            | Self::Ca(_)
            | Self::Untrusted { .. }
            | Self::NoTls { .. }
            | Self::WantsTls { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::NotGangline { .. }
            | Self::UnsupportedVersion { .. } => false,
        }
    }
}

/// Connects to the dispatcher at `address`, presents `token`, and reads its `hello`. `trust` says
/// whose certificates are believed, where the address is one with TLS.
///
/// A wrong token shows later, as an `unauthorized` error frame and close code 4501: the
/// dispatcher opens the socket first, so that browsers can tell, too.
///
/// # Errors
/// See [`LinkError`]; [`LinkError::retry`] says whether to try again.
pub async fn dial(address: &Address, token: Option<&Secret>, trust: &Trust) -> Result<Link, LinkError> {
    let name = || address.to_string();
    let late = |step| move |_| LinkError::TimedOut { address: address.to_string(), step };

    // What is wrong here is said before anybody is asked.
    let tls = address.is_tls().then(|| trust.config()).transpose()?;
    let tcp = timeout(STEP_WITHIN, TcpStream::connect((address.host(), address.port())))
        .await
        .map_err(late("connecting"))?
        .map_err(|source| LinkError::Unreachable { address: name(), source })?;
    // Frames are small and each is waited for: Nagle's algorithm would only hold them back.
    tcp.set_nodelay(true).map_err(|source| LinkError::Unreachable { address: name(), source })?;

    let stream = match tls {
        Some(tls) => Either::Right(encrypt(tcp, address, tls).await?),
        None => Either::Left(tcp),
    };

    let not_upgraded = |error: WsError| match &error {
        WsError::Http(response) if wants_tls(response.headers()) => LinkError::WantsTls { address: name() },
        WsError::Http(response) => LinkError::NotUpgraded {
            address: name(),
            status: Some(response.status().as_u16()),
            why: format!("HTTP status {}", response.status()),
        },
        _ => LinkError::NotUpgraded { address: name(), status: None, why: error.to_string() },
    };
    let mut request = address.socket_url().into_client_request().map_err(not_upgraded)?;
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(concat!("gangline/", env!("CARGO_PKG_VERSION"))));
    if let Some(token) = token {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| LinkError::BadToken)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let upgrade = Box::pin(client_async_with_config(request, stream, Some(config)));
    let (socket, _response) =
        timeout(STEP_WITHIN, upgrade).await.map_err(late("opening the WebSocket"))?.map_err(not_upgraded)?;

    let (sender, mut receiver) = super::halves::split(socket);
    let hello = timeout(STEP_WITHIN, read_hello(&mut receiver, address)).await.map_err(late("waiting for hello"))??;
    Ok(Link { hello, sender, receiver })
}

async fn encrypt(
    tcp: TcpStream,
    address: &Address,
    tls: Arc<ClientConfig>,
) -> Result<Box<TlsStream<TcpStream>>, LinkError> {
    let server = ServerName::try_from(address.host().to_owned())
        .map_err(|_| LinkError::BadUrl { url: address.to_string(), why: "the host is no name that TLS knows" })?;
    // Boxed, as the stream is: its buffers for two handshakes are larger than all else here.
    let shaking = Box::pin(TlsConnector::from(tls).connect(server, tcp));
    let shaken = timeout(STEP_WITHIN, shaking)
        .await
        .map_err(|_| LinkError::TimedOut { address: address.to_string(), step: "TLS" })?;
    shaken.map(Box::new).map_err(|error| {
        let address = address.to_string();
        match (tls::refused_certificate(&error), tls::cause(&error)) {
            (Some(why), _) => LinkError::Untrusted { address, why },
            (None, Some(cause)) => LinkError::NoTls { address, why: cause.to_string() },
            (None, None) => LinkError::Unreachable { address, source: error },
        }
    })
}

/// Whether this is how a port for TLS answers a request in the clear: 426 with `Upgrade: TLS/…`, RFC 2817.
fn wants_tls(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|protocols| protocols.as_bytes().starts_with(b"TLS/"))
}

async fn read_hello(receiver: &mut LinkReceiver, address: &Address) -> Result<ServerHello, LinkError> {
    let text = receiver.recv().await?;
    // `hello` and `error` look the same to workers and to clients.
    match read_at_agent(&text) {
        Ok((ToAgent::Hello(hello), _)) if hello.protocol == PROTOCOL_VERSION => Ok(hello),
        Ok((ToAgent::Hello(hello), _)) => Err(LinkError::UnsupportedVersion { theirs: hello.protocol }),
        Ok((ToAgent::Error(error), _)) => Err(LinkError::Refused(error)),
        Ok(_) => Err(LinkError::NotGangline { address: address.to_string(), why: "it did not say hello".to_owned() }),
        Err((_, error)) => Err(LinkError::NotGangline { address: address.to_string(), why: error.message }),
    }
}
