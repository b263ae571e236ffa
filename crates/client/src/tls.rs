//! [`Tls`]: the trusted certificates of servers.

use std::{fmt, io, sync::Arc};

use kazoo_storage::{Error, ErrorKind, Result};
use rustls::{
    ClientConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The trusted certificates of servers. Clones share their configuration.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the certificates that the system trusts.
    pub fn system() -> Result<Self> {
        Self::new(Vec::new())
    }

    /// Trusts the certificates that the system trusts, and the authorities in `pem`, which contains at least one.
    pub fn with_authorities(pem: &[u8]) -> Result<Self> {
        let authorities: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match authorities {
            Ok(authorities) if !authorities.is_empty() => Self::new(authorities),
            Ok(_) => Err(Error::new(
                ErrorKind::InvalidRequest,
                "the file contains no PEM certificate",
            )),
            Err(error) => Err(Error::new(
                ErrorKind::InvalidRequest,
                "the file contains an invalid PEM certificate",
            )
            .with_source(error)),
        }
    }

    /// Performs the handshake with the server `host`.
    pub(super) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }

    fn new(authorities: Vec<CertificateDer<'static>>) -> Result<Self> {
        let config = || {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let verifier = Verifier::new_with_extra_roots(authorities, Arc::clone(&provider))?;
            let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
            Ok(config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth())
        };
        config()
            .map(|config| Self(Arc::new(config)))
            .map_err(|error: rustls::Error| {
                Error::new(
                    ErrorKind::InvalidRequest,
                    "the system's certificate verifier cannot be set up",
                )
                .with_source(error)
            })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
