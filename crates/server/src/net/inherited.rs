//! [`Inherited`]: a socket that the service manager has opened, such as systemd for a socket unit.

use std::{
    io,
    net::{self, SocketAddr},
};

use listenfd::ListenFd;
use rustix::net::sockopt::set_socket_keepalive;
use tokio::net::TcpListener;

/// A socket that stays open while no server runs: connections wait in it for the next server.
pub(crate) struct Inherited {
    socket: net::TcpListener,
    pub(crate) address: SocketAddr,
}

impl Inherited {
    /// Takes the socket that the environment names, if there is one.
    ///
    /// Removes its variables from the environment, so call it before any other thread runs.
    pub(crate) fn from_env() -> Result<Option<Self>, String> {
        let mut passed = ListenFd::from_env();
        if passed.len() > 1 {
            return Err(format!(
                "the service manager passed {} sockets, but the server listens on one; keep one ListenStream= in the socket \
                 unit ([::]:8080 includes IPv4)",
                passed.len()
            ));
        }
        let taken = passed.take_tcp_listener(0).and_then(|socket| {
            let Some(socket) = socket else { return Ok(None) };
            let address = socket.local_addr()?;
            Ok(Some(Self { socket, address }))
        });
        taken.map_err(|error| {
            format!(
                "the service manager passed no TCP socket: {error}; set a port with ListenStream= in the socket unit"
            )
        })
    }

    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        self.socket.set_nonblocking(true)?;
        // As for a socket of the server itself.
        set_socket_keepalive(&self.socket, true)?;
        TcpListener::from_std(self.socket)
    }
}
