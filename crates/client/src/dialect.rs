//! [`Dialect`]: what sets one span of KAZOO's releases apart from the others on the wire.

/// How the releases of one span speak: a value, so that what differs between them stands in one table.
///
/// | | `D0` | `D1` | `D1b` | `D2` | `D3` | `OpenKazoo` |
/// | --- | --- | --- | --- | --- | --- | --- |
/// | releases | 4.0 to 4.3.16 | 4.3.17 to 4.3.20 | none | 4.3.21 to 4.3.105 | 4.3.106 and later | `OpenKazoo` |
/// | `send_multipart` | ignored | `multipart/mixed`, no boundary parameter | `multipart/mixed` | `multipart/form-data` | `multipart/form-data` | `multipart/form-data` |
/// | headers of a part | | `content-type` | `content-type` | `content-disposition`, `content-type` | the same | the same |
/// | `base64_encode_data` | ignored | ignored | ignored | the media part | the media part | the media part |
/// | header `content_type` beside `content-type` | yes | yes | yes | yes | no | no |
/// | a space in a name | `%20` | `%20` | `%20` | `%20` | `%20` | `+` |
/// | a name outside of ASCII | as it is | as it is | as it is | as it is | as it is | escaped |
/// | fetch | the stored URL | the stored URL | the stored URL | the stored URL | the stored URL, the name again, the metadata | the same |
/// | `[` and `]` in the query of a fetch | | | | | as they are | escaped |
/// | credentials of the URL on a fetch | as written | as written | as written | as written | mangled | mangled |
/// | crashes on `http://token@host/` | no | no | no | from 4.3.77 | yes | yes |
/// | probe compares what comes back | no | yes | yes | yes | yes | yes |
///
/// 4.0 itself fetches nothing: it crashes on every answer, whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Dialect {
    /// A short name, such as `D3`.
    pub name: &'static str,
    /// The releases that speak so, in words, such as `4.0 to 4.3.16`.
    pub releases: &'static str,
    /// What a body is with `send_multipart`.
    pub multipart: Multipart,
    /// Whether `base64_encode_data` has the media part of a multipart body encoded. A raw body never is.
    pub encodes_base64: bool,
    /// The escaping of a part of a name.
    pub escaping: Escaping,
    /// `true` if `[` and `]`, which mark lists and objects in the query of a fetch, are escaped.
    pub escapes_brackets: bool,
    /// `true` for KAZOO on the HTTP client of Erlang since OTP 22. It [normalizes](crate::normalize_path) a URL before
    /// it sends the request, and sends nothing if the URL has characters that must be escaped. Any release may run on
    /// it. The dialects here were captured on the older client, except for [`OPEN_KAZOO`](Self::OPEN_KAZOO), which
    /// needs OTP 27.
    pub normalizes_url: bool,
    /// Whether an upload has its `content-type` a second time, as a header named `content_type`.
    pub repeats_content_type: bool,
    /// What is fetched.
    pub fetch: FetchTarget,
    /// Whether a fetch loses the first `:` of the URL, unless digits follow: `user:secret` is shown as the user `usersecret`
    /// without a password, `user:007secret` as `user:7secret`, and an IPv6 address is none any more.
    pub mangles_credentials: bool,
    /// Whether KAZOO crashes on a URL with a user, no password and no port, such as `http://token@host/`.
    pub needs_port: bool,
    /// Whether the credentials probe fails if other bytes come back than were stored.
    pub compares_probe: bool,
}

/// What a multipart upload looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multipart {
    /// There is none: the body is raw in spite of `send_multipart`.
    Never,
    /// `multipart/mixed`, and only the body's first line says what the boundary is.
    MixedWithoutBoundary,
    /// `multipart/mixed; boundary=…`
    Mixed,
    /// `multipart/form-data; boundary=…`, each part with a name that is neither quoted nor escaped.
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

/// What a fetch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchTarget {
    /// The URL it was stored at.
    Stored,
    /// That URL with the name, as the settings of today make it, appended again, and the metadata as a query.
    StoredAndName,
    /// The URL of the settings with the name, and the metadata as a query.
    SettingsAndName,
}

impl Dialect {
    /// 4.0 to 4.3.16.
    pub const D0: Self = Self {
        name: "D0",
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
    pub const D1: Self = Self {
        name: "D1",
        releases: "4.3.17 to 4.3.20",
        multipart: Multipart::MixedWithoutBoundary,
        compares_probe: true,
        ..Self::D0
    };

    /// In no release: KAZOO as it was developed between [`D1`](Self::D1) and [`D2`](Self::D2).
    pub const D1B: Self = Self {
        name: "D1b",
        releases: "development between 4.3.20 and 4.3.21",
        multipart: Multipart::Mixed,
        ..Self::D1
    };

    /// [`D1B`](Self::D1B) a little later, with `base64_encode_data`.
    pub const D1B_BASE64: Self = Self {
        encodes_base64: true,
        ..Self::D1B
    };

    /// 4.3.21 to 4.3.105.
    pub const D2: Self = Self {
        name: "D2",
        releases: "4.3.21 to 4.3.105",
        multipart: Multipart::FormData,
        encodes_base64: true,
        needs_port: true,
        ..Self::D1
    };

    /// 4.3.106 and later.
    pub const D3: Self = Self {
        name: "D3",
        releases: "4.3.106 and later",
        repeats_content_type: false,
        fetch: FetchTarget::StoredAndName,
        mangles_credentials: true,
        ..Self::D2
    };

    /// [`D3`](Self::D3) with a change that was proposed and is in no release, which some sites may run.
    pub const D3_PATCHED: Self = Self {
        name: "D3patched",
        releases: "4.3.106 and later, with an unreleased change",
        fetch: FetchTarget::SettingsAndName,
        ..Self::D3
    };

    /// `OpenKazoo`, which continues KAZOO 4.3: [`D3`](Self::D3) with names escaped as in a form.
    ///
    /// Taken from its source, not captured. One stored version of the source escapes names as [`D3`](Self::D3) does.
    pub const OPEN_KAZOO: Self = Self {
        name: "OpenKazoo",
        releases: "OpenKazoo",
        escaping: Escaping::Form,
        escapes_brackets: true,
        normalizes_url: true,
        ..Self::D3
    };

    /// One of each, oldest first; [`D1B_BASE64`](Self::D1B_BASE64) and [`D3_PATCHED`](Self::D3_PATCHED), which are in no
    /// release and have nothing of their own but that, are not among them.
    pub const ALL: &[Self] = &[Self::D0, Self::D1, Self::D1B, Self::D2, Self::D3, Self::OPEN_KAZOO];
}
