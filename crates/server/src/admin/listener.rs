//! [`Listener`]: a TCP port, or a Unix socket.

use std::{
    fs,
    io::{self, ErrorKind},
    net::IpAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::{
    fs::Mode,
    io::{Errno, ioctl_fionbio},
    net::{AddressFamily, SocketAddrUnix, SocketType, socket},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};

/// Accepts connections of operators.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The end of a connection at this server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Local {
    Ip(IpAddr),
    Unix,
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Listener {
    /// Listens on a Unix socket at `path`, for the user of this process only. Replaces the socket of a server that has ended,
    /// and no other.
    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                let message = "a file that is not a socket is there";
                return Err(io::Error::new(ErrorKind::AlreadyExists, message));
            }
            Ok(_) => match connect(path) {
                Err(Errno::CONNREFUSED) => fs::remove_file(path)?,
                // `AGAIN`: it has a full queue.
                Ok(()) | Err(Errno::AGAIN) => {
                    let message = "another server listens there";
                    return Err(io::Error::new(ErrorKind::AddrInUse, message));
                }
                Err(Errno::PROTOTYPE) => {
                    let message = "another program has a socket of another type there";
                    return Err(io::Error::new(ErrorKind::AddrInUse, message));
                }
                Err(error) => return Err(error.into()),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // Nobody can connect between its creation and the change of its mode. Other threads create no files yet.
        let before = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let bound = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = bound?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self::Unix(listener))
    }

    /// Returns a connection, its end at this server, and the address of its other end.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, Local, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let local = Local::Ip(stream.local_addr()?.ip().to_canonical());
                Ok((Box::new(stream), local, Some(peer.ip().to_canonical())))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), Local::Unix, None))
            }
        }
    }
}

/// Connects to the socket at `path`, without waiting for its server.
fn connect(path: &Path) -> Result<(), Errno> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    ioctl_fionbio(&socket, true)?;
    rustix::net::connect(&socket, &address)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use rustix::net::{bind, listen};
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn replaces_a_stale_socket_and_refuses_others() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("admin.sock");
        let live = Listener::unix(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Listener::unix(&path).err().unwrap().kind(), ErrorKind::AddrInUse);
        drop(live);
        drop(Listener::unix(&path).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(Listener::unix(&path).err().unwrap().kind(), ErrorKind::AlreadyExists);
    }

    #[tokio::test]
    async fn replaces_no_socket_that_somebody_has() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("admin.sock");
        let refused = || Listener::unix(&path).err().unwrap().kind();
        let datagrams = UnixDatagram::bind(&path).unwrap();
        assert_eq!(refused(), ErrorKind::AddrInUse);
        UnixDatagram::unbound().unwrap().send_to(b"x", &path).unwrap();
        drop(datagrams);
        fs::remove_file(&path).unwrap();
        // A server that accepts nothing, and whose queue is full.
        let full = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&full, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&full, 0).unwrap();
        let mut waiting = Vec::new();
        loop {
            let client = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
            ioctl_fionbio(&client, true).unwrap();
            if rustix::net::connect(&client, &SocketAddrUnix::new(&path).unwrap()).is_err() {
                break;
            }
            waiting.push(client);
        }
        assert_eq!(refused(), ErrorKind::AddrInUse);
        drop((full, waiting));
        assert!(Listener::unix(&path).is_ok());
    }
}
