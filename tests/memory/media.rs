//! The extractor of the whole media.

use axum::{Router, extract::DefaultBodyLimit, routing::put};
use http::{Request, StatusCode};
use kazoo_storage::axum::Media;
use tower::ServiceExt as _;

use super::{BOUND, alone, assert_held, block_on, body::Generated, measured};

/// Length of the body, in bytes.
const LEN: usize = 1 << 20;

/// The length of the media bounds the memory, however short the chunks are.
#[test]
fn holds_at_most_twice_the_media() {
    let _alone = alone();
    let app = Router::new()
        .route("/", put(async |Media(media): Media| assert_eq!(media.len(), LEN)))
        .layer(DefaultBodyLimit::max(LEN));
    for chunk in [1, 100, 64 << 10] {
        let upload = Request::put("/")
            .body(Generated::in_chunks(chunk, b"ID3", LEN as u64))
            .unwrap();
        let upload = upload.map(axum::body::Body::new);
        let (answer, held) = block_on(async { measured(app.clone().oneshot(upload)).await });
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
        assert_held(&format!("Media, chunks of {chunk}"), held, 2 * LEN + BOUND);
    }
}
