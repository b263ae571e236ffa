//! `plan --webhook`: prints the webhook with which KAZOO reports deleted documents.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use serde_json::json;
use url::Url;

use super::Fallible;
use crate::{cli::PlanOptions, printable::printable_lines};

/// Prints the document on stdout, and the next steps on stderr.
pub(super) fn run(options: &PlanOptions) -> Fallible<ExitCode> {
    let url = options.url.as_deref().ok_or(
        "--url is missing: pass the URL at which KAZOO reaches the webhook, such as http://10.0.0.7:8080/kazoo-deletions",
    )?;
    let url = parse(url)?;
    let mut secret = [0; 16];
    getrandom::fill(&mut secret)?;
    let document = json!({
        "data": {
            "name": options.name,
            "uri": url.as_str(),
            "http_verb": "post",
            "hook": "object",
            "format": "json",
            "custom_data": {
                "type": "all",
                "action": "doc_deleted",
                "secret": format!("{:032x}", u128::from_be_bytes(secret)),
            },
        },
    });
    writeln!(io::stdout(), "{document:#}")?;
    let instructions = format!(
        "\nWith the document as webhook.json, save its secret, and start the server with these flags too:\n\n\
         \x20 (umask 077; jq -r .data.custom_data.secret webhook.json > webhook-secret)\n\
         \x20 kazoo-storage serve --deletion-webhook {} --deletion-webhook-secret-file webhook-secret\n\n\
         Then create the webhook in each account:\n\n\
         \x20 curl -X PUT -H \"X-Auth-Token: $AUTH_TOKEN\" -H 'content-type: application/json' \\\n\
         \x20      \"http://$KAZOO:8000/v2/accounts/$ACCOUNT_ID/webhooks\" -d @webhook.json\n",
        url.path()
    );
    write!(io::stderr(), "{}", printable_lines(&instructions))?;
    Ok(ExitCode::SUCCESS)
}

fn parse(text: &str) -> Fallible<Url> {
    let url = Url::parse(text).map_err(|error| format!("--url: {error}"))?;
    let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !["http", "https"].contains(&url.scheme()) || !is_plain || url.path() == "/" {
        return Err(
            "--url must be that of the webhook, such as http://10.0.0.7:8080/kazoo-deletions: with a path, and without a user \
             and a query"
                .into(),
        );
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn refuses_other_urls() {
        assert_eq!(parse("http://10.0.0.7:8080/hook").unwrap().path(), "/hook");
        for url in [
            "x",
            "ftp://h/hook",
            "http://h",
            "http://h/hook?x=1",
            "http://u@h/hook",
            "http://h/hook#x",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
