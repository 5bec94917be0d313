//! What the shared store announces, on its way to the shards.

use std::sync::Arc;

use futures_util::FutureExt;
use presence_core::Topic;
use presence_core::cluster::{Ephemeral, News, Reply, Subject};
use presence_core::ports::{Notice, Topics};

use crate::counters::Counters;
use crate::explain::Inquirer;
use crate::holding::Holding;
use crate::mailbox::RosterMessage;
use crate::router::ReplyRouter;

/// The number of announcements that are passed on together, besides the first one.
const NOTICES_TOGETHER_MAX: usize = 512;

/// Receives what the store announces, and passes it on to the shards. What has arrived together gets to a shard of
/// rosters as one message, so that each topic tells its watchers of it in one event.
pub(crate) async fn listen<T: Topics>(
    store: Arc<T>,
    holding: Arc<Holding>,
    router: ReplyRouter,
    inquirer: Inquirer,
    counters: Arc<Counters>,
) {
    let mut announced = Announced::new(router, inquirer);
    loop {
        announced
            .take(store.next().await, &holding, &counters)
            .await;
        // Lets the receivers handle the first message before more are taken.
        tokio::task::yield_now().await;
        let mut more = NOTICES_TOGETHER_MAX;
        while more > 0
            && let Some(notice) = store.next().now_or_never()
        {
            announced.take(notice, &holding, &counters).await;
            more -= 1;
        }
        announced.pass_on().await;
    }
}

/// What the store has announced together.
struct Announced {
    router: ReplyRouter,
    /// Gets the messages of other nodes to this one.
    inquirer: Inquirer,
    /// The announcements for each shard of rosters, in order.
    rosters: Vec<Vec<(Topic, Reply)>>,
}

impl Announced {
    fn new(router: ReplyRouter, inquirer: Inquirer) -> Self {
        let rosters = router.rosters.all().map(|_| Vec::new()).collect();
        Announced {
            router,
            inquirer,
            rosters,
        }
    }

    async fn take(&mut self, notice: Notice, holding: &Holding, counters: &Counters) {
        let (subject, reply) = match notice {
            Notice::Patched(subject, patch) => {
                Counters::add(&counters.patches_heard, 1);
                (subject, Reply::Patched(patch))
            }
            Notice::Ephemeral(Subject::Node(_), messages) => {
                for message in messages {
                    if let Ephemeral::Node(message) = message {
                        self.inquirer.heard(message);
                    }
                }
                return;
            }
            Notice::Ephemeral(subject, ephemerals) => (subject, Reply::Ephemeral(ephemerals)),
            Notice::At(subject, clock) => (subject, Reply::At(clock)),
            Notice::Forgot(partition) => {
                self.pass_on().await;
                Counters::add(&counters.invalidated, 1);
                holding.trouble("a part of it was lost, or is in doubt");
                return self.router.spread(News::Invalidate(Some(partition))).await;
            }
        };
        match subject {
            Subject::Topic(topic) => {
                let shard = self.router.rosters.number_of(&topic);
                self.rosters[shard].push((topic, reply));
            }
            subject => self.router.reply(subject, reply).await,
        }
    }

    async fn pass_on(&mut self) {
        for (mailbox, announced) in self.router.rosters.all().zip(&mut self.rosters) {
            if !announced.is_empty() {
                let announced = RosterMessage::Announced(std::mem::take(announced));
                let _ = mailbox.send(announced).await;
            }
        }
    }
}
