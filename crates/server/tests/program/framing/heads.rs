//! Request lines, header fields and targets.

use super::{
    Case, HELLO, ID3, NOTHING, REFUSED,
    Reply::{BareRefusal, OutsideMount, Refusal, Success},
    Then::{Closed, Either, Open},
    cases, chunks, from, hiding, put, raw, to,
};

#[rustfmt::skip]
pub(super) fn heads() -> Vec<Case> {
    let with = |line: &str| put(&[line, "content-length: 3"], "ID3");
    let bad = |line: &str| hiding(with(line));
    let head = |text: &str| hiding(text.replace("A.MP3", "/some_prefix/ACC/DOC/a.mp3"));
    let many: Vec<String> = (0..98).map(|n| format!("x-{n}: y")).collect();
    let mut most: Vec<&str> = many.iter().map(String::as_str).collect();
    most.push("content-length: 3");
    let mut more = most.clone();
    more.push("x-more: y");
    let long = "x".repeat(2_000_000);
    let method = "X".repeat(60_000);
    let target = "x".repeat(62_000);
    let too_long = "x".repeat(66_000);
    cases(vec![
        // RFC 9112 permits a bare LF as the end of a line, and hyper accepts it everywhere.
        ("LF at the end of each line", raw("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1\nhost: h\ncontent-length: 3\n\nID3"), &[Success(201)], Open, ID3),
        ("LF at the end of one line", with("x-a: b\nx-c: d"), &[Success(201)], Open, ID3),
        ("LF before a length", raw("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1\r\nhost: h\r\nx: y\ncontent-length: 3\r\n\r\nID3"), &[Success(201)], Open, ID3),
        ("CR at the end of each line", head("PUT A.MP3 HTTP/1.1\rhost: h\rcontent-length: 3\r\rID3"), REFUSED, Closed, NOTHING),
        ("CR at the end of one line", bad("x-a: b\rx-c: d"), REFUSED, Closed, NOTHING),
        ("two CR and LF", bad("x-a: b\r"), REFUSED, Closed, NOTHING),
        ("CR alone on a line", bad("\r"), REFUSED, Closed, NOTHING),
        ("empty lines before a request", [b"\r\n\r\n", &with("x: y")[..]].concat(), &[Success(201)], Open, ID3),
        ("a space before a request", [b" ", &bad("x: y")[..]].concat(), REFUSED, Closed, NOTHING),
        ("a space before the first header", bad(" x: y"), REFUSED, Closed, NOTHING),
        ("a space before the colon", bad("x : y"), REFUSED, Closed, NOTHING),
        ("a space in a name", bad("x y: z"), REFUSED, Closed, NOTHING),
        ("a folded line", bad("x: y\r\n z"), REFUSED, Closed, NOTHING),
        ("a line without a colon", bad("rubbish"), REFUSED, Closed, NOTHING),
        ("an empty name", bad(": y"), REFUSED, Closed, NOTHING),
        ("a NUL in a name", bad("x\0: y"), REFUSED, Closed, NOTHING),
        ("a NUL in a value", bad("x: y\0z"), REFUSED, Closed, NOTHING),
        ("a byte over 0x7f in a name", bad("x\u{e9}: y"), REFUSED, Closed, NOTHING),
        ("bytes over 0x7f in a value", with("x: gr\u{fc}n"), &[Success(201)], Open, ID3),
        ("an empty value", with("te: "), &[Success(201)], Open, ID3),
        ("KAZOO's two names for the media type", put(&["content-type: audio/mpeg", "content_type: audio/mpeg", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        ("no host by HTTP/1.0", raw("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0\r\ncontent-length: 3\r\n\r\nID3"), &[Success(201)], Closed, ID3),
        ("an empty host", put(&["host:", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        ("two hosts", hiding(put(&["host: h", "host: i", "content-length: 3"], "ID3")), &[Refusal(400)], Closed, NOTHING),
        ("two hosts, the same", hiding(put(&["host: h", "host: h", "content-length: 3"], "ID3")), &[Refusal(400)], Closed, NOTHING),
        ("a host and a port", put(&["host: [2001:db8::1]:8080", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        ("a host with a user", hiding(put(&["host: user@h", "content-length: 3"], "ID3")), &[Refusal(400)], Closed, NOTHING),
        ("a host with a path", hiding(put(&["host: h/some_prefix", "content-length: 3"], "ID3")), &[Refusal(400)], Closed, NOTHING),
        ("a host with a space", hiding(put(&["host: h i", "content-length: 3"], "ID3")), &[Refusal(400)], Closed, NOTHING),
        ("a hundred headers", put(&most, "ID3"), &[Success(201)], Open, ID3),
        ("a hundred headers and one", hiding(put(&more, "ID3")), &[BareRefusal(431)], Closed, NOTHING),
        ("a head that is too long", hiding(put(&[&format!("x: {long}")], "ID3")), &[BareRefusal(431)], Closed, NOTHING),
        ("an upgrade that nobody grants", put(&["connection: upgrade", "upgrade: h2c", "http2-settings: AAMAAABk", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        ("a client that closes", hiding(put(&["connection: keep-alive", "connection: x, close", "content-length: 3"], "ID3")), &[Success(201)], Closed, ID3),
        ("a method in lower case", from("put /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["content-length: 3"], "ID3"), &[Refusal(405)], Open, NOTHING),
        ("a long method", from(&format!("{method} /some_prefix/ACC/DOC/a.mp3 HTTP/1.1"), &["content-length: 3"], "ID3"), &[Refusal(405)], Open, NOTHING),
        ("a method with a colon", hiding(from("P:T /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a tab behind the method", hiding(from("PUT\t/some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("two spaces behind the method", hiding(from("PUT  /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("two spaces behind the target", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3  HTTP/1.1", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a space behind the version", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1 ", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("another version", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.2", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a version in lower case", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 http/1.1", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("version 2.0", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/2.0", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("HTTP/0.9", raw("GET /some_prefix/ACC/OLD/old.mp3\r\n\r\n"), REFUSED, Closed, NOTHING),
        ("HTTP/0.9, and a request behind it", hiding("GET /some_prefix/ACC/OLD/old.mp3\r\n"), REFUSED, Closed, NOTHING),
        ("TLS", raw(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"), REFUSED, Closed, NOTHING),
        ("a target that is long", to(&format!("/some_prefix/ACC/DOC/a.mp3?{target}")), &[Success(201)], Open, ID3),
        ("a target that is too long", hiding(to(&format!("/some_prefix/ACC/DOC/{too_long}"))), &[BareRefusal(414)], Closed, NOTHING),
    ])
}

#[rustfmt::skip]
pub(super) fn targets() -> Vec<Case> {
    cases(vec![
        ("a whole URL", to("http://h/some_prefix/ACC/DOC/a.mp3"), &[Success(201)], Open, ID3),
        ("a whole URL of another host", to("http://other.example:81/some_prefix/ACC/DOC/a.mp3"), &[Success(201)], Open, ID3),
        ("a whole URL with userinfo", to("http://user:pass@h/some_prefix/ACC/DOC/a.mp3"), &[Success(201)], Open, ID3),
        ("a whole URL of another scheme", to("ftp://h/some_prefix/ACC/DOC/a.mp3"), &[Success(201)], Open, ID3),
        ("a whole URL without a path", to("http://h"), &[OutsideMount], Either, NOTHING),
        ("a whole URL of the mount alone", to("http://h/some_prefix"), &[Refusal(400)], Open, NOTHING),
        ("a whole URL with userinfo that has an @", to("http://a@b@h/some_prefix/ACC/DOC/a.mp3"), &[Success(201)], Open, ID3),
        ("two slashes before the mount", to("//some_prefix/ACC/DOC/a.mp3"), &[OutsideMount], Either, NOTHING),
        ("dots before the mount", to("/x/../some_prefix/ACC/DOC/a.mp3"), &[OutsideMount], Either, NOTHING),
        ("a host and a port", to("h:80"), &[OutsideMount], Either, NOTHING),
        ("CONNECT", from("CONNECT h:80 HTTP/1.1", &[], ""), &[OutsideMount], Either, NOTHING),
        ("CONNECT, and another request", hiding(from("CONNECT h:80 HTTP/1.1", &[], "")), &[OutsideMount, Success(201)], Open, &[("hidden.mp3", "BAD")]),
        ("CONNECT to a file", from("CONNECT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["content-length: 3"], "ID3"), &[Refusal(405)], Open, NOTHING),
        ("an asterisk", to("*"), &[OutsideMount], Either, NOTHING),
        ("OPTIONS of an asterisk", from("OPTIONS * HTTP/1.1", &[], ""), &[OutsideMount], Open, NOTHING),
        ("no target", hiding(from("PUT  HTTP/1.1", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a target without a slash", hiding(to("some_prefix/ACC/DOC/a.mp3")), REFUSED, Closed, NOTHING),
        ("bytes over 0x7f, as KAZOO sends them", to("/some_prefix/ACC/DOC/grüße €.mp3".replace(' ', "\u{a0}").as_str()), &[Success(201)], Open, &[("grüße\u{a0}€.mp3", "ID3")]),
        ("bytes that are no UTF-8", hiding([&b"PUT /some_prefix/ACC/DOC/\xff.mp3 HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"[..]].concat()), REFUSED, Closed, NOTHING),
        ("a space in the target", hiding(to("/some_prefix/ACC/DOC/a b.mp3")), REFUSED, Closed, NOTHING),
        ("a tab in the target", hiding(to("/some_prefix/ACC/DOC/a\tb.mp3")), REFUSED, Closed, NOTHING),
        ("a NUL in the target", hiding(to("/some_prefix/ACC/DOC/a\0b.mp3")), REFUSED, Closed, NOTHING),
        ("a CR in the target", hiding(to("/some_prefix/ACC/DOC/a\rb.mp3")), REFUSED, Closed, NOTHING),
        ("an encoded fragment", to("/some_prefix/ACC/DOC/a%23b.mp3"), &[Success(201)], Open, &[("a#b.mp3", "ID3")]),
        ("a slash behind the document", to("/some_prefix/ACC/DOC/"), &[Refusal(400)], Open, NOTHING),
        ("a slash behind the account", to("/some_prefix/ACC/"), &[Refusal(400)], Open, NOTHING),
        ("several slashes at the end", to("/some_prefix/ACC/DOC/a.mp3//?x"), &[Refusal(400)], Open, NOTHING),
        ("what a URL may not have", to("/some_prefix/ACC/DOC/a|b.mp3"), &[Success(201)], Open, &[("a|b.mp3", "ID3")]),
    ])
}

/// Requests that hyper does not pass on. Only the program sees them.
#[cfg(unix)]
#[rustfmt::skip]
pub(super) fn heads_in_the_program() -> Vec<Case> {
    let no_host = "PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1\r\ncontent-length: 3\r\n\r\nID3";
    let a = put(&["content-length: 3"], "ID3");
    let fragment = to("/some_prefix/ACC/DOC/b.mp3#c");
    cases(vec![
        ("no host", hiding(no_host), &[Refusal(400)], Closed, NOTHING),
        ("a whole URL, and no host", hiding("PUT http://h/some_prefix/ACC/DOC/a.mp3 HTTP/1.1\r\ncontent-length: 0\r\n\r\n"), &[Refusal(400)], Closed, NOTHING),
        ("a fragment", hiding(to("/some_prefix/ACC/DOC/a.mp3#b/c")), &[Refusal(400)], Closed, NOTHING),
        ("an empty fragment", hiding(to("/some_prefix/ACC/DOC/a.mp3#")), &[Refusal(400)], Closed, NOTHING),
        ("a fragment behind a query", hiding(to("/some_prefix/ACC/DOC/a.mp3?x=y#z")), &[Refusal(400)], Closed, NOTHING),
        ("a fragment of a whole URL", hiding(to("http://h/some_prefix/ACC/DOC/a.mp3#b")), &[Refusal(400)], Closed, NOTHING),
        ("a fragment of a fetch", hiding(from("GET /some_prefix/ACC/OLD/old.mp3#1 HTTP/1.1", &[], "")), &[Refusal(400)], Closed, NOTHING),
        ("a fragment elsewhere", hiding(to("/elsewhere#1")), &[Refusal(400)], Closed, NOTHING),
        ("a fragment behind an upload", hiding([&a[..], &fragment].concat()), &[Success(201), Refusal(400)], Closed, ID3),
        ("a fragment behind chunks", hiding([&chunks("5;#\r\nhello\r\n0\r\n\r\n")[..], &fragment].concat()), &[Success(201), Refusal(400)], Closed, HELLO),
        ("a fragment in a body", put(&["content-length: 28"], "PUT /a#b HTTP/1.1\r\nhost: h\r\n"), &[Success(201)], Open, &[("a.mp3", "PUT /a#b HTTP/1.1\r\nhost: h\r\n")]),
        ("a fragment in a header", put(&["x: /a#b", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        ("a method with a number sign", from("P#T /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["content-length: 3"], "ID3"), &[Refusal(405)], Open, NOTHING),
    ])
}
