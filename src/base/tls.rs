//! TLS as every part of the process does it: one provider of cryptography, one way to read PEM
//! files, and whom this side trusts when it connects.
//!
//! Guards: a file that cannot be used is named, with what is wrong with it; a certificate that is
//! not trusted is refused in words that say what to do. Refuses to connect to anyone unverified:
//! there is no switch for that. Not here: serving TLS (`server`), dialling (`link`).

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

const CERTIFICATE: &str = "certificate";

/// A file of certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It is not there, or may not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path} holds no {what} in PEM form (a block that begins with -----BEGIN {begins}-----)")]
    Missing {
        /// Which file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// How that begins.
        begins: &'static str,
    },
    /// It is damaged, or of a kind that is not understood.
    #[error("{path} holds a {what} that cannot be used: {why}")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// The one provider of cryptography. The first call makes it the process's default, too, for the
/// libraries that ask for that one.
pub fn provider() -> Arc<CryptoProvider> {
    // Fails only where there is a default already, and then that one is meant.
    let _ = ring::default_provider().install_default();
    CryptoProvider::get_default().map_or_else(|| Arc::new(ring::default_provider()), Arc::clone)
}

/// The certificates in a PEM file, in their order; at least one.
///
/// # Errors
/// See [`PemError`].
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(pem::Error::NoItemsFound),
        found => found,
    }
    .map_err(|error| pem_error(path, CERTIFICATE, "CERTIFICATE", &error))
}

/// The first private key in a PEM file.
///
/// # Errors
/// See [`PemError`].
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|error| pem_error(path, "unencrypted private key", "PRIVATE KEY", &error))
}

fn pem_error(path: &Path, what: &'static str, begins: &'static str, error: &pem::Error) -> PemError {
    let path = path.to_owned();
    let why = match error {
        pem::Error::NoItemsFound => return PemError::Missing { path, what, begins },
        pem::Error::MissingSectionEnd { .. } => "it is cut off".to_owned(),
        pem::Error::Base64Decode(_) => "it is not base64".to_owned(),
        // The library may say more one day.
        other => other.to_string(),
    };
    PemError::Unusable { path, what, why }
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    std::fs::read(path).map_err(|source| PemError::Read { path: path.to_owned(), source })
}

/// Whose certificates are believed. Clones share what was loaded.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    whom: Whom,
    /// Loaded at the first use: most connections are without TLS.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

#[derive(Debug, Clone, Default)]
enum Whom {
    /// The authorities that this machine trusts.
    #[default]
    System,
    /// Those, and the ones in this file.
    SystemAnd(PathBuf),
    /// The holder of this certificate and nobody else, by whatever name it is reached.
    Exactly(CertificateDer<'static>),
}

impl Trust {
    /// The authorities that this machine trusts, and those in `file`, if any.
    pub fn system_and(file: Option<PathBuf>) -> Self {
        Self { whom: file.map_or(Whom::System, Whom::SystemAnd), ..Self::default() }
    }

    /// The holder of `certificate` and nobody else. For one who was handed it on a safe way: then
    /// neither its name nor its signer matters.
    pub fn exactly(certificate: CertificateDer<'static>) -> Self {
        Self { whom: Whom::Exactly(certificate), ..Self::default() }
    }

    /// What a connection is made with. The first call reads files, some milliseconds of work.
    ///
    /// # Errors
    /// The file with more authorities cannot be used.
    pub fn config(&self) -> Result<Arc<ClientConfig>, PemError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.load()?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }

    fn load(&self) -> Result<ClientConfig, PemError> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers for both versions of TLS");
        let file = match &self.whom {
            Whom::System => None,
            Whom::SystemAnd(file) => Some(file),
            Whom::Exactly(certificate) => {
                let exactly = Exactly { certificate: certificate.clone(), provider };
                return Ok(builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(exactly))
                    .with_no_client_auth());
            }
        };
        let mut roots = RootCertStore::empty();
        // Machines without any, and single ones that are no good, are common and no error here: what is
        // missing shows in the handshake, with advice.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = file {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| PemError::Unusable {
                    path: path.clone(),
                    what: CERTIFICATE,
                    why: error.to_string(),
                })?;
            }
        }
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// See [`Trust::exactly`]. That the peer has the certificate's key is proved by its signature.
#[derive(Debug)]
struct Exactly {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What TLS itself said, where `error` or one of its causes is of TLS.
pub fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        // An I/O error shows what its content was caused by, and not the content.
        let content = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match content {
            Some(content) => Some(content),
            None => error.source(),
        };
    }
    None
}

/// Why a peer's certificate is refused, and what to do about it, where that is what `error` says. Trying again
/// does not help then.
pub fn refused_certificate(error: &(dyn Error + 'static)) -> Option<String> {
    let rustls::Error::InvalidCertificate(error) = cause(error)? else { return None };
    Some(match error {
        // A bad signature is that of another authority of the same name, such as one that was made anew.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "nobody that is trusted here has signed its certificate; name the \
             certificate of who did with --ca FILE or GANGLINE_CA"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is not for {} but for {}; use such a name in the URL",
            expected.to_str(),
            presented.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: it needs a new one, unless the clock of this machine is wrong".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: is the clock of this machine right?".to_owned()
        }
        // The library has no name for it. What `openssl req -x509` makes unless told otherwise is such a one.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is one of an authority, which no server may use for itself; make it with \
             basicConstraints CA:FALSE, or sign one with it"
                .to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    })
}

/// `DnsName("localhost")` as `localhost`.
fn plain(presented: &str) -> &str {
    presented.split_once('(').map_or(presented, |(_, name)| name.trim_matches(['"', '(', ')']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_none_is_named_with_what_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.pem");
        let text = certificates(&path).unwrap_err().to_string();
        assert!(text.starts_with("cannot read ") && text.contains("some.pem"), "{text}");
        for (content, word) in [
            ("", "no certificate in PEM form"),
            ("not PEM at all", "no certificate in PEM form"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no certificate in PEM form"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "cut off"),
            ("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "base64"),
        ] {
            std::fs::write(&path, content).unwrap();
            let text = certificates(&path).unwrap_err().to_string();
            assert!(text.contains("some.pem") && text.contains(word), "{content:?}: {text}");
        }
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(private_key(&path).unwrap_err().to_string().contains("no unencrypted private key"));
        // It is PEM, and yet no certificate.
        let text = Trust::system_and(Some(path)).config().unwrap_err().to_string();
        assert!(text.contains("some.pem") && text.contains("cannot be used"), "{text}");
    }
}
