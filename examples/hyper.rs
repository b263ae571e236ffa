//! KAZOO's storage backend on hyper without a router: a layer in front of another service.
//!
//! ```console
//! cargo run --example hyper    # port 8080; `cargo run --example hyper 0` takes any free one
//! ```
//!
//! Then upload a file as KAZOO does, here as multipart with the JSON first, and fetch it:
//!
//! ```console
//! URL=http://127.0.0.1:8080/some_prefix/ACC/202401-DOC/message.mp3
//! curl -i -X PUT -F 'json={"call_id":"b3f6"};type=application/json' -F 'media=@message.mp3;type=audio/mpeg' $URL
//! curl -i $URL
//! curl -i http://127.0.0.1:8080/
//! ```
//!
//! The files are kept in memory until the program ends. On Ctrl-C it finishes the requests in progress.

use std::{convert::Infallible, env, error::Error, pin::pin, time::Duration};

use hyper::{Request, Response, body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown, service::TowerToHyperService};
use kazoo_storage::{Body, KazooStorage, MemoryStore};
use tokio::{
    net::TcpListener,
    signal::ctrl_c,
    time::{sleep, timeout},
};
use tower::{ServiceBuilder, service_fn};

/// Time for the requests in progress to finish.
const GRACE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).map_or(Ok(8080), |port| port.parse())?;
    let service = ServiceBuilder::new()
        .layer(KazooStorage::new(MemoryStore::new()).mount("/some_prefix"))
        .service(service_fn(rest));

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let (connections, mut stop) = (GracefulShutdown::new(), pin!(ctrl_c()));
    loop {
        let (stream, peer) = tokio::select! {
            _ = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // One connection failed, or too many files are open. Without a pause, the loop would spin.
                    eprintln!("cannot accept a connection: {error}");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(service.clone());
        // KAZOO keeps connections for 120 seconds, and loses an upload if the connection closes just then. Without a
        // timer, hyper closes no idle connections.
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("{peer}: {error}");
            }
        });
    }
    drop(listener);
    let _ = timeout(GRACE, connections.shutdown()).await;
    Ok(())
}

/// The application's own service.
async fn rest(_: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::from("the rest of the application")))
}
