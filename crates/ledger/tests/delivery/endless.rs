//! Receivers whose answers do not end.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::sleep,
};

/// An answer: its beginning, and what follows again and again.
#[derive(Clone, Copy)]
pub(crate) struct Endless {
    pub(crate) begin: &'static [u8],
    pub(crate) again: &'static [u8],
    /// The number of times that `again` is sent at once.
    pub(crate) times: usize,
    pub(crate) pause: Duration,
}

impl Endless {
    /// As fast as the client reads.
    pub(crate) const FLOOD: Self = Self {
        begin: b"",
        again: b"",
        times: 10_000,
        pause: Duration::ZERO,
    };

    /// A little at a time.
    pub(crate) const DRIP: Self = Self {
        times: 1,
        pause: Duration::from_millis(5),
        ..Self::FLOOD
    };

    /// Starts a receiver on a thread of its own, as another machine would be. Returns its address, and the number of bytes that it has
    /// sent to its clients.
    pub(crate) fn start(self) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::<AtomicUsize>::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        std::thread::spawn({
            let sent = Arc::clone(&sent);
            move || {
                runtime.block_on(async {
                    let listener = TcpListener::from_std(listener).unwrap();
                    while let Ok((mut stream, _)) = listener.accept().await {
                        let sent = Arc::clone(&sent);
                        tokio::spawn(async move {
                            let _ = stream.read(&mut [0; 4096]).await;
                            let mut written = stream.write_all(self.begin).await;
                            let again = self.again.repeat(self.times);
                            while written.is_ok() {
                                written = stream.write_all(&again).await;
                                sent.fetch_add(again.len(), Ordering::Relaxed);
                                sleep(self.pause).await;
                            }
                        });
                    }
                });
            }
        });
        (address, sent)
    }
}

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}…", self.begin.escape_ascii(), self.again.escape_ascii())
    }
}
