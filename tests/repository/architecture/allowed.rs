//! The modules and libraries that each module may import.

pub(super) const LAYERS: [&str; 15] = [
    "answer_probe",
    "authorize",
    "confirm_body",
    "decode_base64",
    "drain_body",
    "extract_key",
    "format_errors",
    "limit_body",
    "limit_concurrency",
    "observe",
    "reject_ambiguous_framing",
    "reject_stalled_body",
    "retry_after",
    "split_multipart",
    "verify_digest",
];

/// The modules that `module` may import, or `None` for an unknown module.
pub(super) fn allowed(module: &str) -> Option<Vec<&'static str>> {
    const VOCABULARY: [&str; 16] = [
        "blocks",
        "error",
        "key",
        "encoding",
        "metadata",
        "digest",
        "body",
        "framing",
        "probe",
        "outcome",
        "grant",
        "metrics",
        "client_addr",
        "progress",
        "normalize",
        "kazoo_id",
    ];
    let and = |more: &[&'static str]| Some([&VOCABULARY[..], more].concat());
    match module {
        "blocks" | "client_addr" | "error" | "digest" | "kazoo_id" | "normalize" | "progress" => Some(vec![]),
        "key" | "encoding" | "metrics" => Some(vec!["error"]),
        "body" => Some(vec!["digest", "error"]),
        "metadata" => Some(vec!["error", "encoding", "kazoo_id", "key"]),
        "probe" => Some(vec!["error", "kazoo_id", "key"]),
        "grant" => Some(vec!["error", "key"]),
        "framing" => Some(vec!["error", "body"]),
        "outcome" => Some(vec!["error", "key", "metadata"]),
        "axum" | "exchange" | "reject" | "rewrite" | "store" => and(&[]),
        "serve" => and(&["reject", "store"]),
        "settings" => and(&["decode_base64", "extract_key"]),
        "builder" => and(&[&["rewrite", "store", "serve", "settings"][..], &LAYERS].concat()),
        layer if LAYERS.contains(&layer) => and(&["exchange", "rewrite"]),
        _ => None,
    }
}

/// The modules of the ledger that may be imported by its `module`.
pub(super) fn allowed_in_ledger(module: &str) -> Option<Vec<&'static str>> {
    /// What a part of the ledger needs: its rows, its events and the connection.
    const LEDGER: [&str; 7] = ["database", "event", "file", "ledger", "measure", "rows", "time"];
    let and = |more: &[&'static str]| Some([&LEDGER[..], more].concat());
    match module {
        "continue_on_drop" | "file" | "gone_receivers" | "key_locks" | "time" | "uploads" => Some(vec![]),
        "event" => Some(vec!["file"]),
        "measure" => Some(vec!["event"]),
        "database" => Some(vec!["measure"]),
        "location" => Some(vec!["database"]),
        "rows" => Some(vec!["database", "file", "time"]),
        "policy" => Some(vec!["file", "time"]),
        "clock" => Some(vec!["database", "time"]),
        "holds" => Some(vec!["database", "policy", "rows", "time"]),
        "ledger" => Some(vec![
            "clock",
            "database",
            "gone_receivers",
            "holds",
            "location",
            "measure",
            "policy",
            "time",
        ]),
        "audit" | "outbox" | "quota" | "search" | "usage" => and(&[]),
        "timekeeping" => and(&["clock"]),
        "consumer" | "record" => and(&["outbox"]),
        "events" | "delivery" => and(&["consumer", "gone_receivers", "outbox"]),
        "metrics" => and(&["events"]),
        "reindex" => and(&["outbox", "record"]),
        "protection" => and(&["holds", "record", "reindex", "search"]),
        "recorded" => and(&[
            "continue_on_drop",
            "holds",
            "key_locks",
            "protection",
            "record",
            "uploads",
        ]),
        "removal" => and(&[
            "audit",
            "holds",
            "key_locks",
            "outbox",
            "protection",
            "record",
            "recorded",
            "search",
        ]),
        "retention" => and(&["clock", "holds", "policy", "recorded", "removal"]),
        "verify" => and(&["key_locks", "record", "recorded", "reindex", "removal"]),
        _ => None,
    }
}

/// The modules of the server that may be imported by its `module`.
pub(super) fn allowed_in_server(module: &str) -> Option<Vec<&'static str>> {
    match module {
        "file_kind" | "flag_file" | "printable" | "progress" | "shutdown" | "signals" | "toml_file" => Some(vec![]),
        "confirmation" | "table" => Some(vec!["printable"]),
        "cli" => Some(vec!["file_kind", "flag_file", "toml_file"]),
        "config" | "generate" => Some(vec!["cli"]),
        "policy_file" => Some(vec!["cli", "file_kind", "flag_file", "toml_file"]),
        "log" => Some(vec!["config", "printable"]),
        "net" => Some(vec!["config", "flag_file", "log", "shutdown"]),
        "admin" => Some(vec!["file_kind", "flag_file", "policy_file", "shutdown"]),
        "storage" => Some(vec!["config", "log"]),
        "serve" => Some(vec![
            "admin",
            "config",
            "file_kind",
            "flag_file",
            "log",
            "net",
            "policy_file",
            "shutdown",
            "storage",
            "toml_file",
        ]),
        "check" | "plan" => Some(vec!["cli", "log", "printable"]),
        "scrub" => Some(vec!["cli", "log", "printable", "progress"]),
        "admin_client" => Some(vec!["cli", "flag_file", "log", "printable", "progress", "table"]),
        "audit" | "events" | "files" | "hold" | "retention" => Some(vec![
            "admin_client",
            "cli",
            "confirmation",
            "policy_file",
            "printable",
            "progress",
            "signals",
            "table",
        ]),
        "erase" | "health" => Some(vec!["admin_client", "cli", "confirmation", "printable", "signals"]),
        "config_command" => Some(vec!["cli", "config", "printable", "serve"]),
        "reindex" => Some(vec!["cli", "config", "printable", "progress", "signals", "storage"]),
        "copy" => Some(vec![
            "cli",
            "config",
            "log",
            "printable",
            "progress",
            "signals",
            "storage",
        ]),
        _ => None,
    }
}

/// The dependencies that only some modules may use.
pub(super) const LIBRARIES: [(&str, &[&str]); 7] = [
    ("aho_corasick", &["authorize"]),
    ("memchr", &["split_multipart"]),
    ("md5", &["digest"]),
    ("base64", &["authorize", "decode_base64", "digest"]),
    ("sha2", &["digest"]),
    ("object_store", &["store"]),
    // Modules may have the same name as a dependency.
    ("metrics", &["metrics", "observe", "store"]),
];
