//! Receivers whose answers do not end.

use std::time::{Duration, Instant};

use kazoo_storage_ledger::delivery::Webhook;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{sleep, timeout},
};

use super::{Site, receiver::SECRET};

/// An answer: its beginning, and what follows again and again.
#[derive(Clone, Copy)]
struct Endless {
    begin: &'static str,
    again: &'static str,
    /// The number of times that `again` is sent at once.
    times: usize,
    pause: Duration,
}

/// Starts a receiver on a thread of its own, as another machine would be. Returns its URL.
fn start(answer: Endless) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let mut written = stream.write_all(answer.begin.as_bytes()).await;
                    let again = answer.again.repeat(answer.times);
                    while written.is_ok() {
                        written = stream.write_all(again.as_bytes()).await;
                        sleep(answer.pause).await;
                    }
                });
            }
        });
    });
    url
}

#[tokio::test]
async fn an_attempt_ends_whatever_the_receiver_sends() {
    let flood = Endless {
        begin: "",
        again: "",
        times: 10_000,
        pause: Duration::ZERO,
    };
    let drip = Endless {
        times: 1,
        pause: Duration::from_millis(5),
        ..flood
    };
    let late = Some("no answer within 500ms");
    for (answer, error) in [
        (
            Endless {
                again: "HTTP/1.1 100 Continue\r\n\r\n",
                ..flood
            },
            late,
        ),
        (
            Endless {
                again: "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
                ..drip
            },
            late,
        ),
        (
            Endless {
                begin: "HTTP/1.1 200 OK\r\n",
                again: "a: b\r\n",
                ..drip
            },
            late,
        ),
        (
            Endless {
                begin: "HTTP/1.1 200 OK\r\n",
                again: "a: b\r\n",
                ..flood
            },
            Some("head"),
        ),
        (
            Endless {
                begin: "HTTP/1.1 200 OK\r\na: ",
                again: "b",
                ..flood
            },
            Some("head"),
        ),
        (
            Endless {
                begin: "HTTP/1.1 200 OK\r\n\r\n",
                again: "body",
                ..flood
            },
            None,
        ),
        (
            Endless {
                begin: "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
                ..drip
            },
            None,
        ),
    ] {
        let site = Site::new().await;
        let webhook = kazoo_storage_ledger::delivery::Receiver::from(Webhook::new(&start(answer), SECRET).unwrap());
        let running = site.deliver([webhook.timeout(Duration::from_millis(500))]).await;
        let begun = Instant::now();
        site.put("a", "1").await;
        if let Some(expected) = error {
            let found = site.error().await;
            assert!(found.contains(expected), "{}{}: {found}", answer.begin, answer.again);
        } else {
            let settled = async {
                while !site.outbox().is_empty() {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(20), settled).await.unwrap();
        }
        let elapsed = begun.elapsed();
        assert!(
            elapsed < Duration::from_secs(3),
            "{}{}: {elapsed:?}",
            answer.begin,
            answer.again
        );
        running.stop().await;
    }
}
