//! [`Mount`]: the path under which all files are served, and the secrets in it.
//!
//! KAZOO's token is part of its URL, so a path that was copied from the URL may contain the token.

use std::fmt;

use kazoo_storage::{AccessRules, authorize::SharedAccessRules, settings::KazooSettings};

use crate::{
    config::MountPath,
    log::redact::{self, Redactor},
};

pub(super) struct Mount {
    /// Normalized.
    path: String,
    /// `true` if the path certainly ends before a token: the operator has set it, or no URL is known.
    is_explicit: bool,
    /// The normalized segments that may be a token, in the mount and after it in the URL of the settings.
    secrets: Vec<String>,
}

impl Mount {
    /// Creates the mount at `configured`, or else at the URL of `settings`, or else at `/some_prefix`.
    pub(super) fn new(configured: Option<&MountPath>, settings: Option<&KazooSettings>) -> Result<Self, String> {
        let url = settings.map(KazooSettings::mount);
        let path = match configured {
            Some(path) => path.as_str(),
            None => url.unwrap_or("/some_prefix"),
        };
        let Some(rest) = url.map_or(Some(""), |url| strip_mount(url, path)) else {
            return Err("the path of the URL in --settings does not begin with --mount".to_owned());
        };
        let own = path.split('/').filter(|segment| redact::looks_secret(segment));
        let rest = rest.split('/').filter(|segment| !segment.is_empty());
        Ok(Self {
            is_explicit: configured.is_some() || url.is_none(),
            secrets: own.chain(rest).map(str::to_owned).collect(),
            path: path.to_owned(),
        })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Fails if `path`, which another service has, is part of the mount.
    pub(super) fn check_apart(&self, flag: &str, path: &MountPath) -> Result<(), String> {
        let path = path.as_str();
        if path.trim_matches('/').is_empty() || strip_mount(path, &self.path).is_some() {
            return Err(format!(
                "{flag} {path} must be outside the mount, which is {}: files are stored below it",
                self.shown()
            ));
        }
        Ok(())
    }

    /// Returns the path without secrets.
    pub(super) fn shown(&self) -> String {
        redact::secrets(&self.path, &self.secrets)
    }

    /// Returns `true` if the path contains a secret.
    pub(super) fn has_secret(&self) -> bool {
        self.shown() != self.path
    }

    /// Creates the redactor for requests to this mount.
    pub(super) fn redactor(&self, access: Option<SharedAccessRules>) -> Redactor {
        Redactor::new(&self.path, &self.secrets, access)
    }

    /// Fails if the mount may contain a token of `rules`.
    pub(super) fn check(&self, rules: &AccessRules) -> Result<(), String> {
        // Only the operator knows the position of the token in a URL.
        if !self.is_explicit && rules.has_tokens() {
            return Err(
                "--access has tokens, and the path of the URL in --settings may contain one: set --mount to the part of that \
                 path before the token, or to all of it if the token is in the query or is the user"
                    .to_owned(),
            );
        }
        let has_secret = rules.redact_record(self.path.as_bytes()) != self.path.as_bytes();
        if has_secret || self.path.split('/').any(|segment| rules.is_token(segment)) {
            return Err("--mount has a token of --access in it: end it before the token".to_owned());
        }
        Ok(())
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mount").field(&self.shown()).finish()
    }
}

/// Returns the part of `url`, a path, after `mount`, or `None` if it does not begin with the mount.
fn strip_mount<'a>(url: &'a str, mount: &str) -> Option<&'a str> {
    let rest = url.strip_prefix(mount.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use kazoo_storage::authorize::Credential;

    use super::*;

    const HEX: &str = "1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5";

    fn mount(configured: Option<&str>, settings: Option<&KazooSettings>) -> Result<Mount, String> {
        let configured = configured.map(|path| MountPath::parse(path).unwrap());
        Mount::new(configured.as_ref(), settings)
    }

    fn settings(path: &str) -> KazooSettings {
        KazooSettings::from_json(&format!(r#"{{"url":"http://h.example.com{path}","verb":"put"}}"#)).unwrap()
    }

    #[test]
    fn hides_segments_that_look_like_a_token() {
        for (path, shown) in [
            ("/", "/"),
            ("/some_prefix", "/some_prefix"),
            (
                "/kazoo/files2024/VoicemailRecordings",
                "/kazoo/files2024/VoicemailRecordings",
            ),
            (&format!("/some_prefix/{HEX}"), "/some_prefix/***"),
            (&format!("/{HEX}/files"), "/***/files"),
            ("/p/fI6n-3Qc", "/p/***"),
        ] {
            for made in [mount(Some(path), None), mount(None, Some(&settings(path)))] {
                let made = made.unwrap();
                assert_eq!((made.path(), &*made.shown()), (path, shown));
                assert_eq!(made.has_secret(), path != shown, "{path}");
            }
        }
    }

    #[test]
    fn hides_the_secrets_of_the_mount_in_requests() {
        let whole = format!("/p/{HEX}");
        let copied = mount(Some(&whole), None).unwrap();
        // All segments after an explicit mount are secret.
        let before = mount(Some("/p"), Some(&settings(&whole))).unwrap();
        let short = mount(Some("/p"), Some(&settings("/p/system_data"))).unwrap();
        for (mount, path, shown) in [
            (&copied, format!("{whole}/Anna"), "/p/***/…"),
            (&copied, format!("/other/{HEX}/Anna"), "/…/***/…"),
            (&before, format!("{whole}/Anna"), "/p/***/…"),
            (
                &short,
                "/p/system_data/system_data.mp3".to_owned(),
                "/p/***/system_data.mp3",
            ),
        ] {
            assert_eq!(mount.redactor(None).path(&path), shown, "{path}");
        }
    }

    #[test]
    fn another_path_is_outside_the_mount() {
        for (mounted, path, is_apart) in [
            ("/some_prefix", "/hook", true),
            ("/some_prefix", "/some_prefix2", true),
            ("/some_prefix", "/some_prefix", false),
            ("/some_prefix", "/some_prefix/hook", false),
            ("/", "/hook", false),
            ("/p", "/", false),
        ] {
            let path = MountPath::parse(path).unwrap();
            let checked = mount(Some(mounted), None).unwrap().check_apart("--x", &path);
            assert_eq!(checked.is_ok(), is_apart, "{mounted} {path:?}");
        }
    }

    #[test]
    fn rejects_a_mount_that_contains_a_token() {
        let rules = AccessRules::new().credential(Credential::token("hush"));
        let rules = rules.credential(Credential::token("fI6n-3Qc"));
        let networks = AccessRules::new().networks(["10.0.0.0/8"]).unwrap();
        let url = settings("/p/hush");
        for (asked, from, suits) in [
            (None, None, true),
            (Some("/p"), None, true),
            (Some("/p"), Some(&url), true),
            (Some("/p/hush"), None, false),
            (Some("/p/h%75sh/q"), None, false),
            (Some("/files-fI6n-3Qc.d"), None, false),
            (Some("/files-hushed"), None, true),
            (Some("/p/hush"), Some(&url), false),
            (None, Some(&url), false),
        ] {
            let mount = mount(asked, from).unwrap();
            assert_eq!(mount.check(&rules).is_ok(), suits, "{mount:?}");
            assert!(mount.check(&networks).is_ok(), "{mount:?}");
        }
    }
}
