//! [`Records`]: writes the records of the log.

use std::io;

use super::redact;
use crate::{config::LogFormat, printable::printable_colors};

/// Writes complete log records, without secrets. A text on a terminal is that of the record alone.
pub(super) struct Records<W> {
    pub(super) writer: W,
    pub(super) format: LogFormat,
}

impl<W: io::Write> io::Write for Records<W> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let shown = redact::record(record);
        match (self.format, std::str::from_utf8(&shown)) {
            (LogFormat::Text, Ok(text)) => {
                // The values of fields have no colors: the formatter escapes them.
                let line = printable_colors(text.trim_end_matches('\n'));
                self.writer.write_all(format!("{line}\n").as_bytes())?;
            }
            _ => self.writer.write_all(&shown)?,
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_record_is_one_line_without_control_characters() {
        for (format, record, written) in [
            (LogFormat::Text, "a\n", "a\n"),
            (
                LogFormat::Text,
                "\u{1b}[2ma\u{1b}[0m\r\nb\u{202e}\n",
                "\u{1b}[2ma\u{1b}[0m\\r\\nb\\u{202e}\n",
            ),
            (LogFormat::Json, "{\"a\":\"\u{202e}\"}\n", "{\"a\":\"\u{202e}\"}\n"),
        ] {
            let mut records = Records {
                writer: Vec::new(),
                format,
            };
            records.write_all(record.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(records.writer).unwrap(), written);
        }
    }
}
