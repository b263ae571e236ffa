//! [`Webhook`]: a receiver of events by HTTP.

use std::fmt;

use kazoo_storage::{Result, digest::Digest};
use reqwest::Certificate;
use url::Url;

use super::signature::Secret;
use crate::delivery::address::{MAX_NAME, http_url, invalid};

/// An HTTP server that receives events.
///
/// It becomes a [`Receiver`](crate::delivery::Receiver) with `Receiver::from`. `Debug` shows neither the URL, which may
/// contain a token, nor the secrets.
#[derive(Clone)]
#[must_use]
pub struct Webhook {
    pub(super) url: Url,
    pub(super) secrets: Vec<Secret>,
    pub(super) authorities: Vec<Certificate>,
}

impl Webhook {
    /// Sends events to `url`, signed with `secret`: `whsec_` and 24 to 64 random bytes in base64.
    ///
    /// The URL has the scheme `http` or `https`, and neither user nor password.
    pub fn new(url: &str, secret: &str) -> Result<Self> {
        Ok(Self {
            url: http_url(url)?,
            secrets: vec![Secret::parse(secret)?],
            authorities: Vec::new(),
        })
    }

    /// Signs with a second secret too. The receiver accepts either, so each side can change its secret on its own.
    pub fn second_secret(mut self, secret: &str) -> Result<Self> {
        if self.secrets.len() > 1 {
            return Err(invalid("there are two secrets already; remove the older one"));
        }
        self.secrets.push(Secret::parse(secret)?);
        Ok(self)
    }

    /// Accepts the certificates of these authorities, in PEM, in place of those that the system trusts.
    pub fn authorities(mut self, pem: &[u8]) -> Result<Self> {
        let read = Certificate::from_pem_bundle(pem).unwrap_or_default();
        if read.is_empty() {
            return Err(invalid("there is no certificate in PEM"));
        }
        self.authorities = read;
        Ok(self)
    }

    /// Returns the host, and a digest of the URL without its query: the path may be a secret of the receiver.
    pub(in crate::delivery) fn default_name(&self) -> String {
        let mut identity = self.url.clone();
        identity.set_query(None);
        identity.set_fragment(None);
        let digest = Digest::of(identity.as_str().as_bytes()).to_string();
        let host = self.url.host_str().unwrap_or_default();
        let name: String = host.chars().take(MAX_NAME - 9).collect();
        format!("{name}-{}", digest.get(..8).unwrap_or_default())
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}
