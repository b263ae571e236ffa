//! The program serves the directory, the ledger and the access file of an earlier version.

use std::fs;

use kazoo_storage_test_support::versions;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::process::Server;

/// Credentials in the access file of each version.
const TOKEN: &str = "1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5";
const OTHER_ACCOUNT: &str = "7a31-9c7d2a4835b6c1d0";

#[test]
fn serves_what_an_earlier_version_has_stored() {
    for version in versions::all() {
        let site = TempDir::new().unwrap();
        let at = |name: &str| site.path().join(name).to_str().unwrap().to_owned();
        version.copy_store(&site.path().join("store"));
        for file in ["ledger.sqlite", "access.json"] {
            fs::copy(version.fixtures.join(file), at(file)).unwrap();
        }
        let ledger = format!("sqlite:{}", at("ledger.sqlite"));
        let options = ["--ledger", &ledger, "--access", &at("access.json")];
        let mut server = Server::start(&site.path().join("store"), &options);
        let mut client = server.connect();
        for file in &version.files {
            let response = client.get(&format!("/some_prefix/{TOKEN}/{}", file.key));
            assert_eq!(response.status, 200, "{}", file.key);
            let sha256 = versions::hex(&Sha256::digest(&response.body));
            assert_eq!(sha256, file.sha256, "{}", file.key);
        }
        for deleted in &version.deleted {
            assert_eq!(client.get(&format!("/some_prefix/{TOKEN}/{deleted}")).status, 404);
        }
        let key = &version.files[0].key;
        assert_eq!(client.get(&format!("/some_prefix/{OTHER_ACCOUNT}/{key}")).status, 403);
        let new = format!("/some_prefix/{TOKEN}/A/B/new.mp3");
        assert_eq!(client.put(&new, b"new").status, 201);
        drop(client);
        server.stop();
        assert!(!server.log().contains("ERROR"), "{}", server.log());
    }
}
