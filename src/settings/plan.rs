//! What stands around the settings in a storage document: whether KAZOO comes to use them.

use serde_json::{Map, Value};

/// The databases for which a plan has a part: per month, per account, system-wide and, since KAZOO 5, per year.
const DATABASES: [&str; 5] = ["modb", "account", "system", "aggregate", "yodb"];

/// Names that are mistaken for document types, each with the correct type.
const NO_TYPES: [(&str, &str); 6] = [
    ("voicemail", "mailbox_message"),
    ("voicemails", "mailbox_message"),
    ("recording", "call_recording"),
    ("recordings", "call_recording"),
    ("call_recordings", "call_recording"),
    ("faxes", "fax"),
];

/// The parts of a database's plan, beside `types`, that have attachments of their own since KAZOO 5: for a range of
/// months, and for databases by name.
const SELECTIONS: [&str; 2] = ["range", "regex"];

/// What else a document may have.
const FIELDS: [&str; 6] = [
    "attachments",
    "plan",
    "connections",
    "secondary_connections",
    "id",
    "ui_metadata",
];

const SCHEME: &str = "`{\"plan\": {\"modb\": {\"types\": {\"mailbox_message\": {\"attachments\": {\"handler\": ID}}}}}}`, where ID is the name \
                      of the handler in `attachments`";

/// What is to be said of a storage document, apart from the settings in it.
#[derive(Default)]
pub(super) struct Plan {
    /// Why nothing is stored by the settings, if so.
    pub(super) unused: Option<String>,
    pub(super) warnings: Vec<String>,
}

impl Plan {
    /// Of `document`, in whose `attachments` the settings are those of the handler `used`.
    pub(super) fn read(document: &Map<String, Value>, used: &str) -> Self {
        let mut plan = Self::default();
        for name in document.keys() {
            if !FIELDS.contains(&&**name) && !name.starts_with('_') && !name.starts_with("pvt_") {
                plan.warn(format!(
                    "KAZOO's storage documents have no `{name}`, and what stands there does nothing"
                ));
            }
        }
        let nothing = Map::new();
        let handlers = object(document.get("attachments")).unwrap_or(&nothing);
        let databases = object(document.get("plan"));
        let mut sends = false;
        for (name, database) in databases.unwrap_or(&nothing) {
            if DATABASES.contains(&&**name) {
                sends |= plan.database(name, database, handlers, used);
            } else {
                plan.warn(format!(
                    "KAZOO refuses `{name}` in `plan`: files are those of `modb`, where voicemails, recordings and faxes are, of \
                     `account`, `aggregate` and `system`, and in KAZOO 5 of `yodb`"
                ));
            }
        }
        // The plan that the document names may have the part that is missing here.
        if !sends && !document.contains_key("pvt_plan_id") {
            plan.unused = Some(format!(
                "nothing in this document sends files to the handler with these settings, so that KAZOO takes it and stores nothing \
                 here, unless the document of the whole system does: add {SCHEME}"
            ));
        }
        plan
    }

    /// Whether anything of this database is stored by the handler `used`.
    fn database(&mut self, name: &str, database: &Value, handlers: &Map<String, Value>, used: &str) -> bool {
        let here = format!("plan.{name}");
        let by_default = self.handler(&here, database, handlers, None);
        let mut sends = by_default == Some(used);
        for selection in SELECTIONS {
            for (selected, part) in object(database.get(selection)).into_iter().flatten() {
                let here = format!("{here}.{selection}.{selected}");
                sends |= self.handler(&here, part, handlers, by_default) == Some(used);
            }
        }
        for (kind, of_kind) in object(database.get("types")).into_iter().flatten() {
            // Those of the system are databases.
            if name != "system" {
                if let Some((_, meant)) = NO_TYPES.iter().find(|(wrong, _)| wrong == kind) {
                    self.warn(format!(
                        "KAZOO has no documents of the type `{kind}`, as in `{here}.types`: write `{meant}`"
                    ));
                } else if kind.is_empty() || !kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                    self.warn(format!(
                        "`{kind}` in `{here}.types` is no type of documents: it has characters other than `a` to `z` and `_`"
                    ));
                }
            }
            let here = format!("{here}.types.{kind}");
            sends |= self.handler(&here, of_kind, handlers, by_default) == Some(used);
        }
        sends
    }

    /// The handler that a part of the plan names, or that it has by default.
    fn handler<'a>(
        &mut self,
        here: &str,
        part: &'a Value,
        handlers: &Map<String, Value>,
        by_default: Option<&'a str>,
    ) -> Option<&'a str> {
        let Some(attachments) = part.get("attachments") else {
            return by_default;
        };
        let Some(handler) = attachments.get("handler").and_then(Value::as_str) else {
            if by_default.is_none() {
                self.warn(format!(
                    "`{here}.attachments` has no `handler`, so that KAZOO keeps such files in its database"
                ));
            }
            return by_default;
        };
        if !handlers.contains_key(handler) {
            self.warn(format!(
                "`{here}` names the handler `{handler}`, which is not in `attachments`: KAZOO crashes on such files, unless the \
                 document of the whole system or a storage plan has it"
            ));
        }
        Some(handler)
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }
}

fn object(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::KazooSettings;

    fn read(plan: &Value) -> Plan {
        let document = json!({"attachments": {"US": {"handler": "http"}, "S3": {"handler": "s3"}}, "plan": plan});
        Plan::read(document.as_object().unwrap(), "US")
    }

    fn to(handler: &str) -> Value {
        json!({"attachments": {"handler": handler}})
    }

    #[test]
    fn what_sends_something_is_used() {
        for plan in [
            json!({"modb": {"types": {"fax": to("US"), "call_recording": to("S3")}}}),
            json!({"modb": to("US")}),
            json!({"account": {"types": {"media": to("US")}}}),
            json!({"system": {"types": {"system_media": to("US")}}}),
            json!({"modb": {"attachments": {"handler": "US"}, "types": {"fax": {"connection": "c"}}}}),
            json!({"modb": {"attachments": {"handler": "US"}, "types": {"fax": {"attachments": {"params": {}}}}}}),
            // A plan that KAZOO 5 accepts.
            json!({"yodb": {"types": {"conference_recording": to("US")}, "secondary_connections": ["c"]}}),
            json!({"modb": {"range": {"202401-202412": to("US")}, "connection": "c"}}),
            json!({"aggregate": {"regex": {"^faxes$": to("US")}, "database": {"names": ["faxes"]}}}),
        ] {
            let read = read(&plan);
            assert_eq!((read.unused, read.warnings), (None, vec![]), "{plan}");
        }
    }

    #[test]
    fn what_sends_nothing_is_not() {
        for plan in [
            Value::Null,
            json!({}),
            json!([]),
            json!({"modb": {}}),
            json!({"modb": {"types": {"fax": to("S3")}}}),
            json!({"modb": {"fax": to("US")}}),
            json!({"modb": {"range": {"202401-202412": to("S3")}, "regex": {}}}),
        ] {
            let unused = read(&plan).unused.unwrap();
            assert!(unused.contains("mailbox_message"), "{plan}: {unused}");
        }
        for plan in [
            json!({"mdb": to("US")}),
            json!({"modb": {"types": {"fax": {"attachments": {}}}}}),
        ] {
            assert!(read(&plan).unused.is_some(), "{plan}");
        }
    }

    #[test]
    fn a_document_may_have_its_plan_elsewhere() {
        let document = json!({"attachments": {"US": {"handler": "http"}}, "pvt_plan_id": "P"});
        let read = Plan::read(document.as_object().unwrap(), "US");
        assert_eq!((read.unused, read.warnings), (None, vec![]));
    }

    #[test]
    fn what_kazoo_does_not_know_is_warned_of() {
        for (plan, says) in [
            (json!({"modb": to("US"), "mdb": to("US")}), "KAZOO refuses `mdb`"),
            (
                json!({"modb": {"types": {"fax": to("US"), "voicemail": to("US")}}}),
                "of the type `voicemail`",
            ),
            (
                json!({"modb": {"types": {"mailbox_message": to("US"), "fax": to("abc")}}}),
                "`plan.modb.types.fax` names the handler `abc`",
            ),
            (json!({"account": to("abc"), "modb": to("US")}), "`plan.account` names"),
            (
                json!({"modb": {"types": {"fax": to("US"), "Fax 2": to("US")}}}),
                "`Fax 2` in `plan.modb.types`",
            ),
            (
                json!({"modb": {"types": {"fax": to("US")}, "range": {"202401-202412": to("abc")}}}),
                "`plan.modb.range.202401-202412` names the handler `abc`",
            ),
            (
                json!({"modb": {"types": {"mailbox_message": to("US"), "fax": {"attachments": {"handlr": "US"}}}}}),
                "has no `handler`",
            ),
        ] {
            let read = read(&plan);
            assert!(read.unused.is_none(), "{plan}");
            assert!(
                read.warnings.len() == 1 && read.warnings[0].contains(says),
                "{plan}: {:?}",
                read.warnings
            );
        }
        let document = json!({"_id": "x", "pvt_type": "storage", "id": "x", "plna": {}, "attachments": {}});
        let read = Plan::read(document.as_object().unwrap(), "US");
        assert!(read.unused.unwrap().contains("nothing in this document"));
        assert!(
            read.warnings.len() == 1 && read.warnings[0].contains("`plna`"),
            "{:?}",
            read.warnings
        );
    }

    #[test]
    fn only_a_document_has_a_plan() {
        let read = |json: &str| KazooSettings::from_json(json).unwrap();
        let message = |json: &str| {
            KazooSettings::from_json(json)
                .map(|_| ())
                .unwrap_err()
                .message()
                .to_owned()
        };
        let settings = r#"{"url":"http://h/p","verb":"put"}"#;
        assert_eq!(read(settings).warnings().count(), 0);
        let handler = format!(r#"{{"handler":"http","settings":{settings}}}"#);
        let whole =
            format!(r#"{{"attachments":{{"A":{handler}}},"plan":{{"modb":{{"attachments":{{"handler":"A"}}}}}}}}"#);
        let bare = read(&whole);
        assert!(bare.unused().is_none() && bare.warnings().count() == 1);
        assert!(bare.warnings().next().unwrap().contains("/v2/accounts/{ID}/storage"));
        let wrapped = read(&format!(r#"{{"data":{whole}}}"#));
        assert_eq!(wrapped.warnings().count(), 0);
        let unused = read(&format!(r#"{{"data":{}}}"#, whole.replace("plan", "plna")));
        assert!(unused.unused().is_some() && unused.warnings().next() == unused.unused());
        assert!(message(&format!(r#"{{"data":{settings}}}"#)).contains("no `attachments`"));
        assert!(message(r#"{"plan":{}}"#).contains("no `attachments`"));
    }
}
