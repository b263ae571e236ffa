//! What the parts of a name are when it comes.

use std::collections::HashSet;

/// What the parts of a key are, as far as `field_list` says.
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

/// What one part of a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Account,
    Owner,
    Document,
    Attachment,
    Database,
    /// A field that the document may not have.
    Other,
    /// Decoded.
    Text(String),
    /// Several with nothing between them: which is where, only KAZOO knows.
    Mixed,
}

impl Part {
    /// Whether it may be any text.
    fn is_free(&self) -> bool {
        matches!(self, Self::Attachment | Self::Database | Self::Other | Self::Mixed)
    }

    /// Returns the maximum length, in bytes, of a piece that is recognized by its form. Longer pieces of a name are not
    /// checked.
    fn longest(&self) -> usize {
        match self {
            Self::Account | Self::Owner => 32,
            Self::Document => "202401-".len() + 32,
            Self::Text(text) => text.len(),
            Self::Attachment | Self::Database | Self::Other | Self::Mixed => usize::MAX,
        }
    }
}

/// A name, cut wherever a part of it may end.
pub(super) struct Pieces {
    name: String,
    /// Where in the name each piece begins and ends.
    bounds: Vec<(usize, usize)>,
    /// Whether a part may have several pieces, because what separates them may stand in it. It is then known by its look.
    joined: bool,
}

impl Pieces {
    /// Of these `pieces`, which `separator` may stand in, if there is one, as well as between them.
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

    /// What `parts` are if they are all that stands from the piece `from` on.
    ///
    /// `failed` has how many parts were looked for from which piece on, and did not fit: a name is its uploader's, and must
    /// not have each way to cut it tried.
    pub(super) fn assign(&self, parts: &[Part], from: usize, failed: &mut HashSet<(usize, usize)>) -> Option<Fields> {
        let Some((part, rest)) = parts.split_first() else {
            return (from == self.bounds.len()).then(Fields::default);
        };
        if failed.contains(&(parts.len(), from)) {
            return None;
        }
        let most = if self.joined { usize::MAX } else { 1 };
        let longest = if self.joined { part.longest() } else { usize::MAX };
        let fitting = |(_, text): &(usize, &str)| text.len() <= longest;
        for (end, text) in (from + 1..).zip(self.from(from)).take(most).take_while(fitting) {
            if self.may_be(part, text) {
                if let Some(mut fields) = self.assign(rest, end, failed) {
                    set(&mut fields, part, text);
                    return Some(fields);
                }
                // What may be anything and does not fit from here on fits from no later piece on.
                if rest.first().is_some_and(Part::is_free) {
                    break;
                }
            }
        }
        // What a document does not have is left out, separator and all.
        if matches!(part, Part::Owner | Part::Other)
            && let Some(fields) = self.assign(rest, from, failed)
        {
            return Some(fields);
        }
        failed.insert((parts.len(), from));
        None
    }

    /// One piece from `from` on, two, and so on.
    fn from(&self, from: usize) -> impl Iterator<Item = &str> {
        let start = self.bounds.get(from).map_or(0, |(start, _)| *start);
        let ends = self.bounds.iter().skip(from).map(|(_, end)| *end);
        ends.filter_map(move |end| self.name.get(start..end))
    }

    fn may_be(&self, part: &Part, text: &str) -> bool {
        match part {
            Part::Account => !self.joined || is_account(text),
            // An owner is an id as a user's is, which keeps a key of three parts from having one.
            Part::Owner => is_hex(text),
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

fn is_hex(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// An account's id, or what stands in its place for the whole system and for a document of no account.
fn is_account(text: &str) -> bool {
    is_hex(text) || matches!(text, "system_data" | "unknown_account")
}

/// A document's id, which in a database of one month begins with that.
fn is_document(text: &str) -> bool {
    let id = match text.split_once('-') {
        Some((month, id)) if month.len() == 6 && month.bytes().all(|byte| byte.is_ascii_digit()) => id,
        _ => text,
    };
    is_hex(id)
}
