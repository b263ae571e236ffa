//! The options of `files`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, builder::BoolishValueParser};

use super::{AdminClientOptions, Conditions, values::text};
use crate::file_kind::FileKind;

#[derive(Args, Debug)]
pub(crate) struct FilesOptions {
    #[command(flatten)]
    pub(crate) server: AdminClientOptions,

    #[command(subcommand)]
    pub(crate) action: FilesAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FilesAction {
    /// List the files that satisfy all conditions, newest first
    List(ListFilesOptions),
    /// Show a file
    Stat {
        /// Key of the file
        key: String,
        /// Also show the id and the numbers of the call, and the metadata of the upload
        #[arg(long, value_parser = BoolishValueParser::new())]
        metadata: bool,
        /// Print the server's JSON
        #[arg(long, value_parser = BoolishValueParser::new())]
        json: bool,
    },
    /// Fetch the content of a file, to stdout or to a file
    ///
    /// The content is compared with its SHA-256. The file of `--output` appears only when the content is complete, and only its
    /// owner can read it. After an error or a signal, no partial file remains.
    Get(GetOptions),
    /// Remove files, and send `file.deleted` to the receivers of events
    ///
    /// The command shows the files and asks for confirmation. After an error, run it again: it finishes an interrupted removal.
    Rm {
        /// Keys of the files
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<String>,
        /// Remove them without asking for confirmation
        #[arg(long, value_parser = BoolishValueParser::new())]
        yes: bool,
    },
    /// Export the files that satisfy all conditions, to a directory or to a ZIP file
    ///
    /// Each file is compared with its SHA-256, and stored as `ACCOUNT/DOCUMENT/NAME` under a name that every system accepts.
    /// `manifest.jsonl` has the key, the path and the metadata of each file, and `SHA256SUMS` is for `sha256sum -c`. After an
    /// interruption, an export to the same directory continues. A ZIP file appears only when it is complete.
    Export(ExportFilesOptions),
    /// Compare the store with the ledger, in both directions, and report each file that differs
    ///
    /// The exit status is 0 if they agree, including after every difference was repaired, and 1 otherwise.
    Verify(VerifyFilesOptions),
    /// Show the number and the total length of the files of each account, the largest total first
    Du {
        /// Only this account
        #[arg(long, value_name = "ID", value_parser = text)]
        account: Option<String>,
        /// Print a JSON object for each account
        #[arg(long, value_parser = BoolishValueParser::new())]
        json: bool,
    },
}

/// Some files, or all.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("any")
    .args(["account", "kind", "since", "until", "number", "call_id", "all"]).required(true).multiple(true))]
pub(crate) struct FileSelection {
    #[command(flatten)]
    pub(crate) conditions: Conditions,

    /// Only files of this kind
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<FileKind>,

    /// All files; required if there is no other condition
    #[arg(long, value_parser = BoolishValueParser::new(),
        conflicts_with_all = ["account", "kind", "since", "until", "number", "call_id"])]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ListFilesOptions {
    #[command(flatten)]
    pub(crate) selection: FileSelection,

    /// Maximum number of files; 0 means no limit
    #[arg(long, value_name = "COUNT", default_value = "100")]
    pub(crate) limit: u64,

    /// Print a JSON object for each file
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct GetOptions {
    /// Key of the file
    pub(crate) key: String,

    /// File for the content; `-` is stdout, even if it is a terminal; by default stdout, unless it is a terminal
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Replace the file of `--output` if it exists
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ExportFilesOptions {
    #[command(flatten)]
    pub(crate) selection: FileSelection,

    /// Directory, which may have files of an earlier export; or file whose name ends with `.zip`, which must not exist
    #[arg(long, value_name = "PATH")]
    pub(crate) to: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyFilesOptions {
    /// Also read each file, and compare its content with its SHA-256
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) content: bool,

    /// Make the ledger agree with the store: record files that are missing, without events, and remove the rows of files that are
    /// gone, with `file.deleted`; the store stays as it is
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) repair: bool,

    /// Print a JSON object for each difference, and one with the totals
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
}
