//! KAZOO's storage backend on an object store that is chosen by its URL.
//!
//! ```console
//! cargo run --features object-store --example object_store     # any free port, objects in memory
//! export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… AWS_ENDPOINT=http://10.0.0.7:7480 AWS_ALLOW_HTTP=true
//! cargo run --features object-store,object_store/aws --example object_store 8080 s3://voicemail/kazoo
//! ```
//!
//! Any number of servers can share one bucket. `/files` lists what is stored, for the operator:
//!
//! ```console
//! curl -i -T message.mp3 -H 'content-type: audio/mpeg' http://127.0.0.1:8080/some_prefix/ACC/202401-DOC/message.mp3
//! curl -i http://127.0.0.1:8080/files
//! ```

use std::{env, error::Error, pin::pin};

use axum::{Router, extract::State, routing::get};
use futures_util::TryStreamExt as _;
use http::StatusCode;
use kazoo_storage::{BlobCatalog as _, BlobStore as _, KazooStorage, ObjectStoreBlobs};
use tokio::net::TcpListener;
use url::Url;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let port = args.next().map_or(Ok(0), |port| port.parse())?;
    let url = args.next().unwrap_or_else(|| "memory:///".to_owned());

    // Settings and credentials from the environment. With a slow client, a long file takes more than the default of 30
    // seconds.
    let settings = env::vars().chain([("timeout".to_owned(), "1day".to_owned())]);
    let (engine, prefix) = object_store::parse_url_opts(&Url::parse(&url)?, settings)?;
    let store = ObjectStoreBlobs::new(engine).prefix(prefix);
    // Reports a wrong bucket or credentials now instead of with the first voicemail.
    store.check().await?;

    let storage = KazooStorage::new(store.clone()).into_service();
    let app = Router::new()
        .route("/files", get(list))
        .with_state(store)
        .nest_service("/some_prefix", storage);

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Lists the key of every file, one per line.
async fn list(State(store): State<ObjectStoreBlobs>) -> Result<String, StatusCode> {
    let mut entries = pin!(store.list(None));
    let mut keys = Vec::new();
    while let Some(entry) = entries.try_next().await.map_err(|error| error.status())? {
        keys.push(entry.key.to_string());
    }
    Ok(keys.join("\n"))
}
