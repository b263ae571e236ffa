//! Compares checking and concealing 1000 credentials with one.
// A bench fails by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::hint::black_box;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use http::{Request, request::Parts};
use kazoo_storage::{
    AccessRules,
    authorize::{Authorizer as _, Credential},
};
use kazoo_storage_benches::ratio::ratio;

const TARGET: &str =
    "/0000000000000000000000000000001f/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7/202401-5d0b7b6c9f3e4a1d/message.mp3";
const RECORD: &str = r#"{"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO","message":"request","request_id":"60e1ceb268b362ad","method":"PUT","path":"/some_prefix/***/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7/202401-5d0b7b6c9f3e4a1d8c2b7a6e5f4d3c2b/call_recording….mp3","status":201,"outcome":"stored","account":"0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7","len":65536,"elapsed_ms":1.204,"target":"kazoo_storage::request"}"#;

fn rules(credentials: u64) -> AccessRules {
    let rules = (0..credentials).flat_map(|number| {
        let password = Credential::password("kazoo", format!("a long secret {number:x}"));
        [password, Credential::token(format!("{:032x}", number + 0x1f))]
    });
    rules.fold(AccessRules::new(), AccessRules::credential)
}

fn request(target: &str, authorization: Option<&str>) -> Parts {
    let mut request = Request::put(target);
    if let Some(text) = authorization {
        request = request.header("authorization", format!("Basic {}", STANDARD.encode(text)));
    }
    request.body(()).unwrap().into_parts().0
}

type Check<'a> = &'a dyn Fn(&AccessRules);

fn access(criterion: &mut Criterion) {
    let (one, many) = (rules(1), rules(1000));
    let authorize = |rules: &AccessRules, request: &Parts, granted: bool| {
        let mut request = black_box(request).clone();
        let grant = rules.authorize(&mut request).now_or_never().unwrap();
        assert_eq!(grant.is_ok(), granted);
    };
    let token = request(TARGET, None);
    let password = request("/A/D/a.mp3", Some("kazoo:a long secret 0"));
    let wrong = request("/A/D/a.mp3", Some(&"wrong:".repeat(8 << 10)));
    let cases: [(&str, Check<'_>); 4] = [
        ("token", &|rules| authorize(rules, &token, true)),
        ("password", &|rules| authorize(rules, &password, true)),
        ("wrong, 64 KiB", &|rules| authorize(rules, &wrong, false)),
        ("record", &|rules| {
            let record = rules.redact_record(black_box(RECORD.as_bytes()));
            assert_eq!(record.len(), RECORD.len());
        }),
    ];
    let mut group = criterion.benchmark_group("access");
    for (name, check) in cases {
        group.bench_function(name, |bencher| bencher.iter(|| check(&many)));
    }
    group.finish();
    for (name, check) in cases {
        ratio(
            &format!("access/{name}/1000"),
            "one credential",
            None,
            || check(&many),
            || check(&one),
        );
    }
}

criterion_group!(benches, access);
criterion_main!(benches);
