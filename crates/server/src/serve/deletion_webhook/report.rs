//! [`Report`]: the body of a webhook `object` of KAZOO.

use kazoo_storage::{Error, ErrorKind, kazoo_id};
use serde::Deserialize;

/// The action that this server acts on.
const DELETED: &str = "doc_deleted";

/// Maximum length of the id or the type of a document, in bytes.
const MAX_TEXT: usize = 255;

/// The format of the fields.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    Json,
    Form,
}

/// The fields of a report that matter here.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) struct Report {
    id: Option<String>,
    account_id: Option<String>,
    action: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// A field of `custom_data`.
    pub(super) secret: Option<String>,
}

/// A document that KAZOO has deleted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) account: String,
    pub(super) id: String,
    pub(super) kind: String,
}

impl Report {
    pub(super) fn parse(format: Format, text: &[u8]) -> Result<Self, Error> {
        match format {
            Format::Json => {
                let mismatch = || invalid("it is not a JSON object with the fields of a webhook");
                // A list of the values would be accepted, too.
                if text.trim_ascii_start().first() != Some(&b'{') {
                    return Err(mismatch());
                }
                serde_json::from_slice(text).map_err(|_| mismatch())
            }
            Format::Form => {
                let mut deletion = Self::default();
                for (name, value) in form_urlencoded::parse(text) {
                    let field = match &*name {
                        "id" => &mut deletion.id,
                        "account_id" => &mut deletion.account_id,
                        "action" => &mut deletion.action,
                        "type" => &mut deletion.kind,
                        "secret" => &mut deletion.secret,
                        _ => continue,
                    };
                    if field.replace(value.into_owned()).is_some() {
                        return Err(invalid("a field is set twice"));
                    }
                }
                Ok(deletion)
            }
        }
    }

    /// Returns the document, or `None` if it was not deleted.
    pub(super) fn document(self) -> Result<Option<Document>, Error> {
        match self.action.as_deref() {
            Some(DELETED) => {}
            Some(_) => return Ok(None),
            None => return Err(invalid("`action` is missing")),
        }
        let account = self.account_id.filter(|account| kazoo_id::is_id(account));
        let account = account.ok_or_else(|| invalid("`account_id` is not the id of an account"))?;
        let id = self.id.filter(|id| is_text(id) && !id.contains('/'));
        let id = id.ok_or_else(|| invalid("`id` is not the id of a document"))?;
        let kind = self.kind.filter(|kind| is_text(kind));
        let kind = kind.ok_or_else(|| invalid("`type` is not the type of a document"))?;
        Ok(Some(Document { account, id, kind }))
    }
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

fn invalid(fault: &str) -> Error {
    let message = format!("this is not a report of KAZOO's webhook `object`: {fault}");
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";
    const DOCUMENT: &str = "202401-9f86d081884c7d659a2feaa0c55ad015";

    fn document(format: Format, text: &str) -> Result<Option<Document>, Error> {
        Report::parse(format, text.as_bytes())?.document()
    }

    #[test]
    fn reads_both_formats() {
        let expected = Document {
            account: ACCOUNT.to_owned(),
            id: DOCUMENT.to_owned(),
            kind: "mailbox_message".to_owned(),
        };
        let json = format!(
            "{{\n  \"id\": \"{DOCUMENT}\",\n  \"account_id\": \"{ACCOUNT}\",\n  \"action\": \"doc_deleted\",\n  \
             \"type\": \"mailbox_message\",\n  \"cluster_id\": \"x\"\n}}"
        );
        assert_eq!(document(Format::Json, &json).unwrap().unwrap(), expected);
        let form = format!("id={DOCUMENT}&account_id={ACCOUNT}&action=doc_deleted&type=mailbox_message&cluster_id=x");
        assert_eq!(document(Format::Form, &form).unwrap().unwrap(), expected);
        let edited = json.replace("doc_deleted", "doc_edited");
        assert_eq!(document(Format::Json, &edited).unwrap(), None);
    }

    #[test]
    fn refuses_other_shapes() {
        let json = |id: &str, account: &str| {
            format!(r#"{{"id":"{id}","account_id":"{account}","action":"doc_deleted","type":"fax"}}"#)
        };
        for text in [
            "",
            "[]",
            "{}",
            "{\"action\":1}",
            "{\"action\":\"doc_deleted\"}",
            &json("", ACCOUNT),
            &json("a/b", ACCOUNT),
            &json("\\u0000", ACCOUNT),
            &json(&"x".repeat(256), ACCOUNT),
            &json(DOCUMENT, "system_data"),
            &json(DOCUMENT, &ACCOUNT[1..]),
        ] {
            let refused = document(Format::Json, text).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidRequest, "{text}");
        }
        assert!(document(Format::Form, "action=doc_deleted&action=x").is_err());
    }
}
