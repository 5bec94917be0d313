//! The one place that knows the API: plays a story to a node in virtual time, and compares what it does with what the story says.
//!
//! ```text
//! given ann busy "writing"            what is stored of ann when the story begins
//! given slow profiles                 profiles come only when the story says so
//! given 2 listed_max                  one of the limits
//! given 0s grace                      connections that vanish are gone at once
//! given 50ms tick                     a fixed tick
//! show own                            also what users see of themselves; saves, versions, since, looks
//!
//!  0s   eve watches room:1            when, who, what
//!       > eve: room:1 []              what comes of it, and nothing else
//!       ann/web joins room:1          at the same time
//!       > room:1 +ann online
//!       ann/web.2 connects            a second tab of the same device
//!  5s   .                             until then nothing happens
//!       200 things wait               the node is behind with 200 things
//! 10s   ann/web@0 leaves              the first connection of that session, whichever is current
//!
//!       ann is explained              why others are shown what they are shown
//!       ann has history               what was recorded of ann; `room:1 has history`: in the room
//!
//!       ann/web comes joining room:1  without a resume token, as a client that says what it joins first
//! 20s   gateway stops                 nobody can come back to it any more
//!       gateway returns after 2s      another process, which knows what this one has stored
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::Incarnation;
use presence_core::explain::{
    Gateway, GatewayState, Stored, UserEvidence, UserReport, View, clock_time,
};
use presence_core::history::{Cause, History, Transition, TransitionKind};
use presence_core::node::{Effect, Input, Node};
use presence_core::ports::{Recalled, SessionChange};
use presence_core::rosters::{self, Hearers};
use presence_core::users::{self, Activity, Answer, Audience, Connection, Fingerprint};
use presence_core::{
    Change, ChannelId, Chosen, Cursor, DeviceId, Edit, Event, Expiry, Limits, Look, Meta, OwnView,
    Payload, Person, Pointer, Profile, PublicView, Reason, Selection, SessionId, Shown,
    StatusChange, Tick, Timestamp, Timing, Topic, TopicVersion, UserId, Visible, Watching,
    WorkspaceId,
};

const START: u64 = 1_764_000_000_000;

/// Plays `story`; panics with both sides if something else happens than it says.
#[track_caller]
pub(crate) fn check(story: &str) {
    let want: Vec<String> = lines(story).map(normal).collect();
    let got = play(story);
    if want != got {
        panic!(
            "the story goes otherwise (- told, + played):\n{}",
            diff(&want, &got)
        );
    }
}

/// Everything that others than `user` are told in `story`, with the times.
pub(crate) fn heard(story: &str, user: &str) -> Vec<String> {
    let mut time = String::new();
    let mut heard = Vec::new();
    for line in play(story) {
        match line.strip_prefix("> ") {
            Some(own) if own.starts_with(&format!("{user}/")) => {}
            Some(effect) => heard.push(format!("{time} {effect}")),
            None => {
                let first = line.split(' ').next().unwrap_or_default();
                if span(first).is_some() {
                    first.clone_into(&mut time);
                }
            }
        }
    }
    heard
}

fn lines(story: &str) -> impl Iterator<Item = &str> {
    let lines = story.lines().map(str::trim);
    lines.filter(|it| !it.is_empty() && !it.starts_with("given ") && !it.starts_with("show "))
}

/// The line with one space between its words.
fn normal(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn diff(want: &[String], got: &[String]) -> String {
    // The longest common subsequence, from the end.
    let mut common = vec![vec![0; got.len() + 1]; want.len() + 1];
    for w in (0..want.len()).rev() {
        for g in (0..got.len()).rev() {
            common[w][g] = match want[w] == got[g] {
                true => common[w + 1][g + 1] + 1,
                false => common[w + 1][g].max(common[w][g + 1]),
            };
        }
    }
    let (mut w, mut g, mut out) = (0, 0, String::new());
    while w < want.len() || g < got.len() {
        if w < want.len() && g < got.len() && want[w] == got[g] {
            let _ = writeln!(out, "  {}", want[w]);
            (w, g) = (w + 1, g + 1);
        } else if g == got.len() || (w < want.len() && common[w + 1][g] >= common[w][g + 1]) {
            let _ = writeln!(out, "- {}", want[w]);
            w += 1;
        } else {
            let _ = writeln!(out, "+ {}", got[g]);
            g += 1;
        }
    }
    out
}

fn play(story: &str) -> Vec<String> {
    let mut stage = Stage::new(story);
    for line in lines(story) {
        let line = normal(line);
        if line.starts_with("> ") {
            continue;
        }
        let (time, command) = match line.split_once(' ') {
            Some((time, command)) if span(time).is_some() => (span(time), command),
            _ => (None, line.as_str()),
        };
        let now = time.map_or(stage.now, |it| Timestamp::from_millis(START) + it);
        stage.wait_until(now);
        stage.played.push(line.clone());
        stage.expire();
        if command != "." {
            stage.act(command);
        }
    }
    stage.played
}

/// `1m30s`, `250ms`.
fn span(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit());
        let unit = &rest[..unit.unwrap_or(rest.len())];
        sum += Duration::from_millis(match unit {
            "ms" => number,
            "s" => number * 1000,
            "m" => number * 60_000,
            "h" => number * 3_600_000,
            _ => return None,
        });
        rest = &rest[unit.len()..];
    }
    Some(sum)
}

struct Stage {
    /// What was recorded of the users.
    history: History,
    node: Node<ReplyTo>,
    now: Timestamp,
    profiles: HashMap<UserId, Profile>,
    slow_profiles: bool,
    /// Each session's label, by the order in which they came.
    labels: Vec<String>,
    connections: HashMap<String, Connection>,
    watching: BTreeMap<(Topic, SessionId), Watching>,
    watching_users: Vec<(UserId, SessionId)>,
    epochs: Vec<u64>,
    shows: Vec<String>,
    played: Vec<String>,
    /// What is remembered of sessions.
    changes: Vec<SessionChange>,
    timing: Timing,
    limits: Limits,
}

/// Who asked, as the story says it.
type ReplyTo = String;

impl Stage {
    fn new(story: &str) -> Self {
        let mut limits = Limits::default();
        let default = Timing::default();
        let (mut grace, mut tick) = (default.grace(), default.tick());
        let mut profiles = HashMap::new();
        let mut slow_profiles = false;
        let mut shows = Vec::new();
        for line in story.lines().map(str::trim) {
            if let Some(what) = line.strip_prefix("show ") {
                shows.push(what.to_owned());
            }
            let Some(given) = line.strip_prefix("given ") else {
                continue;
            };
            let words = words(given);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match words[..] {
                ["slow", "profiles"] => slow_profiles = true,
                [time, "grace"] => grace = span(time).unwrap(),
                [time, "tick"] => tick = Tick::Fixed(span(time).unwrap()),
                [number, name] if number.parse::<usize>().is_ok() => {
                    *limit(&mut limits, name) = number.parse().unwrap();
                }
                [user, ref change @ ..] => {
                    let user = UserId::new(user).unwrap();
                    let mut profile = Profile::new(user.clone());
                    profile.choose(Timestamp::from_millis(START), &status_change(change));
                    profiles.insert(user, profile);
                }
                [] => {}
            }
        }
        let (heartbeat, ttl, typing) = (default.heartbeat(), default.ttl(), default.typing());
        let timing = Timing::new(heartbeat, ttl, typing, grace).unwrap();
        let timing = timing.with_tick(tick);
        let mut node = Node::new(timing, limits, 7);
        node.keep_sessions();
        node.record_history();
        node.announce_looks();
        Stage {
            history: History::new(1 << 20, None),
            node,
            now: Timestamp::from_millis(START),
            profiles,
            slow_profiles,
            labels: Vec::new(),
            connections: HashMap::new(),
            watching: BTreeMap::new(),
            watching_users: Vec::new(),
            epochs: Vec::new(),
            shows,
            played: Vec::new(),
            changes: Vec::new(),
            timing,
            limits,
        }
    }

    fn shows(&self, what: &str) -> bool {
        self.shows.iter().any(|it| it == what)
    }

    /// Lets time pass until just before `then`; what happens meanwhile gets lines of its own.
    fn wait_until(&mut self, then: Timestamp) {
        assert!(then >= self.now, "time goes backwards in the story");
        while let Some(deadline) = self.node.next_deadline().filter(|&it| it < then) {
            self.now = self.now.max(deadline);
            let line = self.played.len();
            self.expire();
            if self.played.len() > line {
                let time = format!("{} .", self.time(self.now));
                self.played.insert(line, time);
            }
        }
        self.now = then;
    }

    fn expire(&mut self) {
        let mut effects = Vec::new();
        self.node.expire(self.now, &mut effects);
        self.perform(effects);
    }

    fn user(&mut self, user: &UserId, input: users::Input<ReplyTo>) {
        let mut effects = Vec::new();
        let input = Input::User(user.clone(), input);
        self.node.handle(self.now, input, &mut effects);
        self.perform(effects);
    }

    fn roster(&mut self, input: rosters::Input<ReplyTo>) {
        let mut effects = Vec::new();
        self.node
            .handle(self.now, Input::Roster(input), &mut effects);
        self.perform(effects);
    }

    fn act(&mut self, command: &str) {
        let words = words(command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (who, rest) = (words[0], &words[1..]);
        let reply_to = || Some(who.to_owned());
        match *rest {
            ["chooses", ref change @ ..] => {
                let change = status_change(change);
                self.user(
                    &user_of(who),
                    users::Input::Chose {
                        change,
                        by: Cause::Client,
                        reply_to: reply_to(),
                    },
                );
            }
            ["puts", ref change @ ..] => {
                let change = status_change(change).replacing();
                self.user(
                    &user_of(who),
                    users::Input::Chose {
                        change,
                        by: Cause::Client,
                        reply_to: reply_to(),
                    },
                );
            }
            ["is", "explained"] => self.explain(&user_of(who)),
            ["has", "history"] if is_place(who) => {
                let channel = ChannelId::new(who).unwrap();
                self.recite(&self.history.of_channel(&channel, 50));
            }
            ["has", "history"] => self.recite(&self.history.of_user(&user_of(who), 50)),
            ["things", "wait"] => self.node.note_backlog(who.parse().unwrap()),
            ["stops"] => self.node.hold(self.now, Duration::from_secs(3600)),
            ["returns", "after", away] => self.restart(span(away).unwrap()),
            ["is", "kicked"] => self.user(
                &user_of(who),
                users::Input::Kicked {
                    reply_to: reply_to(),
                },
            ),
            ["is", "erased"] => {
                let (unseen_since, reply_to) = (None, reply_to());
                let input = users::Input::Erased {
                    unseen_since,
                    reply_to,
                };
                self.user(&user_of(who), input);
            }
            ["asks", "about", user] => {
                let reply_to = who.to_owned();
                let as_owner = who == user;
                self.user(&user_of(user), users::Input::Asked { as_owner, reply_to });
            }
            ["is", "stored", "as", "before"] => drop(self.profiles.remove(&user_of(who))),
            ["is", "loaded"] => {
                let user = user_of(who);
                let profile = self.profiles.get(&user).cloned();
                self.user(&user, users::Input::Loaded { profile });
            }
            ["watches", topic, ref how @ ..] if is_place(topic) => {
                let (watching, have) = self.watching(how);
                self.watch(topic_of(topic), who, watching, have);
            }
            ["unwatches", topic] if is_place(topic) => {
                let watcher = self.session(who);
                self.unwatch(&topic_of(topic), watcher);
            }
            ["watches", user] => {
                let watcher = self.session(who);
                self.watching_users.push((user_of(user), watcher));
                let reply_to = reply_to();
                self.user(&user_of(user), users::Input::Watched { watcher, reply_to });
            }
            ["unwatches", user] => {
                let watcher = self.session(who);
                let it = (user_of(user), watcher);
                self.watching_users.retain(|watched| *watched != it);
                self.user(&user_of(user), users::Input::Unwatched);
            }
            _ => self.act_through(who, rest),
        }
    }

    /// Tells why others are shown what they are shown of a user.
    fn explain(&mut self, user: &UserId) {
        let report = UserReport {
            transitions: self.history.of_user(user, 50),
            ..self.node.report(self.now, user)
        };
        let explanation = UserEvidence {
            now: self.now,
            user: user.clone(),
            public: Some(match &report.view {
                View::Known(known) => (known.shown, None),
                View::Unknown | View::Loading => {
                    let profile = self.profiles.get(user);
                    (Visible::Offline, profile.and_then(|it| it.last_seen))
                }
            }),
            gateways: vec![Gateway {
                who: Incarnation {
                    node: 0,
                    generation: 0,
                },
                name: "eu-1".into(),
                state: GatewayState::Here,
                report: Some(report),
            }],
            shared: Stored::NotUsed,
            profile: match self.profiles.get(user) {
                Some(profile) => Stored::Has(profile.clone()),
                None => Stored::Absent,
            },
        }
        .explain();
        for fact in &explanation.why {
            let text = self.since_start(&fact.text(self.now));
            self.tell(&format!("because {text}"));
        }
        for difference in &explanation.differences {
            self.tell(&format!("but {}", difference.text()));
        }
    }

    /// The text with the times of the story.
    fn since_start(&self, text: &str) -> String {
        let start = Timestamp::from_millis(START);
        let mut text = text.to_owned();
        for second in 0..=self.now.since(start).as_secs() + 120 {
            let moment = start + Duration::from_secs(second);
            text = text.replace(&clock_time(self.now, moment), &self.time(moment));
        }
        text
    }

    /// Tells what was recorded, the oldest first.
    fn recite(&mut self, transitions: &[Transition]) {
        for it in transitions.iter().rev() {
            let mut text = format!("{} {}", self.time(it.at), it.user);
            if let Some(session) = it.session {
                text = format!("{} {}", self.time(it.at), self.label(session));
            }
            let what = match it.what {
                TransitionKind::Shown { from, to } => format!("{}->{}", from.as_str(), to.as_str()),
                TransitionKind::Disconnected { until } => {
                    format!("disconnected until {}", self.time(until))
                }
                TransitionKind::Ended(reason) => format!("ended {}", reason.as_str()),
                TransitionKind::Left(reason) => format!("left {}", reason.as_str()),
                TransitionKind::Chose(status) => format!("chose {}", chosen(status)),
                TransitionKind::Reported(activity) => format!("is {activity:?}").to_lowercase(),
                what => what.as_str().to_owned(),
            };
            let channel = it.channel.as_ref().map(|it| format!(" {it}"));
            let channel = channel.unwrap_or_default();
            self.tell(&format!("{text} {what}{channel} ({})", it.cause.as_str()));
        }
    }

    /// What a session does through its connection.
    fn act_through(&mut self, label: &str, words: &[&str]) {
        let user = user_of(label);
        let device = device_of(label);
        let (label, epoch) = match label.split_once('@') {
            Some((label, epoch)) => (label, Some(epoch.parse().unwrap())),
            None => (label, None),
        };
        let reply_to = Some(label.to_owned());
        if let ["connects" | "resumes" | "comes", ref places @ ..] = *words {
            let (fingerprint, places) = match (words[0], places) {
                ("comes", places) => (Some(fingerprint(places)), &[][..]),
                (_, places) => (None, places),
            };
            let resume = match words[0] {
                "resumes" => {
                    let mut before = self.connection(label);
                    before.epoch = epoch.unwrap_or(before.epoch);
                    Some(before)
                }
                _ => None,
            };
            // Each connection that is not resumed is a session of its own.
            let fresh = self.labels.len();
            self.labels.push(label.to_owned());
            let workspaces = places.iter().filter(|&&it| it != "in");
            return self.user(
                &user,
                users::Input::Connected {
                    session: number(fresh),
                    resume,
                    fingerprint,
                    device,
                    workspaces: workspaces.map(|it| WorkspaceId::new(it).unwrap()).collect(),
                    card: Arc::default(),
                    origin: None,
                    reply_to: label.to_owned(),
                },
            );
        }
        if let ["acts"] = *words {
            let session = self.session(label);
            return self.user(&user, users::Input::ServiceActed { session, device });
        }
        let mut by = self.connection(label);
        by.epoch = epoch.unwrap_or(by.epoch);
        let session = by.session;
        let channel = |it: &str| ChannelId::new(it).unwrap();
        match *words {
            ["is", "heard"] => self.user(&user, users::Input::Heard { by }),
            ["moves", "to", ref places @ ..] => {
                let workspaces = places.iter().map(|it| WorkspaceId::new(it).unwrap());
                let workspaces = workspaces.collect();
                let card = Arc::default();
                self.user(
                    &user,
                    users::Input::WorkspacesChanged {
                        by,
                        workspaces,
                        card,
                        reply_to,
                    },
                );
            }
            ["is", activity] => {
                let activity = match activity {
                    "active" => Activity::Active,
                    "idle" => Activity::Idle,
                    "hidden" => Activity::Hidden,
                    other => panic!("no such activity: {other}"),
                };
                self.user(
                    &user,
                    users::Input::Reported {
                        by,
                        activity,
                        reply_to,
                    },
                );
            }
            ["vanishes"] => {
                let reason = Reason::Lost;
                self.user(
                    &user,
                    users::Input::Vanished {
                        by,
                        reason,
                        cause: Cause::Broken,
                    },
                );
                self.unwatch_all(session);
            }
            ["leaves"] => {
                self.user(
                    &user,
                    users::Input::Ended {
                        by,
                        cause: Cause::Client,
                    },
                );
                self.unwatch_all(session);
            }
            ["joins", place, ref how @ ..] => {
                let (name, how) = match *how {
                    ["as", name, ref how @ ..] => (Some(name), how),
                    _ => (None, how),
                };
                let watch = match *how {
                    ["and", "watches", ref how @ ..] => Some(self.watching(how)),
                    _ => None,
                };
                let topic = topic_of(place);
                if let Some((watching, _)) = watch {
                    self.unwatch(&topic, session);
                    self.watching.insert((topic, session), watching);
                }
                let meta = meta(name);
                let channel = channel(place);
                self.user(
                    &user,
                    users::Input::Joined {
                        by,
                        channel,
                        meta,
                        watch,
                        reply_to,
                    },
                );
            }
            ["becomes", name, "in", place] => {
                let meta = meta(Some(name));
                let channel = channel(place);
                self.user(
                    &user,
                    users::Input::Updated {
                        by,
                        channel,
                        meta,
                        reply_to,
                    },
                );
            }
            ["departs", place] => {
                let channel = channel(place);
                self.user(
                    &user,
                    users::Input::LeftChannel {
                        by,
                        channel,
                        reply_to,
                    },
                );
            }
            ["types", "in", place] => {
                let (channel, typing) = (channel(place), true);
                self.roster(rosters::Input::Typed {
                    channel,
                    session,
                    typing,
                    reply_to,
                });
            }
            ["stops", "typing", "in", place] => {
                let (channel, typing) = (channel(place), false);
                self.roster(rosters::Input::Typed {
                    channel,
                    session,
                    typing,
                    reply_to,
                });
            }
            ["points", "in", place, at] => {
                let (x, y) = at.split_once(',').unwrap();
                let (x, y) = (x.parse().unwrap(), y.parse().unwrap());
                let pointer = Pointer {
                    x,
                    y,
                    visible: true,
                };
                let channel = channel(place);
                self.roster(rosters::Input::Pointed {
                    channel,
                    session,
                    pointer,
                    reply_to,
                });
            }
            ["selects", "in", place, range] => {
                let selection = range.split_once('-').map(|(start, end)| Selection {
                    start: start.parse().unwrap(),
                    end: end.parse().unwrap(),
                });
                let channel = channel(place);
                self.roster(rosters::Input::Selected {
                    channel,
                    session,
                    selection,
                    reply_to,
                });
            }
            ["says", what, "in", place] => {
                let (event, payload) = (what.into(), Payload::none());
                let channel = channel(place);
                self.roster(rosters::Input::Said {
                    channel,
                    session,
                    event,
                    payload,
                    reply_to,
                });
            }
            _ => panic!("no such thing in the words of stories: {label} {words:?}"),
        }
    }

    /// How a watcher watches: `summary`, `whole`, `having <epoch>.<version>`.
    fn watching(&self, how: &[&str]) -> (Watching, Option<TopicVersion>) {
        match *how {
            [] => (Watching::Full, None),
            ["summary"] => (Watching::Summary, None),
            ["whole", ref having @ ..] => (Watching::Whole, self.watching(having).1),
            ["having", clock] => {
                let (epoch, version) = clock.split_once('.').unwrap();
                let epoch: usize = epoch.parse().unwrap();
                let epoch = self.epochs.get(epoch - 1).copied().unwrap_or(0);
                let version = version.parse().unwrap();
                (Watching::Full, Some(TopicVersion { epoch, version }))
            }
            _ => panic!("no way to watch: {how:?}"),
        }
    }

    fn watch(&mut self, topic: Topic, who: &str, watching: Watching, have: Option<TopicVersion>) {
        let watcher = self.session(who);
        let before = self.watching.insert((topic.clone(), watcher), watching);
        let reply_to = Some(who.to_owned());
        self.roster(rosters::Input::Watched {
            topic,
            watcher,
            watching,
            before,
            have,
            reply_to,
        });
    }

    fn unwatch(&mut self, topic: &Topic, watcher: SessionId) {
        if let Some(watching) = self.watching.remove(&(topic.clone(), watcher)) {
            let topic = topic.clone();
            self.roster(rosters::Input::Unwatched { topic, watching });
        }
    }

    /// A connection is gone, and with it what it watched.
    fn unwatch_all(&mut self, watcher: SessionId) {
        let topics: Vec<Topic> = self
            .watching
            .keys()
            .filter(|it| it.1 == watcher)
            .map(|it| it.0.clone())
            .collect();
        for topic in topics {
            self.unwatch(&topic, watcher);
        }
        let (gone, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut self.watching_users)
            .into_iter()
            .partition(|it| it.1 == watcher);
        self.watching_users = stay;
        for (user, _) in gone {
            self.user(&user, users::Input::Unwatched);
        }
    }

    fn connection(&mut self, label: &str) -> Connection {
        match self.connections.get(label) {
            Some(connection) => *connection,
            None => Connection::of_service(self.session(label)),
        }
    }

    /// The session of this label: the one it has a connection of, or the only one it ever had.
    fn session(&mut self, label: &str) -> SessionId {
        if let Some(connection) = self.connections.get(label) {
            return connection.session;
        }
        let known = self.labels.iter().rposition(|it| it == label);
        number(known.unwrap_or_else(|| {
            self.labels.push(label.to_owned());
            self.labels.len() - 1
        }))
    }

    fn perform(&mut self, effects: Vec<Effect<ReplyTo>>) {
        for effect in effects {
            match effect {
                Effect::User(user, effect) => self.perform_for(&user, effect),
                Effect::Roster(rosters::Effect::Tell { topic, to, event }) => {
                    if matches!(*event, Event::EpochStarted { .. }) {
                        continue;
                    }
                    let event = self.event(&event);
                    let but = |sessions: &[SessionId]| {
                        let labels: Vec<_> = sessions.iter().map(|it| self.label(*it)).collect();
                        format!(" but {}", labels.join(" "))
                    };
                    let text = match &to {
                        Hearers::One(one) => {
                            format!("{}: {} {event}", self.label(*one), place(&topic))
                        }
                        Hearers::FullBut(one) => {
                            format!("{}{}: {event}", place(&topic), but(&[*one]))
                        }
                        Hearers::AllBut(sessions) if !sessions.is_empty() => {
                            format!("{}{}: {event}", place(&topic), but(sessions))
                        }
                        _ => format!("{} {event}", place(&topic)),
                    };
                    self.tell(&text);
                }
                Effect::Roster(rosters::Effect::Grant { .. }) => {}
                Effect::Roster(rosters::Effect::Refuse { reply_to, why }) => {
                    self.tell(&format!("{reply_to} refused: {why}"));
                }
                Effect::Roster(rosters::Effect::Known { .. } | rosters::Effect::Ask(_))
                | Effect::Ask(_)
                | Effect::Leases(_) => unreachable!("it shares nothing with anybody"),
            }
        }
    }

    fn perform_for(&mut self, user: &UserId, effect: users::Effect<ReplyTo>) {
        match effect {
            users::Effect::Ask(_) => unreachable!("it shares nothing with anybody"),
            users::Effect::Welcome {
                connection,
                restored,
                reply_to,
            } => {
                let resumed = connection.epoch > 0;
                assert_eq!(resumed, restored);
                let before = self.connections.insert(reply_to.clone(), connection);
                match (restored, before) {
                    (true, _) => self.tell(&format!("{reply_to} is back")),
                    (false, Some(_)) => self.tell(&format!("{reply_to} is new")),
                    (false, None) => {}
                }
            }
            users::Effect::Close { connection, reason } => {
                let label = self.label(connection.session).to_owned();
                self.tell(&format!(
                    "{label}@{} closed: {}",
                    connection.epoch,
                    reason.as_str()
                ));
                if reason != Reason::Replaced {
                    self.unwatch_all(connection.session);
                }
            }
            users::Effect::Tell { to, event } => match (to, event) {
                (Audience::Sessions(sessions), Event::OwnView(own_view)) => {
                    if self.shows("own") {
                        let labels: Vec<_> = sessions.iter().map(|it| self.label(*it)).collect();
                        let text = format!("{}: {}", labels.join(" "), self.own_view(&own_view));
                        self.tell(&text);
                    }
                }
                (Audience::Watchers, Event::PublicView(public_view)) => {
                    let mut watchers = self.watching_users.iter().filter(|it| it.0 == *user);
                    assert!(watchers.next().is_some(), "{user} is told to nobody");
                    let text = self.public_view(&public_view);
                    self.tell(&text);
                }
                (Audience::Watcher(watcher), Event::PublicView(public_view)) => {
                    let public_view = self.public_view(&public_view);
                    let text = format!("{}: {public_view}", self.label(watcher));
                    self.tell(&text);
                }
                other => panic!("not for them: {other:?}"),
            },
            users::Effect::Load | users::Effect::LookUp => {
                if !self.slow_profiles {
                    let profile = self.profiles.get(user).cloned();
                    self.user(user, users::Input::Loaded { profile });
                }
            }
            users::Effect::Save { profile, .. } => {
                if self.shows("saves") {
                    let text = self.saved(&profile);
                    self.tell(&text);
                }
                self.profiles.insert(user.clone(), profile);
            }
            users::Effect::Grant { reply_to, answer } => match answer {
                Answer::Done => {}
                Answer::PublicView(public_view) => {
                    let text = format!("{reply_to} hears: {}", self.public_view(&public_view));
                    self.tell(&text);
                }
                Answer::OwnView(own_view) => {
                    let text = format!("{reply_to} hears: {}", self.own_view(&own_view));
                    self.tell(&text);
                }
            },
            users::Effect::Refuse { reply_to, why } => {
                self.tell(&format!("{reply_to} refused: {why}"))
            }
            users::Effect::Record(transition) => self.history.push(transition),
            users::Effect::LooksDifferent => {
                if self.shows("looks") {
                    self.tell(&format!("{user} looks different"));
                }
            }
            users::Effect::Remember(change) => {
                if self.shows("changes") {
                    let text = self.change_text(&change);
                    self.tell(&text);
                }
                self.changes.push(change);
            }
            users::Effect::Write { .. }
            | users::Effect::Watch { .. }
            | users::Effect::Silence { .. } => {
                panic!("a node does that itself")
            }
        }
    }

    /// Ends the node as kill -9 would, and starts another that knows what it has stored.
    fn restart(&mut self, away: Duration) {
        let recalled = replay(&self.changes);
        let mut kept = self.node.kept_sessions(self.now);
        // What is kept says the same as all that was noted of it, but for what has gone on silently since.
        kept.retain(|it| !matches!(it, SessionChange::Ended { .. } | SessionChange::Left { .. }));
        assert_eq!(replay(&kept), recalled, "what a rewrite would keep");
        let seed = 8 + self.played.len() as u64;
        self.node = Node::new(self.timing, self.limits, seed);
        self.node.keep_sessions();
        self.node.record_history();
        self.node.announce_looks();
        self.history = History::new(1 << 20, None);
        self.changes.clear();
        self.watching.clear();
        self.watching_users.clear();
        let now = self.now.as_millis();
        let at = |ago: Duration| Timestamp::from_millis(now - ago.as_millis() as u64);
        for recalled in recalled {
            let ended_at = at(away);
            let kept = &recalled.kept;
            let alive_at = match kept.by_service {
                true => kept.heard_at.unwrap(),
                false => kept.lost_at.unwrap_or(ended_at),
            };
            let user = kept.user.clone();
            self.user(
                &user,
                users::Input::Restored {
                    recalled: Box::new(recalled),
                    alive_at,
                    until: self.now + Timing::HELD,
                    reply_to: None,
                },
            );
        }
        let mut effects = Vec::new();
        self.node.tell_at_once(self.now, &mut effects);
        self.perform(effects);
    }

    fn change_text(&self, change: &SessionChange) -> String {
        match change {
            SessionChange::Is { session, kept } => {
                let hidden = if kept.is_hidden { " hidden" } else { "" };
                let lost = if kept.lost_at.is_some() { " lost" } else { "" };
                let (label, epoch) = (self.label(*session), kept.epoch);
                format!("note {label}@{epoch} {:?}{hidden}{lost}", kept.activity)
            }
            SessionChange::Joined { session, joined } => {
                let name = joined.meta.name().map(|it| &**it).unwrap_or_default();
                format!(
                    "note {} in {} {name}",
                    self.label(*session),
                    place(&joined.topic)
                )
            }
            SessionChange::Left { session, topic } => {
                format!("note {} not in {}", self.label(*session), place(topic))
            }
            SessionChange::Ended { session } => format!("note {} over", self.label(*session)),
        }
    }

    fn tell(&mut self, text: &str) {
        self.played.push(normal(&format!("> {text}")));
    }

    fn label(&self, session: SessionId) -> &str {
        let at = usize::try_from(session.as_u128()).ok();
        // What comes out of hiding has a name that no story knows.
        at.map_or("somebody", |at| &self.labels[at - 1])
    }

    fn event(&mut self, event: &Event) -> String {
        match event {
            Event::Everyone {
                clock,
                people,
                typing,
                cursors,
                ..
            } => {
                let people: Vec<_> = people.iter().map(|it| self.person(it)).collect();
                let (clock, people) = (self.clock(*clock), people.join(", "));
                format!("{clock}[{people}]{}", self.doing(typing, cursors))
            }
            Event::Unchanged {
                clock,
                typing,
                cursors,
                ..
            } => {
                let clock = self.clock(*clock);
                format!("{clock}unchanged{}", self.doing(typing, cursors))
            }
            Event::EpochStarted { clock, .. } => format!("{}anew", self.clock(*clock)),
            Event::Changes {
                clock,
                changes,
                everyone,
                ..
            } => {
                let clock = self.clock(*clock);
                let everyone = everyone.as_ref().map(|everyone| {
                    let people: Vec<_> = everyone.iter().map(|it| self.person(it)).collect();
                    format!(" of [{}]", people.join(", "))
                });
                let changes = changes.iter().map(|change| match change {
                    Change::Joined(person) => format!("+{}", self.person(person)),
                    Change::Updated { to, .. } => format!("~{}", self.person(to)),
                    Change::Left { person, reason } => {
                        format!("-{} {}", person.user, reason.as_str())
                    }
                });
                let changes: Vec<_> = changes.collect();
                let everyone = everyone.unwrap_or_default();
                format!("{clock}{}{everyone}", changes.join(", "))
            }
            Event::Summary {
                clock,
                count,
                sample,
                ..
            } => {
                let sample: Vec<_> = sample.iter().map(|it| self.person(it)).collect();
                format!(
                    "{}{count} people: {}",
                    self.clock(*clock),
                    sample.join(", ")
                )
            }
            Event::Typing {
                typing,
                started,
                stopped,
                ..
            } => {
                let started = started.iter().map(|it| format!("+{it}"));
                let stopped = stopped.iter().map(|it| format!("-{it}"));
                let changed: Vec<_> = started.chain(stopped).collect();
                format!("typing: {} ({})", names(typing), changed.join(" "))
            }
            Event::Cursors { cursors, gone, .. } => {
                let cursors = cursors.iter().map(|it| self.cursor(it));
                let gone = gone
                    .iter()
                    .map(|it| format!("{} points no more", self.label(*it)));
                cursors.chain(gone).collect::<Vec<_>>().join(", ")
            }
            Event::Broadcast {
                event,
                user,
                sender,
                ..
            } => {
                let session = sender.session().expect("no service speaks in stories");
                assert_eq!(user_of(self.label(session)), *user);
                format!("{} says {event}", self.label(session))
            }
            Event::PublicView(_)
            | Event::OwnView(_)
            | Event::StoreAway { .. }
            | Event::Window { .. }
            | Event::WindowChanges { .. } => {
                panic!("not for a place: {event:?}")
            }
        }
    }

    fn doing(&self, typing: &[UserId], cursors: &[Cursor]) -> String {
        let mut text = String::new();
        if !typing.is_empty() {
            let _ = write!(text, " typing: {}", names(typing));
        }
        for cursor in cursors {
            let _ = write!(text, ", {}", self.cursor(cursor));
        }
        text
    }

    fn cursor(&self, cursor: &Cursor) -> String {
        let mut text = self.label(cursor.session).to_owned();
        if let Some(Pointer { x, y, .. }) = cursor.pointer {
            let _ = write!(text, " at {x},{y}");
        }
        if let Some(Selection { start, end }) = cursor.selection {
            let _ = write!(text, " selects {start}-{end}");
        }
        text
    }

    fn person(&self, person: &Person) -> String {
        let mut text = format!("{} {}", person.user, look(person.look()));
        let names = person
            .members
            .iter()
            .filter_map(|it| it.meta.name().map(|it| &**it));
        let names: Vec<_> = names.collect();
        if !names.is_empty() {
            let _ = write!(text, " as {}", names.join("+"));
        }
        if person.members.len() > 1 {
            let _ = write!(text, " x{}", person.members.len());
        }
        if self.shows("since") {
            let _ = write!(text, " since {}", self.time(person.joined_at));
        }
        text
    }

    fn public_view(&mut self, public_view: &PublicView) -> String {
        let mut text = format!(
            "{}{} {}",
            self.clock(public_view.clock),
            public_view.user,
            look(&public_view.look)
        );
        for kind in &public_view.devices {
            let _ = write!(text, " {}", kind.as_str());
        }
        if let Some(seen) = public_view.last_seen {
            let _ = write!(text, " seen {}", self.time(seen));
        }
        text
    }

    fn own_view(&self, own_view: &OwnView) -> String {
        let shown = Look {
            status: own_view.shown,
            message: own_view.message.clone(),
            emoji: own_view.emoji.clone(),
        };
        let chosen = chosen(own_view.chosen);
        let mut text = format!("{} chose {chosen}, shown {}", own_view.user, look(&shown));
        if let Some(until) = own_view.expires_at {
            let _ = write!(text, " until {}", self.time(until));
        }
        let _ = write!(text, " r{}", own_view.revision);
        if let Some(seen) = own_view.last_seen {
            let _ = write!(text, " seen {}", self.time(seen));
        }
        for device in &own_view.devices {
            let activity = match device.activity {
                Activity::Active => "active",
                Activity::Idle => "idle",
                Activity::Hidden => "hidden",
            };
            let _ = write!(text, ", {} {activity}", device.id);
            if device.sessions > 1 {
                let _ = write!(text, " x{}", device.sessions);
            }
        }
        text
    }

    fn saved(&self, profile: &Profile) -> String {
        let status = &profile.status;
        let words = Look {
            status: Visible::Online,
            message: status.message.clone(),
            emoji: status.emoji.clone(),
        };
        let words = look(&words).replacen("online", chosen(status.chosen), 1);
        let mut text = format!("save {} {words}", profile.user);
        if let Some(until) = status.expires_at {
            let _ = write!(text, " until {}", self.time(until));
        }
        let _ = write!(text, " r{}", status.revision);
        if let Some(seen) = profile.last_seen {
            let _ = write!(text, " seen {}", self.time(seen));
        }
        text
    }

    /// Epochs are random numbers; a story counts them in the order in which they are told.
    fn clock(&mut self, clock: TopicVersion) -> String {
        if !self.shows("versions") {
            return String::new();
        }
        let known = self.epochs.iter().position(|it| *it == clock.epoch);
        let epoch = known.unwrap_or_else(|| {
            self.epochs.push(clock.epoch);
            self.epochs.len() - 1
        });
        format!("v{}.{} ", epoch + 1, clock.version)
    }

    fn time(&self, moment: Timestamp) -> String {
        let millis = moment.as_millis().checked_sub(START);
        let millis = millis.expect("nothing is before the story begins");
        let (minutes, seconds, millis) = (millis / 60_000, millis / 1000 % 60, millis % 1000);
        let mut text = String::new();
        for (number, unit) in [(minutes, "m"), (seconds, "s"), (millis, "ms")] {
            if number > 0 {
                let _ = write!(text, "{number}{unit}");
            }
        }
        if text.is_empty() {
            "0s".to_owned()
        } else {
            text
        }
    }
}

/// Splits at spaces, but not within quotes, which are kept.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '"';
        match words.last_mut() {
            Some(word) if c != ' ' || quoted => word.push(c),
            _ => words.push(String::new()),
        }
    }
    words
}

/// `busy "in a meeting" 🎯 for 30m`; `no message`, `no emoji` and `for ever` clear, what is not mentioned is not touched.
fn status_change(mut words: &[&str]) -> StatusChange {
    let mut change = StatusChange::default();
    while let [word, rest @ ..] = words {
        words = rest;
        let argument = rest.first().copied().unwrap_or_default();
        match *word {
            "online" => change.chosen = Some(Chosen::Online),
            "away" => change.chosen = Some(Chosen::Away),
            "busy" => change.chosen = Some(Chosen::Busy),
            "invisible" => change.chosen = Some(Chosen::Invisible),
            "offline" => change.chosen = Some(Chosen::Offline),
            "no" if argument == "message" => change.message = Edit::Clear,
            "no" if argument == "emoji" => change.emoji = Edit::Clear,
            "for" if argument == "ever" => change.expiry = Edit::Clear,
            "for" => change.expiry = Edit::Set(Expiry::After(span(argument).unwrap())),
            "until" => {
                let moment = Timestamp::from_millis(START) + span(argument).unwrap();
                change.expiry = Edit::Set(Expiry::At(moment));
            }
            quoted if quoted.starts_with('"') => {
                change.message = Edit::Set(quoted.trim_matches('"').into());
            }
            emoji if !emoji.is_ascii() => change.emoji = Edit::Set(emoji.into()),
            other => panic!("no status: {other}"),
        }
        if matches!(*word, "no" | "for" | "until") {
            words = &words[1..];
        }
    }
    change
}

fn limit<'a>(limits: &'a mut Limits, name: &str) -> &'a mut usize {
    match name {
        "sessions_max" => &mut limits.sessions_max,
        "channels_max" => &mut limits.channels_max,
        "waiting_max" => &mut limits.waiting_max,
        "listed_max" => &mut limits.listed_max,
        "faces_max" => &mut limits.faces_max,
        "typing_max" => &mut limits.typing_max,
        "cursors_max" => &mut limits.cursors_max,
        "broadcasts_max" => &mut limits.broadcasts_max,
        "versions_kept" => &mut limits.versions_kept,
        other => panic!("no such limit: {other}"),
    }
}

/// `joining room:1 as Ann on its device`
fn fingerprint(words: &[&str]) -> Fingerprint {
    let (words, names_device) = match words {
        [words @ .., "on", "its", "device"] => (words, true),
        words => (words, false),
    };
    let first = match *words {
        ["joining", place] => Some((topic_of(place), meta(None))),
        ["joining", place, "as", name] => Some((topic_of(place), meta(Some(name)))),
        [] => None,
        ref other => panic!("no such fingerprint: {other:?}"),
    };
    Fingerprint {
        names_device,
        first,
    }
}

/// What `changes` say of sessions, one after the other.
fn replay(changes: &[SessionChange]) -> Vec<Recalled> {
    let mut sessions: BTreeMap<SessionId, Recalled> = BTreeMap::new();
    for change in changes.iter().cloned() {
        match change {
            SessionChange::Is { session, kept } => {
                let topics = sessions.remove(&session).map_or(Vec::new(), |it| it.topics);
                let kept = *kept;
                let it = Recalled {
                    session,
                    kept,
                    topics,
                };
                sessions.insert(session, it);
            }
            SessionChange::Joined { session, joined } => {
                let topics = &mut sessions.get_mut(&session).expect("it is known").topics;
                topics.retain(|it| it.topic != joined.topic);
                topics.push(joined);
                topics.sort_by(|a, b| a.topic.cmp(&b.topic));
            }
            SessionChange::Left { session, topic } => {
                let topics = &mut sessions.get_mut(&session).expect("it is known").topics;
                topics.retain(|it| it.topic != topic);
            }
            SessionChange::Ended { session } => drop(sessions.remove(&session)),
        }
    }
    sessions.into_values().collect()
}

fn number(index: usize) -> SessionId {
    SessionId::from_u128(index as u128 + 1)
}

/// `ann` of `ann/web:1.2@3`.
fn user_of(label: &str) -> UserId {
    UserId::new(label.split('/').next().unwrap()).unwrap()
}

/// `web:1` of `ann/web:1.2@3`.
fn device_of(label: &str) -> DeviceId {
    let device = label.split('/').nth(1).unwrap_or("other");
    DeviceId::new(device.split(['.', '@']).next().unwrap()).unwrap()
}

fn is_place(text: &str) -> bool {
    text.contains(':')
}

/// `room:1` is a channel, `workspace:acme` the workspace `acme`.
fn topic_of(text: &str) -> Topic {
    match text.strip_prefix("workspace:") {
        Some(workspace) => Topic::Workspace(WorkspaceId::new(workspace).unwrap()),
        None => Topic::Channel(ChannelId::new(text).unwrap()),
    }
}

fn place(topic: &Topic) -> String {
    match topic {
        Topic::Channel(channel) => channel.to_string(),
        Topic::Workspace(workspace) => format!("workspace:{workspace}"),
    }
}

fn meta(name: Option<&str>) -> Arc<Meta> {
    let shown = Shown {
        name: name.map(Into::into),
        ..Shown::default()
    };
    Arc::new(Meta::showing("", shown).unwrap())
}

fn look(look: &Look) -> String {
    let mut text = look.status.as_str().to_owned();
    if let Some(message) = &look.message {
        let _ = write!(text, " \"{message}\"");
    }
    if let Some(emoji) = &look.emoji {
        let _ = write!(text, " {emoji}");
    }
    text
}

fn chosen(chosen: Chosen) -> &'static str {
    match chosen {
        Chosen::Online => "online",
        Chosen::Away => "away",
        Chosen::Busy => "busy",
        Chosen::Invisible => "invisible",
        Chosen::Offline => "offline",
    }
}

fn names(users: &[UserId]) -> String {
    let names: Vec<_> = users.iter().map(UserId::as_str).collect();
    names.join(" ")
}
