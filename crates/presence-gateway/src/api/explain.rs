//! The calls that explain why others are shown what they are shown. They say who hides: they are for administrators,
//! and for users about themselves.

use std::sync::Arc;

use hyper::StatusCode;
use presence_core::cluster::Incarnation;
use presence_core::explain::{Difference, Gateway, GatewayState, Stored, UserEvidence, View};
use presence_core::{ChannelId, UserId};
use presence_protocol::ErrorCode;

use super::explained::{Room, User};
use super::problem::Problem;
use crate::app::App;
use crate::http::{self, Answer};
use crate::identity::Identity;
use crate::request::Refused;

/// Explains what others are shown of a user.
pub(super) async fn user(app: &App, identity: &Identity, user: &UserId) -> Result<Answer, Problem> {
    let is_owner = *user == identity.user;
    if !is_owner {
        // Before anything of the user is looked at, so that the answer is the same for everybody.
        may_explain(identity)?;
    }
    let (evidence, stopped) = tokio::join!(app.hub.explain_user(user), stopped(app));
    let mut evidence = evidence?;
    let name = &app.config.node_name;
    name_here(&mut evidence.gateways, name);
    let mut explanation = evidence.explain();
    let differences = &mut explanation.differences;
    differences.retain(|it| !is_expected(it, app, &evidence));
    let body = User::of(&evidence, &explanation, name, &stopped, is_owner);
    Ok(http::json(StatusCode::OK, &body))
}

/// Explains who is in a channel.
pub(super) async fn channel(
    app: &App,
    identity: &Identity,
    channel: ChannelId,
) -> Result<Answer, Problem> {
    may_explain(identity)?;
    identity.may_watch_channel(&channel)?;
    let (evidence, stopped) = tokio::join!(app.hub.explain_channel(&channel), stopped(app));
    let mut evidence = evidence?;
    let name = &app.config.node_name;
    name_here(&mut evidence.gateways, name);
    let explanation = evidence.explain();
    let body = Room::of(&evidence, &explanation, name, &stopped);
    Ok(http::json(StatusCode::OK, &body))
}

/// The dead gateways that had stopped on purpose.
async fn stopped(app: &App) -> Vec<Incarnation> {
    let Some((_, leases)) = app.hub.leases() else {
        return Vec::new();
    };
    let dead = leases.nodes.iter().filter(|it| it.is_dead);
    let dead: Vec<Incarnation> = dead.map(|it| it.who).collect();
    app.stopped(&dead).await
}

/// Whether that is no fault: the profile store does not have the newest status of a user, and has no reason to.
fn is_expected(it: &Difference, app: &App, evidence: &UserEvidence) -> bool {
    let Difference::ProfileBehind { stored, .. } = it else {
        return false;
    };
    // The user was erased: the revision that is left for a while is all there is of them.
    let is_erased = stored.is_none()
        && match &evidence.shared {
            Stored::Has(shared) => shared.profile.as_ref().is_none_or(|it| it.is_blank()),
            Stored::Absent => true,
            Stored::Away | Stored::NotUsed => false,
        };
    // Gateways without a database have a file each, and a gateway does not hear of users who are elsewhere only. When
    // they come here, it reads their profiles from Redis.
    let has_file_of_its_own = app.shared.is_some() && app.config.mongodb.is_none();
    is_erased || (has_file_of_its_own && !knows_here(evidence))
}

/// Whether the gateway that was asked knows the user.
fn knows_here(evidence: &UserEvidence) -> bool {
    let mut here = evidence.gateways.iter();
    let here = here.find(|it| it.state == GatewayState::Here);
    let view = here.and_then(|it| it.report.as_ref()).map(|it| &it.view);
    matches!(view, Some(View::Known(_)))
}

/// Gives this gateway its name. A hub that is alone has none among others.
fn name_here<R>(gateways: &mut [Gateway<R>], name: &str) {
    for gateway in gateways {
        if gateway.state == GatewayState::Here {
            gateway.name = Arc::from(name);
        }
    }
}

/// Checks that the caller may know who hides. Where everybody is who they say, nobody may: hiding works there too.
fn may_explain(identity: &Identity) -> Result<(), Problem> {
    identity.may_administer()?;
    if identity.open {
        let message =
            "without keys nobody can prove to be an admin: ask about yourself, with ?user_id=";
        return Err(Refused::new(ErrorCode::Forbidden, message).into());
    }
    Ok(())
}
