//! [`Dialect`]: the differences between KAZOO's releases on the wire.

/// The requests of a range of KAZOO releases.
///
/// The captures of a dialect are in `tests/fixtures/kazoo`, with the prefix in the second row.
///
/// | | `KAZOO_4_0` | `KAZOO_4_3_17` | `KAZOO_4_3_21` | `KAZOO_4_3_106` | `OPEN_KAZOO` |
/// | --- | --- | --- | --- | --- | --- |
/// | captures | `D0` | `D1` | `D2` | `D3` | `OpenKazoo` |
/// | releases | 4.0 to 4.3.16 | 4.3.17 to 4.3.20 | 4.3.21 to 4.3.105 | 4.3.106 and later | `OpenKazoo` |
/// | `send_multipart` | ignored | `multipart/mixed`, no boundary parameter | `multipart/form-data` | the same | the same |
/// | headers of a part | | `content-type` | `content-disposition`, `content-type` | the same | the same |
/// | `base64_encode_data` | ignored | ignored | the media part | the media part | the media part |
/// | header `content_type` beside `content-type` | yes | yes | yes | no | no |
/// | a space in a name | `%20` | `%20` | `%20` | `%20` | `+` |
/// | a name outside ASCII | unchanged | unchanged | unchanged | unchanged | escaped |
/// | fetch | the stored URL | the stored URL | the stored URL | the stored URL, the name again, the metadata | the same |
/// | `[` and `]` in the query of a fetch | | | | unchanged | escaped |
/// | credentials of the URL on a fetch | as written | as written | as written | mangled | mangled |
/// | crashes on `http://token@host/` | no | no | from 4.3.77 | yes | yes |
/// | probe compares the fetched content | no | yes | yes | yes | yes |
///
/// 4.0 itself fetches nothing: it crashes on every response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact")]
pub struct Dialect {
    /// A short name, such as `kazoo-4.3.106`.
    pub name: &'static str,
    /// The releases, in words, such as `4.0 to 4.3.16`.
    pub releases: &'static str,
    /// The body of an upload with `send_multipart`.
    pub multipart: Multipart,
    /// `true` if `base64_encode_data` encodes the media part of a multipart body. A raw body is never encoded.
    pub encodes_base64: bool,
    /// The escaping of a part of a name.
    pub escaping: Escaping,
    /// `true` if `[` and `]`, which mark lists and objects in the query of a fetch, are escaped.
    pub escapes_brackets: bool,
    /// `true` for KAZOO on the HTTP client of Erlang since OTP 22. It [normalizes](kazoo_storage::normalize::normalize_path) a URL before
    /// it sends the request, and sends nothing if the URL has characters that must be escaped. Any release may run on
    /// it. The dialects here were captured on the older client, except for [`OPEN_KAZOO`](Self::OPEN_KAZOO), which
    /// needs OTP 27.
    pub normalizes_url: bool,
    /// `true` if an upload repeats its `content-type` in a header named `content_type`.
    pub repeats_content_type: bool,
    /// The target of a fetch.
    pub fetch: FetchTarget,
    /// `true` if a fetch loses the first `:` of the URL unless digits follow: `user:secret` becomes the user `usersecret`
    /// without a password, `user:007secret` becomes `user:7secret`, and an IPv6 address is no longer one.
    pub mangles_credentials: bool,
    /// `true` if KAZOO crashes on a URL with a user, no password and no port, such as `http://token@host/`.
    pub needs_port: bool,
    /// `true` if the credentials probe fails when the fetched content differs from the stored content.
    pub compares_probe: bool,
}

/// The body of a multipart upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multipart {
    /// The body is raw in spite of `send_multipart`.
    Never,
    /// `multipart/mixed`; only the first line of the body contains the boundary.
    MixedWithoutBoundary,
    /// `multipart/mixed; boundary=…`
    Mixed,
    /// `multipart/form-data; boundary=…`, with names that are neither quoted nor escaped.
    FormData,
}

/// The escaping of a part of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Escaping {
    /// Escapes only characters with a meaning in a URL: a space is `%20`, a `+` is `%2B`. Nothing outside ASCII is
    /// escaped.
    Uri,
    /// Escapes everything but letters, digits and `-._~`: a space is `+`, and a `+` is `%2B`.
    Form,
}

/// The target of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchTarget {
    /// The URL at which the file was stored.
    Stored,
    /// The URL at which the file was stored, the name by the current settings appended again, and the metadata as a query.
    StoredAndName,
    /// The URL of the settings, the name, and the metadata as a query.
    SettingsAndName,
}

impl Dialect {
    /// 4.0 to 4.3.16.
    pub const KAZOO_4_0: Self = Self {
        name: "kazoo-4.0",
        releases: "4.0 to 4.3.16",
        multipart: Multipart::Never,
        encodes_base64: false,
        escaping: Escaping::Uri,
        escapes_brackets: false,
        normalizes_url: false,
        repeats_content_type: true,
        fetch: FetchTarget::Stored,
        mangles_credentials: false,
        needs_port: false,
        compares_probe: false,
    };

    /// 4.3.17 to 4.3.20.
    pub const KAZOO_4_3_17: Self = Self {
        name: "kazoo-4.3.17",
        releases: "4.3.17 to 4.3.20",
        multipart: Multipart::MixedWithoutBoundary,
        compares_probe: true,
        ..Self::KAZOO_4_0
    };

    /// Unreleased: the development between 4.3.20 and 4.3.21. Captures have the prefix `D1b`.
    pub const KAZOO_4_3_20_DEV: Self = Self {
        name: "kazoo-4.3.20-dev",
        releases: "development between 4.3.20 and 4.3.21",
        multipart: Multipart::Mixed,
        ..Self::KAZOO_4_3_17
    };

    /// Unreleased: [`KAZOO_4_3_20_DEV`](Self::KAZOO_4_3_20_DEV) a little later, with `base64_encode_data`.
    pub const KAZOO_4_3_20_DEV_BASE64: Self = Self {
        name: "kazoo-4.3.20-dev-base64",
        encodes_base64: true,
        ..Self::KAZOO_4_3_20_DEV
    };

    /// 4.3.21 to 4.3.105.
    pub const KAZOO_4_3_21: Self = Self {
        name: "kazoo-4.3.21",
        releases: "4.3.21 to 4.3.105",
        multipart: Multipart::FormData,
        encodes_base64: true,
        needs_port: true,
        ..Self::KAZOO_4_3_17
    };

    /// 4.3.106 and later.
    pub const KAZOO_4_3_106: Self = Self {
        name: "kazoo-4.3.106",
        releases: "4.3.106 and later",
        repeats_content_type: false,
        fetch: FetchTarget::StoredAndName,
        mangles_credentials: true,
        ..Self::KAZOO_4_3_21
    };

    /// Unreleased: [`KAZOO_4_3_106`](Self::KAZOO_4_3_106) with a proposed change that some sites may run. Captures have the
    /// prefix `D3patched`.
    pub const KAZOO_4_3_106_PATCHED: Self = Self {
        name: "kazoo-4.3.106-patched",
        releases: "4.3.106 and later, with an unreleased change",
        fetch: FetchTarget::SettingsAndName,
        ..Self::KAZOO_4_3_106
    };

    /// `OpenKazoo`, which continues KAZOO 4.3: [`KAZOO_4_3_106`](Self::KAZOO_4_3_106) with names escaped as in a form.
    ///
    /// Derived from its source, not captured. One stored version of the source escapes names as
    /// [`KAZOO_4_3_106`](Self::KAZOO_4_3_106) does.
    pub const OPEN_KAZOO: Self = Self {
        name: "openkazoo",
        releases: "OpenKazoo",
        escaping: Escaping::Form,
        escapes_brackets: true,
        normalizes_url: true,
        ..Self::KAZOO_4_3_106
    };

    /// The dialects of releases, oldest first.
    pub const ALL: &[Self] = &[
        Self::KAZOO_4_0,
        Self::KAZOO_4_3_17,
        Self::KAZOO_4_3_21,
        Self::KAZOO_4_3_106,
        Self::OPEN_KAZOO,
    ];

    /// The dialects that are in no release.
    pub const UNRELEASED: &[Self] = &[
        Self::KAZOO_4_3_20_DEV,
        Self::KAZOO_4_3_20_DEV_BASE64,
        Self::KAZOO_4_3_106_PATCHED,
    ];
}
