//! A server that records each request to the byte and answers what it is told.

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

/// It runs as long as this lives.
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
    /// Answers each request with what `answer` makes of it: the bytes of an answer, behind which the connection stays open
    /// unless they are empty or say `close`.
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
                    // How it ends is for the client to judge.
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

    /// Each request, and none of them any more.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.seen.lock().unwrap().requests)
    }

    /// Waits until this has closed every connection.
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

/// How long the request is that `received` begins with, once its head is there.
fn whole(received: &[u8]) -> Option<usize> {
    let head = find(received, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&received[..head]);
    let (_, len) = text.split_once("\r\ncontent-length: ").expect("a length");
    Some(head + len.lines().next().unwrap().parse::<usize>().unwrap())
}

/// An answer with `status`, `headers` (each with its line's end) and `body`.
pub(crate) fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}
