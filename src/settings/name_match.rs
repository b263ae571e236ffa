//! Matches a stored name with the parts of a [`NameTemplate`](super::name_template::NameTemplate).

use std::collections::HashSet;

use crate::kazoo_id::{self, ID_LEN, MAX_DOCUMENT_LEN, is_account, is_document};

/// The fields of a document that a key contains according to `field_list`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fields {
    /// The account the file belongs to.
    pub account: Option<String>,
    /// The owner of the document, if it has one.
    pub owner: Option<String>,
    /// The document the file is attached to.
    pub document: Option<String>,
    /// The file's own name.
    pub attachment: Option<String>,
    /// The database the document is in.
    pub database: Option<String>,
}

/// One part of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Account,
    Owner,
    Document,
    Attachment,
    Database,
    /// A field that the document may not have.
    Other,
    /// Decoded text.
    Text(String),
    /// Several parts without a separator, which cannot be told apart.
    Mixed,
}

impl Part {
    /// Returns `true` if this part can be any text.
    fn is_free(&self) -> bool {
        matches!(self, Self::Attachment | Self::Database | Self::Other | Self::Mixed)
    }

    /// Returns the maximum length of this part, in bytes.
    fn max_len(&self) -> usize {
        match self {
            Self::Account | Self::Owner => ID_LEN,
            Self::Document => MAX_DOCUMENT_LEN,
            Self::Text(text) => text.len(),
            Self::Attachment | Self::Database | Self::Other | Self::Mixed => usize::MAX,
        }
    }
}

/// A name, and the positions where its parts may end.
pub(super) struct NamePieces {
    name: String,
    /// Start and end of each piece in the name.
    bounds: Vec<(usize, usize)>,
    /// `true` if a part may contain the separator, and so consist of several pieces. Its form then identifies the part.
    joined: bool,
}

impl NamePieces {
    /// Joins `pieces` with `separator`, if there is one. A part may contain the separator.
    pub(super) fn new<'a>(pieces: impl Iterator<Item = &'a str>, separator: Option<&str>) -> Self {
        let mut name = String::new();
        let mut bounds = Vec::new();
        for piece in pieces {
            if !bounds.is_empty() {
                name.push_str(separator.unwrap_or_default());
            }
            bounds.push((name.len(), name.len() + piece.len()));
            name.push_str(piece);
        }
        Self {
            name,
            bounds,
            joined: separator.is_some(),
        }
    }

    /// Matches `parts` with all pieces from `from` on.
    ///
    /// `failed` memoizes each number of parts and first piece that did not match: the uploader chooses the name, so the
    /// work must not be exponential in its length.
    pub(super) fn assign(&self, parts: &[Part], from: usize, failed: &mut HashSet<(usize, usize)>) -> Option<Fields> {
        let Some((part, rest)) = parts.split_first() else {
            return (from == self.bounds.len()).then(Fields::default);
        };
        if failed.contains(&(parts.len(), from)) {
            return None;
        }
        let max_pieces = if self.joined { usize::MAX } else { 1 };
        let max_len = if self.joined { part.max_len() } else { usize::MAX };
        let fitting = |(_, text): &(usize, &str)| text.len() <= max_len;
        for (end, text) in (from + 1..).zip(self.from(from)).take(max_pieces).take_while(fitting) {
            if self.matches(part, text) {
                if let Some(mut fields) = self.assign(rest, end, failed) {
                    set(&mut fields, part, text);
                    return Some(fields);
                }
                // If a part that can be any text does not match from here on, it matches from no later piece either.
                if rest.first().is_some_and(Part::is_free) {
                    break;
                }
            }
        }
        // KAZOO omits a missing field together with its separator.
        if matches!(part, Part::Owner | Part::Other)
            && let Some(fields) = self.assign(rest, from, failed)
        {
            return Some(fields);
        }
        failed.insert((parts.len(), from));
        None
    }

    /// Returns the texts of one piece, two pieces and so on, starting at `from`.
    fn from(&self, from: usize) -> impl Iterator<Item = &str> {
        let start = self.bounds.get(from).map_or(0, |(start, _)| *start);
        let ends = self.bounds.iter().skip(from).map(|(_, end)| *end);
        ends.filter_map(move |end| self.name.get(start..end))
    }

    fn matches(&self, part: &Part, text: &str) -> bool {
        match part {
            Part::Account => !self.joined || is_account(text),
            // The id of an owner has a fixed form, so that a key of three parts is not mistaken for one with an owner.
            Part::Owner => kazoo_id::is_id(text),
            Part::Document => !self.joined || is_document(text),
            Part::Text(expected) => expected == text,
            part => part.is_free(),
        }
    }
}

fn set(fields: &mut Fields, part: &Part, text: &str) {
    let field = match part {
        Part::Account => &mut fields.account,
        Part::Owner => &mut fields.owner,
        Part::Document => &mut fields.document,
        Part::Attachment => &mut fields.attachment,
        Part::Database => &mut fields.database,
        Part::Other | Part::Text(_) | Part::Mixed => return,
    };
    *field = Some(text.to_owned());
}
