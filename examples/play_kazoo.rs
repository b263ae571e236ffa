//! Stores and fetches a file as each release of KAZOO does, and prints what KAZOO would show an administrator.
//!
//! ```console
//! cargo run --example play_kazoo -- http://127.0.0.1:8080/some_prefix message.mp3
//! cargo run --example play_kazoo -- settings.json message.mp3
//! ```
//!
//! The first argument is the URL of KAZOO's storage settings, or a file with the settings themselves.

use std::{env, error::Error, fs, path::Path, process::ExitCode};

use kazoo_storage_client::{Attachment, Client, Dialect, Document, Handler, SaveResult};

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";
const DOCUMENT: &str = r#"{"_id":"202401-9f86d081884c7d659a2feaa0c55ad015","metadata":{"folder":"new"}}"#;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let [settings, file] =
        env::args().skip(1).collect::<Vec<_>>().try_into().map_err(
            |_| "expected two arguments: the URL of the settings or a file with them, and the file to store",
        )?;
    let handler = if settings.contains("://") {
        Handler::new(settings)?
    } else {
        Handler::from_json(&fs::read_to_string(settings)?)?
    };
    let name = Path::new(&file)
        .file_name()
        .ok_or("the file has no name")?
        .to_string_lossy();
    let message = Attachment::new(ACCOUNT, Document::from_json(DOCUMENT)?, name, fs::read(&file)?);

    let mut client = Client::new();
    let mut code = ExitCode::SUCCESS;
    for dialect in Dialect::ALL {
        let probe = client.probe(dialect, &handler, ACCOUNT, "STORAGE").await?;
        let outcome = if probe.result == SaveResult::Saved {
            let stored = client.store(dialect, &handler, &message).await?;
            let fetched = client.fetch(dialect, &handler, &stored.url, &message).await?;
            if fetched.content == message.content() {
                "stored and fetched".to_owned()
            } else {
                code = ExitCode::FAILURE;
                "the fetched content differs".to_owned()
            }
        } else {
            code = ExitCode::FAILURE;
            match probe.result {
                SaveResult::Refused { status, body } => format!("{status} {body}"),
                other => format!("{other:?}"),
            }
        };
        println!("{} ({}): {outcome}", dialect.name, dialect.releases);
    }
    Ok(code)
}
