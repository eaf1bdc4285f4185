//! Certificates: from files to what accepts a handshake.

use super::ServerError;
use rustls::ServerConfig;
use rustls_pki_types::pem::{Error, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Reads a certificate with its chain and its key, both PEM. Clients may choose HTTP/2 or HTTP/1.1.
///
/// # Errors
/// [`ServerError`], where a file can't be read, holds something else, or the two do not belong together.
pub(crate) fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, ServerError> {
    let chain = certificates("--tls-cert", cert)?;
    let private_key =
        PrivateKeyDer::from_pem_file(key).map_err(|error| unusable("--tls-key", key, error, "private key"))?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, private_key));
    let mut config = config.map_err(|error| ServerError::Tls {
        cert: cert.to_owned(),
        key: key.to_owned(),
        reason: error.to_string(),
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The certificates in the file of a flag; at least one.
///
/// # Errors
/// [`ServerError::TlsFile`].
pub(crate) fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let unusable = |error| unusable(flag, path, error, "certificate");
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(unusable)?;
    if certificates.is_empty() { Err(unusable(Error::NoItemsFound)) } else { Ok(certificates) }
}

fn unusable(flag: &'static str, path: &Path, error: Error, wanted: &str) -> ServerError {
    let reason = match error {
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => format!("no {wanted} in PEM form in it"),
        error => error.to_string(),
    };
    ServerError::TlsFile { flag, path: path.to_owned(), reason }
}
