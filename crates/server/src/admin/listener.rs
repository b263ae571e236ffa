//! [`Listener`]: a TCP port, or a Unix socket.

use std::{
    fs,
    io::{self, ErrorKind},
    net::IpAddr,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::Path,
};

use rustix::fs::Mode;
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
    /// Listens on a Unix socket at `path`, for the user of this process only. Replaces the socket of a server that has ended.
    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                let message = "a file that is not a socket is there";
                return Err(io::Error::new(ErrorKind::AlreadyExists, message));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                let message = "another server listens there";
                return Err(io::Error::new(ErrorKind::AddrInUse, message));
            }
            Ok(_) => fs::remove_file(path)?,
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

    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, Local)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                let local = Local::Ip(stream.local_addr()?.ip().to_canonical());
                Ok((Box::new(stream), local))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), Local::Unix))
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
}
