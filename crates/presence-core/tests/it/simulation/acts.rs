//! What clients and services do by the script.

use std::time::Duration;

use presence_core::history::Cause;
use presence_core::{Chosen, Edit, Expiry, StatusChange, Watching, node, rosters, users};

use super::client::{Client, user_id};
use super::script::{CLIENTS, ROOMS, What};
use super::truth::{PROFILE, Said, Sure};
use super::view::{PublicViewCheck, View};
use super::world::{Asked, Event, SEEN_MS, SERVICE_TTL_MS, Said_, ToNode, World, log, watcher_id};

impl World<'_> {
    pub(super) fn act(&mut self, index: usize) {
        let what = self.script.steps[index].what.clone();
        log!(self, "{what:?}");
        if what.is_fault() {
            return self.fail(what);
        }
        match what {
            What::Connect { client, node } => self.connect(client, node),
            What::Break { client } => self.break_off(client),
            What::Silence { client } => self.silence(client),
            // Who was not told yet that they are in cannot leave.
            What::Leave { client } if !self.clients[client].is_in(PROFILE) => {
                self.break_off(client)
            }
            What::Leave { client } => {
                self.say(client, Said_::Left);
                self.drop_socket(client, true, SEEN_MS);
                for spot in &mut self.spots[self.clients[client].user] {
                    if spot.on != Sure::Yes {
                        spot.unsettle();
                    }
                }
                self.clients[client].token = None;
            }
            What::Join { client, room } => {
                self.clients[client].wants[room] = true;
                self.say(client, Said_::Join(room));
            }
            What::Depart { client, room } => {
                self.clients[client].wants[room] = false;
                self.say(client, Said_::Depart(room));
                self.spots[self.clients[client].user][room].unsettle();
                if std::mem::take(&mut self.clients[client].joined[room]) {
                    self.refresh(self.clients[client].user, true, SEEN_MS);
                }
            }
            What::Report { client, activity } => {
                self.clients[client].activity = activity;
                self.say(client, Said_::Report(activity));
            }
            What::Choose {
                user,
                node,
                chosen,
                lasts_ms,
            } => self.choose(user, node, chosen, lasts_ms),
            What::Kick { user, node } => self.kick(user, node),
            What::Erase { user, node } => self.erase(user, node),
            // The service would not wait for so long.
            What::Act { node, .. } if self.nodes[node].sleeps_until > self.now => {}
            What::Act { user, node, room } => {
                let client = CLIENTS.len() + user;
                let at = self.now + 5;
                let said = self.said[user].iter_mut();
                said.for_each(|it| it.may_come_back(self.now));
                self.refresh(user, true, SEEN_MS);
                self.post(node, at, ToNode::Serve { client, room });
            }
            What::Watch { node, topic } => self.toggle_watch(node, topic),
            What::WatchUser { node, user } => self.toggle_watch(node, PROFILE + user),
            _ => {}
        }
    }

    pub(super) fn choose(
        &mut self,
        user: usize,
        node: usize,
        chosen: Chosen,
        lasts_ms: Option<u64>,
    ) {
        if !self.nodes[node].is_accepting {
            return;
        }
        let said = self.said[user].len();
        // Three in turn have one message, so that one may repeat the status that another, late one would replace. The first
        // have none, so that one may repeat what was never chosen.
        let message = (said >= 3).then(|| format!("m{}", said / 3));
        // Clocks that are off end it early; the last of them ends it late.
        let skew = self
            .script
            .skews_ms
            .iter()
            .map(|it| it.unsigned_abs())
            .max();
        let skew = skew.unwrap_or(0) * 2;
        let ends = lasts_ms.map(|ms| {
            let end = self.now + ms;
            (end.saturating_sub(skew), end + skew + SEEN_MS)
        });
        let mut new = Said::new(chosen, message.clone(), self.now);
        new.ends = ends;
        let is_coming = |it: &Client| it.socket.as_ref().is_some_and(|it| !it.is_open);
        let mut its = self.clients.iter().filter(|it| it.user == user);
        if its.any(is_coming) {
            new.may_come_back(self.now);
        }
        self.said[user].push(new);
        self.refresh(user, true, SEEN_MS);
        if let Some((may_end, end)) = ends {
            self.at(may_end, Event::Over(user));
            self.at(end, Event::Over(user));
        }
        let reply_to = self.reply_to(Asked::Choose { user, said });
        let change = StatusChange {
            chosen: Some(chosen),
            message: message.map_or(Edit::Clear, |it| Edit::Set(it.into())),
            emoji: Edit::Keep,
            expiry: match lasts_ms {
                Some(ms) => Edit::Set(Expiry::After(Duration::from_millis(ms))),
                None => Edit::Clear,
            },
        };
        let input = users::Input::Chose {
            change,
            by: Cause::Client,
            reply_to: Some(reply_to),
        };
        let input = node::Input::User(user_id(user), input);
        self.post(node, self.now, ToNode::Input(input));
    }

    pub(super) fn kick(&mut self, user: usize, node: usize) {
        if !self.nodes[node].is_accepting || self.nodes[node].sleeps_until > self.now {
            return;
        }
        self.throw_out(user);
        let reply_to = Some(self.reply_to(Asked::Other));
        let input = node::Input::User(user_id(user), users::Input::Kicked { reply_to });
        self.post(node, self.now, ToNode::Input(input));
    }

    /// Nothing is kept of the user, so their status is what it is for whoever is new.
    fn erase(&mut self, user: usize, node: usize) {
        if !self.nodes[node].is_accepting || self.nodes[node].sleeps_until > self.now {
            return;
        }
        self.throw_out(user);
        let said = self.said[user].len();
        self.said[user].push(Said {
            is_erasure: true,
            ..Said::new(Chosen::Online, None, self.now)
        });
        self.refresh(user, true, SEEN_MS);
        let reply_to = Some(self.reply_to(Asked::Choose { user, said }));
        let input = users::Input::Erased {
            unseen_since: None,
            reply_to,
        };
        let input = node::Input::User(user_id(user), input);
        self.post(node, self.now, ToNode::Input(input));
    }

    /// A user may be shown leaving now, and whatever a service did for them is over.
    fn throw_out(&mut self, user: usize) {
        self.kicked_at[user] = Some(self.now);
        for spot in &mut self.spots[user] {
            spot.excuse(self.now + 5_000);
            spot.open_until = spot.open_until.max(self.now + 3 * SEEN_MS);
        }
        let service = CLIENTS.len() + user;
        self.drop_socket(service, true, SERVICE_TTL_MS + SEEN_MS);
        self.clients[service].joined = [false; ROOMS];
    }

    fn toggle_watch(&mut self, node: usize, spot: usize) {
        if self.nodes[node].sleeps_until > self.now {
            return;
        }
        let is_watched = !self.watches.remove(&(node, spot));
        if is_watched {
            self.watches.insert((node, spot));
        }
        if self.nodes[node].machine.is_none() {
            return;
        }
        if is_watched {
            return self.watch(node, spot);
        }
        let input = if spot < PROFILE {
            self.views.remove(&(node, spot));
            let (topic, watching) = (super::topic(spot), Watching::Full);
            node::Input::Roster(rosters::Input::Unwatched { topic, watching })
        } else {
            self.public_views.remove(&(node, spot - PROFILE));
            node::Input::User(user_id(spot - PROFILE), users::Input::Unwatched)
        };
        self.post(node, self.now, ToNode::Input(input));
    }

    pub(super) fn watch(&mut self, node: usize, spot: usize) {
        let watcher = watcher_id(node, spot);
        self.began_at.insert((node, spot), self.now);
        let reply_to = Some(self.reply_to(Asked::Other));
        let input = if spot < PROFILE {
            self.views.insert((node, spot), View::default());
            node::Input::Roster(rosters::Input::Watched {
                topic: super::topic(spot),
                watcher,
                watching: Watching::Full,
                before: None,
                have: None,
                reply_to,
            })
        } else {
            self.public_views
                .insert((node, spot - PROFILE), PublicViewCheck::default());
            let input = users::Input::Watched { watcher, reply_to };
            node::Input::User(user_id(spot - PROFILE), input)
        };
        self.post(node, self.now, ToNode::Input(input));
    }

    pub(super) fn everyone_goes(&mut self) {
        for client in 0..CLIENTS.len() {
            self.say(client, Said_::Left);
            self.drop_socket(client, true, SEEN_MS);
        }
        for (node, spot) in self.watches.clone() {
            self.toggle_watch(node, spot);
        }
    }
}
