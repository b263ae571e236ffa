//! Decodes a base64 body before it is stored.
//!
//! With `base64_encode_data` KAZOO encodes the media part of a multipart body, marks it in no way, and does not decode
//! when it fetches the file. So the receiver has to: [`DecodeBase64`] turns the encoded body into the media, streaming,
//! and drops `content-length`. Any other request passes unchanged. How it tells is [`Base64`]:
//!
//! | mode | media part of a multipart body | plain body |
//! | --- | --- | --- |
//! | [`Detect`](Base64::Detect) (default) | decoded if it looks like base64 and its type says it should not | as it came |
//! | [`Declared`](Base64::Declared) | decoded, and 400 if it is not base64 | decoded if its first 1024 bytes are base64 |
//! | [`Off`](Base64::Off) | as it came | as it came |
//!
//! *Detect* looks at the first 1024 bytes. A media part whose type is not textual (audio, image, video, PDF,
//! octet-stream, …) is decoded if they are nothing but base64; a textual one (`text/*`, JSON, XML) only if it decodes
//! to the content of a credentials [`Probe`](crate::Probe). What *Detect* cannot tell: a file with a type that is not
//! textual and that really is base64 text is decoded, and an encoded text file is kept encoded. Where either occurs,
//! say `Declared` or `Off`.
//!
//! Once a body is taken for base64, a byte that is none ends it with an error naming the offset, and nothing is stored.
//! At most one chunk of 64 KiB and its decoded form, twice, are held.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::BodyExt;
//! use kazoo_storage::{Base64, Body, DecodeBase64, MediaPart};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let service = ServiceBuilder::new().layer(DecodeBase64::new(Base64::Detect)).service(service_fn(
//!     async |request: Request<Body>| {
//!         assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "hello, world");
//!         Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
//!     },
//! ));
//! let request = Request::put("/ACC/DOC/ATT.mp3")
//!     .header("content-type", "audio/mpeg")
//!     .extension(MediaPart)
//!     .body(Body::from("aGVsbG8sIHdvcmxk"))
//!     .unwrap();
//! assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
//! # });
//! ```

mod body;
mod decoder;
mod detect;
mod layer;
mod service;

pub use self::{
    layer::{Base64, DecodeBase64},
    service::DecodeBase64Service,
};
