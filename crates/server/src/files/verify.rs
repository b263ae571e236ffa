//! `files verify`.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::{
    admin_client::{
        AdminClient, follow,
        values::{field, number, text},
    },
    cli::VerifyFilesOptions,
    printable::{print, print_json},
    progress::Progress,
};

pub(super) async fn files(client: &AdminClient, options: &VerifyFilesOptions) -> Result<ExitCode, String> {
    let body = json!({"content": options.content, "repair": options.repair});
    let seen = |line: &Value, progress: &Progress| {
        let difference = field(line, "difference");
        if difference.is_null() {
            return Ok(false);
        }
        progress.clear();
        if options.json {
            print_json(&difference.to_string())?;
        } else {
            print(&shown(difference))?;
        }
        Ok(true)
    };
    let mut done = follow(client, "/v1/files/verify", Some(body), totals, seen).await?;
    if options.json {
        if let Some(object) = done.as_object_mut() {
            object.remove("done");
        }
        print_json(&done.to_string())?;
    } else {
        print(&totals(&done))?;
    }
    let is_same = number(&done, "differences") == number(&done, "repaired");
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn totals(done: &Value) -> String {
    let read = number(done, "bytes") / (1 << 20);
    format!(
        "{} files in the store, {} in the ledger compared, {read} MiB read: {} differ, {} repaired",
        number(done, "listed"),
        number(done, "compared"),
        number(done, "differences"),
        number(done, "repaired"),
    )
}

fn shown(difference: &Value) -> String {
    let kind = text(field(difference, "kind"));
    let key = text(field(difference, "key"));
    let (stored, recorded) = (field(difference, "stored"), field(difference, "recorded"));
    let compared = match kind.as_str() {
        "differs" => format!(": the store has {}, the ledger {}", content(stored), content(recorded)),
        _ => String::new(),
    };
    let error = match field(difference, "error").as_str() {
        Some(error) => format!(": {error}"),
        None => String::new(),
    };
    let is_repaired = *field(difference, "repaired") == Value::Bool(true);
    let repaired = if is_repaired { " (repaired)" } else { "" };
    format!("{kind:<10}  {key}{compared}{error}{repaired}")
}

fn content(content: &Value) -> String {
    let digest = field(content, "sha256").as_str().unwrap_or("unknown");
    format!("{} bytes with the SHA-256 {digest}", number(content, "size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_make_sense_while_files_are_stored() {
        let done =
            json!({"listed": 18, "recorded": 4, "compared": 17, "bytes": 3 << 20, "differences": 1, "repaired": 0});
        let expected = "18 files in the store, 17 in the ledger compared, 3 MiB read: 1 differ, 0 repaired";
        assert_eq!(totals(&done), expected);
    }
}
