//! Several requests on one connection.

use super::{
    Case, HELLO, HIDDEN, ID3, NOTHING, REFUSED,
    Reply::{BareRefusal, Interim, OutsideMount, Refusal, Success},
    Then::{Closed, Either, Ended, Open},
    cases, chunks, from, hiding, put, raw, to,
};

#[rustfmt::skip]
pub(super) fn several() -> Vec<Case> {
    let get = from("GET /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &[], "");
    let a = put(&["content-length: 3"], "ID3");
    let b = to("/some_prefix/ACC/DOC/b.mp3");
    let with_body = |line: &str| from(line, &[&format!("content-length: {}", HIDDEN.len())], HIDDEN);
    cases(vec![
        ("an upload and a fetch of it", [&a[..], &get].concat(), &[Success(201), Success(200)], Open, ID3),
        ("two uploads", [&a[..], &b].concat(), &[Success(201), Success(201)], Open, &[("a.mp3", "ID3"), ("b.mp3", "ID3")]),
        ("two uploads in chunks", [&chunks("5\r\nhello\r\n0\r\n\r\n")[..], &b].concat(), &[Success(201), Success(201)], Open, &[("a.mp3", "hello"), ("b.mp3", "ID3")]),
        ("two uploads with empty lines between", [&a[..], b"\r\n\r\n", &b].concat(), &[Success(201), Success(201)], Open, &[("a.mp3", "ID3"), ("b.mp3", "ID3")]),
        ("two uploads, the first of which is refused", [&to("/some_prefix/ACC/DOC/..")[..], &b].concat(), &[Refusal(400), Success(201)], Open, &[("b.mp3", "ID3")]),
        ("an upload, and what is no request", [&a[..], b"\x01\x02\r\n\r\n", HIDDEN.as_bytes()].concat(), &[Success(201), BareRefusal(400)], Closed, ID3),
        ("an upload, and the beginning of another", [&a[..], &b[..20]].concat(), &[Success(201)], Ended, ID3),
        ("an upload that is a request", with_body("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1"), &[Success(201)], Open, &[("a.mp3", HIDDEN)]),
        ("a refused upload that is a request", with_body("PUT /some_prefix/ACC/DOC/.. HTTP/1.1"), &[Refusal(400)], Open, NOTHING),
        ("a fetch whose body is a request", with_body("GET /some_prefix/ACC/OLD/old.mp3 HTTP/1.1"), &[Success(200)], Open, NOTHING),
        ("a fetch of nothing whose body is a request", with_body("GET /some_prefix/ACC/DOC/none.mp3 HTTP/1.1"), &[Refusal(404)], Open, NOTHING),
        ("another method whose body is a request", with_body("DELETE /some_prefix/ACC/OLD/old.mp3 HTTP/1.1"), &[Refusal(405)], Open, NOTHING),
        ("another path whose body is a request", with_body("PUT /elsewhere HTTP/1.1"), &[OutsideMount], Either, NOTHING),
        ("a body that is longer than its length", hiding(put(&["content-length: 3"], "ID3ID3")), &[Success(201), Refusal(405)], Open, ID3),
        ("a body that is shorter than its length", put(&["content-length: 9"], "ID3"), &[Refusal(400)], Ended, NOTHING),
        ("a body that never comes", put(&["content-length: 9"], ""), &[Refusal(400)], Ended, NOTHING),
        ("a body that is over every limit", put(&["content-length: 9000000000000000000"], "ID3"), &[Refusal(413)], Ended, NOTHING),
        ("a chunked body without its end", chunks("5\r\nhello\r\n"), &[Refusal(400)], Ended, NOTHING),
        ("a chunked body without its last line", chunks("5\r\nhello\r\n0\r\n"), &[Refusal(400)], Ended, NOTHING),
        ("a head without its end", raw("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1\r\nhost: h\r\n"), &[], Ended, NOTHING),
        ("nothing", raw(""), &[], Ended, NOTHING),
        ("empty lines", raw("\r\n\r\n"), &[], Ended, NOTHING),
        // `Expect: 100-continue`.
        ("a body that is awaited", put(&["expect: 100-continue", "content-length: 3"], "ID3"), &[Interim(100), Success(201)], Open, ID3),
        ("a body that is awaited, in capitals", put(&["Expect: 100-Continue", "content-length: 3"], "ID3"), &[Interim(100), Success(201)], Open, ID3),
        ("chunks that are awaited", put(&["expect: 100-continue", "transfer-encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n"), &[Interim(100), Success(201)], Open, HELLO),
        ("no body that is awaited", put(&["expect: 100-continue", "content-length: 0"], ""), &[Success(201)], Open, &[("a.mp3", "")]),
        ("a body that is awaited and refused", from("PUT /some_prefix/ACC/DOC/.. HTTP/1.1", &["expect: 100-continue", &format!("content-length: {}", HIDDEN.len())], HIDDEN), &[Refusal(400)], Closed, NOTHING),
        ("a body that is awaited and too long", hiding(put(&["expect: 100-continue", "content-length: 9000000000000000000"], "")), &[Refusal(413)], Closed, NOTHING),
        ("another expectation", put(&["expect: 200-ok", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        ("a list of expectations", put(&["expect: 100-continue, 200-ok", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        ("two expectations of a refused body", hiding(from("PUT /some_prefix/ACC/DOC/ HTTP/1.1", &["expect: 200-ok", "expect: 100-continue", "content-length: 3"], "")), &[Refusal(400)], Closed, NOTHING),
        ("two expectations", put(&["expect: 200-ok", "expect: 100-continue", "content-length: 3"], "ID3"), &[Interim(100), Success(201)], Open, ID3),
        ("two expectations, the other first", put(&["expect: 100-continue", "expect: 200-ok", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        // HTTP/1.0
        ("an upload by HTTP/1.0", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0", &["content-length: 3"], "ID3")), &[Success(201)], Closed, ID3),
        ("one that keeps the connection", from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0", &["connection: keep-alive", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        ("one without its length", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0", &[], "")), &[Refusal(400)], Closed, NOTHING),
        ("one without its length that keeps the connection", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0", &["connection: keep-alive"], "")), &[Refusal(400)], Closed, NOTHING),
        ("one in chunks", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0", &["transfer-encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n")), REFUSED, Closed, NOTHING),
        ("one that expects", from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0", &["expect: 100-continue", "content-length: 3"], "ID3"), &[Success(201)], Closed, ID3),
        ("a fetch by HTTP/1.0", hiding(from("GET /some_prefix/ACC/OLD/old.mp3 HTTP/1.0", &[], "")), &[Success(200)], Closed, NOTHING),
        ("a fetch that keeps the connection", from("GET /some_prefix/ACC/OLD/old.mp3 HTTP/1.0", &["connection: keep-alive"], ""), &[Success(200)], Open, NOTHING),
    ])
}
