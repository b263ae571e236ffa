//! KAZOO's storage backend on bare hyper, with no router: a layer in front of whatever else is served.
//!
//! ```console
//! cargo run --example hyper    # port 8080; `cargo run --example hyper 0` takes any free one
//! ```
//!
//! Then play KAZOO, which uploads a file (here as multipart, the JSON first) and later fetches it:
//!
//! ```console
//! URL=http://127.0.0.1:8080/some_prefix/ACC/202401-DOC/message.mp3
//! curl -i -X PUT -F 'json={"call_id":"b3f6"};type=application/json' -F 'media=@message.mp3;type=audio/mpeg' $URL
//! curl -i $URL
//! curl -i http://127.0.0.1:8080/
//! ```
//!
//! The files are kept in memory, and gone when the program ends.

use std::{convert::Infallible, env, error::Error};

use hyper::{Request, Response, body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use kazoo_storage::{Body, KazooStorage, MemoryStore};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).map_or(Ok(8080), |port| port.parse())?;
    let service = ServiceBuilder::new()
        .layer(KazooStorage::new(MemoryStore::new()).mount("/some_prefix"))
        .service(service_fn(rest));

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            // KAZOO keeps connections for 120 seconds and loses an upload that meets a closing one. Without a timer
            // hyper closes none for being idle.
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

/// The application's own service.
async fn rest(_: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::from("the rest of the application")))
}
