//! Request metrics, as exported to Prometheus.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobKey, BlobStore as _, Body, Error, ErrorKind, KazooStorage, MemoryStore, Upload,
    builder::StorageService,
    metrics as measured,
    observe::Metrics,
    store::{Fault, FaultyStore, MeasuredStore, Operation},
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tower::ServiceExt as _;

/// Installs a recorder for this thread only.
fn recorder() -> (impl Drop, PrometheusHandle) {
    struct Local(#[allow(dead_code)] metrics::LocalRecorderGuard<'static>);
    impl Drop for Local {
        fn drop(&mut self) {}
    }
    let builder = PrometheusBuilder::new().with_recommended_naming(true);
    let recorder = Box::leak(Box::new(builder.set_buckets(&[1.0]).unwrap().build_recorder()));
    let handle = recorder.handle();
    let guard = metrics::set_default_local_recorder(recorder);
    measured::describe();
    (Local(guard), handle)
}

/// The number on the line that begins with `series`.
#[track_caller]
fn value(handle: &PrometheusHandle, series: &str) -> u64 {
    let text = handle.render();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in {text}"))
        .parse()
        .unwrap()
}

async fn ask(service: &StorageService, method: Method, path: &str, body: impl Into<Body>) -> StatusCode {
    let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    let answer = service.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    let _ = answer.into_body().collect().await;
    status
}

#[tokio::test]
async fn counts_requests_by_outcome() {
    let (_guard, handle) = recorder();
    let value = |series: &str| value(&handle, series);
    let service = KazooStorage::new(MeasuredStore::new(MemoryStore::new()))
        .observe(Metrics::new())
        .into_service();
    assert_eq!(
        value("kazoo_storage_error_responses_total{error_type=\"not_found\"}"),
        0
    );

    let voicemail = "/A/D/5d41402abc4b2a76b9719d911017c592.mp3";
    ask(&service, Method::PUT, voicemail, "12345").await;
    ask(&service, Method::PUT, "/A/D/received_file_1.tiff", "1234567").await;
    ask(&service, Method::GET, voicemail, "").await;
    ask(&service, Method::GET, "/A/D/none", "").await;
    let made_up = Method::from_bytes(b"ALICE").unwrap();
    assert_eq!(
        ask(&service, made_up, voicemail, "").await,
        StatusCode::METHOD_NOT_ALLOWED
    );
    let token = "7f3c2a90b1d4e6f8a0c2e4f618293a4b";
    let probe = format!("/A/D/{token}_test_credentials_file.txt");
    ask(&service, Method::PUT, &probe, "another").await;
    ask(&service, Method::PUT, &probe, format!("some random content: {token}")).await;
    ask(&service, Method::GET, &probe, "").await;

    let put = "http_request_method=\"PUT\",http_response_status_code=\"201\"";
    assert_eq!(
        value(&format!("http_server_request_duration_seconds_count{{{put}}}")),
        3
    );
    assert_eq!(
        value(&format!("http_server_request_body_size_bytes_sum{{{put}}}")),
        5 + 7 + 53
    );
    let get = "http_request_method=\"GET\",http_response_status_code=\"200\"";
    assert_eq!(
        value(&format!("http_server_response_body_size_bytes_sum{{{get}}}")),
        5 + 53
    );
    let missing = "http_request_method=\"GET\",http_response_status_code=\"404\",error_type=\"not_found\"";
    assert_eq!(
        value(&format!("http_server_request_duration_seconds_count{{{missing}}}")),
        1
    );
    for (series, expected) in [
        ("kazoo_storage_stored_files_total{kind=\"voicemail\"}", 1),
        ("kazoo_storage_stored_files_total{kind=\"fax\"}", 1),
        ("kazoo_storage_stored_files_total{kind=\"other\"}", 0),
        ("kazoo_storage_stored_bytes_total{kind=\"fax\"}", 7),
        ("kazoo_storage_error_responses_total{error_type=\"not_found\"}", 1),
        (
            "kazoo_storage_error_responses_total{error_type=\"method_not_allowed\"}",
            1,
        ),
        ("kazoo_storage_error_responses_total{error_type=\"invalid_probe\"}", 1),
        ("kazoo_storage_probes_total{outcome=\"success\"}", 2),
        ("kazoo_storage_probes_total{outcome=\"failure\"}", 1),
        (
            "kazoo_storage_store_errors_total{operation=\"get\",error_type=\"unavailable\"}",
            0,
        ),
        ("http_server_active_requests{http_request_method=\"PUT\"}", 0),
        ("http_server_active_requests{http_request_method=\"_OTHER\"}", 0),
    ] {
        assert_eq!(value(series), expected, "{series}");
    }
    assert!(!handle.render().contains("ALICE"));
}

#[tokio::test]
async fn counts_a_request_as_active_until_its_answer_is_sent() {
    let (_guard, handle) = recorder();
    let active = || value(&handle, "http_server_active_requests{http_request_method=\"GET\"}");
    let service = KazooStorage::new(MemoryStore::new())
        .observe(Metrics::new())
        .into_service();
    assert_eq!(active(), 0);
    let request = Request::get("/A/D/none").body(Body::empty()).unwrap();
    let answer = service.oneshot(request).await.unwrap();
    assert_eq!(active(), 1);
    drop(answer);
    assert_eq!(active(), 0);
    let left = "http_server_request_duration_seconds_count{http_request_method=\"GET\",http_response_status_code=\"404\",\
                error_type=\"not_found\"}";
    assert_eq!(value(&handle, left), 1);
}

#[tokio::test]
async fn counts_requests_that_are_shed_and_never_sheds_the_probe() {
    let (_guard, handle) = recorder();
    let service = KazooStorage::new(MemoryStore::new())
        .max_concurrent(0)
        .observe(Metrics::new())
        .into_service();
    assert_eq!(
        ask(&service, Method::PUT, "/A/D/F", "x").await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let probe = "/A/D/7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt";
    assert_eq!(ask(&service, Method::GET, probe, "").await, StatusCode::OK);
    assert_eq!(
        value(&handle, "kazoo_storage_rejections_total{reason=\"request_limit\"}"),
        1
    );
    assert_eq!(
        value(
            &handle,
            "kazoo_storage_error_responses_total{error_type=\"unavailable\"}"
        ),
        1
    );
}

/// A client's error is not a failure of the store, even if the store returns it.
#[tokio::test]
async fn counts_only_failures_of_the_store() {
    let (_guard, handle) = recorder();
    let store = FaultyStore::new(MemoryStore::new());
    let key = BlobKey::from_path("A/D/F").unwrap();
    store.put(Upload::new(key, vec![0; 100_000])).await.unwrap();
    let fail_at = |offset, kind| Fault::FailAt {
        offset,
        error: Error::new(kind, "broken"),
    };
    store.inject([Operation::Put], fail_at(u64::MAX, ErrorKind::StorageFull));
    store.inject([Operation::Get], fail_at(4, ErrorKind::Damaged));
    store.inject([Operation::Check], fail_at(0, ErrorKind::Unavailable));
    let service = KazooStorage::new(MeasuredStore::new(store))
        .observe(Metrics::new())
        .into_service();
    ask(&service, Method::PUT, "/A/D/F", "x").await;
    let cut = Err::<Bytes, _>(std::io::Error::other("cut"));
    let cut = Body::from_stream(futures_util::stream::iter([cut]));
    assert_eq!(ask(&service, Method::PUT, "/A/D/F", cut).await, StatusCode::BAD_REQUEST);
    assert_eq!(ask(&service, Method::GET, "/A/D/F", "").await, StatusCode::OK);
    let token = "7f3c2a90b1d4e6f8a0c2e4f618293a4b";
    let probe = format!("/A/D/{token}_test_credentials_file.txt");
    ask(&service, Method::PUT, &probe, format!("some random content: {token}")).await;
    let text = handle.render();
    let mut errors: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("kazoo_storage_store_errors_total{") && !line.ends_with(" 0"))
        .collect();
    errors.sort_unstable();
    let series = |operation, kind| {
        format!("kazoo_storage_store_errors_total{{operation=\"{operation}\",error_type=\"{kind}\"}} 1")
    };
    assert_eq!(
        errors,
        [
            series("check", "unavailable"),
            series("put", "storage_full"),
            series("read", "damaged")
        ]
    );
}

/// The exported names are exactly those of the table.
#[tokio::test]
async fn exports_exactly_the_metrics_of_the_table() {
    let (_guard, handle) = recorder();
    for metric in measured::ALL {
        // One of each kind, from the library and from the server.
        match metric.kind {
            measured::Kind::Counter => metrics::counter!(metric.name).increment(1),
            measured::Kind::Gauge => metrics::gauge!(metric.name).set(1),
            measured::Kind::Histogram => metrics::histogram!(metric.name).record(1),
        }
    }
    let text = handle.render();
    let mut types: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    types.sort_unstable();
    let mut expected: Vec<String> = measured::ALL
        .iter()
        .map(|metric| {
            format!(
                "{} {}",
                metric.prometheus_name(),
                format!("{:?}", metric.kind).to_lowercase()
            )
        })
        .collect();
    expected.sort_unstable();
    assert_eq!(types, expected);
}
