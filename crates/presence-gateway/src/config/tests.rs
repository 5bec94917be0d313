use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use presence_core::Tick;
use tempfile::TempDir;

use super::*;

const SECRET: &str = "wJ8Xb0v1mQeT5r7yKp3sZc6uHn9dLfAg";

#[test]
fn with_nothing_set_it_is_open_on_loopback_with_the_numbers_of_the_core() {
    let config = load("", &[], &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:4001");
    assert_eq!(config.data_dir, DataDir::Folder("presence-data".into()));
    assert!(config.jwt.is_open());
    assert_eq!(config.timing, Timing::default());
    assert_eq!(
        format!("{:?}", config.limits),
        format!("{:?}", Limits::default())
    );
    // And with those of a server that is no gateway.
    let server = presence_native::Settings::default();
    assert_eq!(config.rates, server.rates);
    assert_eq!(config.socket.frame_bytes_max, server.frame_bytes_max);
    assert_eq!(config.socket.watches_max, server.watches_max);
    assert_eq!(config.jwt.leeway, server.token_leeway);
    assert_eq!(config.drain, Duration::from_secs(10));
    assert_eq!(config.jwt.leeway, Duration::from_secs(5));
    assert!((1..=8).contains(&config.shards));
    assert!(!config.node_name.is_empty());
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = "
        listen = '127.0.0.1:1'
        data_dir = 'one'
        [log]
        filter = 'error'
        [timing]
        presence_ttl = 90
        heartbeat_interval = '20s'
    ";
    let env = [
        ("PRESENCE_LISTEN", "127.0.0.1:2"),
        ("PRESENCE_LOG", "warn"),
        ("PRESENCE_TTL", "120"),
        ("PRESENCE_DATA_DIR", ""),
    ];
    let config = load(file, &env, &["--listen", "127.0.0.1:3"]).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.log, "warn");
    assert_eq!(config.data_dir, DataDir::Folder("one".into()));
    assert_eq!(config.timing.ttl(), Duration::from_secs(120));
    assert_eq!(config.timing.heartbeat(), Duration::from_secs(20));
    assert_eq!(
        origins(&config, &["listen", "log.filter", "data_dir", "drain"]),
        [
            "--listen",
            "the environment, PRESENCE_LOG",
            "presence.toml",
            "default"
        ]
    );
}

#[test]
fn names_and_units_that_users_know_stay_as_they_know_them() {
    let env = [
        ("HEARTBEAT_INTERVAL", "15000"),
        ("PRESENCE_TTL", "60"),
        ("TYPING_TTL", "5"),
        ("NODE_NAME", "presence@node-1"),
    ];
    let config = load("", &env, &[]).unwrap();
    assert_eq!(config.timing, Timing::default());
    assert_eq!(config.node_name, "presence@node-1");
}

#[test]
fn one_redis_is_named_by_a_url_or_part_by_part() {
    assert!(load("", &[], &[]).unwrap().redis.is_none());
    let redis = |env: &[(&str, &str)]| load("", env, &[]).unwrap().redis.unwrap().describe();
    assert_eq!(
        redis(&[("REDIS_URL", "redis://:secret@redis.internal:6380/2")]),
        "Redis at redis.internal:6380"
    );
    let parts = [
        ("REDIS_HOST", "redis.internal"),
        // What Kubernetes puts there for a service called `redis`.
        ("REDIS_PORT", "tcp://10.0.0.7:6379"),
        ("REDIS_PASSWORD", "secret"),
        ("REDIS_SSL", "true"),
        ("REDIS_POOL_SIZE", "20"),
        ("REDIS_TIMEOUT", "5000"),
    ];
    assert_eq!(redis(&parts), "Redis at redis.internal:6379 with TLS");
}

#[test]
fn a_redis_that_cannot_be_meant_is_refused() {
    let both = [("REDIS_URL", "redis://a"), ("REDIS_HOST", "b")];
    refused("", &both, "there are two ways to the same Redis");
    refused("", &[("REDIS_URL", "http://a")], "redis.url");
    let plain = [("REDIS_URL", "redis://a"), ("REDIS_SSL", "true")];
    refused(
        "",
        &plain,
        "redis.url says all of it: redis.ssl as a part of that would do",
    );
    refused(
        "",
        &[("REDIS_PASSWORD", "x")],
        "redis.url or redis.host would do",
    );
    let slow = [("REDIS_HOST", "a"), ("REDIS_TIMEOUT", "1m")];
    refused("", &slow, "timeout: must be 10 to 10000 ms");
}

#[test]
fn a_mongodb_is_named_by_a_uri_and_its_password_is_not_shown() {
    assert!(load("", &[], &[]).unwrap().mongodb.is_none());
    let uri = (
        "MONGODB_URI",
        "mongodb://presence:hush@mongo.internal/?tls=true",
    );
    let describe = |env: &[(&str, &str)], file| {
        let config = load(file, env, &[]).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("hush"), "{shown}");
        config.mongodb.unwrap().describe()
    };
    assert_eq!(
        describe(&[uri], ""),
        "MongoDB at mongo.internal:27017 with TLS, database presence"
    );
    assert_eq!(
        describe(&[uri, ("MONGODB_DATABASE", "chat")], ""),
        "MongoDB at mongo.internal:27017 with TLS, database chat"
    );
    let file = "[mongodb]\nuri = 'mongodb://a.internal'\ndatabase = 'chat'";
    assert_eq!(
        describe(&[], file),
        "MongoDB at a.internal:27017, database chat"
    );
    let hosted = "mongodb+srv://presence:hush@cluster0.internal/?retryWrites=true";
    assert_eq!(
        describe(&[("MONGODB_URI", hosted), ("MONGODB_DNS", "10.0.0.53")], ""),
        "MongoDB at the servers of cluster0.internal, database presence"
    );
}

#[test]
fn a_mongodb_that_cannot_be_meant_is_refused() {
    let uri = |uri| [("MONGODB_URI", uri)];
    refused("", &uri("http://a"), "mongodb.uri is");
    refused("", &uri("http://a"), "MONGODB_URI");
    refused("", &uri("mongodb://u:a@b@c"), "must be percent-encoded");
    refused("", &uri("mongodb+srv://a.b.c:1"), "a port cannot be given");
    refused(
        "",
        &[("MONGODB_DNS", "10.0.0.53")],
        "mongodb.dns is of no use alone",
    );
    let dns = [
        ("MONGODB_URI", "mongodb+srv://a.b.c"),
        ("MONGODB_DNS", "dns"),
    ];
    refused("", &dns, "addresses of DNS servers would do");
    let alone = [("MONGODB_DATABASE", "chat")];
    refused("", &alone, "mongodb.database is of no use alone");
    let bad = [("MONGODB_URI", "mongodb://a"), ("MONGODB_DATABASE", "a.b")];
    refused("", &bad, "mongodb.database must be 1 to 63 bytes");
}

#[test]
fn what_is_misspelt_is_found_and_the_right_name_is_told() {
    refused(
        "[limits]\nwatchs_max = 1",
        &[],
        "there is no setting limits.watchs_max (in presence.toml); is limits.watches_max meant?",
    );
    refused(
        "listn = 'x'",
        &[],
        "there is no setting listn (in presence.toml); is listen meant?",
    );
    refused(
        "[kafka]\nhost = 'x'",
        &[],
        "there is no setting kafka (in presence.toml)",
    );
    refused(
        "",
        &[("PRESENCE_JWT_ISUER", "x")],
        "there is no setting PRESENCE_JWT_ISUER (in the environment); is PRESENCE_JWT_ISSUER meant?",
    );
}

#[test]
fn the_tick_is_automatic_unless_a_time_is_given() {
    let tick = |text: &str| {
        let config = load("", &[("PRESENCE_TICK", text)], &[]).unwrap();
        config.timing.tick()
    };
    let fixed = |millis| Tick::Fixed(Duration::from_millis(millis));
    assert_eq!(load("", &[], &[]).unwrap().timing.tick(), Tick::Auto);
    assert_eq!(tick("auto"), Tick::Auto);
    assert_eq!(tick("50"), fixed(50));
    assert_eq!(tick("1ms"), fixed(1));
    assert_eq!(tick("1s"), fixed(1000));
    let file = load("[timing]\ntick = 20", &[], &[]).unwrap();
    assert_eq!(file.timing.tick(), fixed(20));
    for bad in ["0", "1001ms", "2.5ms", "fast"] {
        refused(
            "",
            &[("PRESENCE_TICK", bad)],
            "PRESENCE_TICK): `auto`, or a time from 1ms to 1s would do",
        );
    }
}

#[test]
fn an_error_names_the_setting_its_origin_and_what_would_do() {
    refused(
        "listen = '4001'",
        &[],
        "listen is \"4001\" (from presence.toml): an address and a port would do",
    );
    refused(
        "",
        &[("PRESENCE_TTL", "soon")],
        "timing.presence_ttl is \"soon\" (from the environment, PRESENCE_TTL): a time would do",
    );
    refused("listen = ['a', 'b']", &[], "one value would do, not a list");
    refused("listen = { a = 1 }", &[], "listen is of another kind");
    refused("limits = 3", &[], "there is no setting limits");
    refused("[rates]\njoin = '9/day'", &[], "a rate would do");
    refused("[log]\nfilter = 'inf'", &[], "a level would do");
    refused("[log]\nformat = 'xml'", &[], "auto, human or json would do");
    refused(
        "[jwt]\nkeys = ['HS256:x']",
        &[],
        "an algorithm and the PEM file",
    );
    refused("[jwt]\nleeway = '1h'", &[], "at most 5m");
    refused(
        "[jwt]\nchannels_default = ['a*b']",
        &[],
        "jwt.channels_default is \"a*b\"",
    );
    refused(
        "allowed_origins = ['example.org']",
        &[],
        "allowed_origins is \"example.org\"",
    );
    refused("shards = 0", &[], "a whole number from 1 to 256 would do");
    refused("node_name = 'a b'", &[], "node_name is \"a b\"");
}

#[test]
fn relations_between_values_are_checked_and_the_error_says_what_would_do() {
    refused(
        "[timing]\nheartbeat_interval = 30000",
        &[],
        "at least 75s would do (timing.heartbeat_interval from presence.toml, timing.presence_ttl from default",
    );
    refused("[limits]\nframe_bytes_max = 1024", &[], "5120 would do");
    refused("[limits]\noutbox_bytes_max = 65535", &[], "65536 would do");
    refused(
        "[limits]\nchannels_max = 500",
        &[],
        "a burst of 500 would do",
    );
    refused("[limits]\nlisted_max = 10", &[], "faces_max of 10 would do");
}

#[test]
fn without_a_key_only_loopback_is_listened_on() {
    for listen in ["0.0.0.0:80", "[::]:80", "192.168.1.7:80"] {
        refused(
            "",
            &[("PRESENCE_LISTEN", listen)],
            "127.0.0.1:80 would do, or a key",
        );
        let env = [("PRESENCE_LISTEN", listen), ("PRESENCE_JWT_SECRET", SECRET)];
        assert!(load("", &env, &[]).is_ok());
    }
    for listen in [
        "127.0.0.1:80",
        "127.9.9.9:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "localhost:80",
    ] {
        assert!(
            load("", &[("PRESENCE_LISTEN", listen)], &[]).is_ok(),
            "{listen}"
        );
    }
}

#[test]
fn secrets_are_never_shown_and_weak_ones_are_refused() {
    let weak = "hunter2-hunter2";
    let error = refused(
        "",
        &[("PRESENCE_JWT_SECRET", weak)],
        "openssl rand -base64 32",
    );
    assert!(!error.contains(weak), "{error}");

    let broken = format!("[jwt]\nsecret = \"{SECRET}");
    let error = refused(&broken, &[], "presence.toml cannot be understood");
    assert!(!error.contains(SECRET), "{error}");

    // Digits stay text.
    let digits = "00123456789012345678901234567890";
    let config = load("", &[("PRESENCE_JWT_SECRET", digits)], &[]).unwrap();
    assert_eq!(
        config.jwt.secret.as_ref().unwrap().expose(),
        digits.as_bytes()
    );
    for shown in [format!("{config:?}"), config.to_string()] {
        assert!(!shown.contains(digits), "{shown}");
    }
    assert!(config.to_string().contains("(hidden)"));
}

#[test]
fn a_secret_may_be_in_a_file_and_there_is_one() {
    let dir = folder("[jwt]\nsecret_file = 'key'");
    fs::write(dir.path().join("key"), format!("{SECRET}\n")).unwrap();
    let config = Config::load_in(dir.path(), &cli(&[]), vars(&[])).unwrap();
    assert_eq!(config.jwt.secret, Some(Secret::new(SECRET)));
    let error = Config::load_in(
        dir.path(),
        &cli(&[]),
        vars(&[("PRESENCE_JWT_SECRET", SECRET)]),
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("there are two secrets")
    );
    refused(
        "[jwt]\nsecret_file = 'missing'",
        &[],
        "a file that can be read would do",
    );
}

#[test]
fn a_file_that_was_named_has_to_be_there() {
    let dir = folder("listen = '127.0.0.1:7'");
    fs::write(dir.path().join("other"), "listen = '127.0.0.1:8'").unwrap();
    let port = |args: &[&str], env: &[(&str, &str)]| {
        Config::load_in(dir.path(), &cli(args), vars(env)).map(|it| it.listen.port())
    };
    assert_eq!(port(&[], &[]).unwrap(), 7);
    assert_eq!(port(&["--config", "other"], &[]).unwrap(), 8);
    assert_eq!(port(&[], &[("PRESENCE_CONFIG", "other")]).unwrap(), 8);
    let error = port(&["--config", "missing"], &[]).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read missing, named by --config"),
        "{error}"
    );
    let empty = TempDir::new().unwrap();
    assert!(Config::load_in(empty.path(), &cli(&[]), vars(&[])).is_ok());
}

#[test]
fn lists_are_texts_with_commas_or_lists() {
    let file = "[jwt]\naudience = ['a', 'b']\nkeys = ['ES256:e.pem', 'EdDSA:d.pem']";
    let config = load(file, &[], &[]).unwrap();
    assert_eq!(config.jwt.audience, ["a", "b"]);
    assert_eq!(config.jwt.keys.len(), 2);
    let config = load("", &[("PRESENCE_JWT_AUDIENCE", "a, b,")], &[]).unwrap();
    assert_eq!(config.jwt.audience, ["a", "b"]);
}

#[test]
fn what_deserves_a_word_gets_one() {
    let env = [
        ("PRESENCE_JWT_SECRET", SECRET),
        ("PRESENCE_ALLOWED_ORIGINS", "*"),
        ("PRESENCE_TTL", "5"),
        ("HEARTBEAT_INTERVAL", "1000"),
    ];
    let warnings = load("", &env, &[]).unwrap().warnings.join("\n");
    assert!(
        warnings.contains("every page on the web may connect"),
        "{warnings}"
    );
    assert!(warnings.contains("13s would do"), "{warnings}");
    assert!(!warnings.contains("no key"), "{warnings}");
}

#[test]
fn the_operations_page_lists_every_setting_with_its_names_and_default() {
    let page = repository_file("docs/operations.md");
    let rows: BTreeMap<&str, Vec<&str>> = page
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line
                .trim_matches('|')
                .split(" | ")
                .map(|it| it.trim().trim_matches('`'))
                .collect();
            (line.starts_with("| `") && cells.len() == 4).then(|| (cells[0], cells))
        })
        .collect();
    for setting in SETTINGS {
        let row = rows
            .get(setting.key)
            .unwrap_or_else(|| panic!("{} has no row", setting.key));
        let names = match setting.flag {
            Some(flag) => format!("{}`, `{flag}", setting.env),
            None => setting.env.to_owned(),
        };
        assert_eq!(row[1], names, "{}", setting.key);
        if !setting.default.is_empty() {
            assert_eq!(row[2], setting.default, "{}", setting.key);
        }
    }
    let keys: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    let known: BTreeSet<&str> = rows.into_keys().collect();
    assert_eq!(known, keys);
}

#[test]
fn every_variable_that_the_pages_name_exists() {
    let pages = [
        "docs/operations.md",
        "deploy/presence.example.toml",
        "deploy/compose.yaml",
        "deploy/compose.sentinel.yaml",
        "deploy/compose.cluster.yaml",
        "deploy/kubernetes/gateway.yaml",
        "deploy/Dockerfile",
        "deploy/presence-gateway.service",
    ];
    for page in pages {
        let text = repository_file(page);
        let words =
            text.split(|c: char| !(c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()));
        for word in words.filter(|word| word.starts_with("PRESENCE_") && word.len() > 9) {
            assert!(!settings::is_misspelt(word), "{page}: {word}");
        }
    }
}

#[test]
fn the_example_file_shows_every_setting_and_its_default() {
    let example = repository_file("deploy/presence.example.toml");
    let config = load(&example, &[], &[]).unwrap();
    assert!(
        config.explained.iter().all(|it| it.origin == "default"),
        "{config}"
    );

    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.contains(" = ") && !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let mut shown = Layers::read(folder(&uncommented).path(), &cli(&[]), vars(&[])).unwrap();
    for setting in SETTINGS {
        let value = shown
            .take_list(setting.key, |text| Ok(text.to_owned()))
            .unwrap();
        let origin = shown.origin(setting.key);
        assert!(origin.ends_with("presence.toml"), "{origin}");
        if !setting.default.is_empty() {
            assert_eq!(value.join(", "), setting.default, "{}", setting.key);
        }
    }
}

#[test]
fn applications_of_pusher_have_an_id_a_key_and_a_secret_that_is_never_shown() {
    const HIDDEN: &str = "7ad3773142a6692b25b8";
    assert!(load("", &[], &[]).unwrap().pusher.apps.is_empty());
    let one = [
        ("PRESENCE_PUSHER_APP_ID", "3"),
        ("PRESENCE_PUSHER_KEY", "key-of-3"),
        ("PRESENCE_PUSHER_SECRET", HIDDEN),
    ];
    let more = format!("[pusher]\napps = ['7:seven:{HIDDEN}']\nclient_events = false");
    let config = load(&more, &one, &[]).unwrap();
    let apps = config.pusher.apps.iter();
    let apps: Vec<_> = apps
        .map(|it| (&it.id[..], &it.key[..], it.meets_others))
        .collect();
    assert_eq!(apps, [("3", "key-of-3", true), ("7", "seven", false)]);
    assert!(!config.pusher.client_events);
    for shown in [format!("{config:?}"), config.to_string()] {
        assert!(!shown.contains(HIDDEN), "{shown}");
    }

    refused(
        "",
        &one[..2],
        "pusher.secret would do, too (pusher.app_id from",
    );
    refused("", &one[2..], "pusher.app_id and pusher.key would do, too");
    let twice = format!("[pusher]\napps = ['7:a:{HIDDEN}', '7:b:{HIDDEN}']");
    assert!(!refused(&twice, &[], "two applications").contains(HIDDEN));
    for (bad, wants) in [
        ("7:a".to_owned(), "`id:key:secret` would do"),
        (format!("a/b:a:{HIDDEN}"), "of an id, 1 to 28 of"),
        (format!("7::{HIDDEN}"), "of the key of 7, 1 to 64 of"),
        (
            "7:a:sh0rt".to_owned(),
            "of the secret of 7, 5 bytes can be guessed",
        ),
    ] {
        let file = format!("[pusher]\napps = ['{bad}']");
        let error = refused(&file, &[], wants);
        assert!(
            !error.contains(HIDDEN) && !error.contains("sh0rt"),
            "{error}"
        );
    }
}

const HOOK: &str = "https://hooks.example.org/in?token=s3cr3t";

#[test]
fn webhooks_go_somewhere_signed_and_are_about_what_was_asked_for() {
    use presence_core::hooks::{HookKind, Wanted};
    assert!(load("", &[], &[]).unwrap().webhook.is_none());
    let all = [
        ("REDIS_URL", "redis://127.0.0.1"),
        ("PRESENCE_WEBHOOK_URL", HOOK),
        ("PRESENCE_WEBHOOK_SECRET", SECRET),
    ];
    let config = load("", &all, &[]).unwrap();
    for shown in [format!("{config:?}"), config.to_string()] {
        assert!(
            !shown.contains("s3cr3t") && !shown.contains(SECRET),
            "{shown}"
        );
    }
    let webhook = config.webhook.unwrap();
    assert_eq!(webhook.url.to_string(), HOOK);
    assert_eq!(webhook.describe(), "https://hooks.example.org/…");
    assert_eq!(webhook.format, WebhookFormat::Presence);
    let is_default =
        |kind: &HookKind| !matches!(kind, HookKind::ChannelJoined | HookKind::ChannelLeft);
    let default: Wanted = HookKind::ALL.into_iter().filter(is_default).collect();
    assert_eq!(webhook.wanted, default);

    let wanted = |events: &str| {
        let env = [&all[..], &[("PRESENCE_WEBHOOK_EVENTS", events)]].concat();
        load("", &env, &[]).unwrap().webhook.unwrap().wanted
    };
    assert_eq!(
        wanted("user.*, channel.*"),
        HookKind::ALL.into_iter().collect()
    );
    assert_eq!(
        wanted("user.offline"),
        [HookKind::UserOffline].into_iter().collect()
    );

    // One gateway alone keeps what waits in its folder, and says if it has none.
    let lost = |env: &[(&str, &str)]| {
        let warnings = load("", env, &[]).unwrap().warnings.join("\n");
        warnings.contains("webhooks that wait are lost when this process ends")
    };
    let in_memory = [&all[1..], &[("PRESENCE_DATA_DIR", ":memory:")]].concat();
    assert!(lost(&in_memory) && !lost(&all[1..]));
    let with_redis = [&in_memory[..], &all[..1]].concat();
    assert!(!lost(&with_redis));

    let rotated = format!("[webhook]\nsecret = ['{SECRET}', 'aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW']");
    assert_eq!(
        load(&rotated, &all[..2], &[])
            .unwrap()
            .webhook
            .unwrap()
            .secrets
            .len(),
        2
    );
}

#[test]
fn webhooks_of_pushers_form_are_of_its_applications() {
    use presence_core::hooks::HookKind;
    let app = [
        ("PRESENCE_PUSHER_APP_ID", "3"),
        ("PRESENCE_PUSHER_KEY", "key-of-3"),
        ("PRESENCE_PUSHER_SECRET", "7ad3773142a6692b25b8"),
    ];
    let hook = [
        ("REDIS_URL", "redis://127.0.0.1"),
        ("PRESENCE_WEBHOOK_URL", HOOK),
        ("PRESENCE_WEBHOOK_FORMAT", "pusher"),
    ];
    let both = [&app[..], &hook[..]].concat();
    let webhook = load("", &both, &[]).unwrap().webhook.unwrap();
    assert_eq!(webhook.wanted, HookKind::OF_CHANNELS.into_iter().collect());
    refused(
        "",
        &hook,
        "pusher.app_id, pusher.key and pusher.secret would do, too (webhook.format from",
    );
    let signed = [&both[..], &[("PRESENCE_WEBHOOK_SECRET", SECRET)]].concat();
    refused(
        "",
        &signed,
        "no webhook.secret would do (webhook.secret from",
    );
    let users = [&both[..], &[("PRESENCE_WEBHOOK_EVENTS", "user.online")]].concat();
    refused("", &users, "`channel.*` would do (webhook.events from");
}

#[test]
fn a_webhook_that_cannot_work_is_refused_by_name() {
    let redis = ("REDIS_URL", "redis://127.0.0.1");
    let url = ("PRESENCE_WEBHOOK_URL", HOOK);
    let secret = ("PRESENCE_WEBHOOK_SECRET", SECRET);
    let from_url = "(webhook.url from the environment, PRESENCE_WEBHOOK_URL)";
    for (env, why) in [
        (
            &[redis, url][..],
            "webhook.secret would do, too: PRESENCE_WEBHOOK_SECRET=",
        ),
        (&[redis, url], from_url),
        (
            &[redis, secret],
            "webhook.url would do, too (webhook.secret from the environment, PRESENCE_WEBHOOK_SECRET)",
        ),
        (
            &[redis, url, ("PRESENCE_WEBHOOK_SECRET", "short")],
            "5 bytes can be guessed",
        ),
        (
            &[redis, url, secret, ("PRESENCE_WEBHOOK_FORMAT", "xml")],
            "`presence` or `pusher` would do",
        ),
    ] {
        let error = refused("", env, why);
        assert!(
            !error.contains("s3cr3t") && !error.contains(SECRET),
            "{error}"
        );
    }
    for (events, wants) in [
        (
            "user.onlin",
            "webhook.events is \"user.onlin\" (from the environment, PRESENCE_WEBHOOK_EVENTS)",
        ),
        ("*", "user.online, user.changed"),
        ("user*", "channel.vacated, `user.*` or `channel.*` would do"),
    ] {
        refused(
            "",
            &[redis, url, secret, ("PRESENCE_WEBHOOK_EVENTS", events)],
            wants,
        );
    }
    for bad in [
        "hooks.example.org/in",
        "/in",
        "ftp://hooks.example.org/in",
        "https://",
        "https://hooks.example.org:99999/in",
        "https://ann:s3cr3t@hooks.example.org/in",
    ] {
        let env = [redis, ("PRESENCE_WEBHOOK_URL", bad), secret];
        let error = refused(
            "",
            &env,
            "webhook.url is (hidden) (from the environment, PRESENCE_WEBHOOK_URL)",
        );
        assert!(!error.contains("s3cr3t"), "{error}");
    }
    let three = format!("[webhook]\nsecret = ['{SECRET}', '{SECRET}', '{SECRET}']");
    refused(
        &three,
        &[redis, url],
        "a new secret and the one before would do",
    );
}

#[test]
fn a_set_of_keys_is_fetched_by_https_or_from_this_machine_now_and_then() {
    let url = |url: &str| load("", &[("PRESENCE_JWKS_URL", url)], &[]);
    for fine in [
        "https://id.example.org/.well-known/jwks.json",
        "http://127.0.0.1:8080/jwks.json",
        "http://[::1]:8080/",
        "http://localhost/jwks",
    ] {
        let jwt = url(fine).unwrap().jwt;
        assert!(!jwt.is_open());
        let source = jwt.jwks_url.unwrap();
        assert_eq!(
            (source.url.to_string(), source.refresh),
            (fine.to_owned(), Duration::from_secs(600))
        );
    }
    for bad in [
        "http://id.example.org/jwks",
        "http://127.0.0.1.example.org/jwks",
        "http://10.0.0.1/",
        "http://localhost.example.org/",
    ] {
        refused("", &[("PRESENCE_JWKS_URL", bad)], "https would do");
        let allowed = [
            ("PRESENCE_JWKS_URL", bad),
            ("PRESENCE_JWKS_ALLOW_HTTP", "true"),
        ];
        assert!(load("", &allowed, &[]).is_ok(), "{bad}");
    }
    for bad in [
        "ftp://x/",
        "/jwks.json",
        "https://",
        "https://ann@example.org/",
        "https://example.org:0/",
    ] {
        assert!(url(bad).is_err(), "{bad}");
    }
    let with = |name, value| [("PRESENCE_JWKS_URL", "https://example.org/"), (name, value)];
    for refresh in ["0s", "999ms", "25h", "soon"] {
        refused(
            "",
            &with("PRESENCE_JWKS_REFRESH", refresh),
            "from 1s to 24h",
        );
    }
    refused(
        "",
        &with("PRESENCE_JWKS_FILE", "jwks.json"),
        "there are two JWK sets",
    );
    refused("", &[("PRESENCE_JWKS_REFRESH", "1m")], "of no use alone");
    refused(
        "",
        &[("PRESENCE_JWKS_ALLOW_HTTP", "true")],
        "of no use alone",
    );
}

fn load(file: &str, env: &[(&str, &str)], args: &[&str]) -> Result<Config, ConfigError> {
    Config::load_in(folder(file).path(), &cli(args), vars(env))
}

#[track_caller]
fn refused(file: &str, env: &[(&str, &str)], why: &str) -> String {
    let error = load(file, env, &[]).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
    error
}

fn folder(file: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("presence.toml"), file).unwrap();
    dir
}

fn cli(args: &[&str]) -> Cli {
    use clap::Parser;
    Cli::try_parse_from([&["presence-gateway"], args].concat()).unwrap()
}

fn vars(env: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    env.iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn origins<'a>(config: &'a Config, keys: &[&str]) -> Vec<&'a str> {
    let origin = |key: &&str| config.explained.iter().find(|it| it.key == *key);
    keys.iter()
        .map(|key| origin(key).unwrap().origin.as_str())
        .collect()
}

fn repository_file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
