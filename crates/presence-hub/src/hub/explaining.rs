//! Explanations of users and channels.

use presence_core::explain::{About, Answer, Gateway, RoomEvidence, UserEvidence};
use presence_core::{ChannelId, Refusal, UserId};
use tokio::time::timeout;

use super::Hub;
use crate::explain::STORES_WITHIN;

impl Hub {
    /// Everything that is known of `user`: by every node that answers within [`ANSWERED_WITHIN`](crate::ANSWERED_WITHIN), by the shared store,
    /// and by the profile store. It says whether the user hides, so it must reach nobody but an administrator, or the
    /// user.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooFast`] if too many explanations are asked for at once; [`Refusal::Stopped`] if the hub has
    /// stopped.
    pub async fn explain_user(&self, user: &UserId) -> Result<UserEvidence, Refusal> {
        let inquirer = &self.inquirer;
        let about = About::User(user.clone());
        let (here, others, public, shared, profile) = tokio::join!(
            inquirer.report(user),
            inquirer.ask_others(&about),
            timeout(STORES_WITHIN, self.public_view(user)),
            inquirer.shared(user),
            inquirer.stored(user),
        );
        let mut gateways = vec![inquirer.here(here)];
        gateways.extend(others?.into_iter().map(|it| {
            with(it, |answer| match answer {
                Answer::User(report) => Some(report),
                _ => None,
            })
        }));
        let public = public.ok().and_then(Result::ok);
        Ok(UserEvidence {
            now: self.clock.now(),
            user: user.clone(),
            public: public.map(|public_view| (public_view.look.status, public_view.last_seen)),
            gateways,
            shared,
            profile,
        })
    }

    /// Everything that is known of `channel` by every node that answers within [`ANSWERED_WITHIN`](crate::ANSWERED_WITHIN). It says which
    /// sessions hid when, so it must reach nobody but an administrator.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooFast`] if too many explanations are asked for at once; [`Refusal::Stopped`] if the hub has
    /// stopped.
    pub async fn explain_channel(&self, channel: &ChannelId) -> Result<RoomEvidence, Refusal> {
        let inquirer = &self.inquirer;
        let about = About::Channel(channel.clone());
        // The other nodes are asked after this node knows who is there, so that all answers are of one moment.
        let here = inquirer.report_channel(channel, true).await;
        let others = inquirer.ask_others(&about).await?;
        let mut gateways = vec![inquirer.here(here)];
        gateways.extend(others.into_iter().map(|it| {
            with(it, |answer| match answer {
                Answer::Channel(report) => Some(report),
                _ => None,
            })
        }));
        Ok(RoomEvidence {
            now: self.clock.now(),
            channel: channel.clone(),
            gateways,
        })
    }

    /// Has every node forget what it has recorded of `user`. Nodes that do not confirm it are asked again later.
    pub(crate) async fn unrecord(&self, user: &UserId) {
        let inquirer = &self.inquirer;
        inquirer.answer(&About::Erase(user.clone())).await;
        if !inquirer.erase_elsewhere(user).await {
            let later = inquirer.clone().erase_elsewhere_later(user.clone());
            self.tasks.spawn(later);
        }
    }
}

/// The gateway with the report that is in its answer.
pub(super) fn with<R>(
    gateway: Gateway<Answer>,
    report: impl Fn(Answer) -> Option<R>,
) -> Gateway<R> {
    Gateway {
        who: gateway.who,
        name: gateway.name,
        state: gateway.state,
        report: gateway.report.and_then(report),
    }
}
