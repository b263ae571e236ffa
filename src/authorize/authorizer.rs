//! The trait [`Authorizer`].

use std::{future::Future, pin::Pin};

use http::request::Parts;

use crate::{error::Result, grant::Grant};

/// Decides what the sender of a request may do.
///
/// Closures from `&mut Parts` to a [`Result<Grant>`] implement it. An authorizer that awaits, for example a database, is
/// a type with an `async fn authorize`; `examples/multi_tenant.rs` has one.
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

/// The twin of [`Authorizer`] that is dyn-compatible.
pub(super) trait DynAuthorizer: Send + Sync {
    fn authorize<'a>(&'a self, request: &'a mut Parts) -> Pin<Box<dyn Future<Output = Result<Grant>> + Send + 'a>>;
}

impl<A: Authorizer> DynAuthorizer for A {
    fn authorize<'a>(&'a self, request: &'a mut Parts) -> Pin<Box<dyn Future<Output = Result<Grant>> + Send + 'a>> {
        Box::pin(Authorizer::authorize(self, request))
    }
}
