//! Webhooks whose answers do not end.

use std::time::{Duration, Instant};

use kazoo_storage_ledger::delivery::Webhook;
use tokio::time::{sleep, timeout};

use super::{Site, endless::Endless, receiver::SECRET};

#[tokio::test]
async fn an_attempt_ends_whatever_the_receiver_sends() {
    let late = Some("no answer within 500ms");
    for (answer, error) in [
        (
            Endless {
                again: b"HTTP/1.1 100 Continue\r\n\r\n",
                ..Endless::FLOOD
            },
            late,
        ),
        (
            Endless {
                again: b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
                ..Endless::DRIP
            },
            late,
        ),
        (
            Endless {
                begin: b"HTTP/1.1 200 OK\r\n",
                again: b"a: b\r\n",
                ..Endless::DRIP
            },
            late,
        ),
        (
            Endless {
                begin: b"HTTP/1.1 200 OK\r\n",
                again: b"a: b\r\n",
                ..Endless::FLOOD
            },
            Some("head"),
        ),
        (
            Endless {
                begin: b"HTTP/1.1 200 OK\r\na: ",
                again: b"b",
                ..Endless::FLOOD
            },
            Some("head"),
        ),
        (
            Endless {
                begin: b"HTTP/1.1 200 OK\r\n\r\n",
                again: b"body",
                ..Endless::FLOOD
            },
            None,
        ),
        (
            Endless {
                begin: b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
                ..Endless::DRIP
            },
            None,
        ),
    ] {
        let site = Site::new().await;
        let url = format!("http://{}/hook", answer.start().0);
        let webhook = kazoo_storage_ledger::delivery::Receiver::from(Webhook::new(&url, SECRET).unwrap());
        let running = site.deliver([webhook.timeout(Duration::from_millis(500))]).await;
        let begun = Instant::now();
        site.put("a", "1").await;
        if let Some(expected) = error {
            let found = site.error().await;
            assert!(found.contains(expected), "{answer}: {found}");
        } else {
            let settled = async {
                while !site.outbox().is_empty() {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(20), settled).await.unwrap();
        }
        let elapsed = begun.elapsed();
        assert!(elapsed < Duration::from_secs(3), "{answer}: {elapsed:?}");
        running.stop().await;
    }
}
