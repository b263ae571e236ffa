//! [`Scenario`]: one combination of release, verb and body form in which KAZOO may send a file.

use std::{fmt, net::IpAddr};

use kazoo_storage::{
    Base64, Result,
    extract_key::KeyExtractor as _,
    settings::{KazooSettings, StorageUrl},
};
use kazoo_storage_client::{
    Attachment, Client, Dialect, Failure, FetchTarget, FetchedFile, Handler, Multipart, StoredFile, Verb,
};
use serde_json::json;

/// The form of an upload's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyForm {
    Raw,
    Multipart,
    Base64,
}

/// The form of the host in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// An address or `localhost`: the same on every machine.
    Address,
    Name,
}

/// A release with settings.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) dialect: &'static Dialect,
    pub(crate) handler: Handler,
    pub(crate) verb: &'static str,
    pub(crate) body_form: BodyForm,
}

/// The scenarios of a check.
#[derive(Clone, Debug)]
pub(crate) struct Scenarios {
    pub(crate) all: Vec<Scenario>,
    /// Releases that cannot be served with these settings, each with the reason.
    pub(crate) skipped: Vec<(&'static Dialect, &'static str)>,
    /// `true` if the query contains the name of a file.
    pub(crate) by_query: bool,
    /// `true` if only the URL of the settings is known.
    pub(crate) url_only: bool,
}

impl Scenarios {
    /// Returns a scenario for each combination of settings that an administrator may use with this URL.
    pub(crate) fn of_url(url: &str) -> Result<(Self, Result<KazooSettings>)> {
        let handler = Handler::new(url)?;
        let settings = KazooSettings::from_json(&json!({"url": url, "verb": "put"}).to_string());
        let mut all = Vec::new();
        for dialect in Dialect::ALL {
            for (verb, name) in [(Verb::Put, "PUT"), (Verb::Post, "POST")] {
                for body_form in [BodyForm::Raw, BodyForm::Multipart, BodyForm::Base64] {
                    // A setting that the release ignores would repeat a scenario.
                    let ignored = match body_form {
                        BodyForm::Raw => false,
                        BodyForm::Multipart => dialect.multipart == Multipart::Never,
                        BodyForm::Base64 => !dialect.encodes_base64,
                    };
                    if !ignored {
                        let handler = handler.clone().verb(verb).send_multipart(body_form != BodyForm::Raw);
                        all.push(Scenario {
                            dialect,
                            handler: handler.base64_encode_data(body_form == BodyForm::Base64),
                            verb: name,
                            body_form,
                        });
                    }
                }
            }
        }
        let scenarios = Self {
            all,
            skipped: Vec::new(),
            by_query: handler.url().query().is_some(),
            url_only: true,
        };
        Ok((scenarios, settings))
    }

    /// Returns a scenario for each release, with these settings.
    pub(crate) fn of_settings(json: &str) -> Result<(Self, Result<KazooSettings>)> {
        let handler = Handler::from_json(json)?;
        let settings = KazooSettings::from_json(json);
        let by_metadata = matches!(&settings, Ok(settings) if settings.key().reads_metadata());
        let encoded = matches!(&settings, Ok(settings) if settings.base64() == Base64::Declared);
        let (mut all, mut skipped) = (Vec::new(), Vec::new());
        for dialect in Dialect::ALL {
            if by_metadata && dialect.fetch == FetchTarget::Stored {
                skipped.push((dialect, "cannot fetch files that only the metadata distinguishes"));
            } else if encoded && dialect.multipart != Multipart::Never && !dialect.encodes_base64 {
                skipped.push((dialect, "ignores `base64_encode_data`"));
            } else {
                all.push(Scenario::of_settings(dialect, &handler));
            }
        }
        let by_query = by_metadata || handler.url().query().is_some();
        let scenarios = Self {
            all,
            skipped,
            by_query,
            url_only: false,
        };
        Ok((scenarios, settings))
    }
}

impl Scenario {
    /// Returns the URL at which KAZOO stores `file`.
    pub(crate) fn url_of(&self, file: &Attachment) -> StorageUrl {
        self.handler.url_of(self.dialect, file)
    }

    pub(crate) async fn store(&self, client: &mut Client, file: &Attachment) -> Result<StoredFile, Failure> {
        client.store(self.dialect, &self.handler, file).await
    }

    /// Fetches `file`, stored at `url`.
    pub(crate) async fn fetch(
        &self,
        client: &mut Client,
        url: &StorageUrl,
        file: &Attachment,
    ) -> Result<FetchedFile, Failure> {
        client.fetch(self.dialect, &self.handler, url, file).await
    }

    /// Returns `true` if the URL has credentials that this release spells differently for a fetch.
    pub(crate) fn mangles_credentials(&self) -> bool {
        self.dialect.mangles_credentials && self.handler.url().userinfo().is_some()
    }

    /// Returns `true` if this release sends the URL in a different spelling.
    pub(crate) fn normalizes_url(&self) -> bool {
        let url = self.handler.url();
        self.dialect.normalizes_url && url.normalized() != *url
    }

    /// Returns the form of the host in the URL.
    pub(crate) fn host(&self) -> Host {
        let host = self.handler.url().host();
        if host == "localhost" || host.parse::<IpAddr>().is_ok() {
            Host::Address
        } else {
            Host::Name
        }
    }

    fn of_settings(dialect: &'static Dialect, handler: &Handler) -> Self {
        let settings = handler.settings();
        let multipart = settings.send_multipart && dialect.multipart != Multipart::Never;
        let base64 = settings.base64_encode_data && dialect.encodes_base64;
        Self {
            dialect,
            handler: handler.clone(),
            verb: if settings.verb == "POST" { "POST" } else { "PUT" },
            body_form: match (multipart, base64) {
                (false, _) => BodyForm::Raw,
                (true, false) => BodyForm::Multipart,
                (true, true) => BodyForm::Base64,
            },
        }
    }
}

impl fmt::Display for BodyForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Multipart => "multipart",
            Self::Base64 => "base64",
        })
    }
}
