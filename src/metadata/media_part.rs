//! [`MediaPart`]: marks the media of a multipart body.

use crate::encoding::TransferEncoding;

/// Request extension: the body is the media part of a multipart body.
///
/// KAZOO's `base64_encode_data` encodes only this part, and does not declare it. [`DecodeBase64`](crate::DecodeBase64)
/// detects base64 only in bodies with this extension, and honors the `content-transfer-encoding` of the part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MediaPart {
    /// `content-transfer-encoding` of the part. No release of KAZOO sends it.
    pub transfer_encoding: Option<TransferEncoding>,
}

impl MediaPart {
    /// Creates the extension for a part with this `content-transfer-encoding`, or without one.
    #[must_use]
    pub fn new(transfer_encoding: impl Into<Option<TransferEncoding>>) -> Self {
        Self {
            transfer_encoding: transfer_encoding.into(),
        }
    }
}
