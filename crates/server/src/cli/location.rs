//! [`Location`]: the value of `--store`.

use std::{fmt, path::PathBuf, str::FromStr};

use object_store::path::Path;
use url::Url;

/// A directory, or a bucket of an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Directory(PathBuf),
    Bucket { cloud: Cloud, url: Url, prefix: Path },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cloud {
    S3,
    Google,
    Azure,
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A value without a scheme is a directory, also one with a colon.
        let Some((scheme, _)) = text.split_once("://") else {
            return Ok(Self::Directory(text.into()));
        };
        let cloud = match scheme {
            "file" => {
                let path = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                return path
                    .map(Self::Directory)
                    .ok_or_else(|| "expected `file:///PATH`, an absolute path".into());
            }
            "s3" => Cloud::S3,
            "gs" => Cloud::Google,
            "az" => Cloud::Azure,
            _ => {
                return Err(format!(
                    "unknown scheme `{scheme}`: expected a directory, file:///PATH, s3://BUCKET/PREFIX, \
                     gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
                ));
            }
        };
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if url.host_str().unwrap_or_default().is_empty() {
            return Err(format!("`{scheme}://` must be followed by the name of a bucket"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err("expected a bucket and a prefix only; credentials come from the environment".into());
        }
        let prefix = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
        Ok(Self::Bucket { cloud, url, prefix })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(root) => write!(f, "{}", root.display()),
            Self::Bucket { url, .. } => write!(f, "{url}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_directories_and_buckets() {
        for (text, root) in [
            ("./data", "./data"),
            ("/var/lib/kazoo", "/var/lib/kazoo"),
            ("file:///var/lib/kazoo%20storage", "/var/lib/kazoo storage"),
            ("a:b", "a:b"),
        ] {
            assert_eq!(text.parse(), Ok(Location::Directory(root.into())), "{text}");
        }
        for (text, expected, below) in [
            ("s3://bucket", Cloud::S3, ""),
            ("s3://bucket/", Cloud::S3, ""),
            ("gs://bucket/voicemail/2026", Cloud::Google, "voicemail/2026"),
            ("az://container/a%20b/", Cloud::Azure, "a b"),
        ] {
            let Ok(Location::Bucket { cloud, prefix, .. }) = text.parse() else {
                panic!("{text} is a bucket");
            };
            assert_eq!((cloud, prefix.as_ref()), (expected, below), "{text}");
        }
        for bad in [
            "s3://",
            "s3:///prefix",
            "file://host/path",
            "ftp://host/path",
            "s3://key:secret@bucket/",
            "s3://bucket/a?region=x",
        ] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }
}
