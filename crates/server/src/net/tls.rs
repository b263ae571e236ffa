//! TLS: the certificate of the server, and the authorities of client certificates.

use std::{
    error::Error,
    io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{config::TlsConfig, flag_file};

/// Accepts TLS connections with files that can be reloaded. Clones share the files.
#[derive(Clone)]
pub(crate) struct Tls {
    config: TlsConfig,
    acceptor: Arc<RwLock<TlsAcceptor>>,
}

impl Tls {
    /// Reads the files of `config`.
    pub(crate) fn open(config: TlsConfig) -> Result<Self, String> {
        Ok(Self {
            acceptor: Arc::new(RwLock::new(acceptor(&config)?)),
            config,
        })
    }

    /// Reads the files again. If they are invalid, nothing changes.
    pub(crate) fn reload(&self) -> Result<(), String> {
        let acceptor = acceptor(&self.config)?;
        *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
        Ok(())
    }

    /// Performs the TLS handshake with the client until `deadline`.
    pub(crate) async fn accept(&self, stream: TcpStream, deadline: Instant) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone();
        timeout_at(deadline, acceptor.accept(stream))
            .await
            .unwrap_or_else(|late| Err(io::Error::new(io::ErrorKind::TimedOut, late)))
    }
}

fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, String> {
    let TlsConfig { cert, key, client_ca } = config;
    let chain = certificates("--tls-cert", cert)?;
    let pem = flag_file::read("--tls-key", key)?;
    let private = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| format!("no private key in --tls-key {}: {error}", key.display()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut authorities = RootCertStore::empty();
            let invalid = |error: &dyn Error| format!("--tls-client-ca {}: {error}", path.display());
            for authority in certificates("--tls-client-ca", path)? {
                authorities.add(authority).map_err(|error| invalid(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| invalid(&error))?)
        }
    };
    let config = builder.with_single_cert(chain, private);
    let mut config = config.map_err(|error| {
        format!(
            "--tls-cert {} with --tls-key {}: {error}",
            cert.display(),
            key.display()
        )
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Reads the certificates in a file, at least one.
fn certificates(flag: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = flag_file::read(flag, path)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| format!("no certificates in {flag} {}: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!("no certificates in {flag} {}", path.display()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{fs, net::SocketAddr, time::Duration};

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::{ClientConfig, ProtocolVersion, SupportedProtocolVersion, pki_types::ServerName, version};
    use tempfile::TempDir;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsConnector;

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// A certificate and its key, as PEM.
    fn issued(by: &Authority) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, by).unwrap().pem(), key.serialize_pem())
    }

    fn write(directory: &TempDir, (cert, key): &(String, String)) -> TlsConfig {
        let (cert_path, key_path) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        fs::write(&cert_path, cert).unwrap();
        fs::write(&key_path, key).unwrap();
        TlsConfig {
            cert: cert_path,
            key: key_path,
            client_ca: None,
        }
    }

    async fn echo_once(tls: &Tls) -> (SocketAddr, tokio::task::JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = tls.clone();
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let mut stream = tls.accept(stream, Instant::now() + Duration::from_secs(10)).await?;
            let byte = stream.read_u8().await?;
            stream.write_u8(byte).await?;
            stream.shutdown().await
        });
        (address, served)
    }

    /// Returns the negotiated protocol version.
    async fn negotiated(
        tls: &Tls,
        trusted: &Authority,
        version: &'static SupportedProtocolVersion,
        own: Option<&(String, String)>,
    ) -> io::Result<ProtocolVersion> {
        let (address, served) = echo_once(tls).await;
        let mut roots = RootCertStore::empty();
        roots.add(trusted.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => config.with_no_client_auth(),
            Some((cert, key)) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_u8(7).await?;
        assert_eq!(stream.read_u8().await?, 7);
        let version = stream.get_ref().1.protocol_version().unwrap();
        drop(stream);
        let _ = served.await.unwrap();
        Ok(version)
    }

    #[tokio::test]
    async fn accepts_both_versions_and_reloads_the_certificate() {
        let directory = TempDir::new().unwrap();
        let (first, second) = (authority(), authority());
        let tls = Tls::open(write(&directory, &issued(&first))).unwrap();
        for (version, expected) in [
            (&version::TLS12, ProtocolVersion::TLSv1_2),
            (&version::TLS13, ProtocolVersion::TLSv1_3),
        ] {
            assert_eq!(negotiated(&tls, &first, version, None).await.unwrap(), expected);
        }
        assert!(negotiated(&tls, &second, &version::TLS13, None).await.is_err());
        write(&directory, &issued(&second));
        tls.reload().unwrap();
        assert!(negotiated(&tls, &second, &version::TLS13, None).await.is_ok());
        // A key of another certificate changes nothing.
        fs::write(directory.path().join("key.pem"), issued(&second).1).unwrap();
        assert!(tls.reload().is_err());
        assert!(negotiated(&tls, &second, &version::TLS13, None).await.is_ok());
    }

    #[tokio::test]
    async fn requires_a_client_certificate_if_configured() {
        let directory = TempDir::new().unwrap();
        let (servers, clients) = (authority(), authority());
        let ca = directory.path().join("ca.pem");
        fs::write(&ca, clients.pem()).unwrap();
        let mut options = write(&directory, &issued(&servers));
        options.client_ca = Some(ca);
        let tls = Tls::open(options).unwrap();
        for version in [&version::TLS12, &version::TLS13] {
            assert!(
                negotiated(&tls, &servers, version, Some(&issued(&clients)))
                    .await
                    .is_ok()
            );
            assert!(
                negotiated(&tls, &servers, version, Some(&issued(&servers)))
                    .await
                    .is_err()
            );
            assert!(negotiated(&tls, &servers, version, None).await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn limits_the_time_of_a_handshake() {
        let directory = TempDir::new().unwrap();
        let tls = Tls::open(write(&directory, &issued(&authority()))).unwrap();
        let (address, served) = echo_once(&tls).await;
        let _silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(served.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn names_an_invalid_file() {
        let directory = TempDir::new().unwrap();
        let good = issued(&authority());
        for (pair, says) in [
            ((String::new(), good.1.clone()), "--tls-cert"),
            ((good.0.clone(), String::new()), "--tls-key"),
            ((good.0.clone(), "hush".to_owned()), "--tls-key"),
            ((good.0.clone(), issued(&authority()).1), "--tls-key"),
        ] {
            let error = Tls::open(write(&directory, &pair)).err().unwrap();
            assert!(error.contains(says) && !error.contains("hush"), "{error}");
        }
        let mut options = write(&directory, &good);
        options.client_ca = Some("/none".into());
        assert!(Tls::open(options).err().unwrap().contains("--tls-client-ca /none"));
    }
}
