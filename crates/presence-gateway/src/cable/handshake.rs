//! The handshake of `/cable`: the client's identity, and the resume token of a lost session.

use hyper::StatusCode;
use hyper::header::{COOKIE, HeaderMap};
use presence_core::DeviceId;
use presence_protocol::ErrorCode;

use crate::app::App;
use crate::dialect::{Agreed, Handshake};
use crate::http::{self, Answer};
use crate::identity::Identity;
use crate::request::Refused;

/// The subprotocol of Rails pages.
const PLAIN: &str = "actioncable-v1-json";
/// The subprotocol of AnyCable's extension.
const EXTENDED: &str = "actioncable-v1-ext-json";
/// The prefix of the subprotocol in which AnyCable's clients put a token.
const TOKEN: &str = "anycable-token.";
/// The name of the cookie that has a token.
const TOKEN_COOKIE: &str = "presence_token";
/// The separator of resume token and device in a `sid` of an earlier release; no id has it. Today the token names its device.
const OF_DEVICE: char = '*';

/// What a client says in its handshake.
pub(crate) struct Hello {
    pub(super) is_extended: bool,
    pub(super) identity: Result<Identity, Refused>,
    /// The resume token of the session to continue.
    pub(super) resume: Option<String>,
}

/// Reads the handshake of a client.
pub(super) fn read(app: &App, handshake: &Handshake<'_>) -> Result<Agreed<Hello>, Box<Answer>> {
    let spoken = [PLAIN, EXTENDED];
    let mut offered = handshake.offered.iter().copied();
    // Clients stop for good if none of the subprotocols they offer is chosen, so one has to be offered.
    let Some(protocol) = offered.find(|it| spoken.contains(it)) else {
        let message = format!("offer {PLAIN} or {EXTENDED}");
        let why = Refused::new(ErrorCode::Malformed, message);
        return Err(Box::new(http::error(StatusCode::BAD_REQUEST, &why)));
    };
    let is_extended = protocol == EXTENDED;
    let token = token(app, handshake);
    let mut identity = http::identify(app, token.as_deref(), &handshake.query);
    let sid = handshake.query.get("sid");
    let sid = sid.or_else(|| text(handshake.headers, "x-anycable-restore-sid"));
    let sid = sid.filter(|_| is_extended);
    let earlier = sid.and_then(|it| it.split_once(OF_DEVICE));
    if let (Ok(identity), Some((_, device))) = (&mut identity, earlier)
        && identity.device.is_none()
    {
        identity.device = DeviceId::new(device).ok();
    }
    let resume = earlier.map(|(token, _)| token).or(sid);
    Ok(Agreed {
        protocol: Some(protocol.to_owned()),
        hello: Hello {
            is_extended,
            identity,
            resume: resume.map(str::to_owned),
        },
    })
}

/// The token, from any place where clients of this dialect put theirs.
fn token(app: &App, handshake: &Handshake<'_>) -> Option<String> {
    let (headers, query) = (handshake.headers, &handshake.query);
    let offered = handshake.offered_after(TOKEN).map(str::to_owned);
    let said = || {
        let jid = query.get("jid").or_else(|| text(headers, "x-jid"));
        jid.or_else(|| cookie(app, headers)).map(str::to_owned)
    };
    offered
        .or_else(|| http::bearer(headers, query))
        .or_else(said)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().filter(|it| !it.is_empty())
}

/// The token in a cookie. A browser sends cookies for any page, so a cookie counts only if foreign pages are refused.
fn cookie<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    let foreign = Some("https://foreign.invalid");
    if app.config.allowed_origins.check(foreign, None).is_ok() {
        return None;
    }
    let cookies = headers.get_all(COOKIE).iter();
    let mut pairs = cookies
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(';'))
        .filter_map(|it| it.trim().split_once('='));
    pairs.find_map(|(name, value)| (name == TOKEN_COOKIE).then_some(value))
}
