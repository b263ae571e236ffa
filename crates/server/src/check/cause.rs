//! [`Cause`]: the problems that a check can find, as a table with descriptions and fixes.

/// A cause of a failure or a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Cause {
    InvalidSettings,
    UnusedSettings,
    SettingsWarning,
    HostNotFound,
    ConnectionRefused,
    LoopbackName,
    UntrustedCertificate,
    ExpiredCertificate,
    CertificateNameMismatch,
    TlsHandshakeFailed,
    RequestNotSent,
    ConnectionClosed,
    ResponseTooLong,
    TimedOut,
    EndlessRetry,
    IdleTimeoutTooShort,
    WrongCredentials,
    ProxyCredentials,
    MangledCredentials,
    WrongPath,
    OtherServer,
    MethodNotAllowed,
    MaxBody,
    ProxyBodyLimit,
    StorageFull,
    BadGateway,
    ServerError,
    NoOverwrite,
    RedirectedPut,
    RedirectedPost,
    UnsupportedRedirect,
    UnknownStatus,
    FetchNot200,
    Base64Expected,
    Base64NotDecoded,
    MultipartNotParsed,
    MultipartRefused,
    Compressed,
    HtmlPage,
    EmptyResponse,
    UploadAltered,
    Truncated,
    Stale,
    Altered,
    DoubledPathNotFound,
    QueryLost,
    NormalizedUrlFails,
    EscapedName,
    NonAsciiName,
    EmptyFile,
    LargeFile,
    NotStored,
    MissingFileFound,
    MissingNot404,
    Refused,
}

/// The id, the description and the fix of a cause.
#[derive(Debug)]
pub(crate) struct Entry {
    /// A short machine-readable name.
    pub(crate) id: &'static str,
    /// The problem.
    pub(crate) problem: &'static str,
    /// The fix.
    pub(crate) fix: &'static str,
}

/// The severity of a cause, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The server could not be reached, so nothing was tried.
    Unreachable,
    /// Something that KAZOO needs does not work.
    Failure,
    Warning,
}

impl Severity {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Failure => "failure",
            Self::Warning => "warning",
        }
    }
}

impl Cause {
    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::HostNotFound
            | Self::ConnectionRefused
            | Self::LoopbackName
            | Self::UntrustedCertificate
            | Self::ExpiredCertificate
            | Self::CertificateNameMismatch
            | Self::TlsHandshakeFailed => Severity::Unreachable,
            Self::SettingsWarning | Self::RedirectedPut | Self::MissingNot404 => Severity::Warning,
            _ => Severity::Failure,
        }
    }

    /// Returns `true` if the cause lies in the form of the body, which the settings determine. Other forms may still work.
    pub(crate) fn depends_on_body_form(self) -> bool {
        matches!(
            self,
            Self::Base64Expected | Self::Base64NotDecoded | Self::MultipartNotParsed | Self::MultipartRefused
        )
    }

    #[rustfmt::skip]
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(crate) fn entry(self) -> Entry {
        let (id, problem, fix) = match self {
            Self::InvalidSettings => ("invalid_settings", "KAZOO cannot use these settings",
                "correct the settings as described"),
            Self::UnusedSettings => ("unused_settings", "KAZOO stores nothing with this document",
                "correct the `plan` of the document (`kazoo-storage plan` prints one), and PUT the document to KAZOO again"),
            Self::SettingsWarning => ("settings_warning", "these settings may cause failures",
                "correct the settings as described"),
            Self::HostNotFound => ("host_not_found", "the host of the URL has no address",
                "correct the host in the URL of the settings, or the DNS of KAZOO's machines"),
            Self::ConnectionRefused => ("connection_refused", "the connection was refused or timed out",
                "start the server, and have it listen on an address that KAZOO reaches (`serve --listen`, 127.0.0.1:8080 by default); open the firewall; correct the host and the port in the URL"),
            Self::LoopbackName => ("loopback_name", "the connection was refused, and on this machine the name in the URL resolves to the machine itself",
                "correct `/etc/hosts` if it maps the name to a loopback address and the server listens on another one; start the server; run the check on one of KAZOO's machines, where the name must resolve to the server"),
            Self::UntrustedCertificate => ("untrusted_certificate", "the certificate was issued by an authority that is not trusted here",
                "pass the authority's certificate with `--ca`, and make KAZOO's machines trust it; or pass `--tls-cert` the whole chain, including intermediate certificates; create a self-signed server certificate with `CA:FALSE`"),
            Self::ExpiredCertificate => ("expired_certificate", "the certificate has expired or is not valid yet",
                "renew the certificate (`serve` reloads it on SIGHUP); set the clock"),
            Self::CertificateNameMismatch => ("certificate_name_mismatch", "the certificate is not valid for the host of the URL",
                "use a name of the certificate in the URL, or issue a certificate for this host"),
            Self::TlsHandshakeFailed => ("tls_handshake_failed", "the TLS handshake failed",
                "use `http://` if the server has no TLS on this port; otherwise set `--tls-cert` and `--tls-key` of `serve`, or the proxy's TLS"),
            Self::RequestNotSent => ("request_not_sent", "KAZOO sends no request with these settings",
                "correct the URL in the settings: percent-encode characters that no URL can hold, and write the port after a user without a password"),
            Self::ConnectionClosed => ("connection_closed", "the connection was closed without a response",
                "see the logs of the server and the proxy; if the server expects TLS on this port, use `https://`"),
            Self::ResponseTooLong => ("response_too_long", "the response is far longer than the stored file, or endless",
                "correct the proxy's rule for this path, or the host, the port and the path of the URL: a different server answers"),
            Self::TimedOut => ("timed_out", "the response did not arrive in time; KAZOO waits indefinitely",
                "find out what the server or the proxy waits for; if it is only slow, raise `--timeout`"),
            Self::EndlessRetry => ("endless_retry", "the server keeps answering 503 with `Retry-After`; KAZOO retries indefinitely, and its caller waits",
                "see the server's log for the limit or the storage failure behind it (`--max-requests`, `--max-connections-per-address`)"),
            Self::IdleTimeoutTooShort => ("idle_timeout_too_short", "idle connections are closed before KAZOO closes them; an upload sent at that moment is lost",
                "keep idle connections for more than 120 seconds: `keepalive_timeout 150s` in nginx, `timeout http-keep-alive 150s` in HAProxy, `serve --idle-timeout`"),
            Self::WrongCredentials => ("wrong_credentials", "the server rejects the credentials in the URL",
                "correct the user and the password, or the token, in the URL of the settings; or correct `serve --access`: it must list them with `\"may\"`, `accounts` and `folders` that allow this, and the client's address in `networks` (behind a proxy, with `trusted_proxies`)"),
            Self::ProxyCredentials => ("proxy_credentials", "a proxy or another server asks for credentials or denies access",
                "make the proxy forward requests for this path without authentication, and control access with `serve --access`"),
            Self::MangledCredentials => ("mangled_credentials", "the credentials work for a store but not for a fetch, for which KAZOO since 4.3.106 sends them without the `:`",
                "use a token as a segment of the path, or let kazoo-storage check the credentials: it accepts both spellings"),
            Self::WrongPath => ("wrong_path", "the storage is not mounted at the path of the URL",
                "correct the path of the URL in the settings, or `serve --mount`; behind a proxy, check how it rewrites the path"),
            Self::OtherServer => ("other_server", "a proxy or another server answers instead of the storage",
                "correct the proxy's rule for this path, or the host, the port and the path of the URL"),
            Self::MethodNotAllowed => ("method_not_allowed", "the server does not accept this HTTP method",
                "make the proxy and the server accept PUT and POST for this path, or set another `verb`"),
            Self::MaxBody => ("max_body", "the file exceeds the server's size limit",
                "raise `serve --max-body` (and `--max-metadata`)"),
            Self::ProxyBodyLimit => ("proxy_body_limit", "the file exceeds the size limit of the proxy in front of the server",
                "set `client_max_body_size 0` in nginx, `LimitRequestBody 0` in Apache, or the equivalent of your proxy"),
            Self::StorageFull => ("storage_full", "the server has no space left for files",
                "free space on the disk of `serve --store`, or raise the quota"),
            Self::BadGateway => ("bad_gateway", "the proxy cannot reach the server",
                "start the server; correct its address in the proxy (`proxy_pass`) and the proxy's timeouts"),
            Self::ServerError => ("server_error", "the server or the proxy in front of it failed",
                "see the log of the one named in the response"),
            Self::NoOverwrite => ("no_overwrite", "the server refuses to replace an existing file, but KAZOO sends a file again if it missed the response",
                "make the server replace the file"),
            Self::RedirectedPut => ("redirected_put", "a PUT is redirected: KAZOO sends everything twice, and keeps the URL of the redirect",
                "use the URL of the redirect in the settings, such as `https://` instead of `http://`"),
            Self::RedirectedPost => ("redirected_post", "a POST is redirected: it becomes a GET without the file, KAZOO regards its success as stored, and the file is lost",
                "use the URL of the redirect in the settings, such as `https://` instead of `http://`; do not redirect uploads in the proxy"),
            Self::UnsupportedRedirect => ("unsupported_redirect", "the response is a redirect that KAZOO cannot follow",
                "use the URL of the redirect in the settings; do not redirect uploads in the proxy"),
            Self::UnknownStatus => ("unknown_status", "KAZOO crashes on the status of the response, which its client does not know",
                "make the server or the proxy use another status, such as 400 or 503"),
            Self::FetchNot200 => ("fetch_not_200", "the response to a fetch has a success status other than 200, on which KAZOO crashes",
                "make the server answer 200 with the whole file; a proxy must not add `Range` or conditions"),
            Self::Base64Expected => ("base64_expected", "the server expects base64, but KAZOO sends none",
                "set `base64_encode_data`, or make the server accept both: `serve --base64 detect`"),
            Self::Base64NotDecoded => ("base64_not_decoded", "the server does not decode the base64 that KAZOO sends, so KAZOO fetches it encoded",
                "remove `base64_encode_data` from the settings, or make the server decode it: `serve --base64 detect`"),
            Self::MultipartNotParsed => ("multipart_not_parsed", "the server stores the multipart body unparsed, so KAZOO fetches the whole body instead of the file",
                "remove `send_multipart` from the settings, or use kazoo-storage instead of this server: it extracts the file"),
            Self::MultipartRefused => ("multipart_refused", "the server refuses multipart bodies",
                "make the server accept them, or remove `send_multipart` from the settings"),
            Self::Compressed => ("compressed", "the response is compressed, but KAZOO does not decompress it",
                "disable compression for this path in the proxy (`gzip off`): KAZOO does not request it"),
            Self::HtmlPage => ("html_page", "the response to a fetch is a page with status 200, not the file",
                "correct the proxy's rule for this path: the storage itself must answer, and a missing file must not produce a page"),
            Self::EmptyResponse => ("empty_response", "the fetched file is empty: its content did not arrive or was not stored",
                "make the proxy forward the bodies of PUT and POST; correct the path of the URL if a proxy answers 200 to unknown paths, as Caddy does"),
            Self::UploadAltered => ("upload_altered", "the content of a file does not arrive as sent",
                "make the proxy forward the bodies of PUT and POST unchanged; check everything in front of the server"),
            Self::Truncated => ("truncated", "the fetched file is truncated",
                "see the logs of the server and the proxy, and the proxy's limits for responses and buffers"),
            Self::Stale => ("stale", "a fetch returns an older file than the one stored last under its name",
                "disable caching for this path in the proxy; the server must replace a file that is stored again"),
            Self::Altered => ("altered", "the fetched content differs from the stored content",
                "exclude this path from anything that changes bodies"),
            Self::DoubledPathNotFound => ("doubled_path_not_found", "the file is found at its own path, but not where KAZOO since 4.3.106 fetches it: at the path doubled, with the metadata as the query",
                "use kazoo-storage instead of this server: it knows the doubled path; or make the proxy forward path and query unchanged"),
            Self::QueryLost => ("query_lost", "the file's name is in the query, which does not arrive or which the server does not read",
                "set `serve --key query=NAME` or `--key metadata=FIELD`, or `--settings` with the same document; make the proxy forward the query unchanged"),
            Self::NormalizedUrlFails => ("normalized_url_fails", "the URL works as written, but not normalized, as KAZOO on Erlang since OTP 22 sends it",
                "write the URL normalized: letters, digits and `-._~` unescaped, other escapes in upper case, no `.` and `..` between slashes; or make the server and the proxy accept both spellings"),
            Self::EscapedName => ("escaped_name", "names with `%2F`, `%25`, `%20` or `+` do not arrive unchanged",
                "make the proxy forward the path unchanged: `proxy_pass` without a path in nginx, `AllowEncodedSlashes NoDecode` and `nocanon` in Apache"),
            Self::NonAsciiName => ("non_ascii_name", "names outside ASCII do not arrive; KAZOO on Erlang before 22 does not escape them",
                "make the proxy accept bytes from 0x80 on in the path"),
            Self::EmptyFile => ("empty_file", "empty files are refused",
                "make the server and the proxy accept an empty body"),
            Self::LargeFile => ("large_file", "files above some length fail",
                "raise the limits and the timeouts of the proxy and the server for long bodies"),
            Self::NotStored => ("not_stored", "an acknowledged file is not there",
                "make the proxy send stores and fetches to the same storage; the server must store a file before it answers"),
            Self::MissingFileFound => ("missing_file_found", "a fetch of a file that was never stored succeeds",
                "correct the proxy's rule for this path: answer 404 for missing files, not a page"),
            Self::MissingNot404 => ("missing_not_404", "a fetch of a file that was never stored fails with a status other than 404",
                "make the server answer 404"),
            Self::Refused => ("refused", "the server refuses the request",
                "follow the response"),
        };
        Entry { id, problem, fix }
    }
}
