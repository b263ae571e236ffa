//! The options of `plan`.

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use kazoo_storage::kazoo_id::is_document_type;

#[derive(Args, Debug)]
pub(crate) struct PlanOptions {
    /// URL at which KAZOO reaches the server, including the mount and any token. Prompted for if omitted
    // `--help` would show the value in the environment, which may be a secret.
    #[arg(long, env = "KAZOO_STORAGE_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) url: Option<String>,

    /// Print the webhook with which KAZOO reports deleted documents; `--url` is the URL at which KAZOO reaches the server's
    /// `--deletion-webhook`
    #[arg(long, value_parser = BoolishValueParser::new(), conflicts_with_all = ["types", "verb", "multipart", "base64_encode_data"])]
    pub(crate) webhook: bool,

    /// Types of documents to store: `voicemail`, `call_recording`, `fax`, `media`, or any document type of KAZOO 5
    #[arg(
        long,
        value_name = "TYPE[,TYPE…]",
        value_delimiter = ',',
        value_parser = document_type,
        default_value = "voicemail,call_recording,fax"
    )]
    pub(crate) types: Vec<String>,

    /// HTTP method of uploads
    #[arg(long, value_name = "VERB", default_value = "put")]
    pub(crate) verb: Verb,

    /// Make KAZOO send the document with the file; the server stores it beside the file: `jq .metadata`
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) multipart: bool,

    /// Make KAZOO encode the file in base64, for intermediaries that pass only text; requires `--multipart`, because KAZOO
    /// encodes only the file's part of a multipart body
    #[arg(long, value_parser = BoolishValueParser::new(), requires = "multipart")]
    pub(crate) base64_encode_data: bool,

    /// Name of the storage in KAZOO
    #[arg(long, value_name = "NAME", default_value = "kazoo-storage")]
    pub(crate) name: String,
}

/// Returns the document type that `text` names or abbreviates.
fn document_type(text: &str) -> Result<String, String> {
    match text {
        "voicemail" => Ok("mailbox_message".to_owned()),
        text if is_document_type(text) => Ok(text.to_owned()),
        _ => Err("expected a document type such as `call_recording`: letters from `a` to `z`, and `_`".to_owned()),
    }
}

/// The values of `--verb`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Verb {
    Put,
    Post,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_document_types() {
        for (text, kind) in [
            ("voicemail", Some("mailbox_message")),
            ("conference_recording", Some("conference_recording")),
            ("", None),
            ("Fax", None),
            ("fax 2", None),
        ] {
            assert_eq!(document_type(text).ok().as_deref(), kind, "{text}");
        }
    }
}
