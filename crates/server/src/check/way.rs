//! [`Way`]: one of the ways in which KAZOO may send a file.

use std::{fmt, net::IpAddr};

use bytes::Bytes;
use http::{Method, header};
use kazoo_storage::{Base64, Result, extract_key::KeyExtractor as _, settings::KazooSettings};
use kazoo_storage_client::{Attachment, Boundary, Dialect, Document, FetchTarget, Handler, Multipart, Verb};
use serde_json::json;

/// How the bytes of a file are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sends {
    Raw,
    Multipart,
    Base64,
}

/// How a host is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// An address or `localhost`: the same on every machine.
    Address,
    Name,
}

/// A release with settings.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) dialect: &'static Dialect,
    pub(crate) handler: Handler,
    pub(crate) verb: &'static str,
    pub(crate) sends: Sends,
}

/// All that is to be tried.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    pub(crate) tried: Vec<Way>,
    /// Releases that cannot be served with these settings, and why.
    pub(crate) left_out: Vec<(&'static Dialect, &'static str)>,
    /// Whether the query tells where a file is.
    pub(crate) by_query: bool,
    /// Whether nothing is known of the settings but the URL.
    pub(crate) by_url: bool,
}

impl Ways {
    /// Whatever an administrator may set with this URL.
    pub(crate) fn of_url(url: &str) -> Result<(Self, Result<KazooSettings>)> {
        let handler = Handler::new(url)?;
        let settings = KazooSettings::from_json(&json!({"url": url, "verb": "put"}).to_string());
        let mut tried = Vec::new();
        for dialect in Dialect::ALL {
            for (verb, name) in [(Verb::Put, "PUT"), (Verb::Post, "POST")] {
                for sends in [Sends::Raw, Sends::Multipart, Sends::Base64] {
                    // What a release ignores would be tried twice.
                    let ignored = match sends {
                        Sends::Raw => false,
                        Sends::Multipart => dialect.multipart == Multipart::Never,
                        Sends::Base64 => !dialect.encodes_base64,
                    };
                    if !ignored {
                        let handler = handler.clone().verb(verb).send_multipart(sends != Sends::Raw);
                        tried.push(Way {
                            dialect,
                            handler: handler.base64_encode_data(sends == Sends::Base64),
                            verb: name,
                            sends,
                        });
                    }
                }
            }
        }
        let ways = Self {
            tried,
            left_out: Vec::new(),
            by_query: handler.url().query().is_some(),
            by_url: true,
        };
        Ok((ways, settings))
    }

    /// What these settings make each release send.
    pub(crate) fn of_settings(json: &str) -> Result<(Self, Result<KazooSettings>)> {
        let handler = Handler::from_json(json)?;
        let settings = KazooSettings::from_json(json);
        let by_metadata = matches!(&settings, Ok(settings) if settings.key().reads_metadata());
        let encoded = matches!(&settings, Ok(settings) if settings.base64() == Base64::Declared);
        let (mut tried, mut left_out) = (Vec::new(), Vec::new());
        for dialect in Dialect::ALL {
            if by_metadata && dialect.fetch == FetchTarget::Stored {
                left_out.push((dialect, "fetches nothing that only the metadata tells apart"));
            } else if encoded && dialect.multipart != Multipart::Never && !dialect.encodes_base64 {
                left_out.push((dialect, "does not heed `base64_encode_data`"));
            } else {
                tried.push(Way::of_settings(dialect, &handler, encoded)?);
            }
        }
        let by_query = by_metadata || handler.url().query().is_some();
        let ways = Self {
            tried,
            left_out,
            by_query,
            by_url: false,
        };
        Ok((ways, settings))
    }
}

impl Way {
    /// Whether the URL has a user whom this release writes in another way when it fetches.
    pub(crate) fn mangles(&self) -> bool {
        self.dialect.mangles_credentials && self.handler.url().userinfo().is_some()
    }

    /// Returns `true` if this release sends the URL in a different spelling.
    pub(crate) fn is_rewritten(&self) -> bool {
        let url = self.handler.url();
        self.dialect.normalizes_url && url.normalized() != *url
    }

    /// How the host of the URL is written.
    pub(crate) fn host(&self) -> Host {
        let host = self.handler.url().host();
        if host == "localhost" || host.parse::<IpAddr>().is_ok() {
            Host::Address
        } else {
            Host::Name
        }
    }

    fn of_settings(dialect: &'static Dialect, handler: &Handler, encoded: bool) -> Result<Self> {
        // What is sent says what the settings are.
        let document = Document::from_json("{}")?;
        let sample = Attachment::new("", document, "sample", Bytes::new());
        let (verb, multipart) = match handler.store(dialect, &sample, &Boundary::random()?) {
            Ok(outgoing) => {
                let request = outgoing.request;
                let media_type = request.headers().get(header::CONTENT_TYPE);
                let multipart = media_type.is_some_and(|text| text.as_bytes().starts_with(b"multipart/"));
                (
                    if request.method() == Method::POST {
                        "POST"
                    } else {
                        "PUT"
                    },
                    multipart,
                )
            }
            // That nothing can be sent is found again, and said, when it is tried.
            Err(_) => ("PUT", false),
        };
        Ok(Self {
            dialect,
            handler: handler.clone(),
            verb,
            sends: match (multipart, encoded && dialect.encodes_base64) {
                (false, _) => Sends::Raw,
                (true, false) => Sends::Multipart,
                (true, true) => Sends::Base64,
            },
        })
    }
}

impl fmt::Display for Sends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Multipart => "multipart",
            Self::Base64 => "base64",
        })
    }
}
