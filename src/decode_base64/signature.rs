//! Signatures of file formats.

/// Bytes that every file of a format contains, each with its offset.
type Signature = &'static [(usize, &'static [u8])];

/// The signatures of recordings, faxes and other files that KAZOO attaches.
const SIGNATURES: [Signature; 22] = [
    &[(0, b"RIFF"), (8, b"WAVE")],
    &[(0, b"RIFX"), (8, b"WAVE")],
    &[(0, b"RF64"), (8, b"WAVE")],
    &[(0, b"RIFF"), (8, b"AVI ")],
    &[(0, b"RIFF"), (8, b"WEBP")],
    &[(0, b"FORM"), (8, b"AIF")],
    &[(0, b"OggS\0")],
    &[(0, b"fLaC")],
    &[(0, b"caff\0\x01")],
    &[(0, b"#!AMR")],
    &[(0, b".snd")],
    &[(4, b"ftyp")],
    &[(0, b"\x1a\x45\xdf\xa3")],
    &[(0, b"II*\0")],
    &[(0, b"MM\0*")],
    &[(0, b"%PDF-")],
    &[(0, b"%!PS")],
    &[(0, b"\x89PNG\r\n\x1a\n")],
    &[(0, b"\xff\xd8\xff")],
    &[(0, b"GIF8")],
    &[(0, b"PK\x03\x04")],
    &[(0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")],
];

/// Returns `true` if a file that begins with `start` has a known format.
pub(super) fn is_known(start: &[u8]) -> bool {
    let has = |signature: &Signature| {
        let mut parts = signature.iter();
        parts.all(|(at, bytes)| start.get(*at..).is_some_and(|rest| rest.starts_with(bytes)))
    };
    SIGNATURES.iter().any(has) || is_id3(start)
}

/// Returns `true` for an ID3 tag, version 2.2 to 2.4, the start of an MP3 file.
fn is_id3(start: &[u8]) -> bool {
    matches!(start, [b'I', b'D', b'3', 2..=4, 0..=0xfe, flags, ..] if flags.trailing_zeros() >= 4)
}

/// Returns `true` for an MPEG audio frame, the start of an MP3 file without a tag.
///
/// Only about 14 bits of the header are fixed, too few to identify a file without further evidence.
pub(super) fn is_mpeg_frame(start: &[u8]) -> bool {
    let [0xff, second, third, ..] = start else {
        return false;
    };
    let synced = second & 0xe0 == 0xe0;
    let version_and_layer = second & 0x18 != 0x08 && second & 0x06 != 0;
    let bitrate_and_rate = !matches!(third >> 4, 0 | 0xf) && third & 0x0c != 0x0c;
    synced && version_and_layer && bitrate_and_rate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_files_by_their_first_bytes() {
        for start in [
            &b"RIFF\x24\x00\x00\x00WAVEfmt "[..],
            b"ID3\x04\x00\x00\x00\x00\x00\x21",
            b"II*\x00\x08\x00\x00\x00",
            b"%PDF-1.4\n",
            b"\x00\x00\x00\x18ftypM4A ",
            b"OggS\0\x02",
            b"#!AMR\n",
        ] {
            assert!(is_known(start), "{start:?}");
            assert!(!is_known(&start[..3]) && !is_known(&start[1..]), "{start:?}");
        }
        for start in [
            &b""[..],
            b"RIFF\x24\x00\x00\x00AVIX",
            b"ID3 is a tag",
            b"some text",
            &[0x14; 20],
        ] {
            assert!(!is_known(start), "{start:?}");
        }
    }

    #[test]
    fn recognizes_mpeg_frames() {
        assert!(is_mpeg_frame(b"\xff\xfb\x90\x64\x00"));
        assert!(is_mpeg_frame(b"\xff\xf3\x48\xc4"));
        for start in [
            &b"\xff\xfb"[..],
            b"\xff\xff\xff\xff",
            b"\xff\xfb\xf0",
            b"\xff\xfb\x9c",
            b"\xff\xf9\x90",
            b"\xff\x00\x90",
        ] {
            assert!(!is_mpeg_frame(start), "{start:?}");
        }
    }
}
