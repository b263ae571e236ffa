//! Path traversal attempts.

use std::collections::BTreeSet;

/// Names and pieces of paths, percent-encoded or not.
#[rustfmt::skip]
pub(super) const PIECES: &[&str] = &[
    // The parent directory, for some readers.
    "..", ".", "%2e%2e", "%2e", ".%2e", "%2e.", "...", "....", "....//", "..;", "..;a=b", ". .", "..%20", "%20..",
    "..+", "%c0%ae%c0%ae", "%c0%2e%c0%2e", "%e0%80%ae%e0%80%ae", "%f0%80%80%ae%f0%80%80%ae", "%uff0e%uff0e",
    "%u002e%u002e", "．．", "%ef%bc%8e%ef%bc%8e", "․․", "%e2%80%a5", "..%00", "%00..", "..%01", "..%0a", "..%0d%0a",
    "..%09", "..%7f", "..%c2%85", "..%e2%80%8b", "..%e2%80%ae", "..%ef%bb%bf", "..%cc%81", "x%2f..", "x%2f..%2f..",
    "x%5c..%5c..",
    // A separator, for some readers.
    "..%2f", "..%2f..%2f..", "..%5c", "..%5c..%5c..", "..\\", "..\\..\\", "%2e%2e%2f", "..%252f", "..%255c",
    "..%c0%af", "..%e0%80%af", "..%c1%9c", "..%c1%1c", "..%ef%bc%8f", "..%e2%88%95", "..%e2%81%84", "..%u2215",
    "..%u2216", "..%01/", ".%5c", "%2e%2f", "a%2fb", "a%5cb", "a\\b", "a:b", "%2f", "%5c", "%2f%2f", "%2f..", "%3f",
    "%23", "%26", "%3b", "%3d",
    // Absolute paths.
    "%2fetc%2fpasswd", "%2fdev%2fnull", "%2fproc%2fself%2fenviron", "%2fproc%2fself%2froot", "file:%2f%2f%2fetc",
    "C:", "C:%5c", "C:\\windows\\win.ini", "c:%2fboot.ini", "%5c%5chost%5cshare", "%5c%5c.%5cC:", "%5c%5c%3f%5cC:%5c",
    "~", "~root", "$HOME", "%24%28id%29", "%60id%60", "%7cid", "-rf", "--", "*", "%3f%3f",
    // Names that are special to an operating system.
    "CON", "con", "NUL", "nul.mp3", "aux.mp3", "PRN", "COM1", "com9.wav", "LPT1.txt", "CON.", "CLOCK$", "CONIN$",
    "a.mp3::$DATA", "a.mp3:stream", "PROGRA~1", "lost+found", "desktop.ini", "thumbs.db", ".htaccess", ".git", ".ssh",
    "core", "dev", "proc", "stdin", "index.html", "a.mp3.", "a.mp3..", "a.mp3%20", "a.mp3%20.", "%20", "%20a.mp3",
    "%c2%a0",
    // Names that are special to the store.
    ".stage", "%2estage", ".STAGE", ".stage%2flock", "%2estage%2fjournal.0", ".stage%2f", ".stage.",
    ".message.mp3.json", "%2emessage.mp3.json", "..message.mp3.json.json", ".message.mp3", ".json", "%", "%25",
    "x%25", "x%", "%%", "%2", "%zz", "%2g", "%252E", "%2E", "%25%32%45", "%%32%65", "x%2525", "message.mp3%25",
    "journal.0", "lock", "root", "secret", "secret.mp3", "link", "link.mp3", "LINK", "link%2fsecret.mp3", "link%00",
    "victim", "VICTIM%2fDOC%2fmessage.mp3", "..%2fVICTIM", "..%2froot", "..%2fsecret%2fsecret.mp3",
    // Text that looks the same, or runs right to left.
    "%c3%a9.mp3", "e%cc%81.mp3", "%e2%84%aa", "K", "k", "%ef%ac%81", "fi", "%c5%bf", "s", "%c3%9f", "ss", "%ce%a9",
    "%e2%84%a6", "%e2%80%aegpj.exe", "%e2%81%a6a%e2%81%a9", "%e2%80%8f", "%e2%80%8b", "%ef%bb%bf", "a%e2%80%8d",
    "%f0%9f%94%8a", "%e2%80%a8", "grüße €", "%f4%8f%bf%bf", "%ef%bf%bf",
    // Invalid UTF-8.
    "%80", "%ff", "%fe%ff", "%c0%80", "%e0%80%80", "%ed%a0%80", "%ed%b0%80", "%f8%88%80%80%80", "%f4%90%80%80", "%c3",
    "%e2%82", "a%ffb", "%c2%2e", "%aa%bb",
];

/// `text` with every byte percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .fold(String::new(), |text, byte| format!("{text}%{byte:02x}"))
}

/// `text` with the hex digits of its escapes in the other case.
pub(super) fn other_case(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let digits = part.char_indices().nth(2).map_or(part.len(), |(at, _)| at);
        let (digits, rest) = part.split_at(digits);
        let upper = digits.to_ascii_uppercase();
        let digits = if upper == digits {
            digits.to_ascii_lowercase()
        } else {
            upper
        };
        format!("{text}%{digits}{rest}")
    })
}

/// Every piece, every forbidden byte at each position, and lengths around each limit.
pub(super) fn pieces() -> BTreeSet<String> {
    let mut pieces = BTreeSet::new();
    for piece in PIECES {
        pieces.insert((*piece).to_owned());
        pieces.insert(other_case(piece));
        pieces.insert(piece.replace('%', "%25"));
        pieces.insert(piece.replace('%', "%2525"));
        pieces.insert(encoded(piece));
        pieces.insert(encoded(piece).replace('%', "%25"));
    }
    let name = "message.mp3";
    for at in 0..=name.len() {
        for bad in ["%00", "%0a", "%2500", "%c0%80"] {
            pieces.insert(format!("{}{bad}{}", &name[..at], &name[at..]));
        }
    }
    for byte in (0..0x20).chain(0x7f..=0xa0) {
        pieces.insert(format!("a%{byte:02x}"));
        pieces.insert(format!("a%c2%{:02x}.mp3", byte | 0x80));
    }
    for len in [
        1, 2, 120, 238, 239, 240, 241, 242, 254, 255, 256, 257, 480, 1023, 1024, 1025,
    ] {
        for (unit, size) in [
            ("x", 1),
            ("%25", 1),
            ("%2e", 1),
            ("%2f", 1),
            ("%c3%a9", 2),
            ("%f0%9f%94%8a", 4),
        ] {
            pieces.insert(unit.repeat(len / size));
            pieces.insert(format!("{}.mp3", unit.repeat(len.saturating_sub(4) / size)));
        }
    }
    pieces
}

/// Every spelling of a path, without the leading slash.
pub(super) fn corpus() -> Vec<String> {
    let mut corpus = BTreeSet::new();
    for piece in pieces() {
        let deep = |times: usize| format!("{piece}/").repeat(times);
        corpus.extend([
            format!("{piece}/DOC/message.mp3"),
            format!("EVIL/{piece}/message.mp3"),
            format!("EVIL/DOC/{piece}"),
            format!("EVIL/DOC/a{piece}"),
            format!("{}secret/secret.mp3", deep(1)),
            format!("EVIL/{}secret.mp3", deep(3)),
            format!("EVIL/DOC/{}root/VICTIM/DOC/message.mp3", deep(4)),
            format!("link/{piece}"),
            format!("EVIL/link/{piece}/secret.mp3"),
        ]);
    }
    for (times, name) in [(31, "deep"), (32, "deep"), (33, "deep"), (4000, "x"), (4000, "..")] {
        corpus.insert(format!("{}{name}", format!("{name}/").repeat(times - 1)));
    }
    for len in [4096, 60_000] {
        corpus.insert(format!("EVIL/DOC/{}", "x".repeat(len)));
        corpus.insert(format!("EVIL/DOC/{}", "%2e".repeat(len / 3)));
    }
    let corpus: Vec<String> = corpus.into_iter().filter(|spelling| !spelling.is_empty()).collect();
    assert!(corpus.len() >= 10_000, "{}", corpus.len());
    corpus
}
