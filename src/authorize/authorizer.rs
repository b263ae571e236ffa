use std::{future::Future, pin::Pin, sync::Arc};

use http::request::Parts;

use crate::{error::Result, grant::Grant};

/// Decides what whoever sent a request may do.
///
/// A closure from `&mut Parts` to a [`Result<Grant>`] is one too.
pub trait Authorizer: Send + Sync + 'static {
    /// What is granted, or why nothing is: [`Unauthorized`](crate::ErrorKind::Unauthorized) if the request carries no
    /// credential that is known, [`Forbidden`](crate::ErrorKind::Forbidden) if it is not welcome anyway.
    ///
    /// What only this understands of the head is taken out of it, such as a secret in the path.
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

/// Any [`Authorizer`].
#[derive(Clone)]
pub(crate) struct DynAuthorizer(Arc<dyn Erased>);

impl DynAuthorizer {
    pub(crate) fn new(authorizer: impl Authorizer) -> Self {
        Self(Arc::new(authorizer))
    }
}

trait Erased: Send + Sync {
    fn authorize<'a>(&'a self, request: &'a mut Parts) -> Pin<Box<dyn Future<Output = Result<Grant>> + Send + 'a>>;
}

impl<A: Authorizer> Erased for A {
    fn authorize<'a>(&'a self, request: &'a mut Parts) -> Pin<Box<dyn Future<Output = Result<Grant>> + Send + 'a>> {
        Box::pin(Authorizer::authorize(self, request))
    }
}

impl Authorizer for DynAuthorizer {
    async fn authorize(&self, request: &mut Parts) -> Result<Grant> {
        self.0.authorize(request).await
    }
}
