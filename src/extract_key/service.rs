use http::{Method, Request, request::Parts};

use super::{ExtractKey, KeyExtractor};
use crate::{
    error::Result,
    grant::Grant,
    key::{BlobKey, Candidates},
    rewrite::{Rewrite, Rewritten},
};

impl<B> Rewrite<B> for ExtractKey {
    type Body = B;

    fn rewrite(&self, request: Request<B>) -> Rewritten<B> {
        let (mut parts, body) = request.into_parts();
        extract(&*self.extractor, &mut parts)
            .map(|()| Request::from_parts(parts, body))
            .into()
    }
}

/// Inserts the key into the extensions, and the candidates of a fetch: those that the [`Grant`] covers, if there is one.
fn extract(extractor: &dyn KeyExtractor, parts: &mut Parts) -> Result<()> {
    let fetch = matches!(parts.method, Method::GET | Method::HEAD);
    let grant = parts.extensions.get::<Grant>().cloned();
    grant.as_ref().map_or(Ok(()), |grant| grant.check(fetch))?;
    let covered = |key: &BlobKey| grant.as_ref().is_none_or(|grant| grant.covers(key));
    if fetch {
        let mut candidates = extractor.candidates(parts)?;
        if grant.is_some() {
            let mut of_grant = candidates.iter().filter(|key| covered(key)).cloned();
            let first = of_grant.next().ok_or_else(Grant::outside)?;
            candidates = Candidates::new(first, of_grant.collect::<Vec<_>>());
        }
        parts.extensions.insert(candidates.first().clone());
        parts.extensions.insert(candidates);
    } else {
        let key = extractor.key(parts)?;
        if !covered(&key) {
            return Err(Grant::outside());
        }
        parts.extensions.insert(key);
    }
    Ok(())
}
