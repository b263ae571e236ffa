//! [`TellGrant`]: tells outer layers whose request it was.

use http::{Request, Response};

use crate::{
    body::Body,
    client_addr::ClientAddr,
    exchange::{Begun, Exchange, Finish},
    grant::Grant,
};

/// Copies the [`Grant`] and the [`ClientAddr`] of a request to the extensions of its response.
#[derive(Clone, Copy, Debug)]
pub struct TellGrant;

/// The extensions of a response.
#[derive(Debug)]
pub struct Told {
    grant: Grant,
    client: Option<ClientAddr>,
}

impl<B> Exchange<B> for TellGrant {
    type Body = B;
    type Finish = Told;

    fn begin(&self, request: Request<B>) -> Begun<B, Told> {
        let extensions = request.extensions();
        let told = extensions.get::<Grant>().map(|grant| Told {
            grant: grant.clone(),
            client: ClientAddr::of(extensions),
        });
        Begun::Request(request, told)
    }
}

impl Finish for Told {
    fn finish(self, mut response: Response<Body>) -> Response<Body> {
        let extensions = response.extensions_mut();
        extensions.insert(self.grant);
        if let Some(client) = self.client {
            extensions.insert(client);
        }
        response
    }
}
