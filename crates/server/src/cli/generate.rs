//! The options of `generate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Args, Debug)]
pub(crate) struct GenerateOptions {
    /// Files to write
    pub(crate) files: GeneratedFiles,
    /// Directory to write to, which must exist
    pub(crate) directory: PathBuf,
}

/// The files that `generate` writes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GeneratedFiles {
    /// Completions for bash, zsh and fish
    Completions,
    /// Man pages of the program, of each command, and of the configuration file
    Man,
}
