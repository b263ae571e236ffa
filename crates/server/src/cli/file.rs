//! [`ConfigFile`]: a TOML file that sets the flags.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use toml::de::DeValue;

use super::sources::has_password;
use crate::{
    flag_file,
    toml_file::{self, Fault},
};

/// The prefix of a path in systemd's directory of credentials.
const CREDENTIALS: &str = "$CREDENTIALS_DIRECTORY/";

/// The suffix of a key whose value is the path of a file with the value of a flag in [`SECRETS`].
const IN_FILE: &str = "-file";

/// The flags whose value can be a secret. Other secrets are in files already, such as that of `access`.
const SECRETS: [&str; 1] = ["ledger"];

/// The keys of a file, each of them a flag.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    pub(super) entries: Vec<Entry>,
}

/// A key of the file.
#[derive(Debug)]
pub(super) struct Entry {
    /// The name of the flag, without the dashes.
    pub(super) flag: String,
    pub(super) values: Vec<String>,
    pub(super) line: usize,
    /// The file that has the value, which is a secret, if it has one of its own.
    pub(super) file: Option<PathBuf>,
}

impl ConfigFile {
    /// Reads the file at `path`, whose keys may be `flags`. The error names the file and the line.
    pub(super) fn read(path: &Path, flags: &[String]) -> Result<Self, String> {
        let text = flag_file::read_text("--config", path)?;
        let entries = parse(&text, flags).map_err(|fault| fault.named(path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            entries,
        })
    }

    /// Returns the files with secrets that the entries `used` come from, each with the key that names it.
    pub(super) fn secret_files(&self, used: impl Fn(&Entry) -> bool) -> Vec<(String, PathBuf)> {
        let secret = |entry: &Entry| match &entry.file {
            Some(file) => Some((format!("`{}{IN_FILE}`", entry.flag), file.clone())),
            None if SECRETS.contains(&&*entry.flag) && entry.values.iter().any(|value| has_password(value)) => {
                Some(("--config".to_owned(), self.path.clone()))
            }
            None => None,
        };
        self.entries
            .iter()
            .filter(|entry| used(entry))
            .filter_map(secret)
            .collect()
    }

    /// Returns the place of `entry`, such as `/etc/kazoo-storage/config.toml:7`.
    pub(super) fn place(&self, entry: &Entry) -> String {
        format!("{}:{}", self.path.display(), entry.line)
    }
}

fn parse(text: &str, flags: &[String]) -> Result<Vec<Entry>, Fault> {
    let mut entries: Vec<Entry> = Vec::new();
    for (key, value) in toml_file::parse(text)? {
        let line = toml_file::line(text, key.span().start);
        let at = |message| Fault {
            line: Some(line),
            message,
        };
        let key = key.into_inner();
        let values = values(value.get_ref()).map_err(|problem| at(format!("`{key}` {problem}")))?;
        let entry = match named(&key, flags) {
            Some(Named::Value) => Entry {
                flag: key.into_owned(),
                values: values
                    .into_iter()
                    .map(in_credentials)
                    .collect::<Result<_, _>>()
                    .map_err(at)?,
                line,
                file: None,
            },
            Some(Named::InFile(flag)) => {
                let [path]: [String; 1] = values
                    .try_into()
                    .map_err(|_| at(format!("`{key}` must be the path of a file")))?;
                let path = in_credentials(path).map_err(at)?;
                let content = flag_file::read_text(&format!("`{key}`"), Path::new(&path)).map_err(at)?;
                Entry {
                    flag: flag.to_owned(),
                    values: vec![content.trim().to_owned()],
                    line,
                    file: Some(path.into()),
                }
            }
            None => return Err(at(unknown(&key, flags))),
        };
        if let Some(other) = entries.iter().find(|other| other.flag == entry.flag) {
            let message = format!("`{}` is set here and in line {}; remove one", entry.flag, other.line);
            return Err(at(message));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The meaning of a key.
enum Named<'a> {
    Value,
    /// The path of a file with the value of this flag.
    InFile(&'a str),
}

fn named<'a>(key: &'a str, flags: &[String]) -> Option<Named<'a>> {
    let is_flag = |name: &str| flags.iter().any(|flag| flag == name);
    if is_flag(key) {
        return Some(Named::Value);
    }
    let flag = key.strip_suffix(IN_FILE)?;
    (is_flag(flag) && SECRETS.contains(&flag)).then_some(Named::InFile(flag))
}

fn unknown(key: &str, flags: &[String]) -> String {
    // `max_body` for `max-body` is the likeliest mistake.
    let spelling = key.replace('_', "-");
    match toml_file::similar(&spelling, flags.iter().map(String::as_str)) {
        Some(flag) => format!("unknown key `{key}`; is it `{flag}`?"),
        None => {
            format!("unknown key `{key}`; the keys are the flags of `kazoo-storage serve`, without the dashes in front")
        }
    }
}

fn values(value: &DeValue<'_>) -> Result<Vec<String>, &'static str> {
    match value {
        DeValue::Array(values) => values.iter().map(|value| scalar(value.get_ref())).collect(),
        value => scalar(value).map(|text| vec![text]),
    }
}

fn scalar(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| "is too large"),
        _ => Err("must be a string, a number, `true` or `false`, or a list of them"),
    }
}

/// Replaces `$CREDENTIALS_DIRECTORY/` at the beginning of `text`.
fn in_credentials(text: String) -> Result<String, String> {
    let Some(name) = text.strip_prefix(CREDENTIALS) else {
        return Ok(text);
    };
    match env::var("CREDENTIALS_DIRECTORY") {
        Ok(directory) => Ok(format!("{directory}/{name}")),
        Err(_) => Err(format!(
            "`{text}` is a credential of systemd, and CREDENTIALS_DIRECTORY is not set: only the service has it"
        )),
    }
}

impl fmt::Display for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn flags() -> Vec<String> {
        ["listen", "ledger", "max-body", "no-fsync", "admin-host", "tls-cert"]
            .map(str::to_owned)
            .into()
    }

    fn fault(text: &str) -> String {
        let fault = parse(text, &flags()).err().unwrap_or_else(|| panic!("{text}"));
        format!("{}: {}", fault.line.unwrap_or_default(), fault.message)
    }

    #[test]
    fn reads_every_type_of_value() {
        let text =
            "# A comment\nlisten = '127.0.0.1:1'\nmax-body = 1_000\nno-fsync = true\n\nadmin-host = ['a', \"b\"]\n";
        let entries = parse(text, &flags()).ok().unwrap();
        let found: Vec<_> = entries
            .iter()
            .map(|entry| (&*entry.flag, entry.values.join("|"), entry.line))
            .collect();
        for expected in [
            ("listen", "127.0.0.1:1", 2),
            ("max-body", "1000", 3),
            ("no-fsync", "true", 4),
            ("admin-host", "a|b", 6),
        ] {
            assert!(
                found.contains(&(expected.0, expected.1.to_owned(), expected.2)),
                "{expected:?}"
            );
        }
    }

    #[test]
    fn an_error_names_the_line_and_what_was_meant() {
        for (text, expected) in [
            ("\nmax_body = 1", "2: unknown key `max_body`; is it `max-body`?"),
            ("lisen = 'x'", "1: unknown key `lisen`; is it `listen`?"),
            (
                "tls-cert-file = 'x'",
                "1: unknown key `tls-cert-file`; is it `tls-cert`?",
            ),
            ("colour = 1", "1: unknown key `colour`; the keys are the flags of"),
            ("listen = 1.5", "1: `listen` must be a string"),
            ("[listen]\na = 1", "1: `listen` must be a string"),
            ("max-body = 99999999999999999999", "1: `max-body` is too large"),
            ("listen = 'a'\nlisten = 'b'", "2: duplicate key"),
            ("listen = ", "1: "),
            (
                "tls-cert = '$CREDENTIALS_DIRECTORY/cert'",
                "1: `$CREDENTIALS_DIRECTORY/cert` is a credential of systemd",
            ),
        ] {
            assert!(fault(text).starts_with(expected), "{text}: {}", fault(text));
        }
        let broken = fault("ledger = 'postgres://kazoo:hunter2@db/x");
        assert!(!broken.contains("hunter2"), "{broken}");
    }

    #[test]
    fn a_value_may_be_in_a_file_of_its_own() {
        let directory = TempDir::new().unwrap();
        let secret = directory.path().join("ledger");
        fs::write(&secret, "postgres://kazoo:hunter2@db/x\n").unwrap();
        let text = format!("ledger-file = '{}'", secret.display());
        let entries = parse(&text, &flags()).ok().unwrap();
        assert!(matches!(&entries[..], [Entry { flag, values, file: Some(file), .. }]
            if flag == "ledger" && *file == secret && values[..] == ["postgres://kazoo:hunter2@db/x"]));
        assert!(fault(&format!("{text}\nledger = 'none'")).contains("is set here and in line"));
        assert!(fault("ledger-file = '/absent'").starts_with("1: cannot read `ledger-file` /absent"));
        assert!(fault("ledger-file = []").contains("must be the path of a file"));
    }
}
