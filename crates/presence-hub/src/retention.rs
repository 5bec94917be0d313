//! Retention: erases users who were not seen for long.

use std::sync::Arc;
use std::time::Duration;

use presence_core::ports::Profiles;
use presence_core::users::Input;
use presence_core::{Timestamp, UserId};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::clock::WallClock;
use crate::mailbox::{ReplyTo, UserMessage};
use crate::pending::every;
use crate::shards::{Shards, WeakShards};

/// How often a node looks for such users.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);
/// The number of users that are erased before it looks again, after [`LOOK_AGAIN`].
const ERASED_MAX: usize = 1000;
/// The time after which it looks again. What was erased has been removed by then.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long one erasure is waited for. A user whose profile cannot be read is erased when it can be read.
const PATIENCE: Duration = Duration::from_secs(10);

/// Erases the users of whom nothing was known for longer than `keep`. Runs as long as there are `people`.
pub(crate) async fn run<P: Profiles>(
    profiles: Arc<P>,
    people: WeakShards<UserMessage>,
    clock: WallClock,
    keep: Duration,
) {
    let mut looks = every(LOOK_EVERY);
    loop {
        looks.tick().await;
        let mut before = Vec::new();
        loop {
            let age = clock.now().since(Timestamp::default());
            let since = Timestamp::default() + age.saturating_sub(keep);
            let unseen = match profiles.unseen(since, ERASED_MAX).await {
                Ok(unseen) => unseen,
                Err(error) => {
                    let source = error.cause();
                    tracing::warn!(%error, source, "cannot look for users who were not seen for long");
                    break;
                }
            };
            let Some(people) = people.upgrade() else {
                return;
            };
            for user in &unseen {
                if erase(&people, user, since).await.is_none() {
                    return;
                }
            }
            // If the same users are found again, none was erased: they are online, or the store is away.
            if unseen.len() < ERASED_MAX || unseen == before {
                break;
            }
            before = unseen;
            drop(people);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Erases one user. Waits until that is done or takes too long, so that it does not delay other requests. Returns
/// `None` if the node has stopped.
async fn erase(people: &Shards<UserMessage>, user: &UserId, since: Timestamp) -> Option<()> {
    let (reply, answer) = oneshot::channel();
    let input = Input::Erased {
        unseen_since: Some(since),
        reply_to: Some(ReplyTo::Caller(reply)),
    };
    let message = UserMessage::Happened(user.clone(), input);
    people.of(user).send(message).await.ok()?;
    match timeout(PATIENCE, answer).await {
        Ok(answer) => {
            if let Err(why) = answer.ok()? {
                tracing::debug!(?why, "cannot erase a user");
            }
        }
        Err(_) => {
            tracing::warn!(patience = ?PATIENCE, "cannot erase a user in time, going on with the next");
        }
    }
    Some(())
}
