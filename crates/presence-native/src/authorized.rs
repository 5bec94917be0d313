//! A client that was let in: its session, and what its identity allows. Every dialect does what its clients ask
//! for through this.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use presence_core::explain::ClientOrigin;
use presence_core::history::Cause;
use presence_core::rosters::Page;
use presence_core::users::{Activity, Connection, Fingerprint};
use presence_core::{
    ChannelId, DeviceId, Pointer, PublicView, Reason, Refusal, Selection, Topic, TopicVersion,
    UserId, Watching, Window,
};
use presence_hub::{Budget, Busy, ConnectRequest, Delivery, Reference, Session};
use presence_protocol::ErrorCode;
use tokio::time::timeout;

use crate::host::Host;
use crate::identity::Identity;
use crate::request::{self, Refused, StatusRequest};

/// The bytes that the status of one user counts as, among the bytes that a connection may ask for.
const PUBLIC_VIEW_BYTES: usize = 256;
/// How long a client waits for the profile of its user. The user is not shown before the gateway knows
/// whether they hide.
const PROFILE_WAIT: Duration = Duration::from_secs(10);

/// How the gateway recognises a client that has been here before.
enum Known {
    /// By the connection that its resume token names, if it has one.
    By(Option<Connection>),
    /// By what its protocol says, because the protocol has no resume tokens.
    Fingerprint(Fingerprint),
}

/// A client that was let in. A connection has one authorized session as a rule; it has none before the client has
/// said who it is, and several where each signed frame may name another user.
pub struct Authorized<H> {
    host: Arc<H>,
    identity: Identity,
    device: DeviceId,
    session: Session,
    /// The number of the connection whose session this one continues, if it does.
    resumed: Option<u32>,
    /// What its token does not allow any more, and the client has not been told yet.
    lost: Vec<Lost>,
}

/// What a session was in or watched, and a newer token does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A channel or a workspace that it was in or watched.
    Topic(Topic),
    /// The users that the session watched.
    Users(Vec<UserId>),
}

impl<H: Host> Authorized<H> {
    /// Lets `identity` in. Continues the session of the resume token if that is still possible.
    ///
    /// # Errors
    ///
    /// Fails if the user has too many sessions or was revoked meanwhile, or if the gateway cannot know
    /// whether they hide.
    pub async fn enter(
        host: Arc<H>,
        identity: Identity,
        resume: Option<&str>,
        origin: Option<Arc<ClientOrigin>>,
    ) -> Result<Authorized<H>, Refused> {
        let user = identity.user.clone();
        let (now, named) = (host.now(), identity.device.as_ref());
        let resumed = resume.and_then(|token| host.resume_key().verify(token, &user, named, now));
        let before = resumed.as_ref().map(|it| &it.device);
        let device = named.or(before).cloned().unwrap_or_else(random_device);
        let resume = resumed.map(|it| Connection {
            session: it.session,
            epoch: it.epoch,
        });
        Authorized::let_in(host, identity, device, Known::By(resume), origin).await
    }

    /// Lets `identity` in for a protocol without resume tokens. After a restart it continues a held session of the same
    /// user: one with the same device, or one that had joined the same channel first. `first` is that channel with its
    /// meta, if it is known.
    ///
    /// # Errors
    ///
    /// Fails for the same reasons as [`enter`](Self::enter), and if that meta is refused. In that case the user is
    /// not shown at all.
    pub async fn enter_by_fingerprint(
        host: Arc<H>,
        identity: Identity,
        first: Option<(Topic, Option<Arc<str>>)>,
        origin: Option<Arc<ClientOrigin>>,
    ) -> Result<Authorized<H>, Refused> {
        let names_device = identity.device.is_some();
        let device = identity.device.clone().unwrap_or_else(random_device);
        let first = match first {
            Some((topic, meta)) => Some((topic, request::meta(meta, &identity)?)),
            None => None,
        };
        let fingerprint = Fingerprint {
            names_device,
            first,
        };
        Authorized::let_in(
            host,
            identity,
            device,
            Known::Fingerprint(fingerprint),
            origin,
        )
        .await
    }

    async fn let_in(
        host: Arc<H>,
        identity: Identity,
        device: DeviceId,
        known: Known,
        origin: Option<Arc<ClientOrigin>>,
    ) -> Result<Authorized<H>, Refused> {
        let epoch = match &known {
            Known::By(resume) => resume.map(|it| it.epoch),
            Known::Fingerprint(_) => None,
        };
        let request = ConnectRequest {
            user: identity.user.clone(),
            device: device.clone(),
            workspaces: identity.workspaces.clone(),
            card: request::meta(None, &identity)?,
            resume: None,
            origin,
        };
        let entered = async {
            match known {
                Known::By(resume) => {
                    host.hub()
                        .connect(ConnectRequest { resume, ..request })
                        .await
                }
                Known::Fingerprint(it) => host.hub().connect_by_fingerprint(request, it).await,
            }
        };
        let entered = timeout(PROFILE_WAIT, entered).await;
        let mut authorized = Authorized {
            session: entered.unwrap_or(Err(Refusal::Unavailable))?,
            identity,
            device,
            host,
            lost: Vec::new(),
            resumed: epoch,
        };
        authorized.resumed = epoch.filter(|_| authorized.session.is_restored());
        // Time has passed since the token was checked, and a restored session was in what its older token allowed.
        authorized.host.check(&authorized.identity)?;
        if authorized.session.is_restored() {
            authorized.host.took_over(&authorized.session);
            authorized.confine()?;
            authorized.rename()?;
        }
        Ok(authorized)
    }

    /// Whether its user was revoked after its token was made.
    pub fn is_revoked(&self) -> bool {
        self.host.check(&self.identity).is_err()
    }

    /// The topics and users that its token does not allow any more. Each is returned once: the caller tells the client.
    pub fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    pub fn host(&self) -> &Arc<H> {
        &self.host
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The connection whose session continues in this one.
    pub fn resumed(&self) -> Option<Connection> {
        let epoch = self.resumed?;
        let Connection { session, .. } = self.session.connection();
        Some(Connection { session, epoch })
    }

    /// The device that it is on: the one it named, or a new one.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The token with which a later connection can continue this session.
    pub fn resume_token(&self) -> String {
        let Connection { session, epoch } = self.session.connection();
        let (user, now) = (self.session.user(), self.host.now());
        let key = self.host.resume_key();
        key.mint(session, epoch, user, &self.device, now)
    }

    /// Uses `budget`, which the connection has, for whole states. If the connection has none yet, it gets the one of
    /// this session.
    pub fn draw_from(&mut self, budget: &mut Option<Budget>) {
        match budget {
            Some(budget) => self.session.draw_from(budget.clone()),
            None => *budget = Some(self.session.budget().clone()),
        }
    }

    /// Waits for the next delivery of the hub. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Delivery {
        self.session.next().await
    }

    /// The next delivery of the hub, if there is one already.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.session.try_next()
    }

    /// Ends the session at once, everywhere: the client said goodbye.
    pub async fn end(self) {
        self.session.end().await;
    }

    /// Ends the session in place of its client, because of `cause`.
    pub async fn end_by(self, cause: Cause) {
        self.session.end_by(cause).await;
    }

    /// Ends the connection, because of `cause`. The session stays for the grace time, in case the client comes back.
    pub async fn vanish(self, reason: Reason, cause: Cause) {
        self.session.vanish_by(reason, cause).await;
    }

    /// Joins a channel, or changes the meta there; with `watch` also watches it.
    pub fn join(
        &mut self,
        channel: ChannelId,
        meta: Option<Arc<str>>,
        watch: Option<(Watching, Option<TopicVersion>)>,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        self.identity.may_join(&channel)?;
        let meta = request::meta(meta, &self.identity)?;
        if watch.is_some() {
            self.identity.may_watch_channel(&channel)?;
            let topic = Topic::Channel(channel.clone());
            self.room_for(usize::from(!self.session.watches_topic(&topic)))?;
        }
        Ok(self.session.join(channel, meta, watch, reference)?)
    }

    /// Changes the meta in a channel that it is in.
    pub fn update(
        &mut self,
        channel: ChannelId,
        meta: Arc<str>,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        let meta = request::meta(Some(meta), &self.identity)?;
        Ok(self.session.update(channel, meta, reference)?)
    }

    /// Leaves a channel, and stops watching it.
    pub fn leave(
        &mut self,
        channel: ChannelId,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        Ok(self.session.leave(channel, reference)?)
    }

    /// Watches a channel or a workspace.
    pub fn watch(
        &mut self,
        topic: Topic,
        watching: Watching,
        have: Option<TopicVersion>,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        self.may_watch(&topic)?;
        self.room_for(usize::from(!self.session.watches_topic(&topic)))?;
        Ok(self.session.watch(topic, watching, have, reference)?)
    }

    /// Stops watching a channel or a workspace.
    pub fn unwatch(&mut self, topic: &Topic, reference: Option<Reference>) -> Result<(), Refused> {
        Ok(self.session.unwatch(topic, reference)?)
    }

    /// Opens a window on a channel or a workspace, or moves one.
    pub fn open_window(
        &mut self,
        topic: Topic,
        number: u32,
        window: Window,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        self.may_watch(&topic)?;
        self.afford()?;
        Ok(self.session.open_window(topic, number, window, reference)?)
    }

    /// Closes a window, so that the session is not told about it any more.
    pub fn close_window(
        &mut self,
        topic: &Topic,
        number: u32,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        Ok(self.session.close_window(topic, number, reference)?)
    }

    /// Watches the status of users.
    pub fn watch_users(
        &mut self,
        users: Vec<UserId>,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        for user in &users {
            self.identity.may_watch_user(user)?;
        }
        let new = users.iter().filter(|it| !self.session.watches_user(it));
        self.room_for(new.count())?;
        for user in users {
            self.session.watch_user(user, None)?;
        }
        self.session.grant(reference);
        Ok(())
    }

    /// Stops watching the status of users.
    pub fn unwatch_users(
        &mut self,
        users: &[UserId],
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        for user in users {
            self.session.unwatch_user(user, None)?;
        }
        self.session.grant(reference);
        Ok(())
    }

    /// Changes the status of its user. The answer comes once the profile is saved.
    pub fn choose(
        &mut self,
        status: StatusRequest,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        self.identity.may_set_status_of(&self.identity.user)?;
        let change = status.checked(self.host.now())?;
        Ok(self.session.choose(change, reference)?)
    }

    /// Starts, keeps up or stops typing in a channel.
    pub fn typing(
        &mut self,
        channel: ChannelId,
        typing: bool,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        Ok(self.session.typing(channel, typing, reference)?)
    }

    /// Sets where it points in a channel.
    pub fn point(
        &mut self,
        channel: ChannelId,
        pointer: Pointer,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        for (field, value) in [("x", pointer.x), ("y", pointer.y)] {
            if !value.is_finite() {
                return Err(Refused::invalid(field, "must be finite"));
            }
        }
        Ok(self.session.point(channel, pointer, reference)?)
    }

    /// Sets what it has selected in a channel, from `start` up to `end`; without both, nothing.
    pub fn select(
        &mut self,
        channel: ChannelId,
        (start, end): (Option<u64>, Option<u64>),
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        let selection = match (start, end) {
            (None, None) => None,
            (Some(start), Some(end)) if start <= end => Some(Selection { start, end }),
            (Some(_), Some(_)) => return Err(Refused::invalid("end", "must not be before start")),
            (None, Some(_)) => return Err(Refused::invalid("start", "is missing")),
            (Some(_), None) => return Err(Refused::invalid("end", "is missing")),
        };
        Ok(self.session.select(channel, selection, reference)?)
    }

    /// Reports how active it is: active, idle, or in the background.
    pub fn report(
        &mut self,
        activity: Activity,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        Ok(self.session.report(activity, reference)?)
    }

    /// Broadcasts an event to a channel. `payload` is a JSON text, or empty.
    pub fn say(
        &mut self,
        channel: ChannelId,
        event: &str,
        payload: Arc<str>,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        self.identity.may_broadcast(&channel)?;
        let event = request::event_name(event)?;
        let payload = request::payload(payload)?;
        Ok(self.session.say(channel, event, payload, reference)?)
    }

    /// Asks the hub for an answer, which comes in order with its other deliveries.
    pub fn grant(&mut self, reference: Option<Reference>) {
        self.session.grant(reference);
    }

    /// One page of the people in a channel or a workspace.
    pub async fn list(&self, topic: Topic, offset: u64, limit: u64) -> Result<Page, Refused> {
        self.may_watch(&topic)?;
        let count = request::page_size(limit)?;
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        self.afford()?;
        let page = self.host.hub().list(topic, skip, count).await?;
        let bytes = page.people.iter().map(|it| it.weight()).sum();
        self.session.spend_bytes(bytes);
        Ok(page)
    }

    /// How others see `users`.
    pub async fn public_views(&self, users: &[UserId]) -> Result<Vec<PublicView>, Refused> {
        for user in users {
            self.identity.may_watch_user(user)?;
        }
        self.afford()?;
        let public_views = self.host.hub().public_views(users).await?;
        self.session
            .spend_bytes(public_views.len() * PUBLIC_VIEW_BYTES);
        Ok(public_views)
    }

    /// Checks that it may ask for an answer of many bytes.
    pub fn afford(&self) -> Result<(), Refused> {
        let Some(wait) = self.session.bytes_wait() else {
            return Ok(());
        };
        let message = "too many bytes of lists and whole states";
        Err(Refused::new(ErrorCode::RateLimited, message).retry_after(wait))
    }

    /// Counts the `bytes` of an answer among those that its connection may ask for.
    pub fn spend(&self, bytes: usize) {
        self.session.spend_bytes(bytes);
    }

    /// Replaces its token by a fresh one of the same user.
    pub fn authenticate(&mut self, token: &str) -> Result<(), Refused> {
        let renewed = self.host.renew(&self.identity, &self.device, token);
        let renewed = renewed.map_err(|why| Refused {
            field: Some("token".to_owned()),
            ..why
        })?;
        self.go_on_as(renewed)
    }

    /// Replaces the identity by another one of the same user, with its own workspaces, name and rights. The topics
    /// that the session had to leave are in [`take_lost`](Self::take_lost), even after an error; calling this again
    /// completes the change.
    pub fn go_on_as(&mut self, identity: Identity) -> Result<(), Refused> {
        let card = request::meta(None, &identity)?;
        self.identity = identity;
        self.confine()?;
        self.rename()?;
        let workspaces = self.identity.workspaces.clone();
        Ok(self.session.set_workspaces(workspaces, card)?)
    }

    /// Sets the name of its identity in each channel that it is in.
    fn rename(&mut self) -> Result<(), Refused> {
        let renamed = self.session.metas().iter().filter_map(|(channel, meta)| {
            let json = Some(meta.json().clone()).filter(|it| !it.is_empty());
            let renamed = request::meta(json, &self.identity).ok()?;
            let is_other = renamed.name() != meta.name();
            is_other.then(|| (channel.clone(), renamed))
        });
        for (channel, meta) in renamed.collect::<Vec<_>>() {
            self.session.update(channel, meta, None)?;
        }
        Ok(())
    }

    fn may_watch(&self, topic: &Topic) -> Result<(), Refused> {
        match topic {
            Topic::Channel(channel) => self.identity.may_watch_channel(channel)?,
            Topic::Workspace(workspace) => self.identity.may_watch_workspace(workspace)?,
        }
        Ok(())
    }

    fn room_for(&self, more: usize) -> Result<(), Refused> {
        let max = self.host.watches_max();
        if self.session.watches() + more <= max {
            return Ok(());
        }
        let message = format!("at most {max} topics and users are watched by one session");
        Err(Refused::new(ErrorCode::TooMany, message))
    }

    /// Removes the session from what its identity does not allow, because a newer token may allow less than
    /// the one before.
    fn confine(&mut self) -> Result<(), Busy> {
        let Authorized {
            identity,
            session,
            lost,
            ..
        } = self;
        let joined = session.joined();
        // A session that joins and watches asked for both. If it may not watch any more, it is told that it is out, and is.
        let unseen = |channel: &ChannelId| {
            let topic = Topic::Channel(channel.clone());
            session.watches_topic(&topic) && identity.may_watch_channel(channel).is_err()
        };
        let left: Vec<ChannelId> = joined
            .filter(|channel| identity.may_join(channel).is_err() || unseen(channel))
            .cloned()
            .collect();
        for channel in left {
            session.leave(channel.clone(), None)?;
            let topic = Topic::Channel(channel);
            session.close_windows(&topic)?;
            lost.push(Lost::Topic(topic));
        }
        let forbidden = |topic: &&Topic| match topic {
            Topic::Channel(channel) => identity.may_watch_channel(channel).is_err(),
            Topic::Workspace(workspace) => identity.may_watch_workspace(workspace).is_err(),
        };
        let windows = session.windows().map(|(topic, ..)| topic);
        let topics = session.topics().chain(windows).filter(forbidden);
        let topics: BTreeSet<Topic> = topics.cloned().collect();
        for topic in topics {
            session.unwatch(&topic, None)?;
            session.close_windows(&topic)?;
            lost.push(Lost::Topic(topic));
        }
        let users = session.users();
        let mut users: Vec<UserId> = users
            .filter(|user| identity.may_watch_user(user).is_err())
            .cloned()
            .collect();
        users.sort_unstable();
        for user in &users {
            session.unwatch_user(user, None)?;
        }
        if !users.is_empty() {
            lost.push(Lost::Users(users));
        }
        Ok(())
    }
}

/// A device for a client that names none: most likely a browser, and a new one each time.
fn random_device() -> DeviceId {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    let name = format!("web:{:016x}", u64::from_le_bytes(bytes));
    DeviceId::new(&name).expect("hexadecimal digits are fine")
}
