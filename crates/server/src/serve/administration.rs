//! Starts the admin endpoint.

use std::sync::Arc;

use crate::{
    admin::{self, Admin, Api, Exporter, Listener, Readiness, Token},
    config::{AdminAddress, AdminConfig, Invalid},
    net::inherited::Inherited,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Listens on `inherited`, or else on the address of the configuration. `delivers` tells that the server has a file of
/// `--deliveries`.
pub(super) fn start(
    config: &AdminConfig,
    inherited: Option<Inherited>,
    delivers: bool,
    readiness: Arc<Readiness>,
) -> Result<Arc<Api>, BoxError> {
    let token = config
        .token_file
        .as_deref()
        .map(Token::open)
        .transpose()
        .map_err(Invalid)?;
    let listener = match &config.address {
        AdminAddress::Tcp(address) => {
            let listener = match inherited {
                Some(socket) => socket.listen()?,
                None => super::listen(*address, "--admin")?,
            };
            tracing::info!(api = token.is_some(), address = %listener.local_addr()?, "admin endpoint started");
            Listener::Tcp(listener)
        }
        AdminAddress::Unix(path) => {
            let listener = Listener::unix(path).map_err(|error| {
                let path = path.display();
                format!("cannot listen on unix:{path}: {error}; set another address with --admin")
            })?;
            tracing::info!(api = token.is_some(), address = %config.address, "admin endpoint started");
            listener
        }
    };
    let api = Arc::new(Api::new(token.map(Arc::new), config.hosts.clone(), delivers));
    let admin = Admin {
        exporter: Exporter::install()?,
        readiness,
        api: Arc::clone(&api),
    };
    tokio::spawn(admin::serve(listener, admin));
    Ok(api)
}
