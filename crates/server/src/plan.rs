//! The `plan` command: the storage document for KAZOO, and what KAZOO would make of it.

use std::{
    borrow::Cow,
    error::Error as StdError,
    fmt::Write as _,
    io::{self, BufRead, IsTerminal as _, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use kazoo_storage::settings::KazooSettings;
use kazoo_storage_client::StorageUrl;
use serde_json::{Map, Value, json};

use crate::log::redact::looks_secret;

#[derive(Args, Debug)]
pub(crate) struct PlanOptions {
    /// URL at which KAZOO reaches the server, including the mount and any token. Prompted for if omitted
    // What is in the environment may be a secret, and `--help` would show it.
    #[arg(long, env = "KAZOO_STORAGE_URL", value_name = "URL", hide_env_values = true)]
    url: Option<String>,

    /// Documents to store there: `voicemail`, `call_recording`, `fax`, `media`, or any document type of KAZOO 5
    #[arg(
        long,
        env = "KAZOO_STORAGE_TYPES",
        value_name = "TYPE[,TYPE…]",
        value_delimiter = ',',
        value_parser = document_type,
        default_value = "voicemail,call_recording,fax"
    )]
    types: Vec<String>,

    /// How KAZOO sends a file
    #[arg(long, env = "KAZOO_STORAGE_VERB", value_name = "VERB", default_value = "put")]
    verb: Verb,

    /// Have KAZOO send the document with the file, which is kept beside it: `jq .metadata`
    #[arg(long, env = "KAZOO_STORAGE_MULTIPART", value_parser = BoolishValueParser::new())]
    multipart: bool,

    /// Have KAZOO encode the file in base64; for what lies between and takes only text. Needs `--multipart`: KAZOO encodes
    /// nothing but the file's part of that
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

/// The document types with attachments in every KAZOO release.
const TYPES: [&str; 4] = ["mailbox_message", "call_recording", "fax", "media"];

/// Returns the document type that `text` names or abbreviates.
fn document_type(text: &str) -> Result<String, String> {
    match text {
        "voicemail" => Ok("mailbox_message".to_owned()),
        text if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => {
            Ok(text.to_owned())
        }
        _ => Err("a type of documents has letters from `a` to `z` and `_` alone, such as `call_recording`".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Verb {
    Put,
    Post,
}

type Fallible<T> = Result<T, Box<dyn StdError + Send + Sync>>;

/// Prints the document on stdout, and on stderr what to do with it.
pub(crate) fn run(options: &PlanOptions) -> Fallible<ExitCode> {
    let planned = match &options.url {
        Some(url) => Planned::new(options, url)?,
        None if io::stdin().is_terminal() => ask(io::stdin().lock(), io::stderr(), |url| Planned::new(options, url))?,
        None => return Err("--url is missing: the URL of the server as KAZOO reaches it".into()),
    };
    writeln!(io::stdout(), "{}", planned.document)?;
    let mut told = String::new();
    for warning in planned.settings.warnings() {
        writeln!(told, "warning: {warning}")?;
    }
    for kind in options.types.iter().filter(|kind| !TYPES.contains(&&***kind)) {
        writeln!(
            told,
            "warning: `{kind}` is no type of documents that KAZOO before 5 stores files of"
        )?;
    }
    if planned.rewritten {
        writeln!(
            told,
            "note: the URL in the document is normalized: KAZOO on Erlang since OTP 22 would send it in another spelling than older ones"
        )?;
    }
    let save = if io::stdout().is_terminal() {
        "Save the document above as storage.json, and start"
    } else {
        "With the document as storage.json, start"
    };
    let serve = planned.serve();
    write!(
        told,
        "\n{save} the server:\n\n\
         \x20 {serve}\n\n\
         {}\
         See from one of KAZOO's machines that it will be content:\n\n\
         \x20 kazoo-storage check --settings storage.json\n\n\
         Then give it to KAZOO, which stores and fetches a test file before it says yes:\n\n\
         \x20 curl -X PUT -H \"X-Auth-Token: $AUTH_TOKEN\" -H 'content-type: application/json' \\\n\
         \x20      \"http://$KAZOO:8000/v2/accounts/$ACCOUNT_ID/storage\" -d @storage.json\n",
        planned.about_access()
    )?;
    write!(io::stderr(), "{told}")?;
    Ok(ExitCode::SUCCESS)
}

/// The document, and what is known of it.
struct Planned {
    document: String,
    settings: KazooSettings,
    url: StorageUrl,
    /// `true` if the URL in the document differs from the given one.
    rewritten: bool,
}

impl Planned {
    fn new(options: &PlanOptions, url: &str) -> Fallible<Self> {
        let planned = Self::by_url(options, url)?;
        let normalized = planned.url.normalized();
        if normalized == planned.url {
            return Ok(planned);
        }
        Ok(Self {
            rewritten: true,
            ..Self::by_url(options, normalized.as_str())?
        })
    }

    fn by_url(options: &PlanOptions, url: &str) -> Fallible<Self> {
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
        Ok(Self {
            // The same reading that the server does of it.
            settings: KazooSettings::from_json(&document)?,
            url: StorageUrl::parse(url)?,
            rewritten: false,
            document,
        })
    }

    /// The command of a server at the URL.
    fn serve(&self) -> String {
        let listen = SocketAddr::new(self.listen(), self.url.port());
        let mut serve = format!("kazoo-storage serve --settings storage.json --listen {listen}");
        if self.needs_access() {
            serve += " --access access.json";
        }
        if let Some(mount) = self.before_token() {
            serve = format!("{serve} --mount {}", quoted(mount));
        }
        if self.url.is_https() {
            serve += " --tls-cert cert.pem --tls-key key.pem";
        }
        serve
    }

    /// What is to be in the file of `--access`.
    fn about_access(&self) -> String {
        if !self.needs_access() {
            return String::new();
        }
        let rules = if self.before_token().is_some() {
            r#"{"credentials": [{"token": "TOKEN"}]}`, with what the path of the URL ends with"#
        } else if self.has_user() {
            r#"{"credentials": [{"user": "USER", "password": "PASSWORD"}]}`, with what the URL has"#
        } else {
            r#"{"networks": ["10.0.0.0/8"]}`, with where KAZOO's machines are. If the path of the URL ends with a token, `--mount` is what stands before that"#
        };
        format!("In access.json is who is let in, such as `{rules}.\n\n")
    }

    fn needs_access(&self) -> bool {
        !self.is_local() || self.has_user() || self.before_token().is_some()
    }

    /// The address to listen on: all of the machine, or the only one that the URL can mean.
    fn listen(&self) -> IpAddr {
        match self.url.host().parse() {
            Ok(address) if IpAddr::is_loopback(&address) => address,
            Ok(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            Err(_) if self.url.host() == "localhost" => Ipv4Addr::LOCALHOST.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        }
    }

    /// Whether only this machine reaches the URL.
    fn is_local(&self) -> bool {
        self.listen().is_loopback()
    }

    fn has_user(&self) -> bool {
        self.url.userinfo().is_some()
    }

    /// What of the path stands before a token at its end, if what is there looks like one.
    fn before_token(&self) -> Option<&str> {
        if self.has_user() {
            return None;
        }
        let (before, last) = self.settings.mount().rsplit_once('/')?;
        looks_secret(last).then_some(if before.is_empty() { "/" } else { before })
    }
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.~%-".contains(&byte);
    if text.bytes().all(plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''")).into()
    }
}

/// The storage document, as an account's is PUT to KAZOO.
fn document(options: &PlanOptions, settings: &Map<String, Value>, uuid: &str) -> String {
    let types = options.types.iter();
    let types: Map<String, Value> = types
        .map(|kind| (kind.clone(), json!({"attachments": {"handler": uuid}})))
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

/// What becomes of the first line that something becomes of.
fn ask<T>(mut input: impl BufRead, mut output: impl Write, read: impl Fn(&str) -> Fallible<T>) -> Fallible<T> {
    loop {
        write!(
            output,
            "URL of the server as KAZOO reaches it, such as http://10.0.0.7:8080/some_prefix: "
        )?;
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Err("no URL was given".into());
        }
        match read(line.trim()) {
            Ok(read) => return Ok(read),
            Err(error) => writeln!(output, "{error}")?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(url: &str) -> Fallible<Planned> {
        let options = PlanOptions {
            url: None,
            types: vec!["fax".to_owned()],
            verb: Verb::Put,
            multipart: false,
            base64_encode_data: false,
            name: "x".to_owned(),
        };
        Planned::new(&options, url)
    }

    #[test]
    fn a_typo_is_asked_for_again() {
        let mut told = Vec::new();
        let input = &b"10.0.0.7/p\nhttp://u:a@b@h/p\n http://10.0.0.7/p \nhttp://h/q\n"[..];
        let planned = ask(input, &mut told, planned).unwrap();
        assert_eq!(planned.url.as_str(), "http://10.0.0.7/p");
        let told = String::from_utf8(told).unwrap();
        assert_eq!(
            told.matches("such as http://10.0.0.7:8080/some_prefix: ").count(),
            3,
            "{told}"
        );
        assert!(told.contains("begins with `http://`") && told.contains("%40"), "{told}");
        let error = ask(&b"x\n"[..], Vec::new(), self::planned).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "no URL was given");
    }

    #[test]
    fn the_server_is_one_that_kazoo_reaches() {
        for (url, options) in [
            ("http://localhost:8080/p", "--listen 127.0.0.1:8080"),
            ("http://storage/p", "--listen 0.0.0.0:80 --access access.json"),
            (
                "http://u:p@127.0.0.1:81/p",
                "--listen 127.0.0.1:81 --access access.json",
            ),
            (
                "http://storage:8080/a/b/1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5/",
                "--listen 0.0.0.0:8080 --access access.json --mount /a/b",
            ),
            ("http://[::1]:81/p", "--listen [::1]:81"),
            ("http://127.0.0.2:81/p", "--listen 127.0.0.2:81"),
            ("http://[fd00::1]:81/p", "--listen [::]:81 --access access.json"),
            (
                "http://storage/it's$(id)&/5d9e3f70",
                r"--listen 0.0.0.0:80 --access access.json --mount '/it'\''s$(id)&'",
            ),
            // Who has a user in the URL needs no token.
            (
                "http://u:p@storage/2600hz-v4-s3",
                "--listen 0.0.0.0:80 --access access.json",
            ),
            (
                "https://storage/archive-5d9e3f70",
                "--listen 0.0.0.0:443 --access access.json --mount / --tls-cert cert.pem --tls-key key.pem",
            ),
        ] {
            let serve = planned(url).unwrap().serve();
            assert_eq!(serve, format!("kazoo-storage serve --settings storage.json {options}"));
        }
    }

    #[test]
    fn the_document_has_the_url_that_every_erlang_sends() {
        let planned = |url: &str| {
            let planned = self::planned(url).unwrap();
            (planned.url.as_str().to_owned(), planned.rewritten)
        };
        assert_eq!(
            planned("http://u:p%2Dw@storage/pre%2Dfix/./x?rec%6Frding="),
            ("http://u:p-w@storage/pre-fix/x?recording=".to_owned(), true)
        );
        assert_eq!(planned("http://storage/p/"), ("http://storage/p/".to_owned(), false));
        let error = self::planned("http://storage/a/../p").map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("`..`"), "{error}");
    }

    #[test]
    fn any_type_of_documents_may_be_stored() {
        for (text, kind) in [
            ("voicemail", Some("mailbox_message")),
            ("conference_recording", Some("conference_recording")),
            ("", None),
            ("Fax", None),
            ("fax 2", None),
        ] {
            assert_eq!(document_type(text).ok().as_deref(), kind, "{text}");
        }
    }

    #[test]
    fn what_lets_kazoo_in_is_what_the_url_has() {
        for (url, says) in [
            ("http://storage/5d9e3f70", "\"token\""),
            ("http://u:p@storage/p", "\"password\""),
            ("http://storage/p", "\"networks\""),
        ] {
            let about = planned(url).unwrap().about_access();
            assert!(about.contains(says) && !about.contains("5d9e3f70"), "{about}");
        }
        assert_eq!(planned("http://localhost/p").unwrap().about_access(), "");
    }
}
