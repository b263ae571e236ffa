//! [`Resolver`]: looks names up, one at a time.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Arc,
};

use tokio::{sync::Semaphore, task::spawn_blocking};

/// Looks names up as the system does, one at a time.
///
/// A lookup blocks a thread, for minutes if the name server is down, even after its request has timed out. Without a limit,
/// the lookups of one receiver could take all threads that write files.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Semaphore>);

impl Resolver {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    pub(super) async fn look_up(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let look_up = move || {
            let _permit = permit;
            (host, port).to_socket_addrs().map(Iterator::collect)
        };
        spawn_blocking(look_up).await?
    }
}

#[cfg(feature = "webhooks")]
impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            // The port is that of the URL.
            let found = resolver.look_up(name.as_str().to_owned(), 0).await?;
            let addresses: reqwest::dns::Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}
