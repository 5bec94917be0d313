//! Reads the sections of the configuration from its layers.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, thread};

use hyper::http::uri::Scheme;
use presence_core::{ByteRate, Limits, Tick, Timing};
use presence_mongo::Settings as MongoSettings;
use presence_redis::{Parts, Settings as RedisSettings};

use super::error::ConfigError;
use super::layers::Layers;
use super::parse::{self, Unit, span};
use super::{DataDir, JournalSettings, JwksUrl, Jwt, Rates, Secret, SocketLimits};
use crate::identity::{Patterns, SECRET_BYTES_MIN, weak_secret};

pub(super) fn timing(it: &mut Layers) -> Result<Timing, ConfigError> {
    let heartbeat = it.take_span("timing.heartbeat_interval", |text| span(text, Unit::Millis))?;
    let ttl = it.take_span("timing.presence_ttl", seconds)?;
    let typing = it.take_span("timing.typing_ttl", seconds)?;
    let grace = it.take_span("timing.grace", seconds)?;
    let tick = it.take("timing.tick", tick)?;
    let timing = Timing::new(heartbeat, ttl, typing, grace);
    let timing = timing.map_err(|error| ConfigError::Relation {
        what: error.to_string(),
        origins: [
            "timing.heartbeat_interval",
            "timing.presence_ttl",
            "timing.typing_ttl",
        ]
        .map(|key| it.origin(key))
        .into(),
    })?;
    Ok(timing.with_tick(tick))
}

/// Reads a tick: `auto`, or a time from 1 ms to the tick of the biggest rooms.
fn tick(text: &str) -> Result<Tick, String> {
    if text == "auto" {
        return Ok(Tick::Auto);
    }
    let range = Duration::from_millis(1)..=Timing::TICK_MAX;
    let tick = span(text, Unit::Millis).ok();
    let tick = tick.filter(|it| range.contains(it));
    let tick = tick.ok_or("`auto`, or a time from 1ms to 1s would do")?;
    Ok(Tick::Fixed(tick))
}

/// The longest time for which the data of an unseen user can be kept, in days: a hundred years.
const KEEP_UNSEEN_DAYS_MAX: u64 = 36_525;

pub(super) fn keep_unseen(it: &mut Layers) -> Result<Option<Duration>, ConfigError> {
    let days = it.take("keep_unseen_days", |text| {
        let days = text.parse::<u64>().ok();
        let days = days.filter(|it| *it <= KEEP_UNSEEN_DAYS_MAX);
        days.ok_or_else(|| {
            format!("a whole number of days up to {KEEP_UNSEEN_DAYS_MAX} would do; 0 is for ever")
        })
    })?;
    Ok((days > 0).then(|| Duration::from_secs(days * 24 * 60 * 60)))
}

pub(super) fn jwt(dir: &Path, it: &mut Layers) -> Result<Jwt, ConfigError> {
    let given = it.take_if_set("jwt.secret", secret)?;
    let in_a_file = it.take_if_set("jwt.secret_file", |path| {
        let text = fs::read_to_string(dir.join(path))
            .map_err(|error| format!("a file that can be read would do ({error})"))?;
        secret(text.trim_end_matches(['\r', '\n']))
    })?;
    let secret = match (given, in_a_file) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::Relation {
                what: "there are two secrets: one of jwt.secret and jwt.secret_file would do"
                    .into(),
                origins: vec![it.origin("jwt.secret"), it.origin("jwt.secret_file")],
            });
        }
        (given, in_a_file) => given.or(in_a_file),
    };
    let patterns = it.take_list("jwt.channels_default", |text| {
        Patterns::new([text]).map_err(|error| error.to_string())
    })?;
    let jwks_file = it.take_if_set("jwt.jwks_file", |text| Ok(PathBuf::from(text)))?;
    let jwks_url = jwks_url(it)?;
    if jwks_file.is_some() && jwks_url.is_some() {
        return Err(ConfigError::Relation {
            what: "there are two JWK sets: one of jwt.jwks_file and jwt.jwks_url would do".into(),
            origins: vec![it.origin("jwt.jwks_file"), it.origin("jwt.jwks_url")],
        });
    }
    Ok(Jwt {
        secret,
        keys: it.take_list("jwt.keys", parse::key_file)?,
        jwks_file,
        jwks_url,
        issuer: it.take_if_set("jwt.issuer", |text| Ok(text.to_owned()))?,
        audience: it.take_list("jwt.audience", |text| Ok(text.to_owned()))?,
        leeway: it.take_span("jwt.leeway", |text| {
            span(text, Unit::Seconds)
                .ok()
                .filter(|leeway| *leeway <= Duration::from_secs(300))
                .ok_or_else(|| "a time of at most 5m would do".into())
        })?,
        channels_default: patterns.into_iter().collect(),
    })
}

/// The shortest and the longest pause between fetches of a JWK set. A key that was removed from the set is trusted until
/// the next fetch.
const JWKS_REFRESH_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

/// Reads the URL from which a JWK set is fetched, if there is one.
fn jwks_url(it: &mut Layers) -> Result<Option<JwksUrl>, ConfigError> {
    let url = it.take_if_set("jwt.jwks_url", parse::web_url)?;
    let refresh = it.take_span("jwt.jwks_refresh", |text| {
        let refresh = span(text, Unit::Seconds).ok();
        let refresh = refresh.filter(|it| JWKS_REFRESH_RANGE.contains(it));
        refresh.ok_or_else(|| "a time from 1s to 24h would do".into())
    })?;
    let allow_http = it.take("jwt.jwks_allow_http", parse::flag)?;
    let Some(url) = url else {
        let alone = ["jwt.jwks_refresh", "jwt.jwks_allow_http"];
        return match alone.into_iter().find(|key| it.is_set(key)) {
            None => Ok(None),
            Some(key) => Err(ConfigError::Relation {
                what: format!("{key} is of no use alone: jwt.jwks_url would do, too"),
                origins: vec![it.origin(key)],
            }),
        };
    };
    let is_https = url.scheme() == Some(&Scheme::HTTPS);
    if !is_https && !allow_http && !url.host().is_some_and(is_this_machine) {
        return Err(ConfigError::Relation {
            what: "whoever is between could put keys of their own into a set that is fetched over http: \
                   https would do, or jwt.jwks_allow_http where nobody is"
                .into(),
            origins: vec![it.origin("jwt.jwks_url")],
        });
    }
    Ok(Some(JwksUrl { url, refresh }))
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = address.parse().ok();
    host.eq_ignore_ascii_case("localhost")
        || address.is_some_and(|it| it.to_canonical().is_loopback())
}

/// Reads the settings of the Redis that nodes share, if there is one: a URL, or its parts.
pub(super) fn redis(dir: &Path, it: &mut Layers) -> Result<Option<RedisSettings>, ConfigError> {
    let url = it.take_if_set("redis.url", |url| {
        RedisSettings::from_url(url).map_err(|error| format!("{error}"))
    })?;
    let host = it.take_if_set("redis.host", |host| Ok(host.to_owned()))?;
    let parts = Parts {
        host: host.clone().unwrap_or_default(),
        port: it.take("redis.port", parse::redis_port)?,
        user: it.take_if_set("redis.user", |user| Ok(user.to_owned()))?,
        password: it.take_if_set("redis.password", |password| Ok(password.to_owned()))?,
        tls: it.take("redis.ssl", parse::flag)?,
        database: it.take("redis.database", |text| {
            text.parse()
                .map_err(|_| "a number of at most 255 would do".to_owned())
        })?,
    };
    let authorities = it.take_if_set("redis.ca_file", |path| {
        fs::read(dir.join(path))
            .map_err(|error| format!("a file that can be read would do ({error})"))
    })?;
    let connections = it.take("redis.pool_size", |text| {
        parse::count(text, 1..=presence_redis::CONNECTIONS_MAX)
    })?;
    let timeout = it.take_span("redis.timeout", |text| span(text, Unit::Millis))?;
    let prefix = it.take("redis.prefix", |text| Ok(text.to_owned()))?;
    let wrong = |it: &Layers, key: &'static str, what: String| ConfigError::Relation {
        what,
        origins: vec![it.origin(key)],
    };
    const PARTS: [&str; 4] = [
        "redis.user",
        "redis.password",
        "redis.ssl",
        "redis.database",
    ];
    if let Some(key) = PARTS
        .into_iter()
        .find(|key| host.is_none() && it.is_set(key))
    {
        let what = match url {
            Some(_) => format!("redis.url says all of it: {key} as a part of that would do"),
            None => format!("{key} is of no use alone: redis.url or redis.host would do"),
        };
        return Err(wrong(it, key, what));
    }
    let settings = match (url, host) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::Relation {
                what:
                    "there are two ways to the same Redis: one of redis.url and redis.host would do"
                        .into(),
                origins: vec![it.origin("redis.url"), it.origin("redis.host")],
            });
        }
        (None, None) => return Ok(None),
        (Some(settings), None) => settings,
        (None, Some(_)) => RedisSettings::from_parts(&parts)
            .map_err(|error| wrong(it, "redis.host", error.to_string()))?,
    };
    let settings = settings
        .with_connections(connections)
        .map_err(|error| wrong(it, "redis.pool_size", error.to_string()))?
        .with_timeout(timeout)
        .map_err(|error| wrong(it, "redis.timeout", error.to_string()))?
        .with_prefix(&prefix)
        .map_err(|error| wrong(it, "redis.prefix", error.to_string()))?;
    match authorities {
        None => Ok(Some(settings)),
        Some(authorities) => settings
            .with_authorities(&authorities)
            .map(Some)
            .map_err(|error| wrong(it, "redis.ca_file", error.to_string())),
    }
}

/// Reads the settings of the MongoDB that keeps profiles, if there is one.
pub(super) fn mongodb(it: &mut Layers) -> Result<Option<MongoSettings>, ConfigError> {
    let settings = it.take_if_set("mongodb.uri", |uri| {
        MongoSettings::from_uri(uri).map_err(|error| error.to_string())
    })?;
    let database = it.take("mongodb.database", |name| Ok(name.to_owned()))?;
    let dns = it.take_if_set("mongodb.dns", parse::dns_servers)?;
    let wrong = |it: &Layers, key, what| ConfigError::Relation {
        what,
        origins: vec![it.origin(key)],
    };
    let Some(settings) = settings else {
        return match ["mongodb.database", "mongodb.dns"]
            .into_iter()
            .find(|key| it.is_set(key))
        {
            Some(key) => {
                let what = format!("{key} is of no use alone: mongodb.uri would do");
                Err(wrong(it, key, what))
            }
            None => Ok(None),
        };
    };
    let settings = settings
        .with_dns(dns.unwrap_or_default())
        .with_database(&database);
    settings.map(Some).map_err(|error| {
        let what = format!("mongodb.database {error}");
        wrong(it, "mongodb.database", what)
    })
}

pub(super) fn limits(it: &mut Layers) -> Result<Limits, ConfigError> {
    let some = |text: &str| parse::count(text, 1..=1_000_000);
    Ok(Limits {
        sessions_max: it.take("limits.sessions_max", some)?,
        channels_max: it.take("limits.channels_max", some)?,
        waiting_max: it.take("limits.waiting_max", some)?,
        listed_max: it.take("limits.listed_max", some)?,
        faces_max: it.take("limits.faces_max", some)?,
        typing_max: it.take("limits.typing_max", some)?,
        cursors_max: it.take("limits.cursors_max", some)?,
        broadcasts_max: it.take("limits.broadcasts_max", some)?,
        versions_kept: it.take("limits.versions_kept", some)?,
        windows_max: it.take("limits.windows_max", some)?,
        topic_windows_max: it.take("limits.topic_windows_max", some)?,
    })
}

pub(super) fn socket_limits(it: &mut Layers) -> Result<SocketLimits, ConfigError> {
    let bytes = |text: &str| parse::count(text, 1024..=64 * 1024 * 1024);
    let many_bytes = |text: &str| parse::count(text, 1024..=1 << 40).map(|it| it as u64);
    Ok(SocketLimits {
        connections_max: it.take("limits.connections_max", |text| {
            parse::count(text, 1..=10_000_000)
        })?,
        frame_bytes_max: it.take("limits.frame_bytes_max", bytes)?,
        outbox_bytes_max: it.take("limits.outbox_bytes_max", bytes)?,
        outboxes_bytes_max: it.take("limits.outboxes_bytes_max", |text| {
            parse::count(text, 1024 * 1024..=1 << 40)
        })?,
        states: ByteRate {
            burst: it.take("limits.states_bytes_burst", many_bytes)?,
            per_second: it.take("limits.states_bytes_per_second", many_bytes)?,
        },
        watches_max: it.take("limits.watches_max", |text| {
            parse::count(text, 1..=1_000_000)
        })?,
        connections_per_address_max: it
            .take("limits.connections_per_address_max", |text| {
                parse::count(text, 0..=10_000_000)
            })
            .map(|max| (max > 0).then_some(max))?,
    })
}

/// Reads how much is logged of connections.
pub(super) fn journal(it: &mut Layers) -> Result<JournalSettings, ConfigError> {
    Ok(JournalSettings {
        level: it.take("log.connections", str::parse)?,
        per_second: it.take("log.connections_per_second", |text| {
            parse::count(text, 1..=100_000).map(|it| it as u32)
        })?,
        user_ids: it.take("log.user_ids", str::parse)?,
    })
}

pub(super) fn rates(it: &mut Layers) -> Result<Rates, ConfigError> {
    Ok(Rates {
        join: it.take("rates.join", parse::rate)?,
        watch: it.take("rates.watch", parse::rate)?,
        status: it.take("rates.status", parse::rate)?,
        typing: it.take("rates.typing", parse::rate)?,
        cursor: it.take("rates.cursor", parse::rate)?,
        broadcast: it.take("rates.broadcast", parse::rate)?,
        query: it.take("rates.query", parse::rate)?,
        other: it.take("rates.other", parse::rate)?,
    })
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    span(text, Unit::Seconds)
}

fn secret(text: &str) -> Result<Secret, String> {
    match weak_secret(text.as_bytes()) {
        false => Ok(Secret::new(text)),
        true => Err(format!(
            "{} bytes can be guessed: at least {SECRET_BYTES_MIN} random ones would do, `openssl rand -base64 32` makes some",
            text.len()
        )),
    }
}

pub(super) fn data_dir(text: &str) -> DataDir {
    match text {
        ":memory:" => DataDir::Memory,
        folder => DataDir::Folder(folder.into()),
    }
}

/// The default number of shards: one for each core, up to the number beyond which more only cost.
pub(super) fn shards() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.min(8).to_string()
}

pub(super) fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| parse::node_name(name).is_ok())
        .unwrap_or_else(|| "presence@local".into())
}
