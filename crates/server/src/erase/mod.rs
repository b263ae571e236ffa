//! The `erase` command: removes the files of an account or of a number from a running server.

mod receipt;

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};
use tokio::select;

use self::receipt::Receipt;
use crate::{
    admin_client::{
        self, AdminClient,
        values::{field, number, text},
    },
    cli::{EraseOptions, Size},
    confirmation::{UNCONFIRMED, is_confirmed},
    printable::{complain, print},
    signals::Signals,
};

/// Runs the command, and prints an error on stderr.
pub(crate) fn run(options: EraseOptions) -> ExitCode {
    admin_client::run(act(options))
}

async fn act(options: EraseOptions) -> Result<ExitCode, String> {
    if let Some(receipt) = &options.receipt
        && receipt.symlink_metadata().is_ok()
    {
        let shown = receipt.display();
        complain(&format!("{shown} exists; remove it, or pass another file as --receipt"));
        return Ok(ExitCode::from(UNCONFIRMED));
    }
    let client = AdminClient::new(options.server)?;
    let subject = json!({"account": options.account, "number": options.number});
    if !options.yes {
        let planned = erase(&client, &subject, false, |_| Ok(())).await?;
        let kept = kept(&planned);
        if number(&planned, "files") == 0 {
            print(&format!("nothing to erase{kept}"))?;
            return Ok(status(&planned));
        }
        if !is_confirmed("Erase", &files(&planned), &format!("erased{kept}"))? {
            return Ok(ExitCode::from(UNCONFIRMED));
        }
    }
    // A prompt is answered before: there, the signals end the process.
    let mut signals = Signals::new()?;
    let has_receipt = options.receipt.is_some();
    let mut receipt = options
        .receipt
        .map(|path| Receipt::create(path, &subject))
        .transpose()?;
    let erased = erase(&client, &subject, true, |line| match &mut receipt {
        Some(receipt) => receipt.add(line),
        None => Ok(()),
    });
    let erased = select! {
        // Work that has ended is reported so.
        biased;
        erased = erased => erased?,
        status = signals.received() => {
            // Dropping the receipt writes what it has.
            let another = if has_receipt { ", with another file for the receipt" } else { "" };
            complain(&format!(
                "interrupted: the server erases at most 256 more files; run the command again{another}"
            ));
            return Ok(status);
        }
    };
    if let Some(receipt) = receipt {
        receipt.complete(&erased)?;
    }
    print(&format!("{} erased{}", files(&erased), kept(&erased)))?;
    if number(&erased, "failed") > 0 {
        complain("some files could not be removed; run the command again");
    }
    Ok(status(&erased))
}

/// Returns the status of the command if these are its totals.
fn status(totals: &Value) -> ExitCode {
    match number(totals, "kept") {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Erases the files, or shows them. Prints a line for each, passes it to `each`, and returns the totals.
async fn erase(
    client: &AdminClient,
    subject: &Value,
    confirm: bool,
    mut each: impl FnMut(&Value) -> Result<(), String>,
) -> Result<Value, String> {
    let mut request = subject.clone();
    if let Some(fields) = request.as_object_mut() {
        fields.insert("confirm".to_owned(), confirm.into());
    }
    let mut response = client.send(Method::POST, "/v1/erasures", Some(request)).await?;
    while let Some(line) = response.line().await? {
        if let Some(message) = field(&line, "message").as_str() {
            return Err(format!("stopped: {message}; run the command again"));
        }
        if *field(&line, "done") == Value::Bool(true) {
            return Ok(line);
        }
        each(&line)?;
        let key = text(field(&line, "key"));
        match (field(&line, "kept_because").as_str(), confirm) {
            (Some(reason), _) => complain(&format!("{key} is kept: {reason}")),
            (None, true) => print(&format!("{key} removed"))?,
            (None, false) => print(&key)?,
        }
    }
    Err("stopped: the server has closed the connection; run the command again".to_owned())
}

/// Returns the number and the length of the files that are erased.
fn files(totals: &Value) -> String {
    let size = Size(number(totals, "bytes"));
    match number(totals, "files") {
        1 => format!("1 file ({size})"),
        files => format!("{files} files ({size})"),
    }
}

/// Returns the numbers of the files that are kept, by reason, to follow what is erased.
fn kept(totals: &Value) -> String {
    let reasons = [("held", "held"), ("floor", "kept by the policy"), ("failed", "failed")];
    let kept = reasons.iter().filter_map(|(name, reason)| match number(totals, name) {
        0 => None,
        count => Some(format!(", {count} {reason}")),
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_name_each_reason_to_keep_files() {
        for (totals, expected) in [
            (json!({"files": 0, "bytes": 0}), "0 files (0 B) erased"),
            (json!({"files": 1, "bytes": 5, "held": 0}), "1 file (5 B) erased"),
            (
                json!({"files": 1, "bytes": 5, "held": 1}),
                "1 file (5 B) erased, 1 held",
            ),
            (
                json!({"files": 2, "bytes": 9, "kept": 6, "held": 2, "floor": 1, "failed": 3}),
                "2 files (9 B) erased, 2 held, 1 kept by the policy, 3 failed",
            ),
        ] {
            assert_eq!(format!("{} erased{}", files(&totals), kept(&totals)), expected);
        }
    }
}
