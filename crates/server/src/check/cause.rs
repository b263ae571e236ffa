//! [`Cause`]: what may be wrong with a storage, and what to change, as a table.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Cause {
    Settings,
    NoPlan,
    Warning,
    NoAddress,
    NobodyListens,
    OwnName,
    UnknownAuthority,
    ExpiredCertificate,
    OtherName,
    NoTls,
    NotSent,
    Closed,
    TooLong,
    TimedOut,
    ComesAgain,
    IdleClosed,
    WrongCredentials,
    ProxyCredentials,
    MangledCredentials,
    WrongPath,
    NotOurs,
    NoUploads,
    MaxBody,
    ProxyLimit,
    NoSpace,
    Gateway,
    ServerError,
    NoOverwrite,
    RedirectedPut,
    LostPost,
    RedirectCrash,
    UnknownStatus,
    OtherThan200,
    Base64Expected,
    Base64Kept,
    MultipartKept,
    NoMultipart,
    Compressed,
    Page,
    EmptyBack,
    NotWhole,
    Cut,
    Stale,
    Altered,
    NotDoubled,
    QueryLost,
    RewrittenUrl,
    EscapedName,
    UnescapedName,
    EmptyFile,
    LongFile,
    NotKept,
    FoundAnything,
    MissingNot404,
    Refused,
}

/// What is known of a cause.
#[derive(Debug)]
pub(crate) struct Entry {
    /// A short name, for machines.
    pub(crate) id: &'static str,
    /// What is wrong.
    pub(crate) is: &'static str,
    /// What to do about it.
    pub(crate) change: &'static str,
}

/// Whether something that KAZOO needs does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Nothing could be tried.
    Unreachable,
    Failure,
    Warning,
}

impl Cause {
    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::NoAddress
            | Self::NobodyListens
            | Self::OwnName
            | Self::UnknownAuthority
            | Self::ExpiredCertificate
            | Self::OtherName
            | Self::NoTls => Severity::Unreachable,
            Self::Warning | Self::RedirectedPut | Self::MissingNot404 => Severity::Warning,
            _ => Severity::Failure,
        }
    }

    /// Whether it lies in how the body is sent, which the settings say: what is sent in another form is none the worse.
    pub(crate) fn is_of_form(self) -> bool {
        matches!(
            self,
            Self::Base64Expected | Self::Base64Kept | Self::MultipartKept | Self::NoMultipart
        )
    }

    #[rustfmt::skip]
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(crate) fn entry(self) -> Entry {
        let (id, is, change) = match self {
            Self::Settings => ("settings", "KAZOO cannot use these settings",
                "the settings, as it says"),
            Self::NoPlan => ("no_plan", "KAZOO stores nothing by this document",
                "the `plan` of the document, as `kazoo-storage plan` prints it, and PUT the document to KAZOO again"),
            Self::Warning => ("warning", "with these settings something may fail",
                "the settings, as it says"),
            Self::NoAddress => ("no_address", "the host of the URL has no address",
                "the name in the URL of the settings, or the DNS that KAZOO's machines ask"),
            Self::NobodyListens => ("nobody_listens", "nothing takes the connection",
                "start the server; have it listen where KAZOO reaches it (`serve --listen`, which is 127.0.0.1:8080 by default); open the firewall; the host and the port in the URL"),
            Self::OwnName => ("own_name", "nothing takes the connection, and on this machine the name in the URL means the machine itself",
                "`/etc/hosts`, if it has the name with a loopback address and the server listens on another; start the server; try it from one of KAZOO's machines, where the name must be the server's"),
            Self::UnknownAuthority => ("unknown_authority", "the certificate is of an authority that is not trusted here",
                "give the authority's certificate with `--ca`, and have KAZOO's machines trust it; or `--tls-cert` with the whole chain, intermediate certificates too; a server's certificate that signs itself must be made with `CA:FALSE`"),
            Self::ExpiredCertificate => ("expired_certificate", "the certificate has expired, or is not valid yet",
                "renew the certificate (`serve` reads it again on SIGHUP); set the clock"),
            Self::OtherName => ("other_name", "the certificate is for another name than the host of the URL",
                "write the name of the certificate into the URL, or have one made for this name"),
            Self::NoTls => ("no_tls", "no TLS comes about",
                "write `http://` if the server speaks no TLS at this port; otherwise `--tls-cert` and `--tls-key` of `serve`, or the proxy's TLS"),
            Self::NotSent => ("not_sent", "KAZOO sends nothing with these settings",
                "the URL in the settings: percent-encode what no URL can hold, and write the port behind a user without a password"),
            Self::Closed => ("closed", "the connection is closed without an answer",
                "see the log of the server and of the proxy; if the server speaks TLS at this port, write `https://`"),
            Self::TooLong => ("too_long", "the answer does not end, or is far longer than what was stored",
                "the proxy's rule for this path, or the host, the port and the path of the URL: something else than the storage answers"),
            Self::TimedOut => ("timed_out", "no answer comes in time; KAZOO waits for ever",
                "see what the server or the proxy waits for; a longer `--timeout` if it is only slow"),
            Self::ComesAgain => ("comes_again", "the server asks to come again, without an end; KAZOO does, and its caller waits",
                "see the log of the server for what it has no place or no store for (`--max-requests`, `--max-connections-per-address`)"),
            Self::IdleClosed => ("idle_closed", "idle connections are closed before KAZOO closes them, and an upload that is sent just then is lost",
                "keep them for more than 120 seconds: `keepalive_timeout 150s` in nginx, `timeout http-keep-alive 150s` in HAProxy, `serve --idle-timeout`"),
            Self::WrongCredentials => ("wrong_credentials", "the server does not let in what the URL has as credentials",
                "the user and the password, or the token, in the URL of the settings; or `serve --access`, where they must be with `\"may\"` and `accounts` that cover this, and the address in `networks` (behind a proxy, with `trusted_proxies`)"),
            Self::ProxyCredentials => ("proxy_credentials", "something in front of the server, or another server, asks for credentials or refuses",
                "have the proxy pass requests for this path on without asking, and let `serve --access` say who is let in"),
            Self::MangledCredentials => ("mangled_credentials", "the credentials are right for a store and refused for a fetch, where KAZOO since 4.3.106 writes them without the `:`",
                "use a token as a segment of the path instead, or have kazoo-storage itself ask for the credentials: it knows the other spelling"),
            Self::WrongPath => ("wrong_path", "the path of the URL is not where the storage is",
                "the path of the URL in the settings, or `serve --mount`; behind a proxy, what it does to the path"),
            Self::NotOurs => ("not_ours", "something else than the storage answers there: a proxy, or another server",
                "the proxy's rule for this path, or the host, the port and the path of the URL"),
            Self::NoUploads => ("no_uploads", "the verb is not allowed there",
                "have the proxy or the server take PUT and POST for this path, or set another `verb`"),
            Self::MaxBody => ("max_body", "the file is longer than the server takes",
                "`serve --max-body` (and `--max-metadata`)"),
            Self::ProxyLimit => ("proxy_limit", "the file is longer than the proxy in front of the server takes",
                "`client_max_body_size 0` in nginx, `LimitRequestBody 0` in Apache, or what the proxy has for it"),
            Self::NoSpace => ("no_space", "there is no space left where the files are stored",
                "free space on the disk that `serve --store` names, or raise the quota"),
            Self::Gateway => ("gateway", "the proxy does not reach the server behind it",
                "start the server; the address of it in the proxy (`proxy_pass`); the proxy's timeouts"),
            Self::ServerError => ("server_error", "the server fails, or the proxy in front of it",
                "see the log of whichever answers, as it says"),
            Self::NoOverwrite => ("no_overwrite", "a file that is already there is refused, and KAZOO sends one again when it has missed the answer",
                "have the server replace it"),
            Self::RedirectedPut => ("redirected_put", "a PUT is redirected: KAZOO sends everything twice, and keeps the URL that it is sent to",
                "write the URL that it leads to into the settings, such as `https://` instead of `http://`"),
            Self::LostPost => ("lost_post", "a POST is redirected: it becomes a GET without the file, whose success KAZOO takes for stored, and the file is lost",
                "write the URL that it leads to into the settings, such as `https://` instead of `http://`; have the proxy redirect no uploads"),
            Self::RedirectCrash => ("redirect_crash", "the answer is a redirect that KAZOO cannot follow",
                "write the URL that it leads to into the settings; have the proxy redirect no uploads"),
            Self::UnknownStatus => ("unknown_status", "KAZOO crashes on the status of the answer, which its client does not know",
                "have the server or the proxy answer another one, such as 400 or 503"),
            Self::OtherThan200 => ("other_than_200", "a fetch is answered with another success than 200, and KAZOO crashes on that",
                "have the server answer 200 with the whole file; a proxy must not add a `Range` or conditions"),
            Self::Base64Expected => ("base64_expected", "the server expects base64, and KAZOO sends none",
                "set `base64_encode_data`, or have the server take both: `serve --base64 detect`"),
            Self::Base64Kept => ("base64_kept", "what KAZOO encodes in base64 is not decoded: it comes back encoded",
                "leave `base64_encode_data` out of the settings, or have the server decode it: `serve --base64 detect`"),
            Self::MultipartKept => ("multipart_kept", "the multipart body is stored as it came, and comes back with everything around the file",
                "leave `send_multipart` out of the settings; or put kazoo-storage where that server is: it takes the file out"),
            Self::NoMultipart => ("no_multipart", "a multipart body is refused",
                "have the server take it, or leave `send_multipart` out of the settings"),
            Self::Compressed => ("compressed", "the answer is compressed, which KAZOO does not undo",
                "have the proxy compress nothing for this path (`gzip off`): KAZOO does not ask for it"),
            Self::Page => ("page", "a page comes back instead of the file, with status 200",
                "the proxy's rule for this path: the storage itself must answer; no page for what is not found"),
            Self::EmptyBack => ("empty_back", "the file comes back empty: its bytes do not arrive, or nothing is stored of them",
                "have the proxy pass on the bodies of PUT and POST; the path of the URL, if something in front answers 200 to whatever it does not know, as Caddy does"),
            Self::NotWhole => ("not_whole", "the bytes of a file do not arrive as they are sent, or not at all",
                "have the proxy pass on the bodies of PUT and POST as they are; see what stands in front of the server"),
            Self::Cut => ("cut", "the file comes back cut off",
                "see the log of the server and of the proxy, and the proxy's limits for answers and buffers"),
            Self::Stale => ("stale", "an older file comes back than the one that was stored last under that name",
                "have the proxy cache nothing for this path; the server must replace a file that is stored again"),
            Self::Altered => ("altered", "other bytes come back than were stored",
                "have whatever changes bodies leave this path alone"),
            Self::NotDoubled => ("not_doubled", "the file is found at its own path, but not where KAZOO since 4.3.106 looks for it: the path a second time behind it, with the metadata as the query",
                "put kazoo-storage where that server is, which knows that path; or have the proxy pass path and query on as they are"),
            Self::QueryLost => ("query_lost", "the file's name is in the query, and does not arrive, or the server does not look for it there",
                "`serve --key query=NAME` or `--key metadata=FIELD`, or `--settings` with the same document; have the proxy pass the query on as it is"),
            Self::RewrittenUrl => ("rewritten_url", "the storage is reached by the URL as it is written, and not as KAZOO on Erlang since OTP 22 sends it: normalized",
                "write the URL normalized: letters, digits and `-._~` unescaped, other escapes in upper case, no `.` and `..` between slashes; or have the server and the proxy take both spellings"),
            Self::EscapedName => ("escaped_name", "names with `%2F`, `%25`, `%20` or `+` do not arrive as they are",
                "have the proxy pass the path on as it came: `proxy_pass` without a path in nginx, `AllowEncodedSlashes NoDecode` and `nocanon` in Apache"),
            Self::UnescapedName => ("unescaped_name", "names outside of ASCII do not arrive, which KAZOO on Erlang before 22 does not escape",
                "have the proxy let bytes from 0x80 on pass in the path"),
            Self::EmptyFile => ("empty_file", "an empty file is not taken",
                "have the server or the proxy take an empty body"),
            Self::LongFile => ("long_file", "files fail from some length on",
                "the limits and the timeouts of the proxy and of the server for the length of a body"),
            Self::NotKept => ("not_kept", "what was acknowledged is not there",
                "the proxy must send stores and fetches to the same storage; the server must store before it answers"),
            Self::FoundAnything => ("found_anything", "something comes back for a file that was never stored",
                "the proxy's rule for this path: no page for what is not found, but 404"),
            Self::MissingNot404 => ("missing_not_404", "a fetch of what was never stored is answered with another error than 404",
                "have the server answer 404"),
            Self::Refused => ("refused", "the server refuses it",
                "what the answer says"),
        };
        Entry { id, is, change }
    }
}
