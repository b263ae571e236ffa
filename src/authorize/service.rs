use std::sync::Arc;

use http::Request;

use super::{Authorize, authorizer::DynAuthorizer};
use crate::{
    error::Result,
    rewrite::{Rewrite, Rewritten},
};

impl<B: Send + 'static> Rewrite<B> for Authorize {
    type Body = B;

    fn rewrite(&self, request: Request<B>) -> Rewritten<B> {
        Rewritten::later(authorize(Arc::clone(&self.authorizer), request))
    }
}

async fn authorize<B>(authorizer: Arc<dyn DynAuthorizer>, request: Request<B>) -> Result<Request<B>> {
    let (mut parts, body) = request.into_parts();
    let grant = authorizer.authorize(&mut parts).await?;
    parts.extensions.insert(grant);
    Ok(Request::from_parts(parts, body))
}
