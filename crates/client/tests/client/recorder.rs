//! A server that records the bytes of each request and sends prepared responses.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, yield_now},
};

use kazoo_storage_test_support::client::find;

/// A running recorder. Dropping it stops the server.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<Vec<u8>>,
    connections: usize,
    ended: usize,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    /// Answers each request with the bytes that `answer` returns. The connection stays open unless they are empty or contain
    /// `close`.
    pub(crate) async fn start(answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let answer = Arc::new(answer);
        let task = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    seen.lock().unwrap().connections += 1;
                    let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                    // The client sees errors itself.
                    tokio::spawn(async move {
                        let _ = serve(stream, &seen, &*answer).await;
                        seen.lock().unwrap().ended += 1;
                    });
                }
            }
        });
        Self {
            address,
            seen,
            task: task.abort_handle(),
        }
    }

    /// Takes the recorded requests.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.seen.lock().unwrap().requests)
    }

    /// Waits until the recorder has closed every connection.
    pub(crate) async fn all_closed(&self) {
        let is_open = || {
            let seen = self.seen.lock().unwrap();
            seen.ended < seen.connections
        };
        while is_open() {
            yield_now().await;
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Seen>,
    answer: &(impl Fn(&[u8]) -> Vec<u8> + Sync),
) -> io::Result<()> {
    let mut received = Vec::new();
    loop {
        while whole(&received).is_none_or(|len| received.len() < len) {
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        }
        let request: Vec<u8> = received.drain(..whole(&received).unwrap()).collect();
        let answer = answer(&request);
        seen.lock().unwrap().requests.push(request);
        stream.write_all(&answer).await?;
        if answer.is_empty() || find(&answer, b": close\r\n").is_some() {
            return Ok(());
        }
    }
}

/// Returns the length of the first request in `received`, once its head is complete.
fn whole(received: &[u8]) -> Option<usize> {
    let head = find(received, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&received[..head]);
    let (_, len) = text.split_once("\r\ncontent-length: ").expect("a length");
    Some(head + len.lines().next().unwrap().parse::<usize>().unwrap())
}

/// Builds a response with `status`, `headers` (each with its line ending) and `body`.
pub(crate) fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}
