//! The table of all settings: their names, their defaults, and which are secret.

/// One setting of the configuration.
#[derive(Debug)]
pub struct Setting {
    /// The name in the file: `section.name`.
    pub key: &'static str,
    /// The name of the environment variable.
    pub env: &'static str,
    /// The flag that also sets it, if there is one.
    pub flag: Option<&'static str>,
    /// The value if nobody sets it. Empty if there is no default, or if it depends on the machine.
    pub default: &'static str,
    /// Whether the value must never be shown.
    pub secret: bool,
}

const fn setting(key: &'static str, env: &'static str, default: &'static str) -> Setting {
    Setting {
        key,
        env,
        flag: None,
        default,
        secret: false,
    }
}

const fn flagged(setting: Setting, flag: &'static str) -> Setting {
    Setting {
        flag: Some(flag),
        ..setting
    }
}

const fn secret(setting: Setting) -> Setting {
    Setting {
        secret: true,
        ..setting
    }
}

/// All settings, in the order in which they are documented.
pub const SETTINGS: &[Setting] = &[
    flagged(
        setting("listen", "PRESENCE_LISTEN", "127.0.0.1:4001"),
        "--listen",
    ),
    flagged(
        setting("data_dir", "PRESENCE_DATA_DIR", "presence-data"),
        "--data-dir",
    ),
    setting("node_name", "NODE_NAME", ""),
    setting("allowed_origins", "PRESENCE_ALLOWED_ORIGINS", ""),
    setting("shards", "PRESENCE_SHARDS", ""),
    setting("drain", "PRESENCE_DRAIN", "10s"),
    setting("keep_unseen_days", "PRESENCE_KEEP_UNSEEN_DAYS", "0"),
    setting("explain_addresses", "PRESENCE_EXPLAIN_ADDRESSES", "hashed"),
    secret(setting("redis.url", "REDIS_URL", "")),
    setting("redis.host", "REDIS_HOST", ""),
    setting("redis.port", "REDIS_PORT", "6379"),
    setting("redis.user", "REDIS_USER", ""),
    secret(setting("redis.password", "REDIS_PASSWORD", "")),
    setting("redis.ssl", "REDIS_SSL", "false"),
    setting("redis.ca_file", "REDIS_CA_FILE", ""),
    setting("redis.database", "REDIS_DATABASE", "0"),
    setting("redis.pool_size", "REDIS_POOL_SIZE", "1"),
    setting("redis.timeout", "REDIS_TIMEOUT", "500ms"),
    setting("redis.prefix", "PRESENCE_REDIS_PREFIX", "presence"),
    secret(setting("mongodb.uri", "MONGODB_URI", "")),
    setting("mongodb.database", "MONGODB_DATABASE", "presence"),
    setting("mongodb.dns", "MONGODB_DNS", ""),
    setting("timing.heartbeat_interval", "HEARTBEAT_INTERVAL", "15s"),
    setting("timing.presence_ttl", "PRESENCE_TTL", "60s"),
    setting("timing.typing_ttl", "TYPING_TTL", "5s"),
    setting("timing.grace", "PRESENCE_GRACE", "10s"),
    setting("timing.tick", "PRESENCE_TICK", "auto"),
    secret(setting("jwt.secret", "PRESENCE_JWT_SECRET", "")),
    setting("jwt.secret_file", "PRESENCE_JWT_SECRET_FILE", ""),
    setting("jwt.keys", "PRESENCE_JWT_KEYS", ""),
    setting("jwt.jwks_file", "PRESENCE_JWKS_FILE", ""),
    setting("jwt.jwks_url", "PRESENCE_JWKS_URL", ""),
    setting("jwt.jwks_refresh", "PRESENCE_JWKS_REFRESH", "10m"),
    setting("jwt.jwks_allow_http", "PRESENCE_JWKS_ALLOW_HTTP", "false"),
    setting("jwt.issuer", "PRESENCE_JWT_ISSUER", ""),
    setting("jwt.audience", "PRESENCE_JWT_AUDIENCE", ""),
    setting("jwt.leeway", "PRESENCE_JWT_LEEWAY", "5s"),
    setting("jwt.channels_default", "PRESENCE_JWT_CHANNELS_DEFAULT", "*"),
    setting(
        "limits.connections_max",
        "PRESENCE_CONNECTIONS_MAX",
        "100000",
    ),
    setting(
        "limits.frame_bytes_max",
        "PRESENCE_FRAME_BYTES_MAX",
        "65536",
    ),
    setting(
        "limits.outbox_bytes_max",
        "PRESENCE_OUTBOX_BYTES_MAX",
        "262144",
    ),
    setting(
        "limits.outboxes_bytes_max",
        "PRESENCE_OUTBOXES_BYTES_MAX",
        "268435456",
    ),
    setting(
        "limits.states_bytes_burst",
        "PRESENCE_STATES_BYTES_BURST",
        "8388608",
    ),
    setting(
        "limits.states_bytes_per_second",
        "PRESENCE_STATES_BYTES_PER_SECOND",
        "1048576",
    ),
    setting(
        "limits.history_bytes_max",
        "PRESENCE_HISTORY_BYTES_MAX",
        "16777216",
    ),
    setting(
        "limits.connections_per_address_max",
        "PRESENCE_CONNECTIONS_PER_ADDRESS_MAX",
        "0",
    ),
    setting("limits.watches_max", "PRESENCE_WATCHES_MAX", "2000"),
    setting("limits.sessions_max", "PRESENCE_SESSIONS_MAX", "64"),
    setting("limits.channels_max", "PRESENCE_CHANNELS_MAX", "100"),
    setting("limits.waiting_max", "PRESENCE_WAITING_MAX", "256"),
    setting("limits.listed_max", "PRESENCE_LISTED_MAX", "500"),
    setting("limits.faces_max", "PRESENCE_FACES_MAX", "20"),
    setting("limits.typing_max", "PRESENCE_TYPING_MAX", "20"),
    setting("limits.cursors_max", "PRESENCE_CURSORS_MAX", "64"),
    setting("limits.broadcasts_max", "PRESENCE_BROADCASTS_MAX", "64"),
    setting("limits.versions_kept", "PRESENCE_VERSIONS_KEPT", "32"),
    setting("limits.windows_max", "PRESENCE_WINDOWS_MAX", "8"),
    setting(
        "limits.topic_windows_max",
        "PRESENCE_TOPIC_WINDOWS_MAX",
        "1024",
    ),
    setting("rates.join", "PRESENCE_RATE_JOIN", "20/s burst 200"),
    setting("rates.watch", "PRESENCE_RATE_WATCH", "100/s burst 500"),
    setting("rates.status", "PRESENCE_RATE_STATUS", "1/s burst 10"),
    setting("rates.typing", "PRESENCE_RATE_TYPING", "5/s burst 20"),
    setting("rates.cursor", "PRESENCE_RATE_CURSOR", "60/s burst 120"),
    setting(
        "rates.broadcast",
        "PRESENCE_RATE_BROADCAST",
        "20/s burst 40",
    ),
    setting("rates.query", "PRESENCE_RATE_QUERY", "10/s burst 20"),
    setting("rates.other", "PRESENCE_RATE_OTHER", "5/s burst 20"),
    setting("pusher.app_id", "PRESENCE_PUSHER_APP_ID", ""),
    setting("pusher.key", "PRESENCE_PUSHER_KEY", ""),
    secret(setting("pusher.secret", "PRESENCE_PUSHER_SECRET", "")),
    secret(setting("pusher.apps", "PRESENCE_PUSHER_APPS", "")),
    setting(
        "pusher.client_events",
        "PRESENCE_PUSHER_CLIENT_EVENTS",
        "true",
    ),
    secret(setting("webhook.url", "PRESENCE_WEBHOOK_URL", "")),
    secret(setting("webhook.secret", "PRESENCE_WEBHOOK_SECRET", "")),
    setting("webhook.events", "PRESENCE_WEBHOOK_EVENTS", ""),
    setting("webhook.format", "PRESENCE_WEBHOOK_FORMAT", "presence"),
    flagged(setting("log.filter", "PRESENCE_LOG", "info"), "--log"),
    setting("log.format", "PRESENCE_LOG_FORMAT", "auto"),
    setting("log.connections", "PRESENCE_LOG_CONNECTIONS", "info"),
    setting(
        "log.connections_per_second",
        "PRESENCE_LOG_CONNECTIONS_PER_SECOND",
        "50",
    ),
    setting("log.user_ids", "PRESENCE_LOG_USER_IDS", "plain"),
    setting("otel.endpoint", "PRESENCE_OTEL_ENDPOINT", ""),
    secret(setting("otel.headers", "PRESENCE_OTEL_HEADERS", "")),
    setting("otel.sampling", "PRESENCE_OTEL_SAMPLING", "1"),
];

/// The environment variable that names the configuration file, and so cannot stand in it.
pub const CONFIG_ENV: &str = "PRESENCE_CONFIG";

/// The setting with this name in the file.
pub(super) fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Whether the name of an environment variable looks like a setting and is none. It is an error, because otherwise a
/// misspelt `PRESENCE_JWT_ISSUER` would mean that nobody checks the issuer.
///
/// Kubernetes puts `PRESENCE_PORT_4001_TCP` and the like into every pod if there is a service called `presence`;
/// those are ignored.
pub(super) fn is_misspelt(env: &str) -> bool {
    let ours = env == CONFIG_ENV || SETTINGS.iter().any(|setting| setting.env == env);
    let of_a_service = env.contains("_SERVICE_HOST")
        || env.contains("_SERVICE_PORT")
        || env.contains("_PORT_")
        || env.ends_with("_PORT");
    env.starts_with("PRESENCE_") && !ours && !of_a_service
}

/// The name among `names` that was probably meant.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|it| (distance(name, it), it))
        .filter(|(distance, it)| *distance <= 1 + it.len() / 5)
        .min()
        .map(|(_, it)| it)
}

/// How many characters to add, drop or replace to turn one text into the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(!x.eq_ignore_ascii_case(&y));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_meant_ones_are_found() {
        for (i, a) in SETTINGS.iter().enumerate() {
            for b in &SETTINGS[i + 1..] {
                assert!(a.key != b.key && a.env != b.env, "{} {}", a.key, b.key);
            }
        }
        let keys = || SETTINGS.iter().map(|it| it.key);
        assert_eq!(
            nearest("limits.watchs_max", keys()),
            Some("limits.watches_max")
        );
        assert_eq!(nearest("jwt.isuer", keys()), Some("jwt.issuer"));
        assert_eq!(nearest("colour", keys()), None);
    }

    #[test]
    fn a_misspelt_variable_is_found_and_those_of_kubernetes_are_left_alone() {
        assert!(is_misspelt("PRESENCE_JWT_ISUER"));
        assert!(!is_misspelt("PRESENCE_JWT_ISSUER"));
        assert!(!is_misspelt("PRESENCE_CONFIG"));
        assert!(!is_misspelt("PATH"));
        for kubernetes in [
            "PRESENCE_PORT",
            "PRESENCE_PORT_4001_TCP_ADDR",
            "PRESENCE_SERVICE_HOST",
            "PRESENCE_GATEWAY_SERVICE_PORT_HTTP",
        ] {
            assert!(!is_misspelt(kubernetes), "{kubernetes}");
        }
    }
}
