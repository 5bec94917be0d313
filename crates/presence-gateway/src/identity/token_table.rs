//! A table of tokens: some hundreds, made from every combination of a few parts, each with the verdict that a rule gives it.
//!
//! The rule is written down here once more, from `docs/operations.md` and not from the code, and knows nothing of JWTs. Where
//! several things are wrong with a token, any of them may be the reason.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as base64;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm as Theirs, EncodingKey};
use presence_core::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Asked, Gate, IdentityError, Patterns};
use crate::config::{Jwt, KeyFile, Secret};

const NOW_SECONDS: i64 = 1_764_000_000;
const LEEWAY_SECONDS: i64 = 5;
const SECRET: &str = "wJ8Xb0v1mQeT5r7yKp3sZc6uHn9dLfAg";
const OTHER_SECRET: &str = "zZ8Xb0v1mQeT5r7yKp3sZc6uHn9dLfAg";
const ISSUER: &str = "https://id.example.org/";
const AUDIENCE: &str = "presence";

/// What may be wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The algorithm, the key or the signature.
    Key,
    Expired,
    NotYet,
    Future,
    Issuer,
    Audience,
    Claim,
    Malformed,
}

/// The key that a token is signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signer {
    Secret,
    OtherSecret,
    Rs,
    Es,
    Ed,
    /// HMAC, with the public half of the RSA key as its secret.
    PublicAsSecret,
    Nobody,
}

/// A row of the table.
#[derive(Clone, Debug)]
struct Row {
    /// Whether the gateway has a JWK set, an issuer and an audience.
    is_strict: bool,
    alg: &'static str,
    kid: Option<&'static str>,
    signer: Signer,
    claims: Value,
}

impl Row {
    /// A row whose token is accepted.
    fn good() -> Row {
        Row {
            is_strict: true,
            alg: "HS256",
            kid: None,
            signer: Signer::Secret,
            claims: json!({ "sub": "ann", "exp": NOW_SECONDS + 60, "iss": ISSUER, "aud": AUDIENCE }),
        }
    }

    fn header(&self) -> Value {
        let mut header = json!({ "alg": self.alg, "typ": "JWT" });
        if let Some(kid) = self.kid {
            header["kid"] = json!(kid);
        }
        header
    }

    fn token(&self) -> String {
        let header = base64.encode(self.header().to_string());
        let claims = base64.encode(self.claims.to_string());
        signed(self.signer, self.alg, &format!("{header}.{claims}"))
    }

    /// What is wrong with it, by the rule.
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut note = |is_wrong: bool, fault| faults.extend(is_wrong.then_some(fault));
        // A token with a `kid` is checked with the key of that name in the set, and refused if there is none. One without,
        // or any if there is no set, is checked with the keys that have no name, by its algorithm.
        let key = match (self.is_strict, self.kid, self.alg) {
            (true, Some("rs"), "RS256") => Some(Signer::Rs),
            (true, Some("ed"), "EdDSA") => Some(Signer::Ed),
            (true, Some(_), _) => None,
            (_, _, "HS256") => Some(Signer::Secret),
            (_, _, "ES256") => Some(Signer::Es),
            _ => None,
        };
        note(key != Some(self.signer), Fault::Key);
        let moment = |claim: &str| self.claims[claim].as_i64();
        match moment("exp") {
            Some(exp) => note(NOW_SECONDS >= exp + LEEWAY_SECONDS, Fault::Expired),
            None => note(true, Fault::Claim),
        }
        let is_ahead = |claim| moment(claim).is_some_and(|it| it > NOW_SECONDS + LEEWAY_SECONDS);
        note(is_ahead("nbf"), Fault::NotYet);
        note(is_ahead("iat"), Fault::Future);
        note(
            self.is_strict && self.claims["iss"] != ISSUER,
            Fault::Issuer,
        );
        let audience = &self.claims["aud"];
        let names_us = match audience {
            Value::Array(all) => all.contains(&json!(AUDIENCE)),
            one => one == AUDIENCE,
        };
        let is_fine = match self.is_strict {
            true => names_us,
            false => audience.is_null(),
        };
        note(!is_fine, Fault::Audience);
        faults
    }
}

#[test]
fn every_algorithm_with_every_key_and_every_name_of_one() {
    let mut rows = Vec::new();
    let algorithms = [
        "HS256", "RS256", "ES256", "EdDSA", "HS384", "HS512", "RS512", "PS256", "none", "hs256", "",
    ];
    let signers = [
        Signer::Secret,
        Signer::OtherSecret,
        Signer::Rs,
        Signer::Es,
        Signer::Ed,
        Signer::PublicAsSecret,
        Signer::Nobody,
    ];
    for is_strict in [true, false] {
        for alg in algorithms {
            for signer in signers {
                // Whether it is RSA makes no difference to most, and takes long.
                if signer == Signer::Rs && !["RS256", "HS256", "none"].contains(&alg) {
                    continue;
                }
                for kid in [None, Some("rs"), Some("ed"), Some("gone"), Some("")] {
                    let mut row = Row {
                        is_strict,
                        alg,
                        kid,
                        signer,
                        ..Row::good()
                    };
                    if !is_strict {
                        row.claims = json!({ "sub": "ann", "exp": NOW_SECONDS + 60 });
                    }
                    rows.push(row);
                }
            }
        }
    }
    check(&rows, 600);
}

#[test]
fn every_end_with_every_beginning_and_every_time_of_issue() {
    let mut rows = Vec::new();
    let around = [None, Some(-3600), Some(0), Some(5), Some(6), Some(3600)];
    for exp in [
        None,
        Some(-3600),
        Some(-6),
        Some(-5),
        Some(-4),
        Some(0),
        Some(60),
    ] {
        for nbf in around {
            for iat in around {
                let mut row = Row::good();
                for (claim, offset) in [("exp", exp), ("nbf", nbf), ("iat", iat)] {
                    row.claims[claim] = json!(offset.map(|it| NOW_SECONDS + it));
                }
                rows.push(row);
            }
        }
    }
    check(&rows, 250);
}

#[test]
fn every_issuer_with_every_audience() {
    let mut rows = Vec::new();
    let issuers = [
        json!(null),
        json!(ISSUER),
        json!("https://evil.example/"),
        json!(""),
    ];
    let audiences = [
        json!(null),
        json!(AUDIENCE),
        json!("another"),
        json!([AUDIENCE]),
        json!(["another"]),
        json!(["another", AUDIENCE]),
        json!(["presence2", "Presence"]),
        json!(""),
    ];
    for is_strict in [true, false] {
        for iss in &issuers {
            for aud in &audiences {
                let mut row = Row {
                    is_strict,
                    ..Row::good()
                };
                for (claim, value) in [("iss", iss), ("aud", aud)] {
                    match value {
                        Value::Null => drop(row.claims.as_object_mut().unwrap().remove(claim)),
                        value => row.claims[claim] = value.clone(),
                    }
                }
                rows.push(row);
            }
        }
    }
    check(&rows, 64);
}

#[test]
fn every_claim_of_a_wrong_kind_is_a_refusal() {
    let wrong = [json!("soon"), json!({}), json!([]), json!(true)];
    let mut rows = Vec::new();
    for claim in ["exp", "nbf", "iat"] {
        for value in &wrong {
            let mut row = Row::good();
            row.claims[claim] = value.clone();
            rows.push(row);
        }
    }
    for sub in [
        json!(null),
        json!(""),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(["ann"]),
        json!("a b"),
        json!("x".repeat(129)),
        json!("__proto__"),
        json!("pusher/7/ann"),
        json!("app:3"),
    ] {
        let mut row = Row::good();
        row.claims["sub"] = sub;
        rows.push(row);
    }
    let gates = Gates::open();
    for row in rows {
        let verdict = gates.verdict(row.is_strict, &row.token());
        // What the standard gives a kind may be found out before it is known to be a claim.
        let faults = [Some(Fault::Claim), Some(Fault::Malformed)];
        assert!(faults.contains(&verdict), "{verdict:?}: {row:?}");
    }
}

#[test]
fn every_part_that_is_broken_is_a_refusal() {
    let good = Row::good();
    let token = good.token();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = [parts[0], parts[1], parts[2]];
    let claims_json = good.claims.to_string();
    // With a header, or claims, that are just so and well signed.
    let resigned = |header: &str, claims: &str| {
        let text = format!("{}.{}", base64.encode(header), base64.encode(claims));
        signed(Signer::Secret, "HS256", &text)
    };
    let header_json = good.header().to_string();
    let mut broken: Vec<String> = vec![
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        header.into(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{token}="),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}=.{signature}"),
        format!("{claims}.{header}.{signature}"),
        format!("{signature}.{claims}.{header}"),
        format!("{header}.{claims}.{}", &signature[1..]),
        format!("{header}.{claims}.{signature}AAAA"),
        format!("Bearer {token}"),
        token.replace('.', ":"),
        token.to_uppercase(),
        format!("{header}.{claims}.{}", "A".repeat(43)),
        "x".repeat(8193),
        format!("{token}{}", "A".repeat(8192)),
    ];
    // One character of each part after the other.
    for at in (0..token.len()).step_by(7) {
        let other = match token.as_bytes()[at] {
            b'A' => "B",
            _ => "A",
        };
        broken.push([&token[..at], other, &token[at + 1..]].concat());
    }
    for header in [
        "",
        "{}",
        "[]",
        "null",
        "7",
        "\"HS256\"",
        "{",
        "{\"alg\":null}",
        "{\"alg\":256}",
        "{\"alg\":[\"HS256\"]}",
        "{\"alg\":\"HS256\",\"kid\":7}",
        "{\"alg\":\"HS256\",\"kid\":{}}",
        "{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}",
        "{\"alg\":\"HS256\",\"crit\":[]}",
        "{\"alg\":\"HS256\",\"alg\":\"none\"}",
        "{\"alg\":\"HS256\"}}",
    ] {
        broken.push(resigned(header, &claims_json));
    }
    for claims in [
        "",
        "{",
        "[]",
        "null",
        "7",
        "\"ann\"",
        "{}",
        "{\"sub\":\"ann\"}",
    ] {
        broken.push(resigned(&header_json, claims));
    }
    let twice = claims_json.replacen('{', "{\"sub\":\"root\",", 1);
    broken.push(resigned(&header_json, &twice));
    let not_utf8 = format!(
        "{}.{}",
        base64.encode(&header_json),
        base64.encode(b"{\"sub\":\"\xff\"}")
    );
    broken.push(signed(Signer::Secret, "HS256", &not_utf8));

    let gates = Gates::open();
    assert_eq!(gates.verdict(true, &token), None, "the good one");
    assert_eq!(
        gates.verdict(true, &resigned(&header_json, &claims_json)),
        None
    );
    for benign in [
        "{\"alg\":\"HS256\"}",
        "{\"alg\":\"HS256\",\"kid\":null,\"x\":{}}",
    ] {
        assert_eq!(
            gates.verdict(true, &resigned(benign, &claims_json)),
            None,
            "{benign}"
        );
    }
    assert!(broken.len() >= 75, "{}", broken.len());
    for token in broken {
        assert_ne!(gates.verdict(true, &token), None, "{token}");
    }
}

/// Checks each row against the rule.
fn check(rows: &[Row], at_least: usize) {
    assert!(rows.len() >= at_least, "only {} rows", rows.len());
    let gates = Gates::open();
    let (mut admitted, mut refused) = (0, 0);
    for row in rows {
        let faults = row.faults();
        match gates.verdict(row.is_strict, &row.token()) {
            None => {
                assert_eq!(faults, [], "was let in: {row:?}");
                admitted += 1;
            }
            Some(fault) => {
                assert!(
                    faults.contains(&fault),
                    "{fault:?} and not {faults:?}: {row:?}"
                );
                refused += 1;
            }
        }
    }
    assert!(admitted > 0 && refused > 0, "{admitted} and {refused}");
}

/// Two gateways' gates: one with everything, and one with keys alone.
struct Gates {
    strict: Gate,
    plain: Gate,
    _folder: TempDir,
}

impl Gates {
    fn open() -> Gates {
        let folder = tempfile::tempdir().unwrap();
        let set = folder.path().join("jwks.json");
        let keys = [
            jwk("RS256", "rs", Signer::Rs),
            jwk("EdDSA", "ed", Signer::Ed),
        ];
        std::fs::write(&set, json!({ "keys": keys }).to_string()).unwrap();
        let plain = Jwt {
            secret: Some(Secret::new(SECRET)),
            keys: vec![KeyFile {
                algorithm: "ES256".parse().unwrap(),
                path: key_path("es256.pub.pem"),
            }],
            jwks_file: None,
            jwks_url: None,
            issuer: None,
            audience: vec![],
            leeway: Duration::from_secs(LEEWAY_SECONDS as u64),
            channels_default: Patterns::every(),
        };
        let strict = Jwt {
            jwks_file: Some(set),
            issuer: Some(ISSUER.into()),
            audience: vec!["elsewhere".into(), AUDIENCE.into()],
            ..plain.clone()
        };
        Gates {
            strict: Gate::new(&strict, now()).unwrap(),
            plain: Gate::new(&plain, now()).unwrap(),
            _folder: folder,
        }
    }

    /// Why nobody gets in with `token`; `None`: ann does.
    fn verdict(&self, is_strict: bool, token: &str) -> Option<Fault> {
        let gate = match is_strict {
            true => &self.strict,
            false => &self.plain,
        };
        match gate.admit(Some(token), Asked::default(), now()) {
            Ok(identity) => {
                assert_eq!(identity.user.as_str(), "ann");
                None
            }
            Err(why) => Some(fault_of(&why)),
        }
    }
}

fn fault_of(why: &IdentityError) -> Fault {
    match why {
        IdentityError::Algorithm { .. } | IdentityError::UnknownKey | IdentityError::Signature => {
            Fault::Key
        }
        // A name of an algorithm that is none makes the header unreadable.
        IdentityError::Malformed | IdentityError::TooLong => Fault::Malformed,
        IdentityError::Expired => Fault::Expired,
        IdentityError::NotYetValid => Fault::NotYet,
        IdentityError::IssuedInFuture => Fault::Future,
        IdentityError::Issuer => Fault::Issuer,
        IdentityError::Audience => Fault::Audience,
        IdentityError::Claim { .. } => Fault::Claim,
        other => panic!("{other:?}"),
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(NOW_SECONDS as u64 * 1000)
}

/// `text`, with the signature of `signer`: by the algorithm of its key, or of HMAC by the one that is named.
fn signed(signer: Signer, alg: &str, text: &str) -> String {
    let hmac = match alg {
        "HS384" => Theirs::HS384,
        "HS512" => Theirs::HS512,
        _ => Theirs::HS256,
    };
    let algorithm = match signer {
        Signer::Nobody => return format!("{text}."),
        Signer::Rs => Theirs::RS256,
        Signer::Es => Theirs::ES256,
        Signer::Ed => Theirs::EdDSA,
        Signer::Secret | Signer::OtherSecret | Signer::PublicAsSecret => hmac,
    };
    let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &key_of(signer), algorithm);
    format!("{text}.{}", signature.unwrap())
}

fn key_of(signer: Signer) -> EncodingKey {
    let read = |file| std::fs::read(key_path(file)).unwrap();
    match signer {
        Signer::Secret => EncodingKey::from_secret(SECRET.as_bytes()),
        Signer::OtherSecret => EncodingKey::from_secret(OTHER_SECRET.as_bytes()),
        Signer::PublicAsSecret => EncodingKey::from_secret(&read("rs256.pub.pem")),
        Signer::Rs => EncodingKey::from_rsa_pem(&read("rs256.pem")).unwrap(),
        Signer::Es => EncodingKey::from_ec_pem(&read("es256.pem")).unwrap(),
        Signer::Ed => EncodingKey::from_ed_pem(&read("ed25519.pem")).unwrap(),
        Signer::Nobody => panic!("nobody has no key"),
    }
}

fn jwk(algorithm: &str, kid: &str, signer: Signer) -> Value {
    let jwk = Jwk::from_encoding_key(&key_of(signer), algorithm.parse().unwrap()).unwrap();
    let mut jwk = serde_json::to_value(jwk).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

fn key_path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/keys")
        .join(file)
}
