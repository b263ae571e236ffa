//! [`Resolver`]: looks names up, one at a time.

use std::{net::ToSocketAddrs as _, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Looks names up as the system does, one at a time.
///
/// A lookup blocks a thread, for minutes if the name server is dead, also after its request has timed out. Without a limit,
/// the lookups of one receiver could take all threads that write files.
pub(super) struct Resolver(Arc<Semaphore>);

impl Resolver {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let permits = Arc::clone(&self.0);
        Box::pin(async move {
            let permit = permits.acquire_owned().await?;
            let look_up = move || {
                let _permit = permit;
                // The port is that of the URL.
                (name.as_str(), 0).to_socket_addrs()
            };
            let addresses: Addrs = Box::new(spawn_blocking(look_up).await??);
            Ok(addresses)
        })
    }
}
