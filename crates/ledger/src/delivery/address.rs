//! Checks of the address and the name of a receiver.

use kazoo_storage::{Error, ErrorKind, Result};
use url::Url;

/// Maximum length of a name, in bytes.
pub(super) const MAX_NAME: usize = 100;

/// Parses `text`. The error does not contain it.
pub(super) fn http_url(text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|error| invalid(&format!("the URL is invalid ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = url.scheme();
        return Err(invalid(&format!(
            "the URL has the scheme `{scheme}`; use `https` or `http`"
        )));
    }
    if !url.has_host() {
        return Err(invalid("the URL has no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            "the URL has a user or a password; remove it: the signature authenticates the sender",
        ));
    }
    Ok(url)
}

pub(super) fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message.to_owned())
}
