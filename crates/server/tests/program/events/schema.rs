//! Compares responses of the API with its description.

use serde_json::Value;

/// Asserts that `json` is a response that the description has for this request.
pub(super) fn check(method: &str, target: &str, status: u16, json: &Value) {
    let document: Value = serde_json::from_str(include_str!("../../../src/admin/openapi.json")).unwrap();
    let at = format!("{method} {target}: {json}");
    if status != 200 {
        return conforms(&document, &document["components"]["schemas"]["Error"], json, &at);
    }
    let path = target.split('?').next().unwrap();
    let paths = document["paths"].as_object().unwrap();
    let exact = paths.get(path).into_iter();
    let mut items = exact.chain(
        paths
            .iter()
            .filter(|(route, _)| is_match(route, path))
            .map(|(_, item)| item),
    );
    let operation = &items.next().expect(&at)[method.to_lowercase()];
    let content = operation["responses"]["200"]["content"].as_object().expect(&at);
    let (_, content) = content.iter().next().unwrap();
    conforms(&document, &content["schema"], json, &at);
}

fn is_match(route: &str, path: &str) -> bool {
    let (route, path): (Vec<_>, Vec<_>) = (route.split('/').collect(), path.split('/').collect());
    let same = |(expected, found): (&&str, &&str)| expected.starts_with('{') || expected == found;
    route.len() == path.len() && route.iter().zip(&path).all(same)
}

fn conforms(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).expect(at);
        return conforms(document, schema, value, at);
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{value} is none of {allowed:?}: {at}");
        return;
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&found.into()), "{value} is not {types:?}: {at}");
    if schema["format"] == "date-time"
        && let Some(text) = value.as_str()
    {
        assert!(humantime::parse_rfc3339(text).is_ok(), "{text}: {at}");
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(document, &schema["items"], item, at);
    }
    let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else {
        return;
    };
    for (name, value) in object {
        let schema = properties
            .get(name)
            .unwrap_or_else(|| panic!("`{name}` is not documented: {at}"));
        conforms(document, schema, value, at);
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(object.contains_key(name.as_str().unwrap()), "{name} is missing: {at}");
    }
}
