use std::sync::Arc;

use http::Request;

use super::{Authorize, Authorizer};
use crate::{
    error::Result,
    rewrite::{Rewrite, Rewritten},
};

impl<A, B> Rewrite<B> for Authorize<A>
where
    A: Authorizer,
    B: Send + 'static,
{
    type Body = B;

    fn rewrite(&self, request: Request<B>) -> Rewritten<B> {
        Rewritten::later(authorize(Arc::clone(&self.authorizer), request))
    }
}

async fn authorize<A: Authorizer, B>(authorizer: Arc<A>, request: Request<B>) -> Result<Request<B>> {
    let (mut parts, body) = request.into_parts();
    let grant = authorizer.authorize(&mut parts).await?;
    parts.extensions.insert(grant);
    Ok(Request::from_parts(parts, body))
}
