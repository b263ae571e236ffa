//! Copies that the client makes of what it sends.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    thread,
};

use bytes::Bytes;
use kazoo_storage_client::{Attachment, Client, Dialect, Document, Handler};

use super::{BOUND, alone, assert_held, block_on, measured};

const LEN: usize = 24 << 20;

/// Reads and discards `uploads` on one connection, one after another.
fn sink(listener: &TcpListener, uploads: usize) {
    let (stream, _) = listener.accept().unwrap();
    let mut stream = BufReader::new(stream);
    for _ in 0..uploads {
        let mut len = 0;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                len = value.trim_end().parse().unwrap();
            }
        }
        let taken = io::copy(&mut stream.by_ref().take(len), &mut io::sink()).unwrap();
        assert_eq!(taken, len);
        let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
        stream.get_mut().write_all(answer).unwrap();
    }
}

/// A raw upload is sent without a copy. A multipart or encoded one is copied once.
#[test]
fn copies_an_upload_at_most_once() {
    let _alone = alone();
    let document = Document::from_json(r#"{"_id":"DOC"}"#).unwrap();
    let message = Attachment::new("ACC", document, "a.mp3", Bytes::from(vec![0x80; LEN]));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let handler = Handler::new(format!("http://{}/p", listener.local_addr().unwrap())).unwrap();
    let modes = [
        ("raw", handler.clone(), 0),
        ("multipart", handler.clone().send_multipart(true), LEN),
        (
            "base64",
            handler.send_multipart(true).base64_encode_data(true),
            LEN / 3 * 4,
        ),
    ];
    let taking = thread::spawn(move || sink(&listener, 3));
    block_on(async {
        let mut client = Client::new();
        for (name, handler, copy) in modes {
            let (stored, held) = measured(client.store(&Dialect::KAZOO_4_3_106, &handler, &message)).await;
            stored.unwrap();
            assert_held(&format!("client, {name}"), held, copy + BOUND);
        }
    });
    taking.join().unwrap();
}
