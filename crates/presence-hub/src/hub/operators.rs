//! What an operator's page asks of a node: the latest transitions, the biggest rooms, how full the mailboxes are, and
//! questions to the programs that embed the other nodes' hubs.

use std::time::Duration;

use presence_core::Refusal;
use presence_core::cluster::Incarnation;
use presence_core::explain::{About, Answer, Gateway};
use presence_core::history::{Recent, RecentQuery};
use presence_core::rosters::RoomLevel;
use tokio::sync::{mpsc, oneshot};

use super::Hub;
use super::explaining::with;
use crate::mailbox::RosterMessage;
use crate::program::Program;

/// How many messages wait for the shards of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailboxDepth {
    /// How many messages wait in all mailboxes together.
    pub all: usize,
    /// How many messages wait in the fullest mailbox.
    pub fullest: usize,
    /// How many one mailbox takes. A full one refuses commands.
    pub max: usize,
}

impl Hub {
    /// The latest transitions that `query` wants, of every node that answers within
    /// [`ANSWERED_WITHIN`](crate::ANSWERED_WITHIN). They say who hides, so they must reach nobody but an administrator.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooFast`] if too many questions are asked at once.
    pub async fn recent(&self, query: &RecentQuery) -> Result<Vec<Gateway<Recent>>, Refusal> {
        let inquirer = &self.inquirer;
        let about = About::Recent(query.clone());
        let (here, others) = tokio::join!(inquirer.recent(query), inquirer.ask_others(&about));
        let mut gateways = vec![inquirer.here(here)];
        gateways.extend(others?.into_iter().map(|it| {
            with(it, |answer| match answer {
                Answer::Recent(recent) => Some(recent.wanted_by(query)),
                _ => None,
            })
        }));
        Ok(gateways)
    }

    /// Sets the function that answers questions of the programs that embed the other nodes' hubs. Only the first call
    /// counts.
    pub fn answer_programs(&self, program: Program) {
        let _ = self.inquirer.program().set(program);
    }

    /// Asks the programs that embed the hubs of all other nodes, and returns the answers that come within
    /// [`ANSWERED_WITHIN`](crate::ANSWERED_WITHIN). Nodes that are known to be dead are listed, and not asked. A node
    /// that is alone has nobody to ask.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooFast`] if too many questions are asked at once.
    pub async fn ask_programs(&self, question: Vec<u8>) -> Result<Vec<Gateway<Vec<u8>>>, Refusal> {
        let others = self.inquirer.ask_others(&About::Program(question)).await?;
        let others = others.into_iter().map(|it| {
            with(it, |answer| match answer {
                Answer::Program(bytes) => Some(bytes),
                _ => None,
            })
        });
        Ok(others.collect())
    }

    /// Asks the program that embeds the hub of one other node, and returns its answer; `None` if it does not answer
    /// `within` this time, or if that node is dead or not known. The question may still arrive after that time.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooFast`] if too many questions are asked at once.
    pub async fn ask_program(
        &self,
        who: Incarnation,
        question: Vec<u8>,
        within: Duration,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let about = About::Program(question);
        let answer = self.inquirer.ask_one(who, &about, within).await?;
        Ok(match answer {
            Some(Answer::Program(bytes)) => Some(bytes),
            _ => None,
        })
    }

    /// The biggest channels and the busiest ones that this node knows: at least `limit` of each, if there are so many.
    /// They are in no order.
    pub async fn room_levels(&self, limit: usize) -> Vec<RoomLevel> {
        let mut all = Vec::new();
        for shard in self.inquirer.router().rosters.all() {
            let (reply, levels) = oneshot::channel();
            let _ = shard.send(RosterMessage::Levels(limit, reply)).await;
            all.extend(levels.await.unwrap_or_default());
        }
        all
    }

    /// How many messages wait for the shards of this node. It does not touch the shards.
    pub fn mailbox_depth(&self) -> MailboxDepth {
        let router = self.inquirer.router();
        let people = router.people.all().map(waiting);
        let rosters = router.rosters.all().map(waiting);
        let mut depth = MailboxDepth {
            max: self.settings.mailbox_max,
            ..MailboxDepth::default()
        };
        for waiting in people.chain(rosters) {
            depth.all += waiting;
            depth.fullest = depth.fullest.max(waiting);
        }
        depth
    }
}

fn waiting<M>(mailbox: &mpsc::Sender<M>) -> usize {
    mailbox.max_capacity() - mailbox.capacity()
}
