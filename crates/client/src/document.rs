//! [`Document`]: the document of KAZOO's database that a file is attached to.

use std::fmt;

use super::{dialect::Dialect, escape::form, json::Json};
use kazoo_storage::{Error, ErrorKind, Result};

/// A document of KAZOO's database, with its fields in order.
///
/// Fields whose names begin with `_` or `pvt_` are private: only `field_list` can use them. `_id` is public as `id`. `Debug`
/// shows the id only, because the other fields are about callers.
///
/// ```
/// use kazoo_storage_client::Document;
///
/// let document = Document::from_json(r#"{"_id":"202401-9f86d081","name":"message","pvt_type":"mailbox_message"}"#)?;
/// assert_eq!(document.id(), Some("202401-9f86d081"));
/// assert_eq!(document.to_json(), r#"{"name":"message","id":"202401-9f86d081"}"#);
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Document(Json);

impl Document {
    /// Reads a document from a JSON object.
    ///
    /// Returns [`ErrorKind::InvalidMetadata`] for other JSON.
    pub fn from_json(json: &str) -> Result<Self> {
        match serde_json::from_str(json) {
            Ok(object @ Json::Object(_)) => Ok(Self(object)),
            // serde's message may quote the text.
            _ => Err(Error::new(ErrorKind::InvalidMetadata, "a document is a JSON object")),
        }
    }

    /// Returns the document's id.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self.0.get("_id").or_else(|| self.0.get("id"))? {
            Json::Text(id) => Some(id),
            _ => None,
        }
    }

    /// Returns the public fields as in the first part of a multipart upload: compact UTF-8 without unnecessary escapes.
    #[must_use]
    pub fn to_json(&self) -> String {
        Json::Object(self.public()).to_text()
    }

    /// Returns the value at this `path` of fields, unless it is empty.
    pub(super) fn field(&self, path: &[&str]) -> Option<String> {
        if matches!(path, ["id" | "_id"]) {
            return self.id().map(str::to_owned);
        }
        let found = path.iter().try_fold(&self.0, |json, name| json.get(name))?;
        Some(found.to_text()).filter(|text| *found != Json::Null && !text.is_empty())
    }

    /// Returns the query of a fetch: the field `metadata` if there is one, and otherwise all public fields.
    ///
    /// Returns [`ErrorKind::InvalidMetadata`] for values on which KAZOO crashes.
    pub(super) fn query(&self, dialect: &Dialect) -> Result<String> {
        let brackets = if dialect.escapes_brackets {
            ["%5B", "%5D"]
        } else {
            ["[", "]"]
        };
        let fields = match self.0.get("metadata") {
            Some(Json::Object(metadata)) => metadata.clone(),
            _ => self.public(),
        };
        let parts: Result<Vec<String>> = fields
            .iter()
            .map(|(name, value)| pairs(name, value, brackets))
            .collect();
        Ok(parts?.join("&"))
    }

    fn public(&self) -> Vec<(String, Json)> {
        let Json::Object(fields) = &self.0 else {
            return Vec::new();
        };
        let is_public = |name: &str| !name.starts_with('_') && !name.starts_with("pvt_");
        let mut public: Vec<_> = fields.iter().filter(|(name, _)| is_public(name)).cloned().collect();
        if let (Some(Json::Text(id)), None) = (self.0.get("_id"), self.0.get("id")) {
            public.push(("id".to_owned(), Json::Text(id.clone())));
        }
        public
    }
}

/// Returns the query pairs for one field. KAZOO escapes values, but not names.
fn pairs(name: &str, value: &Json, brackets: [&str; 2]) -> Result<String> {
    let [open, close] = brackets;
    match value {
        // An empty list leaves an empty pair.
        Json::List(list) => {
            let pair = |value| Ok(format!("{name}{open}{close}={}", form(&simple(value)?)));
            Ok(list.iter().map(pair).collect::<Result<Vec<_>>>()?.join("&"))
        }
        Json::Object(fields) => {
            let inner = |(inner, value): &(String, _)| pairs(&format!("{name}{open}{inner}{close}"), value, brackets);
            Ok(fields.iter().map(inner).collect::<Result<Vec<_>>>()?.join("&"))
        }
        value => Ok(format!("{name}={}", form(&simple(value)?))),
    }
}

fn simple(value: &Json) -> Result<String> {
    match value {
        Json::Bool(_) | Json::Number(_) | Json::Text(_) => Ok(value.to_text()),
        Json::Null | Json::List(_) | Json::Object(_) => Err(Error::new(
            ErrorKind::InvalidMetadata,
            "KAZOO crashes on `null`, and on lists and objects in a list, in the metadata of a file that it fetches",
        )),
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(json: &str) -> Result<String> {
        Document::from_json(json).unwrap().query(&Dialect::KAZOO_4_3_106)
    }

    #[test]
    fn a_query_contains_the_metadata_or_all_public_fields() {
        for (json, expected) in [
            (r#"{"_id":"1","metadata":{"to":"a b+c","n":7},"x":1}"#, "to=a+b%2Bc&n=7"),
            (r#"{"_id":"1","metadata":{}}"#, ""),
            (
                r#"{"_rev":"2","pvt_x":1,"_id":"1","tags":["x","y"]}"#,
                "tags[]=x&tags[]=y&id=1",
            ),
            (r#"{"a":{"B-c":true,"d":{"e":"~-._*"}}}"#, "a[B-c]=true&a[d][e]=~-._%2A"),
            (r#"{"a":1,"tags":[]}"#, "a=1&"),
        ] {
            assert_eq!(query(json).unwrap(), expected, "{json}");
        }
        for json in [r#"{"a":null}"#, r#"{"a":[{}]}"#, r#"{"a":{"b":[[]]}}"#] {
            assert_eq!(query(json).unwrap_err().kind(), ErrorKind::InvalidMetadata, "{json}");
        }
    }

    #[test]
    fn open_kazoo_escapes_brackets() {
        let document = Document::from_json(r#"{"a":{"B c":[1,2],"d":{"e":"f g"}},"t":["x"]}"#).unwrap();
        assert_eq!(
            document.query(&Dialect::OPEN_KAZOO).unwrap(),
            "a%5BB c%5D%5B%5D=1&a%5BB c%5D%5B%5D=2&a%5Bd%5D%5Be%5D=f+g&t%5B%5D=x"
        );
    }

    #[test]
    fn accepts_only_objects_and_debug_shows_only_the_id() {
        for json in ["[]", "1", "", "{"] {
            assert_eq!(
                Document::from_json(json).unwrap_err().kind(),
                ErrorKind::InvalidMetadata
            );
        }
        let document = Document::from_json(r#"{"id":"1","caller":"Anna"}"#).unwrap();
        assert!(!format!("{document:?}").contains("Anna"));
        assert_eq!(document.field(&["caller"]).unwrap(), "Anna");
        assert_eq!(document.field(&["caller", "x"]), None);
    }
}
