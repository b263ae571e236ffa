//! [`KazooSettings`]: the storage settings that KAZOO has, read to set the service up for them.

mod element;
mod field;
mod given;
mod key;
mod pieces;
mod plan;
pub mod raw;
mod url;
mod verbatim;

use std::fmt;

use self::{field::Template, raw::RawSettings, verbatim::check_raw};
pub use self::{key::SettingsKey, pieces::Fields, url::StorageUrl};
use crate::{
    decode_base64::Base64,
    error::{Error, ErrorKind, Result},
    extract_key::{MetadataKey, QueryKey},
    key::BlobKey,
};

/// What tells the files of one static target apart, in this order.
const METADATA_FIELDS: [&str; 3] = ["media_id", "id", "call_id"];

/// The `settings` object of an attachment handler, as an operator gives it to KAZOO in the storage document.
///
/// It says what KAZOO will send, so it can set the service up too:
/// [`KazooStorage::from_settings`](crate::KazooStorage::from_settings).
///
/// ```
/// use kazoo_storage::{KazooStorage, MemoryStore, settings::KazooSettings};
///
/// let settings = KazooSettings::from_json(
///     r#"{
///         "url": "http://storage.example.com:8080/some_prefix",
///         "verb": "put",
///         "send_multipart": true,
///         "base64_encode_data": false
///     }"#,
/// )?;
/// assert_eq!(settings.mount(), "/some_prefix");
/// assert_eq!(settings.warnings().count(), 0);
/// let layer = KazooStorage::from_settings(MemoryStore::new(), &settings).mount(settings.mount());
/// # let _ = layer;
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
///
/// | setting | what it does here |
/// | --- | --- |
/// | `url` | its path is the [`mount`](Self::mount); a query that ends with `NAME=` holds the key; with a fragment the key is in the metadata |
/// | `verb` | `put` or `post`, in lower or upper case; KAZOO crashes without one |
/// | `send_multipart`, `base64_encode_data` | with both, the media must be base64, and is decoded; otherwise nothing is |
/// | `field_list`, `field_separator` | what the [`fields`](Self::fields) of a key are; with `[]` the key is in the metadata |
/// | `folder_base_path` and `folder_path`, or `path` in place of both | segments in front of those |
/// | `file` | the same name for every file, so that the key is in the metadata |
/// | `document_url_field` | nothing |
///
/// `null` is as if it were not there. Any other name is an error: KAZOO would ignore it, and whoever wrote it did not mean
/// it to.
///
/// What is known by its metadata alone needs `send_multipart` and KAZOO 4.3.106 or later. No message, and not `Debug`,
/// shows the user, the path or the query of `url`, each of which may be a secret.
#[derive(Clone)]
pub struct KazooSettings {
    mount: String,
    key: SettingsKey,
    base64: Base64,
    template: Option<Template>,
    unused: Option<String>,
    warnings: Vec<String>,
}

impl KazooSettings {
    /// The settings in this JSON object, or in a storage document with one HTTP handler, as it is PUT to KAZOO.
    ///
    /// [`ErrorKind::InvalidRequest`] for what KAZOO refuses, crashes on or cannot be served by; the message says why and
    /// what to write instead. What merely may fail is among the [`warnings`](Self::warnings).
    pub fn from_json(json: &str) -> Result<Self> {
        let (written, plan) = RawSettings::with_plan(json)?;
        let url = StorageUrl::parse(&*written.url)?;
        url.check()?;
        let mut warnings = plan.warnings;
        warnings.extend(url.warnings());
        // In the path a `?` ends the name, and in the query a `&`.
        let ends = if url.query().is_some() { ['&', '#'] } else { ['?', '#'] };
        let folders = written.folders.segments(&ends)?;
        let RawSettings {
            send_multipart,
            base64_encode_data,
            field_list: list,
            field_separator: separator,
            file,
            ..
        } = written;

        let is_static = url.fragment().is_some() || file.is_some() || list.as_ref().is_some_and(Vec::is_empty);
        let (key, template) = if is_static {
            check_raw("file", file.as_deref().unwrap_or_default())?;
            if !send_multipart {
                return Err(invalid(
                    "every file would be sent to the same URL, with nothing to tell it from the others, so that each would replace the \
                     last: set `send_multipart` to true, or have no `file`, no `#` in `url`, and fields in `field_list`; what posts files \
                     so and cannot be set otherwise, as KAZOO 5's storage of sequences, cannot be served",
                ));
            }
            warnings.push(
                "every file is sent to the same URL, and only the metadata tells them apart: KAZOO before 4.3.106 can fetch none of \
                 them, and of several files of one document, as a fax may have, the last replaces the others"
                    .to_owned(),
            );
            (SettingsKey::metadata(MetadataKey::new(METADATA_FIELDS)), None)
        } else {
            let parameter = url.key_parameter()?;
            let template = Template::new(folders, list, separator.as_deref(), &ends)?;
            let key = match parameter {
                Some(name) => SettingsKey::query(QueryKey::new(name), template.least()),
                None => SettingsKey::path(template.least()),
            };
            (key, Some(template))
        };
        warnings.extend(template.as_ref().and_then(Template::warning).map(str::to_owned));
        let base64 = match (base64_encode_data, send_multipart) {
            (true, true) => {
                warnings.push(
                    "KAZOO 4.3.17 to 4.3.20 do not encode what they send as multipart, in spite of `base64_encode_data`, and their \
                     uploads are refused: leave it out for them"
                        .to_owned(),
                );
                Base64::Declared
            }
            (true, false) => {
                warnings.push(
                    "`base64_encode_data` does nothing without `send_multipart`: KAZOO never encodes a plain body"
                        .to_owned(),
                );
                Base64::Off
            }
            (false, _) => Base64::Off,
        };
        Ok(Self {
            mount: url.mount(),
            key,
            base64,
            template,
            unused: plan.unused,
            warnings,
        })
    }

    /// Returns the path of the URL, [normalized](crate::normalize::normalize_path), under which the service is to be mounted. It
    /// has no slash at its end, unless it is `/`.
    ///
    /// If a segment of it is a token, mount at what stands before that: [`AccessRules`](crate::AccessRules) look for one
    /// behind the mount.
    #[must_use]
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// What says which file a request means.
    #[must_use]
    pub fn key(&self) -> &SettingsKey {
        &self.key
    }

    /// How base64 in uploads is told from plain media.
    #[must_use]
    pub fn base64(&self) -> Base64 {
        self.base64
    }

    /// What may fail, each with what to do about it; that nothing is stored by them, as [`unused`](Self::unused) says, first.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.unused.iter().chain(&self.warnings).map(String::as_str)
    }

    /// Why KAZOO stores nothing by these settings, if they are in a document whose `plan` does not lead to their handler.
    #[must_use]
    pub fn unused(&self) -> Option<&str> {
        self.unused.as_deref()
    }

    /// What the segments of `key` are by `field_list`; all unknown if it does not fit, or if the metadata is the key.
    #[must_use]
    pub fn fields(&self, key: &BlobKey) -> Fields {
        let fields = self.template.as_ref().and_then(|template| template.fields(key));
        fields.unwrap_or_default()
    }
}

impl fmt::Debug for KazooSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KazooSettings")
            .field("key", &self.key)
            .field("base64", &self.base64)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract_key::KeyExtractor as _;

    fn message(json: &str) -> String {
        KazooSettings::from_json(json)
            .map(|_| ())
            .unwrap_err()
            .message()
            .to_owned()
    }

    #[test]
    fn a_storage_document_has_the_settings_of_its_one_http_handler() {
        let settings = r#"{"url":"http://h/p","verb":"put"}"#;
        let s3 = r#""S3":{"handler":"s3","settings":{"bucket":"b"}}"#;
        for document in [
            settings.to_owned(),
            format!(r#"{{"attachments":{{"A":{{"handler":"http","name":"x","settings":{settings}}}}}}}"#),
            format!(
                r#"{{"data":{{"attachments":{{{s3},"A":{{"handler":"http","settings":{settings}}}}},"plan":{{}}}}}}"#
            ),
        ] {
            assert_eq!(KazooSettings::from_json(&document).unwrap().mount(), "/p", "{document}");
        }
        let handler = format!(r#"{{"handler":"http","settings":{settings}}}"#);
        for (handlers, says) in [
            (s3.to_owned(), "no entry"),
            (format!(r#""A":{handler},"B":{handler}"#), "several"),
            (r#""A":{"handler":"http"}"#.to_owned(), "no `settings`"),
        ] {
            let message = message(&format!(r#"{{"attachments":{{{handlers}}}}}"#));
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn what_kazoo_does_not_know_is_an_error() {
        for (settings, says) in [
            ("", "no JSON at line 1"),
            ("[]", "a JSON object"),
            (r#"{"verb":"put"}"#, "`url` is missing"),
            (r#"{"url":"http://h/p"}"#, "`verb` is missing"),
            (r#"{"url":"http://h/p","verb":"Put"}"#, "`verb` is neither"),
            (
                r#"{"url":"http://h/p","verb":"put","multipart":true}"#,
                "no setting `multipart`",
            ),
            (
                r#"{"url":"http://h/p","verb":"put","send_multipart":"true"}"#,
                "true or false",
            ),
            (
                r#"{"url":"http://h/p","verb":"put","field_list":[{"name":"x"}]}"#,
                "`group`",
            ),
        ] {
            assert!(message(settings).contains(says), "{settings}: {}", message(settings));
        }
        let null = r#"{"url":"http://h/p","verb":"put","send_multipart":null,"field_list":null,"path":null}"#;
        assert_eq!(KazooSettings::from_json(null).unwrap().warnings().count(), 0);
    }

    #[test]
    fn neither_a_message_nor_debug_shows_a_secret() {
        for settings in [
            r#""secret""#,
            r#"{"url":"http://h/secret" "verb"}"#,
            r#"{"url":["http://h/secret"],"verb":"put"}"#,
            r#"{"url":"http://h/secret","verb":"secret"}"#,
            r#"{"url":"http://h/p","verb":"put","path":"s ecret"}"#,
        ] {
            assert!(
                !message(settings).contains("ecret"),
                "{settings}: {}",
                message(settings)
            );
        }
        let settings = KazooSettings::from_json(r#"{"url":"http://secret@localhost:1/secret?secret=","verb":"put"}"#);
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn one_name_for_every_file_needs_the_metadata() {
        for setting in [r#""file":"a.bin""#, r#""field_list":[]"#] {
            let json = format!(r#"{{"url":"http://h/p","verb":"put",{setting}}}"#);
            assert!(message(&json).contains("send_multipart"), "{json}");
            let json = json.replace('}', r#","send_multipart":true}"#);
            let settings = KazooSettings::from_json(&json).unwrap();
            assert!(settings.key().reads_metadata(), "{json}");
            assert!(settings.warnings().next().unwrap().contains("4.3.106"), "{json}");
        }
    }

    #[test]
    fn folders_stand_in_front_of_a_name() {
        for (folders, path) in [
            (
                r#""folder_base_path":"/base%20dir/","folder_path":"sub""#,
                "base dir/sub",
            ),
            (r#""folder_base_path":"base","folder_path":"/sub""#, "sub"),
            (
                r#""folder_base_path":"base","folder_path":"sub","path":"p1/p2""#,
                "p1/p2",
            ),
            (r#""folder_base_path":"""#, ""),
        ] {
            let json = format!(r#"{{"url":"http://h/p","verb":"put",{folders}}}"#);
            let settings = KazooSettings::from_json(&json).unwrap();
            let folders = path.split('/').filter(|folder| !folder.is_empty());
            let key = BlobKey::from_segments(folders.chain(["ACC", "DOC", "a.mp3"])).unwrap();
            assert_eq!(settings.fields(&key).account.as_deref(), Some("ACC"), "{json}");
        }
        for folder in ["../x", "a<b", "a b", "%zz", "a?b", "ü"] {
            let json = format!(r#"{{"url":"http://h/p","verb":"put","folder_path":"{folder}"}}"#);
            assert!(message(&json).contains("`folder_path`"), "{folder}: {}", message(&json));
        }
        let ends_the_value = r#"{"url":"http://h/p?r=","verb":"put","path":"a&b"}"#;
        assert!(message(ends_the_value).contains("`path`"));
    }

    #[test]
    fn what_some_releases_do_otherwise_is_warned_of() {
        let settings = r#"{"url":"http://h/p","verb":"put","base64_encode_data":true}"#;
        let raw = KazooSettings::from_json(settings).unwrap();
        assert!(raw.warnings().next().unwrap().contains("does nothing"));
        assert_eq!(raw.base64(), Base64::Off);
        let multipart = settings.replace('}', r#","send_multipart":true}"#);
        let encoded = KazooSettings::from_json(&multipart).unwrap();
        assert!(encoded.warnings().next().unwrap().contains("4.3.17 to 4.3.20"));
        assert_eq!(encoded.base64(), Base64::Declared);
    }
}
