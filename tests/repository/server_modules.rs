//! The dependencies between the modules of the server.

/// The modules of the server that may be imported by its `module`.
pub(crate) fn allowed(module: &str) -> Option<Vec<&'static str>> {
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
