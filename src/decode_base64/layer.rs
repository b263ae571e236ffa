use tower_layer::Layer;

use super::DecodeBase64Service;

/// The bodies that [`DecodeBase64`] takes for base64.
///
/// In every mode a part whose `content-transfer-encoding` is `base64` is decoded, and one that declares `7bit`, `8bit` or
/// `binary` is stored as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base64 {
    /// No others.
    Off,
    /// The media part of a multipart body if it is [certainly base64](crate::decode_base64). No raw recording is; when in
    /// doubt the bytes are kept.
    #[default]
    Detect,
    /// The media part of a multipart body, which must be base64: the storage settings have `base64_encode_data`.
    Declared,
}

/// Layer that decodes base64 bodies.
///
/// See the [module](crate::decode_base64).
#[derive(Clone, Copy, Debug, Default)]
pub struct DecodeBase64 {
    mode: Base64,
}

impl DecodeBase64 {
    /// Decodes the bodies that `mode` says are base64.
    #[must_use]
    pub fn new(mode: Base64) -> Self {
        Self { mode }
    }
}

impl<S> Layer<S> for DecodeBase64 {
    type Service = DecodeBase64Service<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DecodeBase64Service { inner, mode: self.mode }
    }
}
