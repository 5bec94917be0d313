use std::path::Path;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::config::Secret;

const SECRET: &str = "wJ8Xb0v1mQeT5r7yKp3sZc6uHn9dLfAg";
const NOW_SECONDS: u64 = 1_764_000_000;
const NOW: Timestamp = Timestamp::from_millis(NOW_SECONDS * 1000);

#[test]
fn a_token_of_each_algorithm_is_verified_with_its_key_and_no_other() {
    let keys = [
        ("HS256", keys(|jwt| jwt.secret = Some(Secret::new(SECRET)))),
        (
            "RS256",
            keys(|jwt| jwt.keys = vec![pem("RS256", "rs256.pub.pem")]),
        ),
        (
            "ES256",
            keys(|jwt| jwt.keys = vec![pem("ES256", "es256.pub.pem")]),
        ),
        (
            "EdDSA",
            keys(|jwt| jwt.keys = vec![pem("EdDSA", "ed25519.pub.pem")]),
        ),
    ];
    for (algorithm, keys) in &keys {
        for signed_with in ["HS256", "RS256", "ES256", "EdDSA"] {
            let outcome = keys.verify(&token(signed_with, None, good()), NOW);
            if signed_with == *algorithm {
                assert_eq!(outcome.unwrap().user.as_str(), "ann");
            } else {
                let expected = vec![algorithm.parse().unwrap()];
                assert_eq!(
                    outcome,
                    Err(IdentityError::Algorithm { expected }),
                    "{algorithm} {signed_with}"
                );
            }
        }
    }
}

#[test]
fn several_keys_stand_side_by_side_and_each_keeps_its_algorithm() {
    let keys = keys(|jwt| {
        jwt.secret = Some(Secret::new(SECRET));
        jwt.keys = vec![
            pem("ES256", "es256.pub.pem"),
            pem("EdDSA", "ed25519.pub.pem"),
        ];
    });
    for algorithm in ["HS256", "ES256", "EdDSA"] {
        assert!(keys.verify(&token(algorithm, None, good()), NOW).is_ok());
        // Without a set of named keys a name means nothing.
        assert!(
            keys.verify(&token(algorithm, Some("whatever"), good()), NOW)
                .is_ok()
        );
    }
    let error = keys.verify(&token("RS256", None, good()), NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the token's algorithm is not the one of the key; here it is HS256 or ES256 or EdDSA"
    );
}

#[test]
fn a_public_key_is_no_secret() {
    // The attack: sign with HMAC, with the text of the public key as the secret.
    for (algorithm, file) in [
        ("RS256", "rs256.pub.pem"),
        ("ES256", "es256.pub.pem"),
        ("EdDSA", "ed25519.pub.pem"),
    ] {
        let public = std::fs::read(key_path(file)).unwrap();
        let forged = encode(
            &Header::default(),
            &good(),
            &EncodingKey::from_secret(&public),
        )
        .unwrap();
        let only = keys(|jwt| jwt.keys = vec![pem(algorithm, file)]);
        assert!(matches!(
            only.verify(&forged, NOW),
            Err(IdentityError::Algorithm { .. })
        ));
        let both = keys(|jwt| {
            jwt.secret = Some(Secret::new(SECRET));
            jwt.keys = vec![pem(algorithm, file)];
        });
        assert_eq!(both.verify(&forged, NOW), Err(IdentityError::Signature));
    }
}

#[test]
fn no_signature_is_no_signature() {
    let keys = keys(|jwt| jwt.secret = Some(Secret::new(SECRET)));
    let payload = base64.encode(good().to_string());
    for alg in ["none", "None", "nOnE", "HS999", ""] {
        let header = base64.encode(json!({"alg": alg, "typ": "JWT"}).to_string());
        for token in [
            format!("{header}.{payload}."),
            format!("{header}.{payload}.c2ln"),
        ] {
            assert!(
                matches!(
                    keys.verify(&token, NOW),
                    Err(IdentityError::Algorithm { .. })
                ),
                "{alg}"
            );
        }
    }
    let header = base64.encode(json!({"alg": "HS256"}).to_string());
    assert_eq!(
        keys.verify(&format!("{header}.{payload}."), NOW),
        Err(IdentityError::Signature)
    );
    for alg in ["HS384", "HS512"] {
        let header = Header::new(alg.parse().unwrap());
        let token = encode(
            &header,
            &good(),
            &EncodingKey::from_secret(SECRET.as_bytes()),
        )
        .unwrap();
        assert!(matches!(
            keys.verify(&token, NOW),
            Err(IdentityError::Algorithm { .. })
        ));
    }
}

#[test]
fn what_was_changed_or_signed_by_another_is_refused() {
    let keys = keys(|jwt| jwt.secret = Some(Secret::new(SECRET)));
    let token = token("HS256", None, good());
    let parts: Vec<&str> = token.split('.').collect();
    let mut admin = good();
    admin["scopes"] = json!(["admin"]);
    let forged = format!(
        "{}.{}.{}",
        parts[0],
        base64.encode(admin.to_string()),
        parts[2]
    );
    assert_eq!(keys.verify(&forged, NOW), Err(IdentityError::Signature));
    let other = EncodingKey::from_secret(b"another secret of the same length");
    let other = encode(&Header::default(), &good(), &other).unwrap();
    assert_eq!(keys.verify(&other, NOW), Err(IdentityError::Signature));
}

#[test]
fn what_is_no_token_is_refused_and_never_echoed() {
    let keys = keys(|jwt| jwt.secret = Some(Secret::new(SECRET)));
    let token = token("HS256", None, good());
    let no_object = base64.encode("[]");
    let critical = base64.encode(json!({"alg": "HS256", "crit": ["exp"], "exp": 1}).to_string());
    for bad in [
        String::new(),
        "hunter2".into(),
        "a.b".into(),
        "a.b.c".into(),
        format!("{token}.x"),
        format!(" {token}"),
        token.replace('.', ""),
        format!("{no_object}.{no_object}.{no_object}"),
        format!("{critical}.e30.c2ln"),
        "\u{fffd}.\0.x".into(),
    ] {
        let error = keys.verify(&bad, NOW).unwrap_err();
        assert_eq!(error, IdentityError::Malformed, "{bad:?}");
        assert!(bad.is_empty() || !error.to_string().contains(&bad));
    }
    let long = "a".repeat(TOKEN_BYTES_MAX + 1);
    assert_eq!(keys.verify(&long, NOW), Err(IdentityError::TooLong));
}

#[test]
fn a_token_is_good_until_its_end_and_the_leeway_and_not_a_moment_longer() {
    let keys = keys(|jwt| jwt.secret = Some(Secret::new(SECRET)));
    let token = token("HS256", None, json!({"sub": "ann", "exp": NOW_SECONDS}));
    let verify = |millis: i64| keys.verify(&token, at(millis)).map(|it| it.user);
    assert!(verify(-1).is_ok());
    assert!(verify(0).is_ok());
    assert!(verify(4_999).is_ok());
    assert_eq!(verify(5_000), Err(IdentityError::Expired));
    assert_eq!(verify(1_000_000_000), Err(IdentityError::Expired));
}

#[test]
fn a_token_is_not_good_before_its_time_less_the_leeway() {
    let keys = keys(|jwt| jwt.secret = Some(Secret::new(SECRET)));
    let token = token(
        "HS256",
        None,
        json!({"sub": "ann", "exp": NOW_SECONDS + 60, "nbf": NOW_SECONDS}),
    );
    let verify = |millis: i64| keys.verify(&token, at(millis)).map(|it| it.user);
    assert_eq!(verify(-5_001), Err(IdentityError::NotYetValid));
    assert!(verify(-5_000).is_ok());
    assert!(verify(0).is_ok());
}

#[test]
fn a_token_has_an_end_and_a_user() {
    let keys = keys(|jwt| jwt.secret = Some(Secret::new(SECRET)));
    let refused = |claims: Value| {
        keys.verify(&token("HS256", None, claims), NOW)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refused(json!({"sub": "ann"})), "exp is missing");
    assert_eq!(
        refused(json!({"sub": "ann", "exp": null})),
        "exp is missing"
    );
    assert_eq!(
        refused(json!({"sub": "ann", "exp": "x"})),
        "exp must be a number of seconds since 1970"
    );
    assert_eq!(refused(json!({"exp": NOW_SECONDS + 60})), "sub is missing");
}

#[test]
fn issuer_and_audience_are_checked_where_they_are_configured() {
    let keys = keys(|jwt| {
        jwt.secret = Some(Secret::new(SECRET));
        jwt.issuer = Some("https://id.example.org".into());
        jwt.audience = vec!["presence".into(), "chat".into()];
    });
    let with = |iss: Value, aud: Value| {
        let mut claims = good();
        claims["iss"] = iss;
        claims["aud"] = aud;
        keys.verify(&token("HS256", None, claims), NOW).map(|_| ())
    };
    let iss = json!("https://id.example.org");
    assert_eq!(with(iss.clone(), json!("chat")), Ok(()));
    assert_eq!(with(iss.clone(), json!(["other", "presence"])), Ok(()));
    assert_eq!(
        with(json!("https://evil.com"), json!("chat")),
        Err(IdentityError::Issuer)
    );
    assert_eq!(with(json!(null), json!("chat")), Err(IdentityError::Issuer));
    assert_eq!(
        with(json!({"a": 1}), json!("chat")),
        Err(IdentityError::Issuer)
    );
    assert_eq!(
        with(iss.clone(), json!("other")),
        Err(IdentityError::Audience)
    );
    assert_eq!(with(iss.clone(), json!(null)), Err(IdentityError::Audience));
    assert_eq!(with(iss, json!([])), Err(IdentityError::Audience));
}

#[test]
fn a_token_for_a_named_audience_is_for_nobody_here_if_none_is_configured() {
    let keys = keys(|jwt| jwt.secret = Some(Secret::new(SECRET)));
    let mut claims = good();
    claims["aud"] = json!("billing");
    assert_eq!(
        keys.verify(&token("HS256", None, claims), NOW),
        Err(IdentityError::Audience)
    );
}

#[test]
fn in_a_set_of_keys_the_name_chooses_and_the_algorithm_has_to_be_its_own() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("jwks.json");
    write_jwks(
        &file,
        &[jwk("ES256", "new"), jwk("RS256", "old"), jwk("EdDSA", "ed")],
    );
    let keys = keys(|jwt| jwt.jwks_file = Some(file.clone()));
    assert!(
        keys.verify(&token("ES256", Some("new"), good()), NOW)
            .is_ok()
    );
    assert!(
        keys.verify(&token("RS256", Some("old"), good()), NOW)
            .is_ok()
    );
    assert!(
        keys.verify(&token("EdDSA", Some("ed"), good()), NOW)
            .is_ok()
    );
    let refused = |algorithm, kid| {
        keys.verify(&token(algorithm, kid, good()), NOW)
            .unwrap_err()
    };
    assert_eq!(refused("ES256", Some("gone")), IdentityError::UnknownKey);
    assert_eq!(refused("ES256", None), IdentityError::UnknownKey);
    assert!(matches!(
        refused("ES256", Some("old")),
        IdentityError::Algorithm { .. }
    ));
    assert!(matches!(
        refused("HS256", Some("old")),
        IdentityError::Algorithm { .. }
    ));
    assert!(matches!(
        refused("HS256", None),
        IdentityError::Algorithm { .. }
    ));
}

#[test]
fn a_set_of_keys_is_read_again_when_it_changes_and_not_too_often() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("jwks.json");
    write_jwks(&file, &[jwk("ES256", "one")]);
    let keys = keys(|jwt| jwt.jwks_file = Some(file.clone()));
    let mut claims = good();
    claims["exp"] = json!(NOW_SECONDS + 3600);
    let verify = |kid, seconds: i64| {
        keys.verify(
            &token("ES256", Some(kid), claims.clone()),
            at(seconds * 1000),
        )
        .map(|_| ())
    };
    assert_eq!(verify("one", 0), Ok(()));

    write_jwks(&file, &[jwk("ES256", "one"), jwk("ES256", "second")]);
    assert_eq!(
        verify("second", 4),
        Err(IdentityError::UnknownKey),
        "it is looked at every 5 s"
    );
    assert_eq!(verify("second", 5), Ok(()));

    std::fs::write(&file, "{").unwrap();
    assert_eq!(
        verify("second", 10),
        Ok(()),
        "those from before stay in use"
    );
    std::fs::remove_file(&file).unwrap();
    assert_eq!(verify("second", 15), Ok(()));

    write_jwks(&file, &[jwk("ES256", "third")]);
    assert_eq!(verify("third", 20), Ok(()));
    assert_eq!(
        verify("one", 20),
        Err(IdentityError::UnknownKey),
        "a key that was taken out"
    );
}

#[test]
fn a_set_of_keys_may_have_others_besides_and_must_have_one_for_us() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("jwks.json");
    let load = |set: Value| {
        std::fs::write(&file, set.to_string()).unwrap();
        Keys::load(&jwt(|jwt| jwt.jwks_file = Some(file.clone())), NOW)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let with = |field: &str, value: Value| {
        let mut jwk = jwk("RS256", "x");
        jwk[field] = value;
        jwk
    };
    let p521 = json!({"kty": "EC", "crv": "P-521", "kid": "p", "x": "AA", "y": "AA"});
    let post_quantum = json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "q", "pub": "AA"});
    let others = [
        with("use", json!("enc")),
        with("alg", json!("RS512")),
        with("key_ops", json!(["encrypt"])),
        p521,
        post_quantum,
    ];
    let with_ours = [&others[..], &[jwk("ES256", "x")]].concat();
    assert_eq!(load(json!({"keys": with_ours})), Ok(()));
    let refused = |set: Value, why: &str| {
        let error = load(set).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    refused(json!({"keys": others}), "no key for RS256, ES256 or EdDSA");
    refused(json!({"keys": []}), "no key for RS256, ES256 or EdDSA");
    refused(json!([]), "a JWK set");
    refused(
        json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}),
        "belongs into jwt.secret",
    );
    refused(
        json!({"keys": [jwk("ES256", "x"), jwk("RS256", "x")]}),
        "has the id (kid) of another",
    );
    refused(
        json!({"keys": [with("n", json!("AQAB"))]}),
        "2048 to 4096 bits",
    );
    refused(
        json!({"keys": vec![jwk("ES256", "x"); 65]}),
        "at most 64 keys",
    );
    let mut broken = jwk("ES256", "x");
    broken["x"] = json!("AAAA");
    refused(json!({"keys": [broken]}), "it is no key for ES256");
    // What is shorter made the library panic, and what is longer was cut.
    for length in [0, 1, 27, 31, 33, 64] {
        let mut broken = jwk("EdDSA", "c");
        broken["x"] = json!(base64.encode(vec![0x42; length]));
        refused(json!({"keys": [broken]}), "it is no key for EdDSA");
    }
}

#[test]
fn keys_that_cannot_do_their_work_are_found_at_the_start() {
    let refused = |jwt: Jwt, why: &str| {
        let error = Keys::load(&jwt, NOW).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    for weak in [
        "",
        "secret",
        "0123456789012345678901234567890",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        refused(
            jwt(|jwt| jwt.secret = Some(Secret::new(weak))),
            "openssl rand -base64 32",
        );
    }
    refused(
        jwt(|jwt| jwt.keys = vec![pem("ES256", "es256.pem")]),
        "this is a private key",
    );
    refused(
        jwt(|jwt| jwt.keys = vec![pem("ES256", "es384.pub.pem")]),
        "no key for ES256",
    );
    refused(
        jwt(|jwt| jwt.keys = vec![pem("ES256", "rs256.pub.pem")]),
        "a public key for ES256 in PEM would do",
    );
    refused(
        jwt(|jwt| jwt.keys = vec![pem("RS256", "ed25519.pub.pem")]),
        "a public key for RS256 in PEM would do",
    );
    refused(
        jwt(|jwt| jwt.keys = vec![pem("RS256", "rsa1024.pub.pem")]),
        "2048 to 4096 bits",
    );
    refused(
        jwt(|jwt| jwt.keys = vec![pem("EdDSA", "README.md")]),
        "a public key for EdDSA in PEM would do",
    );
    refused(
        jwt(|jwt| jwt.keys = vec![pem("EdDSA", "missing.pem")]),
        "missing.pem",
    );
    refused(
        jwt(|jwt| jwt.jwks_file = Some("missing.json".into())),
        "missing.json",
    );
    assert!(Keys::load(&jwt(|_| ()), NOW).unwrap().is_none());
}

#[test]
fn what_holds_keys_shows_none() {
    let keys = keys(|jwt| jwt.secret = Some(Secret::new(SECRET)));
    assert!(!format!("{keys:?}").contains(SECRET));
}

fn good() -> Value {
    json!({"sub": "ann", "exp": NOW_SECONDS + 60})
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis().checked_add_signed(millis).unwrap())
}

fn keys(change: impl FnOnce(&mut Jwt)) -> Keys {
    Keys::load(&jwt(change), NOW).unwrap().unwrap()
}

fn jwt(change: impl FnOnce(&mut Jwt)) -> Jwt {
    let mut jwt = Jwt {
        secret: None,
        keys: vec![],
        jwks_file: None,
        jwks_url: None,
        issuer: None,
        audience: vec![],
        leeway: Duration::from_secs(5),
        channels_default: Patterns::every(),
    };
    change(&mut jwt);
    jwt
}

fn pem(algorithm: &str, file: &str) -> KeyFile {
    KeyFile {
        algorithm: algorithm.parse().unwrap(),
        path: key_path(file),
    }
}

fn token(algorithm: &str, kid: Option<&str>, claims: Value) -> String {
    let mut header = Header::new(algorithm.parse().unwrap());
    header.kid = kid.map(str::to_owned);
    encode(&header, &claims, &signing_key(algorithm)).unwrap()
}

fn signing_key(algorithm: &str) -> EncodingKey {
    let read = |file| std::fs::read(key_path(file)).unwrap();
    match algorithm {
        "HS256" => EncodingKey::from_secret(SECRET.as_bytes()),
        "RS256" => EncodingKey::from_rsa_pem(&read("rs256.pem")).unwrap(),
        "ES256" => EncodingKey::from_ec_pem(&read("es256.pem")).unwrap(),
        "EdDSA" => EncodingKey::from_ed_pem(&read("ed25519.pem")).unwrap(),
        _ => panic!("no key for {algorithm}"),
    }
}

fn jwk(algorithm: &str, kid: &str) -> Value {
    let key = signing_key(algorithm);
    let jwk = Jwk::from_encoding_key(&key, algorithm.parse().unwrap()).unwrap();
    let mut jwk = serde_json::to_value(jwk).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

fn write_jwks(file: &Path, keys: &[Value]) {
    std::fs::write(file, json!({"keys": keys}).to_string()).unwrap();
}

fn key_path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/keys")
        .join(file)
}
