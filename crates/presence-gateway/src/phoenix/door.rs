//! Who a client is: by its token at once, and where nobody needs one by what it says at the door or when it first joins.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::StatusCode;
use presence_client::wire::ErrorCode;
use presence_core::Topic;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use serde_json::value::RawValue;

use super::topics::Place;
use super::wire::{Denied, Payload, json};
use crate::app::App;
use crate::dialect::Handshake;
use crate::guest::Guest;
use crate::http::{self, Answer, Query};
use crate::identity::{Asked, Identity};
use crate::request::{self, Refused, whole_number};

/// The subprotocol that the stock client offers a token beside.
pub(super) const PROTOCOL: &str = "phoenix";
/// What stands before the token.
const BEARER: &str = "base64url.bearer.phx.";

/// What a client said in its handshake. It is let in when it first joins something: until then it is nowhere to be seen, and
/// what it says with that join counts.
#[derive(Debug)]
pub(crate) struct Door {
    /// Whose token it has; nobody, where nobody needs one.
    identity: Option<Identity>,
    said: Said,
}

/// What clients say of themselves.
#[derive(Debug)]
struct Said {
    user_id: Option<String>,
    name: Option<String>,
    device_id: Option<String>,
    workspace_id: Option<String>,
}

impl Door {
    /// Reads a handshake.
    ///
    /// # Errors
    ///
    /// The answer to one of another version, or of nobody.
    pub(super) fn read(app: &App, handshake: &Handshake<'_>) -> Result<Door, Box<Answer>> {
        let query = &handshake.query;
        let version = query.get("vsn").unwrap_or("1.0.0");
        if version.split('.').next() != Some("2") {
            let message = format!("the serializer is that of vsn=2.0.0, not {version}");
            let why = Refused::new(ErrorCode::Malformed, message);
            return Err(Box::new(http::error(StatusCode::BAD_REQUEST, &why)));
        }
        let offered = handshake.offered_after(BEARER).map(token);
        let token = offered.or_else(|| http::bearer(handshake.headers, query));
        let said = Said::of(query);
        let identity = match app.gate.is_open() && said.user_id.is_none() {
            true => None,
            false => match http::identify(app, token.as_deref(), query) {
                Ok(identity) => Some(identity),
                Err(why) => {
                    app.metrics.refused(why.code);
                    return Err(Box::new(http::error(StatusCode::FORBIDDEN, &why)));
                }
            },
        };
        let identity = identity.filter(|it| !it.open);
        Ok(Door { identity, said })
    }

    /// Lets the client in that wants to join `place`, as who it says with that it is.
    ///
    /// # Errors
    ///
    /// Says why not.
    pub(super) async fn enter(
        &self,
        app: &Arc<App>,
        params: &Params<'_>,
        place: &Place,
    ) -> Result<Guest, Denied> {
        let identity = self.identity(app, params, place)?;
        let first = match place {
            Place::Roster(topic @ Topic::Channel(_)) if params.watch != Some(true) => {
                Some((topic.clone(), params.meta().ok()))
            }
            _ => None,
        };
        Guest::enter_like(app.clone(), identity, first)
            .await
            .map_err(|why| {
                app.metrics.refused(why.code);
                Denied::from(why)
            })
    }

    fn identity(&self, app: &App, params: &Params<'_>, place: &Place) -> Result<Identity, Refused> {
        let said = &self.said;
        let device_id = said.device_id.as_deref().or(text(&params.device_id));
        if let Some(identity) = &self.identity {
            let mut identity = identity.clone();
            if let (None, Some(id)) = (&identity.device, device_id) {
                identity.device = Some(request::id("device_id", id)?);
            }
            return Ok(identity);
        }
        let namesake = match place {
            Place::Service(user) => Some(user.as_str()),
            _ => None,
        };
        let asked = Asked {
            user_id: said
                .user_id
                .as_deref()
                .or(text(&params.user_id))
                .or(namesake),
            name: said.name.as_deref().or(text(&params.name)),
            device_id,
            workspace_id: said.workspace_id.as_deref().or(text(&params.workspace_id)),
        };
        Ok(app.gate.admit(None, asked, app.now())?)
    }

    /// Whether its token has run out since.
    pub(super) fn has_expired(&self, app: &App) -> bool {
        let expires_at = self.identity.as_ref().and_then(|it| it.expires_at);
        expires_at.is_some_and(|it| it + app.config.jwt.leeway <= app.now())
    }
}

impl Said {
    fn of(query: &Query) -> Self {
        let get = |name| query.get(name).map(str::to_owned);
        Said {
            user_id: get("user_id"),
            name: get("name"),
            device_id: get("device_id"),
            workspace_id: get("workspace_id"),
        }
    }
}

/// The token in a subprotocol: in either alphabet, because the stock client uses the ordinary one and browsers refuse that
/// for some tokens. What is no text is no token either.
fn token(encoded: &str) -> String {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&alphabet::URL_SAFE, config);
    let encoded = encoded.replace('+', "-").replace('/', "_");
    let bytes = engine.decode(encoded).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// What a client says when it joins something.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Params<'a> {
    pub(super) user_id: Option<Text>,
    name: Option<Text>,
    color: Option<Text>,
    avatar: Option<Text>,
    device_id: Option<Text>,
    pub(super) workspace_id: Option<Text>,
    /// What others are to see of this session.
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    /// Only to see a channel, not to be in it.
    pub(super) watch: Option<bool>,
}

impl<'a> Params<'a> {
    /// Reads what came with a join.
    pub(super) fn read(payload: Payload<'a>) -> Result<Self, Refused> {
        match payload {
            Payload::Json("null") => Ok(Params::default()),
            payload => read(payload),
        }
    }

    /// The meta of the session: what is in `meta`, or the name, color and avatar. Never all of the parameters: pages put their
    /// tokens there.
    pub(super) fn meta(&self) -> Result<Arc<str>, Refused> {
        if let Some(meta) = self.meta {
            return request::json(meta.get(), "meta");
        }
        let known = [
            ("name", &self.name),
            ("color", &self.color),
            ("avatar", &self.avatar),
        ];
        let known = known
            .iter()
            .filter_map(|(key, value)| Some((*key, value.as_ref()?)));
        let meta: serde_json::Map<_, _> = known
            .map(|(key, Text(value))| (key.to_owned(), value.clone().into()))
            .collect();
        Ok(json(&meta).into())
    }
}

/// Reads a JSON object.
pub(super) fn read<'a, T: Deserialize<'a>>(payload: Payload<'a>) -> Result<T, Refused> {
    match payload {
        Payload::Json(text) => {
            serde_json::from_str(text).map_err(|why| request::unreadable(text, "payload", why))
        }
        Payload::Bytes(_) => Err(Refused::invalid("payload", "must be JSON")),
    }
}

fn text(text: &Option<Text>) -> Option<&str> {
    text.as_ref().map(|it| &*it.0)
}

/// A text; pages often have numbers for ids.
#[derive(Debug)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a whole number")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Text, E> {
                let id = Number::from_f64(number).as_ref().and_then(whole_number);
                let not_whole = || E::invalid_type(Unexpected::Float(number), &self);
                id.map(Text).ok_or_else(not_whole)
            }
        }
        from.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_in_either_alphabet_with_and_without_padding() {
        for encoded in ["YT8+Yn4/", "YT8-Yn4_"] {
            assert_eq!(token(encoded), "a?>b~?");
        }
        assert_eq!(token("YQ"), "a");
        assert_eq!(token("YQ=="), "a");
        for nothing in ["", "Y", "?", "/w"] {
            assert_eq!(token(nothing), "", "{nothing}");
        }
    }

    #[test]
    fn an_id_may_be_a_number_and_is_one_text_however_that_is_written() {
        let user = |json: &str| {
            let text = format!(r#"{{"user_id":{json}}}"#);
            Params::read(Payload::Json(&text)).map(|it| it.user_id.unwrap().0)
        };
        for (json, id) in [
            ("42", "42"),
            ("42.0", "42"),
            ("1e3", "1000"),
            ("-0", "0"),
            (r#""1e3""#, "1e3"),
        ] {
            assert_eq!(user(json).unwrap(), id, "{json}");
        }
        for json in ["1.5", "true", "[]"] {
            assert_eq!(user(json).unwrap_err().code, ErrorCode::Invalid, "{json}");
        }
    }

    #[test]
    fn only_what_is_meant_for_others_becomes_a_meta() {
        let meta = |text| Params::read(Payload::Json(text)).and_then(|it| it.meta());
        assert_eq!(&*meta("{}").unwrap(), "{}");
        assert_eq!(&*meta("null").unwrap(), "{}");
        let all = r##"{"token":"secret","user_id":7,"name":"Ann","color":"#123456","more":1}"##;
        assert_eq!(
            &*meta(all).unwrap(),
            r##"{"color":"#123456","name":"Ann"}"##
        );
        let own = r#"{"name":"Ann","meta":{"role":"pen"}}"#;
        assert_eq!(&*meta(own).unwrap(), r#"{"role":"pen"}"#);
        for wrong in [
            "7",
            r#"{"name":{}}"#,
            r#"{"watch":"yes"}"#,
            r#"{"meta":{"a":1e999}}"#,
        ] {
            assert!(meta(wrong).is_err(), "{wrong}");
        }
        assert!(Params::read(Payload::Bytes(b"{}")).is_err());
    }
}
