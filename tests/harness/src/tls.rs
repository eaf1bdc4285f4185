//! Certificates for tests: an authority that nobody else trusts, and a server's certificate signed by it.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// PEM texts of one server.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority's certificate: what a client must trust.
    pub ca: String,
    /// The server's certificate, then the authority's.
    pub chain: String,
    /// The server's key (PKCS #8).
    pub key: String,
}

impl Certificates {
    /// For a server on `localhost` and `127.0.0.1`.
    ///
    /// # Errors
    /// Where no key could be made.
    pub fn for_localhost() -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A name of its own: a chain in which all names are equal looks self-signed to OpenSSL.
        authority.distinguished_name.push(DnType::CommonName, "track test authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut server = CertificateParams::new(names)?;
        server.distinguished_name.push(DnType::CommonName, "localhost");
        let server = server.signed_by(&key, &authority)?;
        let ca = authority.pem();
        Ok(Self { chain: format!("{}{ca}", server.pem()), ca, key: key.serialize_pem() })
    }
}
