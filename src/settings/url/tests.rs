use super::*;

fn url(text: &str) -> StorageUrl {
    StorageUrl::parse(text).unwrap()
}

#[test]
fn splits_a_url_into_its_parts() {
    for (text, tls, host, port, target) in [
        ("http://h", false, "h", 80, ""),
        ("https://h/p", true, "h", 443, "/p"),
        ("http://user:1@h:8080?x=/y", false, "h", 8080, "?x=/y"),
        ("http://[2001:db8::1]:81/p", false, "2001:db8::1", 81, "/p"),
        ("https://[::1]#x", true, "::1", 443, ""),
        ("http://u@h:1/a/../%2F/ü?b[c]=/#f", false, "h", 1, "/a/../%2F/ü?b[c]=/"),
    ] {
        let url = url(text);
        assert_eq!((url.is_https(), url.host(), url.port()), (tls, host, port), "{text}");
        assert_eq!(url.path_and_query(), target, "{text}");
    }
    assert!(!format!("{:?}", url("http://u:secret@h/secret")).contains("secret"));
    assert_eq!(
        url("http://secret@[::1]/secret?secret#secret").origin(),
        "http://[::1]:80"
    );
}

#[test]
fn refuses_other_texts_without_repeating_them() {
    for text in [
        "",
        "h/p",
        "ftp://h",
        "http://",
        "http:///p",
        "http://user@secret:h/p",
        "http://a@b@h/",
        "http://h:x",
        "http://h:+80",
        "http://[::1]x/",
        "http://[::1]:+80/",
    ] {
        let error = StorageUrl::parse(text).unwrap_err();
        assert!(!error.message().contains("secret"), "{text}");
    }
    for text in ["http://u:secret@x@h/", "http://u:secret/x@h/"] {
        let error = StorageUrl::parse(text).unwrap_err();
        assert!(
            error.message().contains("%40") && !error.message().contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn appends_a_name_to_the_path_or_to_the_query() {
    for (base, expected) in [
        ("http://h", "http://h/A/B?q"),
        ("http://h/p//", "http://h/p/A/B?q"),
        ("http://h/p?x=1&r=", "http://h/p?x=1&r=A/B&q"),
        ("http://h/p#f", "http://h/p?q#f/A/B"),
    ] {
        assert_eq!(url(base).with_name("A/B").with_query("q").as_str(), expected);
    }
    assert_eq!(url("http://h/p/").with_name_untrimmed("A").as_str(), "http://h/p//A");
}

#[test]
fn normalizes_every_part() {
    for (text, normal) in [
        ("http://h", "http://h"),
        (
            "HTTP://u%2Dx:p%40%61@Host:80/a%2D/./b?k%65y=%2d&r=#%41",
            "http://u-x:p%40a@host:80/a-/b?key=-&r=#A",
        ),
        ("http://h?x=/./y", "http://h?x=/./y"),
    ] {
        assert_eq!(url(text).normalized().as_str(), normal);
    }
}

#[test]
fn reassembling_changes_credentials_and_ipv6_hosts() {
    for (userinfo, reassembled) in [
        ("user:p%40ss", "userp%40ss"),
        ("user:42secret", "user:42secret"),
        ("user:007secret", "user:7secret"),
        ("user:00", "user:0"),
        ("token", "token"),
    ] {
        let url = url(&format!("http://{userinfo}@h:80/p"));
        assert_eq!(url.reassembled().unwrap().userinfo(), Some(reassembled));
    }
    for text in [
        "http://h:8080/a:b?c=:#:",
        "https://h/a:b",
        "http://h?x=:",
        "http://token@h:1/",
    ] {
        assert_eq!(url(text).reassembled().unwrap().as_str(), text);
    }
    let broken = url("http://[2001:db8::1]:80/p").reassembled().unwrap();
    assert_eq!((broken.host(), broken.port()), ("2001db8::1", 80));
}
