//! Brokers that do not speak AMQP, or without end.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use kazoo_storage_ledger::delivery::{AmqpExchange, Receiver};

use super::{Site, endless::Endless};

/// Maximum number of bytes that a connection takes from a broker. A client that only collected them would take more in the same time.
const MAX_READ: usize = 256 << 20;

/// The method `connection.start`, with the mechanism `PLAIN`.
const START: &[u8] = b"\x01\x00\x00\x00\x00\x00\x1c\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US\xce";

#[tokio::test]
async fn an_attempt_ends_whatever_the_broker_sends() {
    let late = "no answer within 500ms";
    for (answer, expected) in [
        // Another protocol.
        (
            Endless {
                begin: b"HTTP/1.1 400 Bad Request\r\n\r\n",
                again: b"x",
                ..Endless::FLOOD
            },
            "is not AMQP 0-9-1",
        ),
        // Another version of AMQP.
        (
            Endless {
                again: b"AMQP\x00\x01\x00\x00",
                ..Endless::FLOOD
            },
            "AMQP 1.0.0",
        ),
        // A frame of 2 GiB.
        (
            Endless {
                begin: b"\x01\x00\x00\x7f\xff\xff\xff",
                again: b"x",
                ..Endless::FLOOD
            },
            late,
        ),
        // Nothing but heartbeats.
        (
            Endless {
                again: b"\x08\x00\x00\x00\x00\x00\x00\xce",
                ..Endless::FLOOD
            },
            late,
        ),
        (
            Endless {
                again: b"\x08\x00\x00\x00\x00\x00\x00\xce",
                ..Endless::DRIP
            },
            late,
        ),
        // The first step of the handshake, again and again.
        (
            Endless {
                again: START,
                ..Endless::FLOOD
            },
            "",
        ),
        (
            Endless {
                again: START,
                ..Endless::DRIP
            },
            "",
        ),
    ] {
        let site = Site::new().await;
        let (address, sent) = answer.start();
        let broker = Receiver::from(AmqpExchange::new(&format!("amqp://{address}")).unwrap());
        let running = site.deliver([broker.timeout(Duration::from_millis(500))]).await;
        let begun = Instant::now();
        site.put("a", "1").await;
        let error = site.error().await;
        assert!(error.contains(expected), "{answer}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{answer}: {error}");
        running.stop().await;
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < MAX_READ, "{answer}: {sent} bytes, {error}");
        assert_eq!(site.outbox().len(), 1, "{answer}");
    }
}
