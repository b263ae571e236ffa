//! [`Archive`]: writes a ZIP file.
//!
//! The members are stored, because media is compressed already. The directory at the end of the file waits in a file of its own,
//! so memory does not depend on the number of members; the crates for ZIP files hold it in memory. A member, an offset or a
//! directory that is too long for the original format uses ZIP64.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek as _, Write as _},
};

/// The value of a field whose real value is in a ZIP64 field.
const MAX: u32 = u32::MAX;

/// The version of the format with ZIP64: 4.5.
const VERSION: u16 = 45;

/// Midnight on 1980-01-01: the time is in the manifest.
const DATE: u16 = 0x21;

/// A file in an archive.
pub(super) struct Member {
    /// Path of ASCII characters.
    pub(super) name: String,
    pub(super) crc: u32,
    pub(super) len: u64,
}

/// A ZIP file that is being written.
pub(super) struct Archive {
    file: BufWriter<File>,
    /// The length of `file`.
    len: u64,
    directory: BufWriter<File>,
    directory_len: u64,
    members: u64,
}

/// The fields of a header, in little endian.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn short(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn word(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn long(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

impl Archive {
    /// Writes the archive to the empty `file`. The other one is temporary.
    pub(super) fn new(file: File, directory: File) -> Self {
        Self {
            file: BufWriter::with_capacity(256 << 10, file),
            len: 0,
            directory: BufWriter::new(directory),
            directory_len: 0,
            members: 0,
        }
    }

    /// Adds `member`, whose content is `content`.
    pub(super) fn add(&mut self, member: &Member, content: &mut impl Read) -> io::Result<()> {
        let offset = self.len;
        let header = local(member)?;
        self.file.write_all(&header)?;
        let copied = io::copy(content, &mut self.file)?;
        if copied != member.len {
            return Err(io::Error::other("a temporary file has changed"));
        }
        self.len += header.len() as u64 + copied;
        let entry = central(member, offset)?;
        self.directory.write_all(&entry)?;
        self.directory_len += entry.len() as u64;
        self.members += 1;
        Ok(())
    }

    /// Returns the file, whose last bytes may not be written yet.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.get_ref().try_clone()
    }

    /// Writes the directory. Returns the complete file.
    pub(super) fn finish(mut self) -> io::Result<File> {
        self.directory.flush()?;
        let mut directory = self.directory.into_inner().map_err(io::IntoInnerError::into_error)?;
        directory.rewind()?;
        io::copy(&mut directory, &mut self.file)?;
        let end = end(self.members, self.directory_len, self.len);
        self.file.write_all(&end)?;
        self.file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// Returns the header in front of a content.
fn local(member: &Member) -> io::Result<Vec<u8>> {
    let is_long = member.len >= u64::from(MAX);
    let extra = if is_long {
        Fields::default().short(1).short(16).long(member.len).long(member.len)
    } else {
        Fields::default()
    };
    Ok(described(Fields::default().word(0x0403_4b50), member)
        .short(name_len(member)?)
        .short(length(&extra.0)?)
        .bytes(member.name.as_bytes())
        .bytes(&extra.0)
        .0)
}

/// Returns the entry of a member in the directory.
fn central(member: &Member, offset: u64) -> io::Result<Vec<u8>> {
    /// Made by a Unix system, with this version of the format.
    const MADE_BY: u16 = 3 << 8 | VERSION;
    /// A regular file for its owner only.
    const MODE: u32 = 0o100_600 << 16;

    let mut long = Fields::default();
    if member.len >= u64::from(MAX) {
        long = long.long(member.len).long(member.len);
    }
    if offset >= u64::from(MAX) {
        long = long.long(offset);
    }
    let extra = match length(&long.0)? {
        0 => Fields::default(),
        len => Fields::default().short(1).short(len).bytes(&long.0),
    };
    let fields = Fields::default().word(0x0201_4b50).short(MADE_BY);
    Ok(described(fields, member)
        .short(name_len(member)?)
        .short(length(&extra.0)?)
        // No comment, disk 0, binary.
        .short(0)
        .short(0)
        .short(0)
        .word(MODE)
        .word(clipped(offset))
        .bytes(member.name.as_bytes())
        .bytes(&extra.0)
        .0)
}

/// Adds the fields that both headers of a member have.
fn described(fields: Fields, member: &Member) -> Fields {
    let len = clipped(member.len);
    // No flags, and stored.
    let fields = fields.short(VERSION).short(0).short(0).short(0).short(DATE);
    fields.word(member.crc).word(len).word(len)
}

/// Returns the end of an archive with this directory.
fn end(members: u64, directory_len: u64, offset: u64) -> Vec<u8> {
    let mut fields = Fields::default();
    let is_long = members >= u64::from(u16::MAX) || directory_len >= u64::from(MAX) || offset >= u64::from(MAX);
    if is_long {
        fields = fields
            .word(0x0606_4b50)
            .long(44)
            .short(VERSION)
            .short(VERSION)
            .word(0)
            .word(0);
        fields = fields.long(members).long(members).long(directory_len).long(offset);
        // The position of these fields.
        fields = fields.word(0x0706_4b50).word(0).long(offset + directory_len).word(1);
    }
    let count = u16::try_from(members).unwrap_or(u16::MAX);
    fields = fields.word(0x0605_4b50).short(0).short(0).short(count).short(count);
    fields.word(clipped(directory_len)).word(clipped(offset)).short(0).0
}

fn clipped(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(MAX)
}

fn name_len(member: &Member) -> io::Result<u16> {
    length(member.name.as_bytes())
}

fn length(bytes: &[u8]) -> io::Result<u16> {
    u16::try_from(bytes.len()).map_err(|_| io::Error::other("a name is too long for a ZIP file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number in the bytes at `at`.
    fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
        let bytes = bytes[at..at + len].iter().rev();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn member(name: &str, len: u64) -> Member {
        Member {
            name: name.to_owned(),
            crc: 7,
            len,
        }
    }

    #[test]
    fn a_short_member_has_no_long_fields() {
        let local = local(&member("a", 3)).unwrap();
        assert_eq!((local.len(), number(&local, 18, 4), number(&local, 22, 4)), (31, 3, 3));
        let central = central(&member("a", 3), 9).unwrap();
        assert_eq!((central.len(), number(&central, 42, 4)), (47, 9));
        assert_eq!(end(65534, 1, 2).len(), 22);
    }

    #[test]
    fn long_members_and_offsets_have_long_fields() {
        let long = u64::from(MAX);
        let local = local(&member("a", long)).unwrap();
        assert_eq!((number(&local, 22, 4), number(&local, 28, 2)), (long, 20));
        assert_eq!((number(&local, 31, 4), number(&local, 35, 8)), (16 << 16 | 1, long));
        for (len, offset, fields) in [
            (long, 0, &[long, long][..]),
            (1, long + 1, &[long + 1]),
            (long, long, &[long, long, long]),
        ] {
            let central = central(&member("a", len), offset).unwrap();
            let extra = 8 * fields.len();
            assert_eq!(number(&central, 47, 4), (extra as u64) << 16 | 1);
            let found: Vec<u64> = (0..fields.len()).map(|at| number(&central, 51 + 8 * at, 8)).collect();
            assert_eq!((found.as_slice(), central.len()), (fields, 51 + extra));
        }
    }

    #[test]
    fn many_members_have_a_long_end() {
        for (members, offset) in [(65_535, 7), (70_000, 7), (1, u64::from(MAX))] {
            let end = end(members, 100, offset);
            assert_eq!(end.len(), 56 + 20 + 22);
            assert_eq!((number(&end, 32, 8), number(&end, 48, 8)), (members, offset));
            // The locator points to the record.
            assert_eq!(number(&end, 56 + 8, 8), offset + 100);
            assert_eq!(number(&end, 76 + 10, 2), members.min(65_535));
        }
    }

    #[test]
    fn refuses_a_content_of_another_length() {
        let file = || tempfile::tempfile().unwrap();
        let mut archive = Archive::new(file(), file());
        archive.add(&member("a", 3), &mut &b"ID3"[..]).unwrap();
        archive.add(&member("b", 3), &mut &b"ID"[..]).unwrap_err();
    }
}
