//! [`FileKind`]: the kinds of files, as the API, the command line and the policy name them.

use clap::ValueEnum;
use kazoo_storage::kazoo_id::AttachmentKind;

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum FileKind {
    Voicemail,
    CallRecording,
    Fax,
    /// Any other file, such as a greeting
    Other,
}

impl FileKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 4] = [Self::Voicemail, Self::CallRecording, Self::Fax, Self::Other];

    /// Returns the kind with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        self.attachment().map_or("other", AttachmentKind::as_str)
    }

    /// Returns the kind of the attachments, or `None` for other files.
    pub(crate) fn attachment(self) -> Option<AttachmentKind> {
        match self {
            Self::Voicemail => Some(AttachmentKind::Voicemail),
            Self::CallRecording => Some(AttachmentKind::CallRecording),
            Self::Fax => Some(AttachmentKind::Fax),
            Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_the_names_of_the_api() {
        for kind in FileKind::ALL {
            assert_eq!(FileKind::from_name(kind.name()), Some(kind));
            assert_eq!(kind.to_possible_value().unwrap().get_name(), kind.name());
        }
        assert_eq!(FileKind::value_variants(), FileKind::ALL);
    }
}
