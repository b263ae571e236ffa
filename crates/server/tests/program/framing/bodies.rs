//! Lengths, transfer encodings and chunks.

use super::{
    BROKEN, Case, HELLO, HIDDEN, ID3, NOTHING, REFUSED,
    Reply::{BareRefusal, Refusal, Success},
    Then::{Closed, Open},
    cases, chunks, from, hiding, put,
};

// A table: one line for each row.
#[rustfmt::skip]
pub(super) fn lengths() -> Vec<Case> {
    let one = |value: &str| hiding(put(&[&format!("content-length: {value}")], "ID3"));
    cases(vec![
        ("one length", put(&["content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        ("two lengths, the same", put(&["content-length: 3", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        ("two lengths, the longer last", hiding(put(&["content-length: 3", "content-length: 6"], "ID3")), REFUSED, Closed, NOTHING),
        ("two lengths, the longer first", hiding(put(&["content-length: 6", "content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("two lengths, none first", hiding(put(&["content-length: 0", "content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a list of the same length", one("3, 3"), REFUSED, Closed, NOTHING),
        ("a list of two lengths", one("3, 6"), REFUSED, Closed, NOTHING),
        ("a negative length", one("-3"), REFUSED, Closed, NOTHING),
        ("a length with a plus", one("+3"), REFUSED, Closed, NOTHING),
        ("a length in hexadecimal digits", one("0x3"), REFUSED, Closed, NOTHING),
        ("a length of letters", one("three"), REFUSED, Closed, NOTHING),
        ("a length with a point", one("3.0"), REFUSED, Closed, NOTHING),
        ("a length with a space inside", one("3 3"), REFUSED, Closed, NOTHING),
        ("a length of 2^64 and 3", one("18446744073709551619"), REFUSED, Closed, NOTHING),
        ("a length of 2^64 - 1", one("18446744073709551615"), &[BareRefusal(431)], Closed, NOTHING),
        ("an empty length", hiding(put(&["content-length:"], "ID3")), REFUSED, Closed, NOTHING),
        ("a length with zeros before it", put(&["content-length: 0003"], "ID3"), &[Success(201)], Open, ID3),
        ("a length with spaces around it", put(&["content-length: \t 3 \t"], "ID3"), &[Success(201)], Open, ID3),
        ("a length with a vertical tab", one("\u{b}3"), REFUSED, Closed, NOTHING),
        ("a length on a folded line", hiding(put(&["content-length:\r\n 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a length that is folded on", hiding(put(&["content-length: 3\r\n 0"], "ID3")), REFUSED, Closed, NOTHING),
        ("a length before a space and the colon", hiding(put(&["content-length : 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a length by the name of a variable", put(&["content_length: 300", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        ("no length is no body", put(&[], ""), &[Success(201)], Open, &[("a.mp3", "")]),
    ])
}

#[rustfmt::skip]
pub(super) fn encodings() -> Vec<Case> {
    let te = |value: &str| hiding(put(&[&format!("transfer-encoding: {value}")], "5\r\nhello\r\n0\r\n\r\n"));
    let lines = |lines: &[&str]| hiding(put(lines, "5\r\nhello\r\n0\r\n\r\n"));
    cases(vec![
        ("chunked", chunks("5\r\nhello\r\n0\r\n\r\n"), &[Success(201)], Open, HELLO),
        ("chunked in capitals", put(&["TRANSFER-ENCODING: CHUNKED"], "5\r\nhello\r\n0\r\n\r\n"), &[Success(201)], Open, HELLO),
        // The length is ignored then, and RFC 9112 requires that the connection is closed.
        ("a length, then chunked", lines(&["content-length: 3", "transfer-encoding: chunked"]), &[Success(201)], Closed, HELLO),
        ("chunked, then a length", lines(&["transfer-encoding: chunked", "content-length: 3"]), &[Success(201)], Closed, HELLO),
        ("chunked between two lengths", lines(&["content-length: 3", "transfer-encoding: chunked", "content-length: 9"]), &[Success(201)], Closed, HELLO),
        ("a length that is none, then chunked", lines(&["content-length: x", "transfer-encoding: chunked"]), REFUSED, Closed, NOTHING),
        ("a length, then what is not chunked", lines(&["content-length: 15", "transfer-encoding: identity"]), REFUSED, Closed, NOTHING),
        ("xchunked", te("xchunked"), REFUSED, Closed, NOTHING),
        ("chunkedx", te("chunkedx"), REFUSED, Closed, NOTHING),
        ("chunked in quotes", te("\"chunked\""), REFUSED, Closed, NOTHING),
        ("chunked with a parameter", te("chunked;q=1"), REFUSED, Closed, NOTHING),
        ("identity", te("identity"), REFUSED, Closed, NOTHING),
        ("nothing", te(""), REFUSED, Closed, NOTHING),
        ("chunked, identity", te("chunked, identity"), REFUSED, Closed, NOTHING),
        ("chunked, then identity", lines(&["transfer-encoding: chunked", "transfer-encoding: identity"]), REFUSED, Closed, NOTHING),
        ("identity, chunked", te("identity, chunked"), &[Refusal(400)], Closed, NOTHING),
        ("identity, then chunked", lines(&["transfer-encoding: identity", "transfer-encoding: chunked"]), &[Refusal(400)], Closed, NOTHING),
        ("gzip, chunked", te("gzip, chunked"), &[Refusal(400)], Closed, NOTHING),
        ("chunked, chunked", te("chunked, chunked"), &[Refusal(400)], Closed, NOTHING),
        ("chunked, then chunked", lines(&["transfer-encoding: chunked", "transfer-encoding: chunked"]), &[Refusal(400)], Closed, NOTHING),
        ("nothing, chunked", te(", chunked"), &[Refusal(400)], Closed, NOTHING),
        ("chunked of what is no upload", hiding(from("DELETE /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["transfer-encoding: x, chunked"], "0\r\n\r\n")), &[Refusal(400)], Closed, NOTHING),
        ("chunked after a vertical tab", te("\u{b}chunked"), REFUSED, Closed, NOTHING),
        ("chunked after a form feed", te("\u{c}chunked"), REFUSED, Closed, NOTHING),
        ("chunked before a NUL", te("chunked\0"), REFUSED, Closed, NOTHING),
        ("chunked after tabs and spaces", put(&["transfer-encoding:\t \tchunked\t"], "5\r\nhello\r\n0\r\n\r\n"), &[Success(201)], Open, HELLO),
        ("a space before the colon", lines(&["transfer-encoding : chunked"]), REFUSED, Closed, NOTHING),
        ("a tab before the colon", lines(&["transfer-encoding\t: chunked"]), REFUSED, Closed, NOTHING),
        ("a vertical tab before the colon", lines(&["transfer-encoding\u{b}: chunked"]), REFUSED, Closed, NOTHING),
        ("a space before the name", lines(&[" transfer-encoding: chunked"]), REFUSED, Closed, NOTHING),
        ("chunked on a folded line", lines(&["transfer-encoding:\r\n chunked"]), REFUSED, Closed, NOTHING),
        ("chunked that is folded on", lines(&["transfer-encoding: chunked,\r\n\tidentity"]), REFUSED, Closed, NOTHING),
        ("another header's folded line", lines(&["x-a: b\r\n transfer-encoding: chunked"]), REFUSED, Closed, NOTHING),
        ("chunked behind a bare CR", lines(&["x-a: b\rtransfer-encoding: chunked"]), REFUSED, Closed, NOTHING),
        ("by the name of a variable", put(&["transfer_encoding: chunked", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
        ("named by `connection`", put(&["connection: content-length, transfer-encoding", "content-length: 3"], "ID3"), &[Success(201)], Open, ID3),
    ])
}

#[rustfmt::skip]
pub(super) fn chunked_bodies() -> Vec<Case> {
    let bad = |body: &str| hiding(chunks(body));
    let extension = "x".repeat(17 << 10);
    let trailers = "x-a: b\r\n".repeat(200);
    let trailer = "x".repeat(17 << 10);
    cases(vec![
        ("no chunk", chunks("0\r\n\r\n"), &[Success(201)], Open, &[("a.mp3", "")]),
        ("zeros before a size", chunks("0005\r\nhello\r\n000\r\n\r\n"), &[Success(201)], Open, HELLO),
        ("a size in capitals", chunks("A\r\nhello mp3s\r\n0\r\n\r\n"), &[Success(201)], Open, &[("a.mp3", "hello mp3s")]),
        ("a size with spaces behind it", chunks("5 \t\r\nhello\r\n0\r\n\r\n"), &[Success(201)], Open, HELLO),
        ("a space before a size", bad(" 5\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("two sizes", bad("5 5\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("an extension", chunks("5;a=b;c=\"d;e\"\r\nhello\r\n0;x\r\n\r\n"), &[Success(201)], Open, HELLO),
        ("a long extension", bad(&format!("5;{extension}\r\nhello\r\n0\r\n\r\n")), BROKEN, Closed, NOTHING),
        ("a bare LF in an extension", bad("5;a\nb\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a bare CR in an extension", bad("5;a\rb\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a size that is no number", bad("zz\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a negative size", bad("-5\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a size with a plus", bad("+5\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a size with 0x", bad("0x5\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("an empty size", bad("\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a size of 17 digits", bad("10000000000000005\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a later size of 17 digits", bad("5\r\nhello\r\n10000000000000000\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a chunk that is longer than its size", bad("3\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a chunk that is shorter than its size", bad("8\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("no CRLF behind a chunk", bad("5\r\nhello0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("LF behind a size", bad("5\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("CR behind a size", bad("5\rhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("LF behind a chunk", bad("5\r\nhello\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("LF behind the last size", bad("5\r\nhello\r\n0\n\r\n"), BROKEN, Closed, NOTHING),
        // Nothing after trailers is interpreted as a request: hyper accepts invalid lines, and lines that end with LF.
        ("LF at the end", bad("5\r\nhello\r\n0\r\n\n"), &[Success(201)], Closed, HELLO),
        ("LF at the end of a trailer", bad("5\r\nhello\r\n0\r\nx: y\n\n"), &[Success(201)], Closed, HELLO),
        ("a trailer", bad("5\r\nhello\r\n0\r\nx-checksum: 7\r\n\r\n"), &[Success(201)], Closed, HELLO),
        ("a trailer that is a length", bad("5\r\nhello\r\n0\r\ncontent-length: 99\r\n\r\n"), &[Success(201)], Closed, HELLO),
        ("a trailer that is an encoding", bad("5\r\nhello\r\n0\r\ntransfer-encoding: chunked\r\n\r\n"), &[Success(201)], Closed, HELLO),
        ("a trailer that is a host", bad("5\r\nhello\r\n0\r\nhost: other\r\nauthorization: Basic eDp5\r\n\r\n"), &[Success(201)], Closed, HELLO),
        ("a trailer without a colon", bad("5\r\nhello\r\n0\r\nrubbish\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a request for a trailer", bad("5\r\nhello\r\n0\r\n"), BROKEN, Closed, NOTHING),
        ("a hundred trailers and more", bad(&format!("5\r\nhello\r\n0\r\n{trailers}\r\n")), BROKEN, Closed, NOTHING),
        ("a long trailer", bad(&format!("5\r\nhello\r\n0\r\nx: {trailer}\r\n\r\n")), BROKEN, Closed, NOTHING),
        ("a hidden request in a chunk", chunks(&format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len())), &[Success(201)], Open, &[("a.mp3", HIDDEN)]),
    ])
}
