//! KAZOO's storage settings. [`KazooSettings`] configures the service; [`RawSettings`] and [`StorageUrl`] are for
//! programs that act as KAZOO.

mod document;
mod field_list;
mod key;
mod literal;
mod name_match;
mod name_template;
mod plan;
mod raw;
mod url;

use std::fmt;

pub use self::{
    field_list::FieldListEntry,
    key::SettingsKey,
    name_match::Fields,
    raw::{Folders, RawSettings},
    url::StorageUrl,
};
use self::{literal::check_literal, name_template::NameTemplate};
use crate::{
    decode_base64::Base64,
    error::{Error, ErrorKind, Result},
    extract_key::{MetadataKey, QueryKey},
    key::BlobKey,
};

/// Metadata fields that distinguish files with the same URL, in order of preference.
const METADATA_FIELDS: [&str; 3] = ["media_id", "id", "call_id"];

/// The `settings` object of an attachment handler in KAZOO's storage document.
///
/// It determines what KAZOO sends, so it configures the service too:
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
/// | setting | effect |
/// | --- | --- |
/// | `url` | its path is the [`mount`](Self::mount); a query that ends with `NAME=` contains the key; with a fragment the key is in the metadata |
/// | `verb` | `put` or `post`, in lower or upper case; KAZOO crashes without one |
/// | `send_multipart`, `base64_encode_data` | with both, the media must be base64, and is decoded; otherwise nothing is decoded |
/// | `field_list`, `field_separator` | the [`fields`](Self::fields) of a key; with `[]` the key is in the metadata |
/// | `folder_base_path` and `folder_path`, or `path` in place of both | segments in front of the name |
/// | `file` | the same name for every file; the key is in the metadata |
/// | `document_url_field` | nothing |
///
/// `null` means that a setting is absent. A setting of any other name is an error, because KAZOO would silently ignore
/// it.
///
/// Keys in the metadata need `send_multipart` and KAZOO 4.3.106 or later. Neither messages nor `Debug` contain the
/// user, the path or the query of `url`, each of which may be a secret.
#[derive(Clone)]
pub struct KazooSettings {
    mount: String,
    key: SettingsKey,
    base64: Base64,
    template: Option<NameTemplate>,
    unused: Option<String>,
    warnings: Vec<String>,
}

impl KazooSettings {
    /// Reads the settings from a JSON object, or from a storage document with one HTTP handler, as an administrator sends it to
    /// KAZOO.
    ///
    /// Returns [`ErrorKind::InvalidRequest`] for settings that KAZOO refuses or crashes on, or that this service cannot
    /// support. The message says why and what to write instead. Settings that may fail result in
    /// [`warnings`](Self::warnings).
    pub fn from_json(json: &str) -> Result<Self> {
        let (raw, plan) = RawSettings::with_plan(json)?;
        let url = StorageUrl::parse(&*raw.url)?;
        url.check()?;
        let mut warnings = plan.warnings;
        warnings.extend(url.warnings());
        // A `?` ends a name in the path, a `&` a name in the query.
        let ends = if url.query().is_some() { ['&', '#'] } else { ['?', '#'] };
        let folders = raw.folders.segments(&ends)?;
        let RawSettings {
            send_multipart,
            base64_encode_data,
            field_list: list,
            field_separator: separator,
            file,
            ..
        } = raw;

        let is_static = url.fragment().is_some() || file.is_some() || list.as_ref().is_some_and(Vec::is_empty);
        let (key, template) = if is_static {
            check_literal("file", file.as_deref().unwrap_or_default())?;
            if !send_multipart {
                return Err(invalid(
                    "every file would be sent to the same URL, and nothing distinguishes it from the others, so that each would \
                     replace the last one: set `send_multipart` to true, or remove `file` and the `#` in `url`, and add fields to \
                     `field_list`; a program without these settings, such as KAZOO 5's storage of sequences, cannot be served",
                ));
            }
            warnings.push(
                "every file is sent to the same URL, and only the metadata distinguishes the files: KAZOO before 4.3.106 cannot fetch \
                 them, and if a document has several files, as a fax may, the last one replaces the others"
                    .to_owned(),
            );
            (SettingsKey::metadata(MetadataKey::new(METADATA_FIELDS)), None)
        } else {
            let parameter = url.key_parameter()?;
            let template = NameTemplate::new(folders, list, separator.as_deref(), &ends)?;
            let key = match parameter {
                Some(name) => SettingsKey::query(QueryKey::new(name), template.min_segments()),
                None => SettingsKey::path(template.min_segments()),
            };
            (key, Some(template))
        };
        warnings.extend(template.as_ref().and_then(NameTemplate::warning).map(str::to_owned));
        let base64 = match (base64_encode_data, send_multipart) {
            (true, true) => {
                warnings.push(
                    "KAZOO 4.3.17 to 4.3.20 ignore `base64_encode_data` in multipart uploads, so the uploads of these releases are \
                     refused: remove it if you use one of them"
                        .to_owned(),
                );
                Base64::Declared
            }
            (true, false) => {
                warnings.push(
                    "`base64_encode_data` has no effect without `send_multipart`: KAZOO never encodes a plain body"
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

    /// Returns the [normalized](crate::normalize::normalize_path) path of the URL, under which to mount the service. It
    /// has no slash at its end, unless it is `/`.
    ///
    /// If one of its segments is a token, mount the service at the path before the token:
    /// [`AccessRules`](crate::AccessRules) expect it after the mount.
    #[must_use]
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// Returns the extractor for the keys of these settings.
    #[must_use]
    pub fn key(&self) -> &SettingsKey {
        &self.key
    }

    /// Returns the mode in which base64 uploads are decoded.
    #[must_use]
    pub fn base64(&self) -> Base64 {
        self.base64
    }

    /// Returns descriptions of possible failures and how to avoid them. The reason in [`unused`](Self::unused) comes
    /// first.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.unused.iter().chain(&self.warnings).map(String::as_str)
    }

    /// Returns the reason why KAZOO stores nothing with these settings, if the `plan` of their document does not use
    /// them.
    #[must_use]
    pub fn unused(&self) -> Option<&str> {
        self.unused.as_deref()
    }

    /// Returns the fields that `key` contains according to `field_list`.
    ///
    /// All are `None` if the key does not match the settings or comes from the metadata.
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
    fn reads_the_settings_of_the_one_http_handler_of_a_document() {
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
    fn refuses_settings_that_kazoo_does_not_have() {
        for (settings, says) in [
            ("", "invalid JSON at line 1"),
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
    fn neither_messages_nor_debug_contain_secrets() {
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
    fn one_name_for_all_files_requires_the_metadata() {
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
    fn folders_precede_a_name() {
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
    fn warns_of_differences_between_releases() {
        let settings = r#"{"url":"http://h/p","verb":"put","base64_encode_data":true}"#;
        let raw = KazooSettings::from_json(settings).unwrap();
        assert!(raw.warnings().next().unwrap().contains("no effect"));
        assert_eq!(raw.base64(), Base64::Off);
        let multipart = settings.replace('}', r#","send_multipart":true}"#);
        let encoded = KazooSettings::from_json(&multipart).unwrap();
        assert!(encoded.warnings().next().unwrap().contains("4.3.17 to 4.3.20"));
        assert_eq!(encoded.base64(), Base64::Declared);
    }
}
