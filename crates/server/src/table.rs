//! [`Table`]: columns of text.

use crate::printable::printable;

/// A table that is printed with aligned columns.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        let mut table = Self(Vec::new());
        table.add(header.iter().map(|&name| name.to_owned()).collect());
        table
    }

    pub(crate) fn add(&mut self, row: Vec<String>) {
        // Their widths are those of the escaped texts.
        let cells = row.into_iter().map(|text| printable(&text).into_owned());
        self.0.push(cells.collect());
    }

    /// Returns the lines, the first of which is the header.
    pub(crate) fn text(&self, with_header: bool) -> String {
        let lines = self.lines().into_iter().skip(usize::from(!with_header));
        lines.fold(String::new(), |text, line| text + &line + "\n")
    }

    fn lines(&self) -> Vec<String> {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            // The width of a format is limited, and that of a cell is not.
            let padded = |(cell, width): (&String, &usize)| {
                let missing = width.saturating_sub(cell.chars().count());
                format!("{cell}{}", " ".repeat(missing))
            };
            let cells: Vec<_> = row.iter().zip(&widths).map(padded).collect();
            cells.join("  ").trim_end().to_owned()
        };
        self.0.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_columns_and_shows_no_control_characters() {
        let mut table = Table::new(&["ID", "ERROR"]);
        table.add(vec!["longer".to_owned(), "a\u{1b}b".to_owned()]);
        table.add(vec!["é".to_owned(), String::new()]);
        assert_eq!(table.lines(), ["ID      ERROR", "longer  a\\u{1b}b", "é"]);
        assert_eq!(table.text(false), "longer  a\\u{1b}b\né\n");
        table.add(vec!["x".repeat(100_000), "y".to_owned()]);
        assert!(table.lines().concat().ends_with("x  y"));
    }
}
