//! The client's identity: from its token at once, or, without tokens, from what it says in the handshake and with
//! its first join.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::StatusCode;
use presence_core::Topic;
use presence_core::explain::ClientOrigin;
use presence_protocol::ErrorCode;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use serde_json::value::RawValue;

use super::topics::PhoenixTopic;
use super::wire::{Denied, Payload, json};
use crate::app::App;
use crate::authorized::Authorized;
use crate::dialect::Handshake;
use crate::http::{self, Answer, Query};
use crate::identity::{Asked, Identity};
use crate::numbers::whole_number;
use crate::request::{self, Refused};

/// The subprotocol that the stock client offers beside the one with the token.
pub(super) const PROTOCOL: &str = "phoenix";
/// The prefix of the subprotocol that carries a token.
const BEARER: &str = "base64url.bearer.phx.";

/// What a client said in its handshake. It is let in with its first join: until then it is invisible, and what it says with
/// that join counts too.
#[derive(Debug)]
pub(crate) struct Newcomer {
    /// The identity from its token; `None` if no token is needed.
    identity: Option<Identity>,
    said: Said,
    /// Where the connection comes from.
    origin: Option<Arc<ClientOrigin>>,
}

/// The parameters with which a client says who it is.
#[derive(Debug)]
struct Said {
    user_id: Option<String>,
    name: Option<String>,
    device_id: Option<String>,
    workspace_id: Option<String>,
}

impl Newcomer {
    /// Reads the handshake of a client.
    ///
    /// # Errors
    ///
    /// The answer to a client that speaks another version, or that does not prove who it is.
    pub(super) fn read(app: &App, handshake: &Handshake<'_>) -> Result<Newcomer, Box<Answer>> {
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
        Ok(Newcomer {
            identity,
            said,
            origin: None,
        })
    }

    /// Notes where the connection comes from.
    pub(super) fn comes_from(&mut self, origin: Arc<ClientOrigin>) {
        self.origin = Some(origin);
    }

    /// Lets the client in that wants to join `place`, with what it says in that join.
    ///
    /// # Errors
    ///
    /// Says why the client is refused.
    pub(super) async fn enter(
        &self,
        app: &Arc<App>,
        params: &Params<'_>,
        place: &PhoenixTopic,
    ) -> Result<Authorized, Denied> {
        let identity = self.identity(app, params, place)?;
        may_join(&identity, params, place)?;
        let first = match place {
            PhoenixTopic::Roster(topic @ Topic::Channel(_)) if params.watch != Some(true) => {
                Some((topic.clone(), Some(params.meta()?)))
            }
            _ => None,
        };
        Authorized::enter_by_fingerprint(app.clone(), identity, first, self.origin.clone())
            .await
            .map_err(|why| {
                app.metrics.refused(why.code);
                Denied::from(why)
            })
    }

    fn identity(
        &self,
        app: &App,
        params: &Params<'_>,
        place: &PhoenixTopic,
    ) -> Result<Identity, Refused> {
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
            PhoenixTopic::Service(user) => Some(user.as_str()),
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

    /// Whether its token has expired since the handshake.
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

/// Checks the first join before the user is let in: a user whose join is refused is not shown for a moment.
fn may_join(identity: &Identity, params: &Params<'_>, place: &PhoenixTopic) -> Result<(), Denied> {
    if !params.is_of(identity) {
        return Err(Denied::UNAUTHORIZED);
    }
    match place {
        PhoenixTopic::Roster(Topic::Channel(channel)) => {
            if params.watch != Some(true) {
                identity.may_join(channel).map_err(Refused::from)?;
            }
            identity.may_watch_channel(channel).map_err(Refused::from)?;
        }
        PhoenixTopic::Roster(Topic::Workspace(workspace)) => {
            identity
                .may_watch_workspace(workspace)
                .map_err(Refused::from)?;
        }
        PhoenixTopic::User(user) => identity.may_watch_user(user).map_err(Refused::from)?,
        PhoenixTopic::Service(user) if identity.user != *user => return Err(Denied::UNAUTHORIZED),
        PhoenixTopic::Service(_) => {
            if let Some(Text(id)) = &params.workspace_id {
                let workspace = request::id("workspace_id", id)?;
                identity
                    .may_watch_workspace(&workspace)
                    .map_err(Refused::from)?;
            }
        }
    }
    Ok(())
}

/// The token in a subprotocol. It may be in either base64 alphabet: the stock client uses the ordinary one, and browsers
/// refuse some tokens in that. What does not decode to a text is not a token.
fn token(encoded: &str) -> String {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&alphabet::URL_SAFE, config);
    let encoded = encoded.replace('+', "-").replace('/', "_");
    let bytes = engine.decode(encoded).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// The parameters of a join.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Params<'a> {
    pub(super) user_id: Option<Text>,
    name: Option<Text>,
    color: Option<Text>,
    avatar: Option<Text>,
    device_id: Option<Text>,
    pub(super) workspace_id: Option<Text>,
    /// The meta of the session, which others see.
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    /// Whether to watch the channel only, without being in it.
    pub(super) watch: Option<bool>,
}

impl<'a> Params<'a> {
    /// Reads the parameters of a join.
    pub(super) fn read(payload: Payload<'a>) -> Result<Self, Refused> {
        match payload {
            Payload::Json("null") => Ok(Params::default()),
            payload => read(payload),
        }
    }

    /// Whether the join names the user that the client is, if it names one. Where there are tokens, they say who that is.
    pub(super) fn is_of(&self, identity: &Identity) -> bool {
        let named = self.user_id.as_ref().filter(|_| identity.open);
        named.is_none_or(|Text(user)| user == identity.user.as_str())
    }

    /// The meta of the session: the object `meta`, or the name, color and avatar. It is never all of the parameters, because
    /// pages put their tokens there.
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

/// Reads a JSON object from a payload.
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

/// A text. Pages often have numbers for ids, which are accepted too.
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
