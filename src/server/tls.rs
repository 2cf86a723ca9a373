//! The certificate that a dispatcher shows, and the handshake in which it does.
//!
//! Guards: a certificate that cannot be used keeps the server from starting, and one that is read
//! again later from taking the place of a good one. Not here: whom clients trust (`base::tls`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig};
use tokio_rustls::server::TlsStream;
use tracing::debug;

use crate::base::tls::{self, PemError};
use crate::config::TlsFiles;

/// How long a handshake may take: a few round trips, and a lost packet or two.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// The first byte of every connection that speaks TLS: the type of the record of its first message.
const HANDSHAKE_RECORD: u8 = 22;

/// The answer to a request in the clear, as of RFC 2817.
const TLS_ONLY: &[u8] =
    b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2, HTTP/1.1\r\nConnection: Upgrade, close\r\n\
    Content-Type: text/plain\r\nContent-Length: 55\r\n\r\nThis port speaks TLS only: use https:// or wss:// here\n";

/// A certificate and its key that cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the files.
    #[error(transparent)]
    File(#[from] PemError),
    /// They do not belong together.
    #[error("the private key in {key} is not that of the certificate in {cert}")]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// One of them is of a kind that is not understood.
    #[error("cannot serve with the certificate in {cert} and the key in {key}: {source}")]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The certificate that is shown now. Clones show the same one.
#[derive(Debug, Clone)]
pub struct Certificate(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    files: TlsFiles,
    // Read once a handshake, written when it is renewed.
    now: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    pub(super) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let now = RwLock::new(Arc::new(read(&files)?));
        Ok(Self(Arc::new(Shown { files, now })))
    }

    /// Reads the files again; new connections are shown what is in them.
    ///
    /// # Errors
    /// See [`TlsError`]; the one that was shown before still is.
    pub fn reload(&self) -> Result<(), TlsError> {
        let key = Arc::new(read(&self.0.files)?);
        *self.0.now.write() = key;
        Ok(())
    }

    /// The server's own certificate, for those in this process who connect to it.
    pub fn own(&self) -> Option<CertificateDer<'static>> {
        self.0.now.read().cert.first().cloned()
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&self.0) as _;
        let mut config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers for both versions of TLS")
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.now.read()))
    }
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let TlsFiles { cert, key } = files;
    let chain = tls::certificates(cert)?;
    CertifiedKey::from_der(chain, tls::private_key(key)?, &tls::provider()).map_err(|source| match source {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { cert: cert.clone(), key: key.clone() }
        }
        source => TlsError::Unusable { cert: cert.clone(), key: key.clone(), source },
    })
}

/// Shakes hands, in time or not at all. Who speaks in the clear is told not to.
pub(super) async fn accept(acceptor: &TlsAcceptor, mut stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let shaking = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
            // Read, so that closing does not take the answer back.
            let _ = stream.try_read(&mut [0; 8 * 1024]);
            stream.write_all(TLS_ONLY).await?;
            stream.shutdown().await?;
            return Ok(None);
        }
        acceptor.accept(stream).await.map(Some)
    };
    match timeout(HANDSHAKE_WITHIN, shaking).await {
        Ok(Ok(shaken)) => return shaken,
        Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
        Err(_) => debug!("a TLS handshake took too long"),
    }
    None
}
