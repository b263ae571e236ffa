use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// The bodies that [`DecodeBase64`] decodes.
///
/// In every mode, a part whose `content-transfer-encoding` is `base64` is decoded, and a part that declares `7bit`,
/// `8bit` or `binary` is stored as is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base64 {
    /// No other bodies.
    Off,
    /// The media part of a multipart body if it is [certainly base64](crate::decode_base64), which no raw recording is.
    /// If unsure, the layer does not change the bytes.
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
    pub(super) mode: Base64,
}

impl DecodeBase64 {
    /// Decodes the bodies that `mode` says are base64.
    #[must_use]
    pub fn new(mode: Base64) -> Self {
        Self { mode }
    }
}

impl<S> Layer<S> for DecodeBase64 {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(*self, inner)
    }
}
