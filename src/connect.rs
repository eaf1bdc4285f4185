//! Connections to processors over the network, with TLS where their urls say so.

use crate::server::tls;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use track_query_api::owners::{self, Connect};

/// A host that is gone answers nothing at all: give up soon, and ask a replica.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// A connection to a host that is gone is noticed by asking.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Connects to processors as they are needed; to `https://` urls with the certificates in `ca`, or the system's.
///
/// # Errors
/// Where `ca` holds none.
pub(crate) fn over_the_network(ca: Option<&Path>) -> anyhow::Result<Connect> {
    let tls = match ca {
        Some(path) => {
            tls::certificates("--tls-ca", path)?;
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(std::fs::read(path)?))
        }
        None => ClientTlsConfig::new().with_native_roots(),
    };
    // Called on the board's thread, which is none of the runtime's.
    let runtime = tokio::runtime::Handle::current();
    Ok(Arc::new(move |url| {
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| error.to_string())?
            .connect_timeout(CONNECT_WITHIN)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY);
        if url.starts_with("https:") {
            endpoint = endpoint.tls_config(tls.clone()).map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
        }
        let _inside = runtime.enter();
        Ok(owners::channel(endpoint.connect_lazy()))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_https_processor_needs_certificates_that_can_be_read() {
        let missing = over_the_network(Some(Path::new("no/such/file.pem"))).err().unwrap();
        assert!(missing.to_string().contains("--tls-ca no/such/file.pem"), "{missing}");
        let connect = over_the_network(None).unwrap();
        assert!(connect("http://127.0.0.1:1").is_ok());
        assert!(connect("not a url").is_err());
    }
}
