//! One service for several tenants: an application that finds the tenant of each request in its database.
//!
//! ```console
//! cargo run --example multi_tenant    # port 8080
//! ```
//!
//! The URL in a tenant's storage settings ends with its token. Its files are stored in a folder of its own:
//!
//! ```console
//! curl -i -T message.mp3 http://127.0.0.1:8080/some_prefix/9c7d2a4835b6c1d0/ACC/202401-DOC/message.mp3
//! curl -i http://127.0.0.1:8080/some_prefix/9c7d2a4835b6c1d0/ACC/202401-DOC/message.mp3
//! curl -i http://127.0.0.1:8080/some_prefix/wrong/ACC/202401-DOC/message.mp3
//! ```

use std::{collections::HashMap, env};

use axum::Router;
use http::request::Parts;
use kazoo_storage::{
    BlobKey, BlobStore, Error, ErrorKind, Grant, KazooStorage, MemoryStore, PathKey, Result,
    authorize::{Authorizer, take_first_segment},
    builder::StorageService,
    extract_key::KeyExtractor as _,
};
use tokio::net::TcpListener;

/// A row of the table of tenants.
#[derive(Clone)]
struct Tenant {
    account: &'static str,
    max_upload: u64,
    is_suspended: bool,
}

/// The table of tenants by token. A database with hashed tokens takes its place.
struct Tenants(HashMap<&'static str, Tenant>);

impl Tenants {
    fn sample() -> Self {
        let tenant = |account, is_suspended| Tenant {
            account,
            max_upload: 64 << 20,
            is_suspended,
        };
        Self(HashMap::from([
            ("9c7d2a4835b6c1d0", tenant("acme", false)),
            ("b6c1d0e9f8a7b6c5", tenant("umbrella", true)),
        ]))
    }

    /// Finds a tenant. If the database fails, return `ErrorKind::Unavailable`: KAZOO then sends the upload again.
    async fn find(&self, token: &str) -> Result<Option<Tenant>> {
        tokio::task::yield_now().await;
        Ok(self.0.get(token).cloned())
    }
}

/// Request extension: the folder of the tenant.
#[derive(Clone)]
struct Folder(BlobKey);

impl Authorizer for Tenants {
    async fn authorize(&self, request: &mut Parts) -> Result<Grant> {
        // The token leaves the path, so it is part of no key.
        let tenant = match take_first_segment(request) {
            Some(token) => self.find(&token).await?,
            None => None,
        };
        let tenant = tenant.ok_or_else(|| {
            let message = "the URL in the storage settings has no valid token";
            Error::new(ErrorKind::Unauthorized, message)
        })?;
        let folder = BlobKey::from_segments([tenant.account])?;
        request.extensions.insert(Folder(folder.clone()));
        let grant = Grant::everything().folders([folder]).max_body(tenant.max_upload);
        Ok(if tenant.is_suspended { grant.read_only() } else { grant })
    }
}

/// Builds the storage: the files of each tenant in `store`, below the tenant's folder.
fn storage(store: impl BlobStore, tenants: Tenants) -> StorageService {
    let key = PathKey.prefixed(|request: &Parts| match request.extensions.get::<Folder>() {
        Some(Folder(folder)) => Ok(folder.clone()),
        None => Err(Error::new(ErrorKind::Internal, "the request has no tenant")),
    });
    KazooStorage::new(store).authorize(tenants).key(key).into_service()
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let port = env::args().nth(1).map_or(Ok(8080), |port| port.parse())?;
    let storage = storage(MemoryStore::new(), Tenants::sample());
    let app = Router::new().nest_service("/some_prefix", storage);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use kazoo_storage::Body;
    use tower::ServiceExt as _;

    use super::*;

    async fn status(storage: &StorageService, method: &str, path: &str, len: usize) -> u16 {
        let body = Body::from("x".repeat(len));
        let request = Request::builder().method(method).uri(path).body(body).unwrap();
        storage.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn each_tenant_has_a_folder_and_limits_of_its_own() {
        const FILE: &str = "/ACC/DOC/a.mp3";
        let store = MemoryStore::new();
        let mut tenants = Tenants::sample();
        let other = Tenant {
            account: "other",
            max_upload: 4,
            is_suspended: false,
        };
        tenants.0.insert("other-token", other);
        let storage = storage(store.clone(), tenants);
        let acme = format!("/9c7d2a4835b6c1d0{FILE}");
        assert_eq!(status(&storage, "PUT", &acme, 5).await, 201);
        let stored = BlobKey::from_path("acme/ACC/DOC/a.mp3").unwrap();
        assert!(store.get(&stored, None).await.is_ok());
        for path in [acme.clone(), format!("{acme}{FILE}?id=DOC")] {
            assert_eq!(status(&storage, "GET", &path, 0).await, 200, "{path}");
        }
        for (token, method, len, expected) in [
            ("other-token", "GET", 0, 404),
            ("other-token", "PUT", 4, 201),
            ("other-token", "PUT", 5, 413),
            ("b6c1d0e9f8a7b6c5", "PUT", 4, 403),
            ("b6c1d0e9f8a7b6c5", "GET", 0, 404),
            ("wrong", "GET", 0, 401),
            ("wrong", "PUT", 5, 401),
        ] {
            let found = status(&storage, method, &format!("/{token}{FILE}"), len).await;
            assert_eq!(found, expected, "{token} {method} {len}");
        }
        assert_eq!(status(&storage, "PUT", "/", 1).await, 401);
    }
}
