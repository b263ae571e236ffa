//! The trait [`Authorizer`].

use std::{future::Future, pin::Pin, sync::Arc};

use http::request::Parts;

use crate::{error::Result, grant::Grant};

/// Decides what the sender of a request may do.
///
/// Closures from `&mut Parts` to a [`Result<Grant>`] implement it, and `Arc<T>` if `T` does. An `async` closure does not,
/// because Rust cannot express yet that its future is [`Send`]. An authorizer that awaits, for example a database, is a
/// type of its own:
///
/// ```
/// use http::request::Parts;
/// use kazoo_storage::{Authorize, Error, ErrorKind, Grant, Result, authorize::{Authorizer, take_first_segment}};
///
/// struct Database;
///
/// impl Database {
///     async fn account(&self, token: &str) -> Result<Option<String>> {
///         Ok((token == "fI6n-3Qc").then(|| "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7".to_owned()))
///     }
/// }
///
/// impl Authorizer for Database {
///     async fn authorize(&self, request: &mut Parts) -> Result<Grant> {
///         let unauthorized = || Error::new(ErrorKind::Unauthorized, "the URL has no valid token");
///         let token = take_first_segment(request).ok_or_else(unauthorized)?;
///         let account = self.account(&token).await?.ok_or_else(unauthorized)?;
///         Ok(Grant::everything().accounts([account]))
///     }
/// }
///
/// let layer = Authorize::new(Database);
/// # let _ = layer;
/// ```
///
/// [Several tenants](https://github.com/kazoo-storage/kazoo-storage/blob/main/docs/multi-tenant.md) has more.
pub trait Authorizer: Send + Sync + 'static {
    /// Returns the grant of the request, or an error: [`Unauthorized`](crate::ErrorKind::Unauthorized) if the request
    /// has no valid credential, [`Forbidden`](crate::ErrorKind::Forbidden) if no credential would help.
    ///
    /// The implementation removes the parts of the head that only it understands, such as a secret in the path.
    fn authorize(&self, request: &mut Parts) -> impl Future<Output = Result<Grant>> + Send;
}

impl<F> Authorizer for F
where
    F: Fn(&mut Parts) -> Result<Grant> + Send + Sync + 'static,
{
    async fn authorize(&self, request: &mut Parts) -> Result<Grant> {
        self(request)
    }
}

impl<T: Authorizer> Authorizer for Arc<T> {
    fn authorize(&self, request: &mut Parts) -> impl Future<Output = Result<Grant>> + Send {
        T::authorize(self, request)
    }
}

/// The twin of [`Authorizer`] that is dyn-compatible.
pub(super) trait DynAuthorizer: Send + Sync {
    fn authorize<'a>(&'a self, request: &'a mut Parts) -> Pin<Box<dyn Future<Output = Result<Grant>> + Send + 'a>>;
}

impl<A: Authorizer> DynAuthorizer for A {
    fn authorize<'a>(&'a self, request: &'a mut Parts) -> Pin<Box<dyn Future<Output = Result<Grant>> + Send + 'a>> {
        Box::pin(Authorizer::authorize(self, request))
    }
}
