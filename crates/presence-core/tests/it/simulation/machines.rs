//! The machines of one node, each with a mailbox of its own: what one wants of another is on its way for a while, as it is
//! between the tasks of the hub.

use presence_core::cluster::nodes::{self, Nodes};
use presence_core::cluster::{Incarnation, News, Request, Subject};
use presence_core::node::Input;
use presence_core::rosters::{self, Rosters};
use presence_core::users::{self, Users};
use presence_core::{Limits, Timestamp, Timing, Topic, UserId};

/// Whose mailbox something is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mailbox {
    Users,
    Rosters,
    Leases,
}

pub(super) const MAILBOXES: [Mailbox; 3] = [Mailbox::Users, Mailbox::Rosters, Mailbox::Leases];

/// What a machine wants.
pub(super) enum Wish {
    OfUser(UserId, users::Effect<u64>),
    OfRosters(rosters::Effect<u64>),
    ToRosters(rosters::Input<u64>),
    /// For the users and for the rosters.
    News(News),
    Ask(Request),
    AskAboutLeases(nodes::Effect),
}

pub(super) struct Machines {
    users: Users<u64>,
    rosters: Rosters,
    nodes: Nodes,
}

impl Machines {
    pub(super) fn new(now: Timestamp, seed: u64) -> Self {
        let (timing, limits) = (Timing::default(), Limits::default());
        let nodes = Nodes::new(now, seed);
        let mut users = Users::new(timing, limits, seed);
        let mut rosters = Rosters::new(timing, limits, seed);
        users.join_cluster(nodes.me());
        rosters.join_cluster(nodes.me());
        Machines {
            users,
            rosters,
            nodes,
        }
    }

    pub(super) fn me(&self) -> Incarnation {
        self.nodes.me()
    }

    pub(super) fn may_write(&self, now: Timestamp) -> bool {
        self.nodes.may_write(now)
    }

    pub(super) fn lease_ends(&self) -> Timestamp {
        self.nodes.holds_until_at_store()
    }

    pub(super) fn partitions(&self, now: Timestamp) -> Vec<u16> {
        self.nodes.partitions(now).collect()
    }

    /// Who is listed in a topic.
    pub(super) fn list(&self, topic: &Topic) -> Vec<UserId> {
        let page = self.rosters.list(topic, 0, usize::MAX);
        page.people.iter().map(|it| it.user.clone()).collect()
    }

    pub(super) fn users_text(&self) -> String {
        format!("{:?}", self.users)
    }

    pub(super) fn rosters_text(&self) -> String {
        format!("{:?}", self.rosters)
    }

    pub(super) fn next_deadline(&self, of: Mailbox) -> Option<Timestamp> {
        match of {
            Mailbox::Users => self.users.next_deadline(),
            Mailbox::Rosters => self.rosters.next_deadline(),
            Mailbox::Leases => self.nodes.next_deadline(),
        }
    }

    pub(super) fn handle(&mut self, now: Timestamp, input: Input<u64>, out: &mut Vec<Wish>) {
        match input {
            Input::User(user, input) => self.user(now, user, input, out),
            Input::Stored(Subject::User(user), reply) => {
                self.user(now, user, users::Input::Stored(reply), out);
            }
            Input::Roster(input) => self.place(now, input, out),
            Input::Stored(Subject::Node(_), _) => {}
            Input::Stored(Subject::Topic(topic), reply) => {
                self.place(now, rosters::Input::Stored { topic, reply }, out);
            }
            Input::Leases(input) => {
                let mut effects = Vec::new();
                self.nodes.handle(now, input, &mut effects);
                obey(now, effects, out);
            }
            Input::Forgot(partition) => {
                let input = nodes::Input::Troubled;
                self.nodes.handle(now, input, &mut Vec::new());
                out.push(Wish::News(News::Invalidate(Some(partition))));
            }
            Input::Woke { .. } => {}
        }
    }

    /// Something that all of a node has to hear gets to one machine.
    pub(super) fn hear(&mut self, now: Timestamp, to: Mailbox, news: News, out: &mut Vec<Wish>) {
        match to {
            Mailbox::Users => {
                let mut effects = Vec::new();
                self.users.hear_news(now, news, &mut effects);
                effects
                    .into_iter()
                    .for_each(|(user, it)| of_user(user, it, out));
            }
            Mailbox::Rosters => {
                let mut effects = Vec::new();
                self.rosters.hear_news(now, news, &mut effects);
                self.rosters.expire(now, &mut effects);
                effects.into_iter().for_each(|it| of_place(it, out));
            }
            Mailbox::Leases => {}
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp, of: Mailbox, out: &mut Vec<Wish>) {
        match of {
            Mailbox::Users => {
                let mut effects = Vec::new();
                self.users.expire(now, &mut effects);
                effects
                    .into_iter()
                    .for_each(|(user, it)| of_user(user, it, out));
            }
            Mailbox::Rosters => {
                let mut effects = Vec::new();
                self.rosters.expire(now, &mut effects);
                effects.into_iter().for_each(|it| of_place(it, out));
            }
            Mailbox::Leases => {
                let mut effects = Vec::new();
                self.nodes.expire(now, &mut effects);
                obey(now, effects, out);
            }
        }
    }

    fn user(
        &mut self,
        now: Timestamp,
        user: UserId,
        input: users::Input<u64>,
        out: &mut Vec<Wish>,
    ) {
        let mut effects = Vec::new();
        self.users.handle(now, &user, input, &mut effects);
        effects
            .into_iter()
            .for_each(|it| of_user(user.clone(), it, out));
    }

    fn place(&mut self, now: Timestamp, input: rosters::Input<u64>, out: &mut Vec<Wish>) {
        let mut effects = Vec::new();
        self.rosters.handle(now, input, &mut effects);
        self.rosters.expire(now, &mut effects);
        effects.into_iter().for_each(|it| of_place(it, out));
    }
}

fn of_user(user: UserId, effect: users::Effect<u64>, out: &mut Vec<Wish>) {
    let input = match effect {
        users::Effect::Write {
            topic,
            session,
            entry,
            is_shared,
        } => rosters::Input::Wrote {
            topic,
            session,
            entry,
            is_shared,
        },
        users::Effect::Watch {
            topic,
            watcher,
            watching,
            have,
            reply_to,
        } => rosters::Input::Watched {
            topic,
            watcher,
            watching,
            before: None,
            have,
            reply_to,
        },
        users::Effect::Silence { topic, session } => rosters::Input::Silenced { topic, session },
        users::Effect::Ask(request) => return out.push(Wish::Ask(request)),
        effect => return out.push(Wish::OfUser(user, effect)),
    };
    out.push(Wish::ToRosters(input));
}

fn of_place(effect: rosters::Effect<u64>, out: &mut Vec<Wish>) {
    out.push(match effect {
        rosters::Effect::Ask(request) => Wish::Ask(request),
        effect => Wish::OfRosters(effect),
    });
}

fn obey(now: Timestamp, effects: Vec<nodes::Effect>, out: &mut Vec<Wish>) {
    for effect in effects {
        let wish = match effect {
            nodes::Effect::Become(me) => Wish::News(News::Become(me)),
            nodes::Effect::Lost(who) => Wish::News(News::Lost(who)),
            nodes::Effect::Invalidate => Wish::News(News::Invalidate(None)),
            nodes::Effect::StoredUpTo(until) => Wish::News(News::StoredUpTo(until)),
            nodes::Effect::StoreAhead(ms) => Wish::News(News::StoreAhead(ms)),
            nodes::Effect::Away(is_away) => {
                let since = (!is_away).then_some(now);
                out.push(Wish::News(News::Reached(since)));
                Wish::AskAboutLeases(effect)
            }
            effect => Wish::AskAboutLeases(effect),
        };
        out.push(wish);
    }
}
