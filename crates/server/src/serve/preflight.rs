//! Checks what [`run`](super::run) would create, open or write, without doing so.

use std::{
    fmt::Display,
    fs,
    io::{self, ErrorKind},
    os::unix::fs::FileTypeExt as _,
    path::{self, Path},
};

use rustix::fs::{Access, access};

use super::Files;
use crate::{
    admin::Token,
    config::{AdminAddress, Config, StoreConfig},
    storage::bucket,
};

/// Checks the files, and the places of others, that `config` names. The error names the flag and the path.
///
/// It does not bind addresses, which a running server may have, and connects to nothing.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    Files::read(config)?;
    audit_file(config)?;
    match &config.store {
        StoreConfig::Directory { root, .. } => {
            creatable_directory(root).map_err(|error| named("--store", root, &error))?;
        }
        StoreConfig::Bucket(config) => bucket::check(config)?,
    }
    if let Some(ledger) = &config.ledger
        && let Some(path) = ledger.location.path()
        // The default directory is created in that of the store.
        && ledger.directory.as_ref().is_none_or(|directory| directory.exists())
    {
        writable_file(path).map_err(|error| named("--ledger", path, &error))?;
    }
    let Some(admin) = &config.admin else { return Ok(()) };
    if let AdminAddress::Unix(path) = &admin.address {
        socket(path).map_err(|error| named("--admin", path, &error))?;
    }
    if let Some(file) = &admin.token_file {
        match file.try_exists() {
            Ok(false) => creatable_file(file, config).map_err(|error| named("--admin-token-file", file, &error))?,
            _ => drop(Token::open(file)?),
        }
    }
    Ok(())
}

/// Checks the file of `--audit-file`.
pub(super) fn audit_file(config: &Config) -> Result<(), String> {
    let Some(file) = &config.audit_file else { return Ok(()) };
    appendable_file(file, config).map_err(|error| named("--audit-file", file, &error))
}

fn named(flag: &str, path: &Path, error: &dyn Display) -> String {
    format!("{flag} {}: {error}", path.display())
}

/// Fails unless `path` is a directory that can be written, or can be created with its parents.
fn creatable_directory(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => creatable_directory(parent(path)),
        Err(error) => Err(error),
        Ok(found) if !found.is_dir() => Err(failure(path, "is not a directory")),
        Ok(_) => writable(path),
    }
}

/// Fails unless `path` is a file that can be written, or can be created.
fn writable_file(path: &Path) -> io::Result<()> {
    // SQLite writes other files beside it.
    writable(parent(path))?;
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.is_file() => Err(failure(path, "is not a file")),
        Ok(_) => permitted(path, Access::READ_OK | Access::WRITE_OK),
    }
}

/// Fails unless `path` is a file that can be read and written, or can be created.
fn appendable_file(path: &Path, config: &Config) -> io::Result<()> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => creatable_file(path, config),
        Err(error) => Err(error),
        Ok(found) if !found.is_file() => Err(failure(path, "is not a file")),
        Ok(_) => permitted(path, Access::READ_OK | Access::WRITE_OK),
    }
}

/// Fails unless a file can be created at `path`, in a directory that exists or is created with that of the store.
fn creatable_file(path: &Path, config: &Config) -> io::Result<()> {
    let directory = parent(path);
    match new_store_of(path, config) {
        Some(_) => creatable_directory(directory),
        None => writable(directory),
    }
}

/// Returns the directory of the store if the directory of `file` does not exist and is created with it.
pub(super) fn new_store_of<'a>(file: &Path, config: &'a Config) -> Option<&'a Path> {
    let StoreConfig::Directory { root, .. } = &config.store else {
        return None;
    };
    let directory = parent(file);
    let is_below = || Some(path::absolute(root).ok()?.starts_with(path::absolute(directory).ok()?));
    (!directory.exists() && is_below()?).then_some(root)
}

/// Fails unless a socket can be created at `path`, in place of another one.
fn socket(path: &Path) -> io::Result<()> {
    writable(parent(path))?;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(failure(path, "is a file that is not a socket")),
        _ => Ok(()),
    }
}

/// Fails unless files can be created in the directory `path`.
fn writable(path: &Path) -> io::Result<()> {
    if !fs::metadata(path)
        .map_err(|error| failure(path, &format_args!("cannot be used: {error}")))?
        .is_dir()
    {
        return Err(failure(path, "is not a directory"));
    }
    permitted(path, Access::WRITE_OK | Access::EXEC_OK)
}

fn permitted(path: &Path, wanted: Access) -> io::Result<()> {
    access(path, wanted).map_err(|errno| failure(path, &format_args!("cannot be written: {}", io::Error::from(errno))))
}

fn failure(path: &Path, fault: &(impl Display + ?Sized)) -> io::Error {
    io::Error::other(format!("`{}` {fault}", path.display()))
}

/// Returns the directory of `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent == Path::new("") => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}
