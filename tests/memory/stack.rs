//! The whole stack, in front of every store and behind a socket.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::Ordering,
    time::Duration,
};

use http::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use kazoo_storage::{BlobKey, BlobStore, Event, KazooStorage};
use tower::ServiceExt as _;

use super::{
    BOUND, CHUNK, Discard, LONG, MIB, alone, assert_held, block_on,
    body::{Generated, raw, uploads},
    measured,
    sink::Sink,
};

#[test]
fn bounds_the_stack() {
    let _alone = alone();
    for (name, request, media) in uploads(LONG) {
        let discard = Discard::default();
        let service = KazooStorage::new(discard.clone())
            .max_body(u64::MAX)
            .max_media(u64::MAX)
            .observe(|_: &Event<'_>| ())
            .into_service();
        let (answer, held) = block_on(async { measured(service.oneshot(request)).await });
        assert_eq!(answer.unwrap().status(), StatusCode::CREATED, "{name}");
        assert_eq!(discard.bytes(), media, "{name}");
        assert_held(&format!("the stack, {name}"), held, BOUND);
    }
}

#[test]
fn streams_files() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    for (name, request, media) in uploads(LONG) {
        // Without syncs, which need no memory.
        let store = kazoo_storage::store::FsStore::options()
            .durable(false)
            .open(directory.path())
            .unwrap();
        let key = BlobKey::from_path(request.uri().path()).unwrap();
        let service = KazooStorage::new(store.clone()).max_body(u64::MAX).into_service();
        let (answer, held) = block_on(async { measured(service.oneshot(request)).await });
        assert_eq!(answer.unwrap().status(), StatusCode::CREATED, "{name}");
        assert_eq!(block_on(BlobStore::head(&store, &key)).unwrap().len, media, "{name}");
        assert_held(&format!("files, {name}"), held, BOUND);
    }
}

/// One part in transfer and one being received, however the body is split, and no more than its length for a
/// short body.
#[test]
fn stores_objects_in_parts() {
    let _alone = alone();
    let parts = 2 * kazoo_storage::ObjectStoreBlobs::DEFAULT_PART_SIZE;
    let byte_by_byte = Generated::in_chunks(1, b"x", 12 * MIB);
    let byte_by_byte = Request::put("/ACC/DOC/bytes.wav").body(byte_by_byte).unwrap();
    for (name, request, media, bound) in uploads(LONG)
        .into_iter()
        .map(|(name, request, media)| (name, request, media, parts + BOUND))
        .chain([
            ("byte by byte", byte_by_byte, 12 * MIB, parts + BOUND),
            ("short", raw("/ACC/DOC/short.wav", 100_000), 100_000, 200_000 + BOUND),
        ])
    {
        let engine = Sink::default();
        // A debug build on a busy machine may need longer than the default deadline.
        let store = kazoo_storage::ObjectStoreBlobs::new(engine.clone()).deadline(Duration::from_secs(600));
        let service = KazooStorage::new(store).max_body(u64::MAX).into_service();
        let (answer, held) = block_on(async { measured(service.oneshot(request)).await });
        assert_eq!(answer.unwrap().status(), StatusCode::CREATED, "{name}");
        assert_eq!(engine.bytes(), media, "{name}");
        assert_held(&format!("objects, {name}"), held, bound);
        assert!(media < LONG / 2 || held > parts / 2, "{name}: parts are held: {held}");
    }
}

#[test]
fn memory_is_linear_in_the_number_of_uploads() {
    const UPLOADS: usize = 64;
    let _alone = alone();
    let len = if cfg!(debug_assertions) { MIB } else { 64 * MIB };
    let discard = Discard::default();
    let storage = KazooStorage::new(discard.clone()).into_service();
    let requests: Vec<_> = (0..UPLOADS).map(|number| uploads(len)[number % 3].1.clone()).collect();
    let (statuses, held) = block_on(measured(async {
        let mut tasks = tokio::task::JoinSet::new();
        for request in requests {
            tasks.spawn(storage.clone().oneshot(request.map(Generated::pausing)));
        }
        tasks.join_all().await
    }));
    assert_eq!(statuses.len(), UPLOADS);
    assert!(
        statuses
            .into_iter()
            .all(|answer| answer.unwrap().status() == StatusCode::CREATED)
    );
    let most = discard.most.load(Ordering::Relaxed);
    assert_eq!(most, UPLOADS, "they were not all there at the same time");
    assert_held("64 uploads at once", held, UPLOADS * BOUND);
}

#[test]
fn holds_only_buffers_for_an_upload_over_a_socket() {
    /// hyper's own buffer, which grows to its maximum.
    const CONNECTION: usize = 64 << 10;
    let _alone = alone();
    for (name, request, media) in uploads(LONG) {
        let discard = Discard::default();
        let storage = KazooStorage::new(discard.clone()).max_body(u64::MAX).into_service();
        let held = block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (parts, body) = request.into_parts();
            // The client allocates everything before the measurement.
            let start = format!(
                "PUT {} HTTP/1.1\r\nhost: h\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                parts.uri,
                parts.headers["content-type"].to_str().unwrap(),
                body.total(),
            );
            let client = std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(start.as_bytes()).unwrap();
                stream.write_all(&body.head).unwrap();
                let mut left = body.len;
                while left > 0 {
                    let len = body.repeated.len().min(usize::try_from(left).unwrap());
                    stream.write_all(&body.repeated[..len]).unwrap();
                    left -= len as u64;
                }
                stream.write_all(&body.tail).unwrap();
                let mut status = [0; 12];
                stream.read_exact(&mut status).unwrap();
                status
            });
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(|request| storage.clone().oneshot(request));
            let connection = hyper::server::conn::http1::Builder::new()
                .max_buf_size(CHUNK)
                .serve_connection(TokioIo::new(stream), service);
            let (closed, held) = measured(connection).await;
            closed.unwrap();
            assert_eq!(&client.join().unwrap(), b"HTTP/1.1 201");
            held
        });
        assert_eq!(discard.bytes(), media, "{name}");
        assert_held(&format!("over a socket, {name}"), held, BOUND + CONNECTION);
    }
}
