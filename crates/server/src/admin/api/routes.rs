//! The routes of the API, as a table.

use http::Method;
use percent_encoding::percent_decode_str;

/// The description of the API.
pub(super) const OPENAPI: &str = include_str!("../openapi.json");

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Describe,
    ListEvents,
    ShowEvent,
    RetryEvent,
    DiscardEvent,
    RetryDead,
    DiscardDead,
    Replay,
    ListReceivers,
    ShowReceiver,
    RemoveReceiver,
    ListFiles,
    ShowFile,
    FetchFile,
    DeleteFile,
    VerifyFiles,
    ExportFiles,
    ExportContents,
    Usage,
    ListAudit,
    VerifyAudit,
    ListHolds,
    AddHold,
    ShowHold,
    RemoveHold,
    Erase,
    PlanRetention,
    PreviewRetention,
    ListDue,
    PreviewDue,
    ResumeRetention,
    ListRequests,
    CancelRequest,
}

/// Method, path and operation. A segment `{name}` of a path matches any; a route without one precedes.
const ROUTES: [(Method, &str, Operation); 33] = [
    (Method::GET, "/v1/openapi.json", Operation::Describe),
    (Method::GET, "/v1/events", Operation::ListEvents),
    (Method::POST, "/v1/events/retry", Operation::RetryDead),
    (Method::POST, "/v1/events/discard", Operation::DiscardDead),
    (Method::POST, "/v1/events/replay", Operation::Replay),
    (Method::GET, "/v1/events/{id}", Operation::ShowEvent),
    (Method::POST, "/v1/events/{id}/retry", Operation::RetryEvent),
    (Method::POST, "/v1/events/{id}/discard", Operation::DiscardEvent),
    (Method::GET, "/v1/receivers", Operation::ListReceivers),
    (Method::GET, "/v1/receivers/{name}", Operation::ShowReceiver),
    (Method::DELETE, "/v1/receivers/{name}", Operation::RemoveReceiver),
    (Method::GET, "/v1/files", Operation::ListFiles),
    (Method::POST, "/v1/files/export", Operation::ExportFiles),
    (Method::POST, "/v1/files/export/contents", Operation::ExportContents),
    (Method::POST, "/v1/files/verify", Operation::VerifyFiles),
    (Method::GET, "/v1/files/{key}", Operation::ShowFile),
    (Method::DELETE, "/v1/files/{key}", Operation::DeleteFile),
    (Method::GET, "/v1/files/{key}/content", Operation::FetchFile),
    (Method::GET, "/v1/usage", Operation::Usage),
    (Method::GET, "/v1/audit", Operation::ListAudit),
    (Method::GET, "/v1/audit/verify", Operation::VerifyAudit),
    (Method::GET, "/v1/holds", Operation::ListHolds),
    (Method::POST, "/v1/holds", Operation::AddHold),
    (Method::GET, "/v1/holds/{id}", Operation::ShowHold),
    (Method::DELETE, "/v1/holds/{id}", Operation::RemoveHold),
    (Method::POST, "/v1/erasures", Operation::Erase),
    (Method::GET, "/v1/retention/plan", Operation::PlanRetention),
    (Method::POST, "/v1/retention/plan", Operation::PreviewRetention),
    (Method::GET, "/v1/retention/files", Operation::ListDue),
    (Method::POST, "/v1/retention/files", Operation::PreviewDue),
    (Method::POST, "/v1/retention/resume", Operation::ResumeRetention),
    (Method::GET, "/v1/retention/requests", Operation::ListRequests),
    (Method::DELETE, "/v1/retention/requests", Operation::CancelRequest),
];

/// The result of a search for a route.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Matched {
    /// The operation, and the decoded segment in place of `{name}`.
    Route(Operation, Option<String>),
    /// The path has only these methods.
    OtherMethods(Vec<Method>),
    Nothing,
}

/// Finds the route of a request.
pub(super) fn find(method: &Method, path: &str) -> Matched {
    let is_fixed = ROUTES.iter().any(|(_, route, _)| *route == path);
    let mut others = Vec::new();
    for (allowed, route, operation) in &ROUTES {
        let Some(captured) = capture(route, path).filter(|_| is_fixed == (*route == path)) else {
            continue;
        };
        if allowed == method {
            return Matched::Route(*operation, captured.into_iter().next());
        }
        others.push(allowed.clone());
    }
    if others.is_empty() {
        return Matched::Nothing;
    }
    Matched::OtherMethods(others)
}

/// Returns the segments in place of each `{name}` if `path` matches `route`.
fn capture(route: &str, path: &str) -> Option<Vec<String>> {
    let (mut route, mut path) = (route.split('/'), path.split('/'));
    let mut captured = Vec::new();
    loop {
        match (route.next(), path.next()) {
            (None, None) => return Some(captured),
            (Some(expected), Some(found)) if expected.starts_with('{') && !found.is_empty() => {
                captured.push(percent_decode_str(found).decode_utf8().ok()?.into_owned());
            }
            (Some(expected), Some(found)) if expected == found => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn finds_routes() {
        let route = |operation, name: Option<&str>| Matched::Route(operation, name.map(str::to_owned));
        for (method, path, expected) in [
            (Method::GET, "/v1/events", route(Operation::ListEvents, None)),
            (Method::GET, "/v1/events/7", route(Operation::ShowEvent, Some("7"))),
            (Method::POST, "/v1/events/retry", route(Operation::RetryDead, None)),
            (
                Method::POST,
                "/v1/events/retry/retry",
                route(Operation::RetryEvent, Some("retry")),
            ),
            (
                Method::DELETE,
                "/v1/receivers/a%2Fb%3A",
                route(Operation::RemoveReceiver, Some("a/b:")),
            ),
            (
                Method::GET,
                "/v1/files/a%2Fcontent%252F/content",
                route(Operation::FetchFile, Some("a/content%2F")),
            ),
            (
                Method::GET,
                "/v1/files/a%2Fcontent",
                route(Operation::ShowFile, Some("a/content")),
            ),
            (
                Method::GET,
                "/v1/events/retry",
                Matched::OtherMethods(vec![Method::POST]),
            ),
            (Method::PUT, "/v1/events/7", Matched::OtherMethods(vec![Method::GET])),
            (Method::GET, "/v1/events/", Matched::Nothing),
            (Method::GET, "/v1/receivers/%ff", Matched::Nothing),
            (Method::GET, "/v1", Matched::Nothing),
        ] {
            assert_eq!(find(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn the_description_has_exactly_the_routes() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item
                .as_object()
                .unwrap()
                .iter()
                .filter(|(name, _)| *name != "parameters")
            {
                assert!(
                    operation["summary"].is_string() && operation["responses"]["200"].is_object(),
                    "{path}"
                );
                described.insert((method.to_uppercase(), path.clone()));
            }
        }
        let routes = ROUTES
            .iter()
            .map(|(method, path, _)| (method.to_string(), (*path).to_owned()));
        assert_eq!(described, routes.collect());
    }
}
