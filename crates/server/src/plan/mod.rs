//! The `plan` command: prints the storage document for KAZOO, and warns about settings that KAZOO refuses.

mod document;
mod webhook;

use std::{
    error::Error as StdError,
    fmt::Write as _,
    io::{self, BufRead, IsTerminal as _, Write},
    process::ExitCode,
};

use self::document::PlannedDocument;
use crate::{
    cli::PlanOptions,
    printable::{printable, printable_lines},
};

/// The document types with attachments in every KAZOO release.
const TYPES: [&str; 4] = ["mailbox_message", "call_recording", "fax", "media"];

type Fallible<T> = Result<T, Box<dyn StdError + Send + Sync>>;

/// Prints the document on stdout, and warnings and the next steps on stderr.
pub(crate) fn run(options: &PlanOptions) -> Fallible<ExitCode> {
    if options.webhook {
        return webhook::run(options);
    }
    let planned = match &options.url {
        Some(url) => PlannedDocument::new(options, url)?,
        None if io::stdin().is_terminal() => ask(io::stdin().lock(), io::stderr(), |url| {
            PlannedDocument::new(options, url)
        })?,
        None => return Err("--url is missing: pass the URL at which KAZOO reaches the server".into()),
    };
    writeln!(io::stdout(), "{}", planned.json)?;
    let mut instructions = String::new();
    for warning in planned.settings.warnings() {
        writeln!(instructions, "warning: {warning}")?;
    }
    for kind in options.types.iter().filter(|kind| !TYPES.contains(&&***kind)) {
        writeln!(
            instructions,
            "warning: KAZOO before 5 stores no files of documents of the type `{kind}`"
        )?;
    }
    if planned.normalized {
        writeln!(
            instructions,
            "note: the URL in the document is normalized, because KAZOO on Erlang since OTP 22 would send a different spelling than \
             older releases"
        )?;
    }
    let save = if io::stdout().is_terminal() {
        "Save the document above as storage.json and start"
    } else {
        "With the document as storage.json, start"
    };
    let serve = planned.serve_command();
    write!(
        instructions,
        "\n{save} the server:\n\n\
         \x20 {serve}\n\n\
         {}\
         Check from one of KAZOO's machines that the server works with KAZOO:\n\n\
         \x20 kazoo-storage check --settings storage.json\n\n\
         Then send the document to KAZOO, which stores and fetches a test file before it accepts it:\n\n\
         \x20 curl -X PUT -H \"X-Auth-Token: $AUTH_TOKEN\" -H 'content-type: application/json' \\\n\
         \x20      \"http://$KAZOO:8000/v2/accounts/$ACCOUNT_ID/storage\" -d @storage.json\n",
        planned.access_hint()
    )?;
    write!(io::stderr(), "{}", printable_lines(&instructions))?;
    Ok(ExitCode::SUCCESS)
}

/// Prompts for a URL until `read` accepts one.
fn ask<T>(mut input: impl BufRead, mut output: impl Write, read: impl Fn(&str) -> Fallible<T>) -> Fallible<T> {
    loop {
        write!(
            output,
            "URL at which KAZOO reaches the server, such as http://10.0.0.7:8080/some_prefix: "
        )?;
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Err("no URL was entered".into());
        }
        match read(line.trim()) {
            Ok(read) => return Ok(read),
            Err(error) => writeln!(output, "{}", printable(&error.to_string()))?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{document::tests::planned, *};

    #[test]
    fn prompts_again_after_a_typo() {
        let mut prompts = Vec::new();
        let input = &b"10.0.0.7/p\nhttp://u:a@b@h/p\n http://10.0.0.7/p \nhttp://h/q\n"[..];
        let document = ask(input, &mut prompts, planned).unwrap();
        assert_eq!(document.url.as_str(), "http://10.0.0.7/p");
        let prompts = String::from_utf8(prompts).unwrap();
        assert_eq!(
            prompts.matches("such as http://10.0.0.7:8080/some_prefix: ").count(),
            3,
            "{prompts}"
        );
        assert!(
            prompts.contains("begins with `http://`") && prompts.contains("%40"),
            "{prompts}"
        );
        let error = ask(&b"x\n"[..], Vec::new(), planned).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "no URL was entered");
    }
}
