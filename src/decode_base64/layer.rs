use tower_layer::Layer;

use super::DecodeBase64Service;

/// How a base64 body is told from a plain one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base64 {
    /// Nothing is decoded.
    Off,
    /// The media part of a multipart body is decoded if it is base64 beyond doubt.
    #[default]
    Detect,
    /// The storage settings have `base64_encode_data`: the media part of a multipart body has to be base64.
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
