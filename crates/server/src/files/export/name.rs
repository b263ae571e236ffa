//! The paths of exported files.
//!
//! A path depends on the key only, and different keys have different paths, on every system: also where names ignore case, end
//! at a dot, or may not be `con`. Lower-case names of ordinary characters, as KAZOO's ids are, stay as they are. Any other
//! name is changed, and gets a digest of the original one: `Message: 1.mp3` becomes `Message_ 1~DIGEST.mp3`.

use kazoo_storage::digest::Digest;
use percent_encoding::percent_decode_str;

use super::SUMS;

/// Maximum length of a name that stays as it is, and of a path, in bytes.
const MAX_NAME: usize = 100;
const MAX_PATH: usize = 200;

/// Maximum length of the beginning of a name that is changed, in bytes.
const MAX_STEM: usize = 40;

/// Maximum length of the extension of a name that is changed, in bytes.
const MAX_EXTENSION: usize = 10;

/// Length of a digest in a name, in hexadecimal digits.
const DIGEST: usize = 32;

/// Names that are devices in Windows, with any extension. `com` and `lpt` are followed by a digit.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Returns the path of the file with this percent-encoded `key`.
pub(super) fn path(key: &str) -> String {
    let decode = |segment| percent_decode_str(segment).decode_utf8_lossy().into_owned();
    let mut segments: Vec<String> = key.trim_start_matches('/').split('/').map(decode).collect();
    let file = segments.pop().unwrap_or_default();
    let names: Vec<String> = segments.iter().map(|segment| directory(segment)).collect();
    let mut path = names.iter().fold(String::new(), |path, name| path + name + "/");
    path += &self::file(&file, names.is_empty());
    if path.len() <= MAX_PATH {
        return path;
    }
    let account = names.first().map(String::as_str).unwrap_or_default();
    format!("{account}/{}", changed("long", &format!("key {key}"), &file))
}

/// Returns the name of a directory. It has no dot, so no file has it, and it is not [`SUMS`], in any case.
fn directory(segment: &str) -> String {
    if is_ordinary(segment) && !segment.contains('.') && !segment.eq_ignore_ascii_case(SUMS) {
        return segment.to_owned();
    }
    changed(segment, &format!("directory {segment}"), "")
}

/// Returns the name of a file. Beside the manifest, none stays as it is.
fn file(segment: &str, is_beside_manifest: bool) -> String {
    if is_ordinary(segment) && segment.contains('.') && !is_beside_manifest {
        return segment.to_owned();
    }
    let stem = segment.rsplit_once('.').map_or(segment, |(stem, _)| stem);
    changed(stem, &format!("file {segment}"), segment)
}

/// Returns a name with the beginning of `stem`, a digest of `original`, and the extension of `file`.
fn changed(stem: &str, original: &str, file: &str) -> String {
    let replace = |letter: char| {
        if letter.is_ascii_alphanumeric() || " -_+=@,()".contains(letter) {
            letter
        } else {
            '_'
        }
    };
    let stem: String = stem.chars().map(replace).take(MAX_STEM).collect();
    let digest = Digest::of(original.as_bytes()).to_string();
    let digest = digest.get(..DIGEST).unwrap_or_default();
    let extension = file.rsplit_once('.').map(|(_, extension)| extension);
    let is_short = |extension: &&str| {
        (1..=MAX_EXTENSION).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    match extension.filter(is_short) {
        Some(extension) => format!("{}~{digest}.{extension}", stem.trim_start()),
        None => format!("{}~{digest}", stem.trim_start()),
    }
}

/// Returns `true` if every system accepts the name and distinguishes it from all others.
fn is_ordinary(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b" -_+=@,().".contains(&byte);
    let ends_badly = name.starts_with(['.', ' ']) || name.ends_with(['.', ' ']);
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_plain) && !ends_badly && !is_device(name)
}

fn is_device(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or_default().trim_end();
    let is_port = |prefix| {
        let number: Option<&str> = base.strip_prefix(prefix);
        number.is_some_and(|number| number.len() == 1 && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    DEVICES.contains(&base) || is_port("com") || is_port("lpt")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{super::MANIFEST, *};

    const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

    #[test]
    fn names_of_kazoo_stay_as_they_are() {
        for key in [
            format!("{ACCOUNT}/202401-9f86d081884c7d659a2feaa0c55ad015/call_recording_9f86.mp3"),
            format!("{ACCOUNT}/doc/two%20words.mp3"),
        ] {
            assert_eq!(path(&key), key.replace("%20", " "));
        }
    }

    #[test]
    fn every_name_is_safe_and_different() {
        let names = [
            "a.mp3",
            "A.mp3",
            "a.MP3",
            "a.mp3.",
            "a.mp3 ",
            " a.mp3",
            ".a.mp3",
            "..",
            ".",
            "...",
            "con",
            "con.mp3",
            "CON.mp3",
            "com1.mp3",
            "lpt9",
            "nul .mp3",
            "conin$",
            "a",
            "a:b.mp3",
            "a/b.mp3",
            "a\\b.mp3",
            "a\nb.mp3",
            "a\u{7f}.mp3",
            "a*?.mp3",
            "a\"<>|.mp3",
            "ü.mp3",
            "u\u{308}.mp3",
            "日本",
            "a~b.mp3",
            "%41.mp3",
            "-rf",
            "x.y",
            "manifest.jsonl",
            "SHA256SUMS",
            "sha256sums",
            "é",
            "É",
        ];
        let long: Vec<String> = (0..3).map(|n| format!("{}{n}.mp3", "x".repeat(300))).collect();
        let mut seen = HashSet::new();
        let mut check = |key: String| {
            let path = path(&key);
            assert!(
                path.len() <= MAX_PATH && seen.insert(path.to_ascii_lowercase()),
                "{key}: {path}"
            );
            let first = path.split('/').next().unwrap_or_default();
            for beside in [MANIFEST, SUMS] {
                assert!(!first.eq_ignore_ascii_case(beside), "{path}");
            }
            for name in path.split('/') {
                assert!(name.is_ascii() && !name.is_empty() && name.len() <= MAX_NAME, "{path}");
                assert!(!name.starts_with(['.', ' ']) && !name.ends_with(['.', ' ']), "{path}");
                assert!(
                    !name
                        .bytes()
                        .any(|byte| byte < b' ' || b"\\:*?\"<>|\x7f".contains(&byte)),
                    "{path}"
                );
                assert!(!is_device(&name.to_ascii_lowercase()), "{path}");
            }
        };
        let encode =
            |name: &str| percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string();
        for name in names.into_iter().chain(long.iter().map(String::as_str)) {
            let name = encode(name);
            check(name.clone());
            check(format!("{ACCOUNT}/{name}"));
            check(format!("{name}/doc/m.mp3"));
            check(format!("{ACCOUNT}/{name}/m.mp3"));
            check(format!("{ACCOUNT}/doc/{name}"));
        }
        check(format!("{ACCOUNT}/{}", ["d"; 200].join("/")));
        check(format!("{ACCOUNT}/{}", ["d"; 201].join("/")));
    }

    #[test]
    fn shows_the_beginning_and_the_extension_of_a_changed_name() {
        let digest = Digest::of(b"file Message: 1.mp3").to_string();
        let expected = format!("acc/doc/Message_ 1~{}.mp3", &digest[..DIGEST]);
        assert_eq!(path("acc/doc/Message%3A%201.mp3"), expected);
    }
}
