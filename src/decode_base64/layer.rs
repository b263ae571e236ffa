use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// The bodies that [`DecodeBase64`] decodes.
///
/// In every mode, a part whose `content-transfer-encoding` is `base64` is decoded, and a part that declares `7bit`,
/// `8bit` or `binary` is stored as is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base64 {
    /// Only a part that declares `content-transfer-encoding: base64`.
    Off,
    /// The media part of a multipart body if it is [certainly base64](DecodeBase64). If unsure, the layer does not
    /// change the bytes: base64 that is broken in its first 1024 bytes passes as the content.
    #[default]
    Detect,
    /// The media part of a multipart body, which must be base64, or the upload is refused: the storage settings have
    /// `base64_encode_data`.
    Declared,
}

/// Layer that decodes a base64 body before it is stored.
///
/// With `base64_encode_data`, KAZOO encodes the media part of a multipart body without declaring it, and does not
/// decode the file when it fetches it. The receiver therefore has to: [`DecodeBase64`] decodes the body as it streams,
/// and removes `content-length`. Other requests pass unchanged. [`Base64`] selects the mode:
///
/// | mode | media part of a multipart body | plain body |
/// | --- | --- | --- |
/// | [`Detect`](Base64::Detect) (default) | decoded if it is certainly base64. Base64 that is broken in its first 1024 bytes is not, and passes unchanged as the content | unchanged |
/// | [`Declared`](Base64::Declared) | decoded, and 400 if it is not base64 | decoded if it is certainly base64 |
/// | [`Off`](Base64::Off) | unchanged | unchanged |
///
/// A `content-transfer-encoding` of the part (see [`MediaPart`](crate::metadata::MediaPart)) takes precedence in every
/// mode: `base64` is decoded, including line breaks, or rejected with 400; `7bit`, `8bit` and `binary` are stored as
/// is. KAZOO never sends it.
///
/// A body is *certainly base64* if its first 1024 bytes contain nothing but base64, and
///
/// - they decode to the signature of a file format: ID3, RIFF/WAVE, Ogg, FLAC, MP4, AMR, CAF, TIFF, PDF, PNG, JPEG, …;
///   or
/// - the media type is audio, image, video or PDF, and either they decode to an MPEG frame, or there are at least 256
///   bytes with 40 different letters; or
/// - they decode to the content of a credentials [`Probe`](crate::probe::Probe).
///
/// A test measures these rules on 4182 raw recordings, and none is decoded.
///
/// If the type is textual (`text/*`, JSON, XML), only the probe is decoded. If unsure, the layer does not change the
/// bytes: an encoded file can still be decoded later, but an altered file is lost. So *Detect* stores as base64 an
/// encoded text, a short encoded file of no known format, and an encoded raw recording; `Declared` decodes them all.
/// *Detect* decodes a file that is itself the base64 text of a media file unless its type is textual; `Off` stores it
/// as is.
///
/// While a body is decoded, a byte that is not base64 ends it with an error that names the offset, and nothing is
/// stored. To refuse every multipart upload whose media is broken base64, use `Declared`.
///
/// The layer holds at most one chunk of 64 KiB and two decoded chunks.
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::BodyExt;
/// use kazoo_storage::{Base64, Body, DecodeBase64, metadata::MediaPart};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new().layer(DecodeBase64::new(Base64::Detect)).service(service_fn(
///     async |request: Request<Body>| {
///         assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "%PDF-1.4");
///         Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
///     },
/// ));
/// let request = Request::put("/ACC/DOC/ATT.pdf")
///     .header("content-type", "application/pdf")
///     .extension(MediaPart::default())
///     .body(Body::from("JVBERi0xLjQ="))
///     .unwrap();
/// assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
/// # });
/// ```
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
