//! The table of routes, and the dispatch of requests.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use presence_protocol::ErrorCode;

use super::problem::Problem;
use super::{body, channels, crowds, explain, lists, operators, overview, transitions, users};
use crate::app::App;
use crate::callers::CallClass;
use crate::http::{self, Answer, Query};
use crate::identity::{Identity, user_id, user_id_for_admin};
use crate::journal::{Act, Subject};
use crate::listing;
use crate::request::Refused;

/// How long a request waits for a profile to be read or written.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
/// The longest body of a bulk request, in bytes: a thousand of the longest ids, and some room.
const BULK_BYTES_MAX: usize = 256 * 1024;
/// The longest body of a join of many users, in bytes: a thousand users with a kilobyte each, for ids and meta. Metas may
/// be longer (`META_BYTES_MAX`), and then fewer users fit.
const JOIN_ALL_BYTES_MAX: usize = 1024 * 1024;

/// One route of the API.
#[derive(Debug)]
pub(crate) struct Route {
    call: Call,
    /// The name of the route in the metrics.
    name: &'static str,
    /// The path as the OpenAPI document spells it.
    pub(crate) path: &'static str,
    /// The allowed methods, for the `Allow` header.
    pub(super) methods: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    User,
    Status,
    Kick,
    Bulk,
    Online,
    Viewers,
    Count,
    Typing,
    Join,
    JoinAll,
    Leave,
    Heartbeat,
    HeartbeatAll,
    Broadcast,
    ExplainUser,
    ExplainChannel,
    Channels,
    Nodes,
    Connections,
    Disconnect,
    DisconnectAll,
    Overview,
    Transitions,
    Drain,
}

const fn route(call: Call, name: &'static str, methods: &'static str, path: &'static str) -> Route {
    Route {
        call,
        name,
        path,
        methods,
    }
}

/// The prefix of paths whose ids may have slashes.
const CHANNELS: &str = "/api/presence/channel/";

/// All routes. If two fit, the first one counts: the id of a channel may have slashes.
#[rustfmt::skip]
pub(crate) const ROUTES: &[Route] = &[
    route(Call::Channels, "api_channels", "GET, HEAD", "/api/presence/channels"),
    route(Call::Nodes, "api_nodes", "GET, HEAD", "/api/presence/nodes"),
    route(Call::Connections, "api_connections", "GET, HEAD", "/api/presence/connections"),
    route(Call::DisconnectAll, "api_disconnect_all", "POST", "/api/presence/connections/disconnect"),
    route(Call::Disconnect, "api_disconnect", "POST", "/api/presence/connections/{id}/disconnect"),
    route(Call::Overview, "admin_overview", "GET, HEAD", "/admin/api/overview"),
    route(Call::Transitions, "admin_transitions", "GET, HEAD", "/admin/api/transitions"),
    route(Call::Drain, "admin_drain", "POST", "/admin/api/nodes/{id}/drain"),
    route(Call::Bulk, "api_bulk", "POST", "/api/presence/bulk"),
    route(Call::Status, "api_status", "PUT, PATCH", "/api/presence/users/{id}/status"),
    route(Call::ExplainUser, "api_explain_user", "GET, HEAD", "/api/presence/users/{id}/explain"),
    route(Call::Kick, "api_kick", "POST", "/api/presence/users/{id}/kick"),
    route(Call::User, "api_user", "GET, HEAD, DELETE", "/api/presence/users/{id}"),
    route(Call::Online, "api_online", "GET, HEAD", "/api/presence/workspace/{id}/online"),
    route(Call::Viewers, "api_viewers", "GET, HEAD", "/api/presence/channel/{id}/viewers"),
    route(Call::Count, "api_count", "GET, HEAD", "/api/presence/channel/{id}/count"),
    route(Call::Typing, "api_typing", "GET, HEAD", "/api/presence/channel/{id}/typing"),
    route(Call::ExplainChannel, "api_explain_channel", "GET, HEAD", "/api/presence/channel/{id}/explain"),
    route(Call::Join, "api_join", "POST", "/api/presence/channel/{id}/join"),
    route(Call::JoinAll, "api_bulk_join", "POST", "/api/presence/channel/{id}/bulk-join"),
    route(Call::Leave, "api_leave", "POST", "/api/presence/channel/{id}/leave"),
    route(Call::Heartbeat, "api_heartbeat", "POST", "/api/presence/channel/{id}/heartbeat"),
    route(Call::HeartbeatAll, "api_bulk_heartbeat", "POST", "/api/presence/channel/{id}/bulk-heartbeat"),
    route(Call::Broadcast, "api_broadcast", "POST", "/api/presence/channel/{id}/broadcast"),
];

/// The path of the route with that name in the metrics, as the OpenAPI document spells it; the name itself if it is no
/// route, such as where there is nothing.
pub(crate) fn pattern(name: &'static str) -> &'static str {
    let mut routes = ROUTES.iter();
    let route = routes.find(|it| it.name == name);
    route.map_or(name, |it| it.path)
}

/// Answers a request. Also returns the name of its route in the metrics.
pub(super) async fn answer(
    app: &Arc<App>,
    request: Request<Incoming>,
) -> (&'static str, Result<Answer, Problem>) {
    let path = request.uri().path().to_owned();
    let Some((route, id)) = find(&path) else {
        return ("api", Err(Problem::nothing_here()));
    };
    if !route.allows(request.method()) {
        return (route.name, Err(Problem::Method(route.methods)));
    }
    let answering = call(app, route.call, id, request);
    let Ok(outcome) = tokio::time::timeout(ANSWER_WAIT, answering).await else {
        let message = "the profile store is away; a change may still be kept when it is back";
        let why = Refused::new(ErrorCode::Unavailable, message).retry_after(ANSWER_WAIT);
        return (route.name, Err(why.into()));
    };
    (route.name, outcome)
}

impl Route {
    fn allows(&self, method: &Method) -> bool {
        self.methods.split(", ").any(|it| it == method.as_str())
    }
}

/// The route of a path, and the id in it, still encoded.
fn find(path: &str) -> Option<(&'static Route, &str)> {
    ROUTES.iter().find_map(|route| {
        let id = match route.path.split_once("{id}") {
            None => (path == route.path).then_some("")?,
            Some((start, end)) => path.strip_prefix(start)?.strip_suffix(end)?,
        };
        // Other ids than those of channels are one segment: what is below them is another path.
        let is_whole = !id.contains('/') || route.path.starts_with(CHANNELS);
        is_whole.then_some((route, id))
    })
}

/// Finds out who asks, charges the call to their rates, performs it, and logs what an operator did.
async fn call(
    app: &Arc<App>,
    call: Call,
    id: &str,
    request: Request<Incoming>,
) -> Result<Answer, Problem> {
    let query = Query::of(request.uri());
    let token = http::bearer(request.headers(), &query);
    let identity = &http::identify(app, token.as_deref(), &query)?;
    let rates = &app.config.rates;
    let (class, rate) = match call {
        Call::Status => (CallClass::Status, rates.status),
        Call::Join | Call::JoinAll | Call::Leave | Call::Heartbeat | Call::HeartbeatAll => {
            (CallClass::Join, rates.join)
        }
        Call::Broadcast => (CallClass::Broadcast, rates.broadcast),
        _ => (CallClass::Query, rates.query),
    };
    app.callers.take(app.now(), identity, class, rate)?;
    let states = app.config.socket.states;
    if let CallClass::Query = class {
        app.callers.afford(app.now(), identity, states)?;
    }
    let act = call.act(request.method());
    let answer = perform(app, identity, call, id, &query, request).await;
    if let Some(act) = act {
        note_act(app, act, identity, id, &answer);
    }
    if let (CallClass::Query, Ok(answer)) = (class, &answer) {
        let bytes = answer.body().size_hint().lower();
        app.callers.spend(app.now(), identity, states, bytes);
    }
    answer
}

// Longer than a screen because it is a table: an arm for each call.
async fn perform(
    app: &Arc<App>,
    identity: &Identity,
    call: Call,
    id: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Problem> {
    let bytes_max = app.config.socket.frame_bytes_max;
    match call {
        Call::User => match *request.method() {
            Method::DELETE => {
                let user = named_by("user_id", id, user_id_for_admin)?;
                users::erase(app, identity, &user).await
            }
            _ => users::show(app, identity, &named_by("user_id", id, user_id)?).await,
        },
        Call::Status => {
            let user = named_by("user_id", id, user_id)?;
            let replaces = request.method() == Method::PUT;
            identity.may_set_status_of(&user)?;
            let body = body::read(request, bytes_max).await?;
            users::choose(app, identity, &user, body, replaces).await
        }
        Call::Kick => {
            let user = named_by("user_id", id, user_id_for_admin)?;
            users::kick(app, identity, &user).await
        }
        Call::ExplainUser => {
            let user = named_by("user_id", id, user_id_for_admin)?;
            explain::user(app, identity, &user).await
        }
        Call::ExplainChannel => explain::channel(app, identity, named("channel_id", id)?).await,
        Call::Bulk => {
            let body = body::read(request, BULK_BYTES_MAX).await?;
            users::bulk(app, identity, body).await
        }
        Call::Online => {
            let workspace = named("workspace_id", id)?;
            channels::online(app, identity, workspace, query).await
        }
        Call::Viewers => {
            let channel = named("channel_id", id)?;
            channels::viewers(app, identity, channel, query).await
        }
        Call::Count => channels::count(app, identity, named("channel_id", id)?).await,
        Call::Typing => channels::typing(app, identity, named("channel_id", id)?).await,
        Call::Join => {
            let channel = named("channel_id", id)?;
            let body = body::read(request, bytes_max).await?;
            channels::join(app, identity, channel, body).await
        }
        Call::JoinAll => {
            let channel = named("channel_id", id)?;
            let body = body::read(request, JOIN_ALL_BYTES_MAX).await?;
            crowds::join(app, identity, channel, body).await
        }
        Call::Leave => {
            let channel = named("channel_id", id)?;
            let body = body::read(request, bytes_max).await?;
            channels::leave(app, identity, channel, body).await
        }
        Call::Heartbeat => {
            let channel = named("channel_id", id)?;
            let body = body::read(request, bytes_max).await?;
            channels::heartbeat(app, identity, channel, body).await
        }
        Call::HeartbeatAll => {
            let channel = named("channel_id", id)?;
            let body = body::read(request, BULK_BYTES_MAX).await?;
            crowds::heartbeat(app, identity, channel, body).await
        }
        Call::Broadcast => {
            let channel = named("channel_id", id)?;
            let body = body::read(request, bytes_max).await?;
            channels::broadcast(app, identity, channel, body).await
        }
        Call::Channels => lists::channels(app, identity, query).await,
        Call::Nodes => lists::nodes(app, identity).await,
        Call::Connections => lists::connections(app, identity, query).await,
        Call::DisconnectAll => {
            listing::may_see_hidden(identity)?;
            let body = body::read(request, bytes_max).await?;
            lists::disconnect_all(app, identity, body).await
        }
        Call::Disconnect => lists::disconnect(app, identity, id, query).await,
        Call::Overview => overview::overview(app, identity, query).await,
        Call::Transitions => transitions::transitions(app, identity, query).await,
        Call::Drain => operators::drain(app, identity, &decoded("id", id)?).await,
    }
}

impl Call {
    /// What an operator does with this call, if it does anything.
    fn act(self, method: &Method) -> Option<Act> {
        match self {
            Call::Kick => Some(Act::Kick),
            Call::User if method == Method::DELETE => Some(Act::Erase),
            Call::Drain => Some(Act::Drain),
            _ => None,
        }
    }
}

/// Logs what somebody did who may do it, and how that went.
fn note_act(app: &App, act: Act, identity: &Identity, id: &str, answer: &Result<Answer, Problem>) {
    if identity.may_administer().is_err() {
        return;
    }
    let Ok(id) = decoded("id", id) else {
        return; // it was refused, and nothing was done
    };
    let subject = match act {
        Act::Kick | Act::Erase => user_id_for_admin(&id).map(Subject::User).ok(),
        Act::Disconnect | Act::Drain => Some(Subject::Id(id.into_owned())),
    };
    let outcome = match answer {
        Ok(answer) if answer.status() == StatusCode::ACCEPTED => "asked",
        Ok(_) => "done",
        Err(_) => "failed",
    };
    if let Some(subject) = subject {
        app.journal.acts(act, &identity.user, &subject, outcome);
    }
}

/// Decodes and checks the id in a path.
fn named<T>(field: &str, id: &str) -> Result<T, Refused>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    named_by(field, id, str::parse)
}

/// Decodes the id in a path, and checks it with `read`.
fn named_by<T, E: std::fmt::Display>(
    field: &str,
    id: &str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Refused> {
    let id = decoded(field, id)?;
    read(&id).map_err(|why| Refused::invalid(field, why))
}

fn decoded<'a>(field: &str, id: &'a str) -> Result<Cow<'a, str>, Refused> {
    let id = percent_decode_str(id).decode_utf8();
    id.map_err(|_| Refused::invalid(field, "must be UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use presence_core::ChannelId;

    fn found(path: &str) -> Option<(&'static str, &str)> {
        find(path).map(|(route, id)| (route.name, id))
    }

    #[test]
    fn the_last_segment_says_what_to_do_and_ids_may_have_slashes() {
        for (path, name, id) in [
            ("/api/presence/bulk", "api_bulk", ""),
            ("/api/presence/users/ann", "api_user", "ann"),
            ("/api/presence/users/ann/status", "api_status", "ann"),
            ("/api/presence/users/status", "api_user", "status"),
            ("/api/presence/users/team%2Fann", "api_user", "team%2Fann"),
            (
                "/api/presence/users/ann%2Fstatus",
                "api_user",
                "ann%2Fstatus",
            ),
            (
                "/api/presence/channel/page:/a/b/count",
                "api_count",
                "page:/a/b",
            ),
            (
                "/api/presence/channel/count/viewers",
                "api_viewers",
                "count",
            ),
            ("/api/presence/channel//typing", "api_typing", ""),
            (
                "/api/presence/channel/page:/a/explain/explain",
                "api_explain_channel",
                "page:/a/explain",
            ),
            (
                "/api/presence/users/explain/explain",
                "api_explain_user",
                "explain",
            ),
            ("/api/presence/workspace/acme/online", "api_online", "acme"),
        ] {
            assert_eq!(found(path), Some((name, id)), "{path}");
        }
        for path in [
            "/api/",
            "/api/presence",
            "/api/presence/bulk/",
            "/api/presence/users",
            "/api/presence/users/ann/",
            "/api/presence/users/ann/sessions",
            "/api/presence/users/ann/status/x",
            "/api/presence/users/team/ann/status",
            "/api/presence/workspace/a/b/online",
            "/api/presence/channel/room:1",
            "/api/presence/channel/viewers",
            "/api/presence/channel/room:1/watch",
            "/api/presence/workspaces/acme/online",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn an_id_is_decoded_and_then_checked() {
        let channel = |id| named::<ChannelId>("channel_id", id);
        assert_eq!(channel("page:%2Fa%2fb").unwrap().as_str(), "page:/a/b");
        assert_eq!(channel("a+b%25").unwrap().as_str(), "a+b%");
        let refused = |id| channel(id).unwrap_err().message;
        assert_eq!(refused(""), "channel_id must not be empty");
        assert_eq!(refused("a%20b"), "channel_id must not contain ' '");
        assert_eq!(refused("%ff"), "channel_id must be UTF-8");
    }
}
