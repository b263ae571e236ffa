//! Finds locations that are in each other: a copy to one of them would list its own copies, and need not end.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf, absolute},
};

use crate::cli::Location;

/// Fails if one of the locations contains the other one, or they are the same.
pub(super) fn refuse(from: &Location, to: &Location) -> Result<(), String> {
    let (outer, inner) = if contains(from, to)? {
        (from, to)
    } else if contains(to, from)? {
        (to, from)
    } else {
        return Ok(());
    };
    Err(format!(
        "{outer} contains {inner}, so the copies would be among the files to copy; nothing was copied; use separate locations"
    ))
}

/// Returns `true` if `inner` is `outer` or in it.
fn contains(outer: &Location, inner: &Location) -> Result<bool, String> {
    match (outer, inner) {
        (Location::Directory(root), Location::Directory(path)) => {
            let resolve = |path: &Path| resolved(path).map_err(|error| format!("{}: {error}", path.display()));
            let (root, path) = (resolve(root)?, resolve(path)?);
            Ok(path.ancestors().any(|ancestor| is_same(ancestor, &root)))
        }
        (
            Location::Bucket { cloud, url, prefix },
            Location::Bucket {
                cloud: inner_cloud,
                url: inner_url,
                prefix: inner_prefix,
            },
        ) => {
            let is_same_bucket = cloud == inner_cloud && url.host_str() == inner_url.host_str();
            Ok(is_same_bucket && inner_prefix.prefix_matches(prefix))
        }
        _ => Ok(false),
    }
}

/// Returns `true` if both paths are the same directory, also where names ignore case or a directory is mounted twice.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    one == other || identity(one).is_some_and(|one| Some(one) == identity(other))
}

/// Returns the path without symbolic links and `..`. Its end need not exist.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let mut resolved = PathBuf::new();
    for component in absolute(path)?.components() {
        if component == Component::ParentDir {
            resolved.pop();
            continue;
        }
        resolved.push(component);
        match fs::canonicalize(&resolved) {
            Ok(found) => resolved = found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_prefixes_of_a_bucket_that_contain_each_other() {
        for (one, other, is_refused) in [
            ("s3://a", "s3://a/x", true),
            ("s3://a/x", "s3://a/x/", true),
            ("s3://a/x", "s3://a/x/y", true),
            ("s3://a/x", "s3://a/xy", false),
            ("s3://a/x", "s3://a/y", false),
            ("s3://a", "s3://b", false),
            ("s3://a", "gs://a", false),
            ("s3://a", "/a", false),
        ] {
            for (from, to) in [(one, other), (other, one)] {
                let refused = refuse(&from.parse().unwrap(), &to.parse().unwrap());
                assert_eq!(refused.is_err(), is_refused, "{from} to {to}");
            }
        }
    }
}
