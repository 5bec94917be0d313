//! Which settings are accepted, and what the errors say.

use super::*;

#[test]
fn every_kind_of_url_is_understood() {
    let settings = Settings::from_url("redis://127.0.0.1").unwrap();
    assert_eq!(settings.describe(), "Redis at 127.0.0.1:6379");
    assert_eq!((settings.database, settings.connections), (0, 1));

    let settings = Settings::from_url("rediss://ann:p%2Fw@redis.example:7000/3").unwrap();
    assert_eq!(settings.describe(), "Redis at redis.example:7000 with TLS");
    assert_eq!(settings.login.user.as_deref(), Some("ann"));
    assert_eq!(settings.login.password.as_deref(), Some("p/w"));
    assert_eq!(settings.database, 3);

    let settings =
        Settings::from_url("redis-cluster://:pw@a.example:1?node=b.example:2&node=[::1]:3")
            .unwrap();
    assert_eq!(
        settings.describe(),
        "Redis Cluster with a.example:1, b.example:2, [::1]:3"
    );
    assert_eq!(settings.login.user, None);

    let settings = Settings::from_url(
        "redis-sentinel://:pw@a.example/1?sentinelServiceName=main&sentinelPassword=other",
    )
    .unwrap();
    assert_eq!(
        settings.describe(),
        "Redis main of the sentinels a.example:26379"
    );
}

#[test]
fn a_wrong_url_is_refused_by_name() {
    for (url, problem) in [
        ("", "url: relative URL without a base"),
        (
            "http://a.example",
            "url scheme: must be redis://, redis-cluster:// or redis-sentinel://, or rediss in place of redis",
        ),
        ("redis://", "url host: is missing"),
        ("redis://a b", "url: invalid domain character"),
        ("redis://a.example:66000", "url: invalid port number"),
        ("redis://a.example/x", "database: must be 0 to 255"),
        (
            "redis://ann@a.example",
            "password: is missing: there is a user",
        ),
        (
            "redis://a.example?node=b.example:1",
            "node: is for redis-cluster:// and redis-sentinel:// only",
        ),
        (
            "redis-cluster://a.example?node=b.example",
            "node: must be host:port",
        ),
        (
            "redis-cluster://a.example?node=b.example:0",
            "node: must be 1 to 65535",
        ),
        (
            "redis-cluster://a.example/1",
            "database: must be 0: a cluster has no other",
        ),
        (
            "redis-cluster://a.example?sentinelServiceName=x",
            "url: sentinel… is for redis-sentinel:// only",
        ),
        (
            "redis-sentinel://a.example",
            "sentinelServiceName: is missing: which of the sentinels' masters",
        ),
        (
            "redis://a.example?db=1",
            "url: ?db= is not known: node, sentinelServiceName, sentinelUsername, sentinelPassword are",
        ),
    ] {
        let error = Settings::from_url(url).unwrap_err();
        assert_eq!(error.to_string(), problem, "{url}");
    }
}

#[test]
fn parts_are_checked_too() {
    let settings = Settings::from_parts(&parts()).unwrap();
    assert_eq!(settings.describe(), "Redis at redis.example:6380 with TLS");
    let check = |parts: Parts, problem: &str| {
        let error = Settings::from_parts(&parts).unwrap_err();
        assert_eq!(error.to_string(), problem);
    };
    check(Parts { port: 0, ..parts() }, "port: must be 1 to 65535");
    check(
        Parts {
            host: String::new(),
            ..parts()
        },
        "host: empty host",
    );
    check(
        Parts {
            password: Some(String::new()),
            user: Some("ann".into()),
            ..parts()
        },
        "password: is missing: there is a user",
    );
}

#[test]
fn what_can_be_tuned_is_checked() {
    let settings = || Settings::from_parts(&parts()).unwrap();
    let check = |tuned: Result<Settings, SettingsError>, problem: &str| {
        assert_eq!(tuned.unwrap_err().to_string(), problem);
    };
    let problem = "prefix: must be 1 to 64 letters, digits and any of - _ . : /";
    check(settings().with_prefix(""), problem);
    check(settings().with_prefix("a{b}"), problem);
    check(
        settings().with_timeout(Duration::from_millis(9)),
        "timeout: must be 10 to 10000 ms",
    );
    check(settings().with_connections(0), "pool size: must be 1 to 64");
    check(
        settings().with_authorities(b"nothing"),
        "certificate authorities: there is no certificate in it",
    );
    let open = Settings::from_url("redis://a.example").unwrap();
    check(
        open.with_authorities(b""),
        "certificate authorities: are of no use without TLS",
    );
}

#[test]
fn no_password_is_ever_shown() {
    let url = "redis-sentinel://u:hush@a.example?sentinelServiceName=m&sentinelPassword=hush";
    let settings = Settings::from_url(url).unwrap();
    let parts = Parts {
        password: Some("hush".into()),
        ..parts()
    };
    let shown = format!("{settings:?} {} {parts:?}", settings.describe());
    assert!(!shown.contains("hush"), "{shown}");
    for url in [
        "redis://u:hush@a b",
        "what://u:hush@a",
        "redis://u:hush@a:0/x",
    ] {
        let error = Settings::from_url(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}

fn parts() -> Parts {
    Parts {
        host: "redis.example".into(),
        port: 6380,
        user: None,
        password: None,
        tls: true,
        database: 0,
    }
}
