//! The `plan` command: the storage document for KAZOO, and what KAZOO would make of it.

use std::{
    error::Error as StdError,
    fmt::Write as _,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use kazoo_storage::KazooSettings;
use serde_json::{Map, Value, json};

#[derive(Args, Debug)]
pub(crate) struct PlanOptions {
    /// URL of the server as KAZOO reaches it, with the mount as its path, and a token behind that if there is one; asked for
    /// if it is not given
    // What is in the environment may be a secret, and `--help` would show it.
    #[arg(long, env = "KAZOO_STORAGE_URL", value_name = "URL", hide_env_values = true)]
    url: Option<String>,

    /// What KAZOO shall store there
    #[arg(
        long,
        env = "KAZOO_STORAGE_TYPES",
        value_name = "TYPE[,TYPE…]",
        value_delimiter = ',',
        default_value = "voicemail,call_recording,fax"
    )]
    types: Vec<AttachmentType>,

    /// How KAZOO sends a file
    #[arg(long, env = "KAZOO_STORAGE_VERB", value_name = "VERB", default_value = "put")]
    verb: Verb,

    /// Have KAZOO send the document with the file, which is kept beside it: `jq .metadata`
    #[arg(long, env = "KAZOO_STORAGE_MULTIPART", value_parser = BoolishValueParser::new())]
    multipart: bool,

    /// Have KAZOO encode the file in base64; for what lies between and takes only text
    #[arg(long, env = "KAZOO_STORAGE_BASE64_ENCODE_DATA", value_parser = BoolishValueParser::new(), requires = "multipart")]
    base64_encode_data: bool,

    /// Name of the storage in KAZOO
    #[arg(
        long,
        env = "KAZOO_STORAGE_NAME",
        value_name = "NAME",
        default_value = "kazoo-storage"
    )]
    name: String,
}

/// What KAZOO attaches files to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum AttachmentType {
    Voicemail,
    CallRecording,
    Fax,
}

impl AttachmentType {
    /// The type of its documents.
    fn document_type(self) -> &'static str {
        match self {
            Self::Voicemail => "mailbox_message",
            Self::CallRecording => "call_recording",
            Self::Fax => "fax",
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Verb {
    Put,
    Post,
}

/// Prints the document on stdout, and on stderr what to do with it.
pub(crate) fn run(options: &PlanOptions) -> Result<ExitCode, Box<dyn StdError + Send + Sync>> {
    let url = match options.url.clone() {
        Some(url) => url,
        None => ask()?,
    };
    let mut settings = Map::new();
    settings.insert("url".to_owned(), json!(url));
    settings.insert(
        "verb".to_owned(),
        json!(match options.verb {
            Verb::Put => "put",
            Verb::Post => "post",
        }),
    );
    settings.insert("send_multipart".to_owned(), json!(options.multipart));
    settings.insert("base64_encode_data".to_owned(), json!(options.base64_encode_data));
    let document = document(options, &settings, &uuid()?);
    // The same reading that the server does of it.
    let read = KazooSettings::from_json(&document)?;
    writeln!(io::stdout(), "{document}")?;
    let mut told = String::new();
    for warning in read.warnings() {
        writeln!(told, "warning: {warning}")?;
    }
    write!(
        told,
        "\nSave the document above as storage.json, and start the server with it (and with `--mount`, saying what stands before the\n\
         token, if its URL's path has one):\n\n\
         \x20 kazoo-storage serve --settings storage.json\n\n\
         Then give it to KAZOO, which stores and fetches a test file before it says yes:\n\n\
         \x20 curl -X PUT -H \"X-Auth-Token: $AUTH_TOKEN\" -H 'content-type: application/json' \\\n\
         \x20      \"http://$KAZOO:8000/v2/accounts/$ACCOUNT_ID/storage\" -d @storage.json\n"
    )?;
    write!(io::stderr(), "{told}")?;
    Ok(ExitCode::SUCCESS)
}

/// The storage document, as an account's is PUT to KAZOO.
fn document(options: &PlanOptions, settings: &Map<String, Value>, uuid: &str) -> String {
    let types = options.types.iter();
    let types: Map<String, Value> = types
        .map(|kind| {
            (
                kind.document_type().to_owned(),
                json!({"attachments": {"handler": uuid}}),
            )
        })
        .collect();
    let document = json!({
        "data": {
            "attachments": {
                uuid: {"handler": "http", "name": options.name, "settings": settings},
            },
            "plan": {"modb": {"types": types}},
        },
    });
    format!("{document:#}")
}

/// 32 hexadecimal digits, as KAZOO's identifiers are.
fn uuid() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn ask() -> Result<String, Box<dyn StdError + Send + Sync>> {
    if !io::stdin().is_terminal() {
        return Err("--url is missing: the URL of the server as KAZOO reaches it".into());
    }
    write!(
        io::stderr(),
        "URL of the server as KAZOO reaches it, such as http://10.0.0.7:8080/some_prefix: "
    )?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
