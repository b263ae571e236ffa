//! The stand-in for [`Tls`] without the feature `tls`. It has no value, so the client refuses every `https` URL.

use std::io;

use kazoo_storage::{Error, ErrorKind, Result};
use tokio::net::TcpStream;

#[derive(Clone, Debug)]
pub(super) enum Tls {}

impl Tls {
    pub(super) fn system() -> Result<Self> {
        Err(Error::new(
            ErrorKind::InvalidRequest,
            "an `https` URL needs the feature `tls` of kazoo-storage-client",
        ))
    }

    #[expect(clippy::unused_async, reason = "the signature of the type that it stands for")]
    pub(super) async fn connect(&self, _: &str, _: TcpStream) -> io::Result<TcpStream> {
        match *self {}
    }
}
