//! The operator's API refuses texts that a database, the log or the audit trail does not accept.

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::events::site::Site;

/// Values that no parameter accepts, percent-encoded.
const REFUSED: [&str; 7] = ["%00", "a%00b", "%0A", "a%1B%5B31m", "%7F", "%C2%85", "%FF"];

/// Values that some parameters accept: numbers, times, cursors and keys.
const EXTREME: [&str; 14] = [
    "",
    "%2F",
    "-1",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "18446744073709551615/1",
    "9223372036854775807/a%2Fb",
    "0/9223372036854775807/a",
    "0/18446744073709551615/a/b",
    "%EF%BF%BE%F4%8F%BF%BF",
    "'%22;%25_%5C",
];

/// An operation of the description.
struct Described {
    method: String,
    path: String,
    parameters: Vec<Value>,
    /// The properties of the body, and those that are required.
    properties: Map<String, Value>,
    required: Vec<Value>,
}

fn described() -> Vec<Described> {
    let document: Value = serde_json::from_str(include_str!("../../src/admin/openapi.json")).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            let body = match body["$ref"].as_str() {
                Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
                None => body,
            };
            operations.push(Described {
                method: method.to_uppercase(),
                path: path.clone(),
                parameters: operation["parameters"].as_array().cloned().unwrap_or_default(),
                properties: body["properties"].as_object().cloned().unwrap_or_default(),
                required: body["required"].as_array().cloned().unwrap_or_default(),
            });
        }
    }
    operations
}

impl Described {
    /// Returns the target with `value` as the parameter `name`, and the body.
    fn target(&self, name: &str, place: &str, value: &str) -> (String, String) {
        let is_in = |place: &'static str| move |parameter: &&Value| parameter["in"] == place;
        let mut path = self.path.clone();
        for parameter in self.parameters.iter().filter(is_in("path")) {
            let found = parameter["name"].as_str().unwrap();
            let value = if found == name { value } else { "a%2Fb" };
            path = path.replace(&format!("{{{found}}}"), value);
        }
        // With all that are required, so that nothing else is wrong.
        let query = self.parameters.iter().filter(is_in("query"));
        let query = query.filter_map(|parameter| match parameter["name"].as_str().unwrap() {
            found if place == "query" && found == name => Some(format!("{found}={value}")),
            "account" if name == "document" => Some("account=a".to_owned()),
            found if parameter["required"] == true => Some(format!("{found}=a")),
            _ => None,
        });
        let query: Vec<_> = query.collect();
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        let body = if self.required.is_empty() {
            String::new()
        } else {
            self.body(None).to_string()
        };
        (path, body)
    }

    /// Returns a body with the required properties, and `one`.
    fn body(&self, one: Option<(&str, Value)>) -> Value {
        let valid = |name: &str| match self.properties[name]["format"].as_str() {
            Some("date-time") => json!("2026-01-01T00:00:00Z"),
            _ if self.properties[name]["type"] == "array" => json!(["a"]),
            _ => json!("a"),
        };
        let required = self.required.iter().map(|name| name.as_str().unwrap());
        let mut body: Map<_, _> = required.map(|name| (name.to_owned(), valid(name))).collect();
        if let Some((name, value)) = one {
            body.insert(name.to_owned(), value);
        }
        Value::Object(body)
    }
}

/// Returns the status and the first line of the response, which is as described if it is an error.
fn ask(site: &Site, operation: &Described, target: &str, body: &str) -> (u16, String) {
    let response = site.ask_with(&operation.method, target, "", body);
    let text = String::from_utf8(response.body).unwrap();
    if response.status != 200 {
        let error: Value = serde_json::from_str(&text).unwrap();
        assert!(
            error["error"].is_string() && error["message"].is_string(),
            "{target}: {text}"
        );
    }
    (response.status, text.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn no_parameter_causes_an_internal_error() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    site.put("acc/doc/a.mp3", "media");
    let long = "x".repeat(8000);
    let mut checked = 0;
    for operation in described() {
        for parameter in &operation.parameters {
            let (name, place) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
            if place == "header" {
                continue;
            }
            for value in REFUSED.into_iter().chain([&*long]) {
                let (target, body) = operation.target(name, place, value);
                let (status, text) = ask(&site, &operation, &target, &body);
                assert!(
                    matches!(status, 400 | 404),
                    "{} {target}: {status} {text}",
                    operation.method
                );
                checked += 1;
            }
            for value in EXTREME {
                let (target, body) = operation.target(name, place, value);
                let (status, text) = ask(&site, &operation, &target, &body);
                assert!(status < 500, "{} {target}: {status} {text}", operation.method);
            }
        }
    }
    assert!(checked > 300, "{checked}");
}

#[test]
fn no_body_causes_an_internal_error() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    let mut checked = 0;
    for operation in described() {
        for name in operation.properties.keys() {
            for text in ["\0", "a\0b"] {
                for value in [json!(text), json!([text])] {
                    let body = operation.body(Some((name, value))).to_string();
                    let (status, text) = ask(&site, &operation, &operation.path, &body);
                    assert_eq!(status, 400, "{} {body}: {text}", operation.path);
                    checked += 1;
                }
            }
            let texts = [
                "",
                "\u{7f}\u{1b}[31m\n",
                "0001-01-01T00:00:00Z",
                "9999-12-31T23:59:59Z",
                &"x".repeat(60_000),
            ];
            for text in texts {
                let body = operation.body(Some((name, json!(text)))).to_string();
                let (status, text) = ask(&site, &operation, &operation.path, &body);
                assert!(status < 500, "{} {body:.200}: {status} {text}", operation.path);
            }
        }
    }
    assert!(checked > 50, "{checked}");
}
