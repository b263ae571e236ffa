//! [`Plan`]: checks that KAZOO uses the settings in a storage document.

use serde_json::{Map, Value};

use crate::kazoo_id::is_document_type;

/// The databases for which a plan has a part: per month, per account, system-wide and, since KAZOO 5, per year.
const DATABASES: [&str; 5] = ["modb", "account", "system", "aggregate", "yodb"];

/// Names that are mistaken for document types, each with the correct type.
const WRONG_TYPES: [(&str, &str); 6] = [
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

/// The members of a storage document.
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

/// The problems of a storage document, apart from its settings.
#[derive(Default)]
pub(super) struct Plan {
    /// The reason why KAZOO stores nothing with the settings.
    pub(super) unused: Option<String>,
    pub(super) warnings: Vec<String>,
}

impl Plan {
    /// Reads `document`. `used` is the name of the handler with the settings.
    pub(super) fn read(document: &Map<String, Value>, used: &str) -> Self {
        let mut plan = Self::default();
        for name in document.keys() {
            if !FIELDS.contains(&&**name) && !name.starts_with('_') && !name.starts_with("pvt_") {
                plan.warn(format!(
                    "KAZOO's storage documents have no `{name}`, so it has no effect"
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
                    "KAZOO refuses `{name}` in `plan`: use `modb` for voicemails, recordings and faxes, or `account`, `aggregate`, \
                     `system`, and in KAZOO 5 `yodb`"
                ));
            }
        }
        // The plan that the document refers to may contain the missing part.
        if !sends && !document.contains_key("pvt_plan_id") {
            plan.unused = Some(format!(
                "nothing in this document sends files to the handler with these settings, so KAZOO accepts it and stores nothing here, \
                 unless the document of the whole system sends them: add {SCHEME}"
            ));
        }
        plan
    }

    /// Returns `true` if anything of this database is stored with the handler `used`.
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
            // The types of the system are databases.
            if name != "system" {
                if let Some((_, correct)) = WRONG_TYPES.iter().find(|(wrong, _)| wrong == kind) {
                    self.warn(format!(
                        "KAZOO has no documents of the type `{kind}` in `{here}.types`: write `{correct}`"
                    ));
                } else if !is_document_type(kind) {
                    self.warn(format!(
                        "`{kind}` in `{here}.types` is not a document type: it has characters other than `a` to `z` and `_`"
                    ));
                }
            }
            let here = format!("{here}.types.{kind}");
            sends |= self.handler(&here, of_kind, handlers, by_default) == Some(used);
        }
        sends
    }

    /// Returns the handler that a part of the plan names, or `by_default`.
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
                    "`{here}.attachments` has no `handler`, so KAZOO keeps these files in its database"
                ));
            }
            return by_default;
        };
        if !handlers.contains_key(handler) {
            self.warn(format!(
                "`{here}` names the handler `{handler}`, which is not in `attachments`: KAZOO crashes on these files, unless the document \
                 of the whole system or a storage plan has this handler"
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
    fn a_plan_that_names_the_handler_uses_it() {
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
    fn reports_a_plan_that_does_not_use_the_handler() {
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
    fn accepts_a_document_with_its_plan_elsewhere() {
        let document = json!({"attachments": {"US": {"handler": "http"}}, "pvt_plan_id": "P"});
        let read = Plan::read(document.as_object().unwrap(), "US");
        assert_eq!((read.unused, read.warnings), (None, vec![]));
    }

    #[test]
    fn warns_of_names_that_kazoo_does_not_have() {
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
    fn checks_the_plan_of_a_whole_document_only() {
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
