//! [`Sockets`]: sockets that the service manager has opened, such as systemd for a socket unit.

use std::{
    env, io,
    net::{self, SocketAddr},
};

use listenfd::ListenFd;
use rustix::net::sockopt::set_socket_keepalive;
use tokio::net::TcpListener;

/// Name of the socket of the admin endpoint, `FileDescriptorName=` in its unit.
const ADMIN: &str = "admin";

/// The sockets of the environment.
#[derive(Default)]
pub(crate) struct Sockets {
    /// In place of `--listen`.
    pub(crate) listen: Option<Inherited>,
    /// In place of `--admin`.
    pub(crate) admin: Option<Inherited>,
}

/// A socket that stays open while no server runs: connections wait in it for the next server.
pub(crate) struct Inherited {
    socket: net::TcpListener,
    pub(crate) address: SocketAddr,
}

impl Sockets {
    /// Takes the sockets that the environment names. The one with the name `admin` is for the admin endpoint.
    ///
    /// Removes its variables from the environment, so call it before any other thread runs.
    pub(crate) fn from_env() -> Result<Self, String> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut sockets = Self::default();
        for (index, name) in (0..passed.len()).zip(names.split(':').chain(std::iter::repeat(""))) {
            let (place, role) = match name {
                ADMIN => (&mut sockets.admin, "admin socket"),
                // systemd names a socket after its unit.
                _ => (&mut sockets.listen, "socket"),
            };
            if place.is_some() {
                return Err(format!(
                    "the service manager passed {} sockets, but the server listens on one {role}; keep one ListenStream= in \
                     the socket unit ([::]:8080 includes IPv4), and set FileDescriptorName={ADMIN} in the unit of the admin \
                     endpoint",
                    passed.len()
                ));
            }
            *place = take(&mut passed, index).map_err(|error| {
                format!(
                    "the service manager passed no TCP socket: {error}; set a port with ListenStream= in the socket unit"
                )
            })?;
        }
        Ok(sockets)
    }
}

impl Inherited {
    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        self.socket.set_nonblocking(true)?;
        // As for a socket of the server itself.
        set_socket_keepalive(&self.socket, true)?;
        TcpListener::from_std(self.socket)
    }
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<Option<Inherited>> {
    let Some(socket) = passed.take_tcp_listener(index)? else {
        return Ok(None);
    };
    let address = socket.local_addr()?;
    Ok(Some(Inherited { socket, address }))
}
