//! Who comes in through `/cable`: the handshake, the identity in it, and what a lost session is gone on with.

use hyper::StatusCode;
use hyper::header::{COOKIE, HeaderMap};
use presence_client::wire::ErrorCode;
use presence_core::DeviceId;

use crate::app::App;
use crate::dialect::{Agreed, Handshake};
use crate::http::{self, Answer};
use crate::identity::Identity;
use crate::request::Refused;

/// What Rails pages speak.
const PLAIN: &str = "actioncable-v1-json";
/// What AnyCable's pages may speak besides.
const EXTENDED: &str = "actioncable-v1-ext-json";
/// Where AnyCable's pages put a token.
const TOKEN: &str = "anycable-token.";
/// The cookie that has one.
const TOKEN_COOKIE: &str = "presence_token";
/// What stood between a resume token and its device in a `sid` of an earlier release: no id has it. The token names its device now.
const OF_DEVICE: char = '*';

/// What a client says of itself at the door.
pub(crate) struct Hello {
    pub(super) is_extended: bool,
    pub(super) identity: Result<Identity, Refused>,
    /// The resume token of the session to go on with.
    pub(super) resume: Option<String>,
}

/// Reads the handshake.
pub(super) fn read(app: &App, handshake: &Handshake<'_>) -> Result<Agreed<Hello>, Box<Answer>> {
    let spoken = [PLAIN, EXTENDED];
    let mut offered = handshake.offered.iter().copied();
    // Its clients stop for good where none of theirs is chosen, so nobody is let in without one.
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

/// The token, from wherever clients of this family put theirs.
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

/// A browser sends cookies whoever's page it is, so one counts only where foreign pages are turned away.
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
