//! One who was let in: a session, and what its identity allows. Every dialect does what its clients ask for through this.

use std::sync::Arc;
use std::time::Duration;

use presence_client::wire::ErrorCode;
use presence_core::rosters::Page;
use presence_core::users::{Activity, Connection, Likeness};
use presence_core::{
    ChannelId, Clock, DeviceId, Face, Pointer, Reason, Refusal, Selection, Topic, UserId, Watching,
};
use presence_hub::{Busy, Delivery, Entry, Reference, Session};
use tokio::time::timeout;

use crate::app::App;
use crate::identity::Identity;
use crate::request::{self, Refused, StatusRequest};

/// What the status of one user counts among the bytes that a connection may ask for.
const FACE_BYTES: usize = 256;
/// How long to wait for the profile of who wants in: they are not shown before it is known whether they hide.
const PROFILE_WAIT: Duration = Duration::from_secs(10);

/// What somebody is known by who has been here before.
enum Known {
    /// The connection that its resume token names, if it has one.
    By(Option<Connection>),
    /// What its protocol says, which has no such token.
    Like(Likeness),
}

/// One who was let in. A connection has one, as a rule; none, before anybody has said who it is; and several, where
/// what a client signs may name another user each time.
pub(crate) struct Guest {
    app: Arc<App>,
    identity: Identity,
    device: DeviceId,
    session: Session,
    /// Which connection of the session it goes on from, if it does.
    resumed: Option<u32>,
    /// What its token does not allow any more, and it has not been told of.
    lost: Vec<Lost>,
}

/// What a session saw or was in, and a newer token does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// A channel or a workspace.
    Place(Topic),
    /// Users that it watched.
    Users(Vec<UserId>),
}

impl Guest {
    /// Lets `identity` in, to go on with the session of that resume token if it still can.
    ///
    /// # Errors
    ///
    /// They have too many sessions, were revoked meanwhile, or it cannot be known whether they hide.
    pub(crate) async fn enter(
        app: Arc<App>,
        identity: Identity,
        resume: Option<&str>,
    ) -> Result<Guest, Refused> {
        let user = identity.user.clone();
        let (now, named) = (app.now(), identity.device.as_ref());
        let resumed = resume.and_then(|token| app.resume.verify(token, &user, named, now));
        let before = resumed.as_ref().map(|it| &it.device);
        let device = named.or(before).cloned().unwrap_or_else(random_device);
        let resume = resumed.map(|it| Connection {
            session: it.session,
            epoch: it.epoch,
        });
        Guest::let_in(app, identity, device, Known::By(resume)).await
    }

    /// Lets `identity` in whose protocol has no resume tokens: after a restart it goes on with a session that is held for
    /// somebody like that. `first` is what it joins first, with the meta that it has there, where that is known.
    ///
    /// # Errors
    ///
    /// As [`enter`](Self::enter).
    pub(crate) async fn enter_like(
        app: Arc<App>,
        identity: Identity,
        first: Option<(Topic, Option<Arc<str>>)>,
    ) -> Result<Guest, Refused> {
        let names_device = identity.device.is_some();
        let device = identity.device.clone().unwrap_or_else(random_device);
        // A meta that is no good is refused where it is joined with.
        let first =
            first.and_then(|(topic, meta)| Some((topic, request::meta(meta, &identity).ok()?)));
        let like = Likeness {
            names_device,
            first,
        };
        Guest::let_in(app, identity, device, Known::Like(like)).await
    }

    async fn let_in(
        app: Arc<App>,
        identity: Identity,
        device: DeviceId,
        known: Known,
    ) -> Result<Guest, Refused> {
        let epoch = match &known {
            Known::By(resume) => resume.map(|it| it.epoch),
            Known::Like(_) => None,
        };
        let entry = Entry {
            user: identity.user.clone(),
            device: device.clone(),
            workspaces: identity.workspaces.clone(),
            card: request::meta(None, &identity)?,
            resume: None,
        };
        let entered = async {
            match known {
                Known::By(resume) => app.hub.connect(Entry { resume, ..entry }).await,
                Known::Like(like) => app.hub.connect_like(entry, like).await,
            }
        };
        let entered = timeout(PROFILE_WAIT, entered).await;
        let mut guest = Guest {
            session: entered.unwrap_or(Err(Refusal::Unavailable))?,
            identity,
            device,
            app,
            lost: Vec::new(),
            resumed: epoch,
        };
        guest.resumed = epoch.filter(|_| guest.session.is_restored());
        // Some time has passed at the door, and a restored session was allowed what its older token allowed.
        let now = guest.app.now();
        guest.app.gate.revoked.check(&guest.identity, now)?;
        if guest.session.is_restored() {
            guest.confine()?;
            guest.rename()?;
        }
        Ok(guest)
    }

    /// Whether its user was revoked since its token was made.
    pub(crate) fn is_revoked(&self) -> bool {
        let revoked = &self.app.gate.revoked;
        revoked.check(&self.identity, self.app.now()).is_err()
    }

    /// What its token does not allow any more, once: whoever hears it is to tell its client.
    pub(crate) fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    pub(crate) fn app(&self) -> &Arc<App> {
        &self.app
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The connection whose session goes on in this one.
    pub(crate) fn resumed(&self) -> Option<Connection> {
        let epoch = self.resumed?;
        let Connection { session, .. } = self.session.connection();
        Some(Connection { session, epoch })
    }

    /// Which device it is on: as it said, or a new one.
    pub(crate) fn device(&self) -> &DeviceId {
        &self.device
    }

    /// With what a later connection goes on with this session.
    pub(crate) fn resume_token(&self) -> String {
        let Connection { session, epoch } = self.session.connection();
        let (user, now) = (self.session.user(), self.app.now());
        let key = &self.app.resume;
        key.mint(session, epoch, user, &self.device, now)
    }

    /// What it is told next. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Delivery {
        self.session.next().await
    }

    /// What it is told next, if that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Delivery> {
        self.session.try_next()
    }

    /// It said goodbye: it is gone at once, everywhere.
    pub(crate) async fn leave(self) {
        self.session.leave().await;
    }

    /// The connection is over: it stays for the grace time, in case it comes back.
    pub(crate) async fn vanish(self, reason: Reason) {
        self.session.vanish(reason).await;
    }

    /// Enters a channel, or changes the meta there; with `watch` also watches it.
    pub(crate) fn join(
        &mut self,
        channel: ChannelId,
        meta: Option<Arc<str>>,
        watch: Option<(Watching, Option<Clock>)>,
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

    /// Changes the meta in a channel it is in.
    pub(crate) fn update(
        &mut self,
        channel: ChannelId,
        meta: Arc<str>,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        let meta = request::meta(Some(meta), &self.identity)?;
        Ok(self.session.update(channel, meta, reference)?)
    }

    /// Leaves a channel, and stops watching it.
    pub(crate) fn depart(
        &mut self,
        channel: ChannelId,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        Ok(self.session.depart(channel, reference)?)
    }

    /// Watches a channel or a workspace.
    pub(crate) fn watch(
        &mut self,
        topic: Topic,
        watching: Watching,
        have: Option<Clock>,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        self.may_watch(&topic)?;
        self.room_for(usize::from(!self.session.watches_topic(&topic)))?;
        Ok(self.session.watch(topic, watching, have, reference)?)
    }

    /// Stops watching a channel or a workspace.
    pub(crate) fn unwatch(
        &mut self,
        topic: &Topic,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        Ok(self.session.unwatch(topic, reference)?)
    }

    /// Watches users.
    pub(crate) fn watch_users(
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

    /// Stops watching users.
    pub(crate) fn unwatch_users(
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

    /// Changes the status of its user; answered when that is safely kept.
    pub(crate) fn choose(
        &mut self,
        status: StatusRequest,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        self.identity.may_set_status_of(&self.identity.user)?;
        let change = status.checked(self.app.now())?;
        Ok(self.session.choose(change, reference)?)
    }

    /// Types in a channel, or has stopped.
    pub(crate) fn typing(
        &mut self,
        channel: ChannelId,
        typing: bool,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        Ok(self.session.typing(channel, typing, reference)?)
    }

    /// Points somewhere in a channel.
    pub(crate) fn point(
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

    /// Selects something in a channel, from `start` up to `end`; nothing, without the two.
    pub(crate) fn select(
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

    /// Is active, idle, or in the background.
    pub(crate) fn report(
        &mut self,
        activity: Activity,
        reference: Option<Reference>,
    ) -> Result<(), Refused> {
        Ok(self.session.report(activity, reference)?)
    }

    /// Tells a channel something. `payload` is a JSON text, or empty.
    pub(crate) fn say(
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

    /// Is answered, in the order of everything else it is told.
    pub(crate) fn grant(&mut self, reference: Option<Reference>) {
        self.session.grant(reference);
    }

    /// A page of who is in a channel or a workspace.
    pub(crate) async fn list(
        &self,
        topic: Topic,
        offset: u64,
        limit: u64,
    ) -> Result<Page, Refused> {
        self.may_watch(&topic)?;
        let count = request::page_size(limit)?;
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        self.afford()?;
        let page = self.app.hub.list(topic, skip, count).await?;
        let bytes = page.people.iter().map(|it| it.weight()).sum();
        self.session.spend_bytes(bytes);
        Ok(page)
    }

    /// How others see `users`.
    pub(crate) async fn faces(&self, users: &[UserId]) -> Result<Vec<Face>, Refused> {
        for user in users {
            self.identity.may_watch_user(user)?;
        }
        self.afford()?;
        let faces = self.app.hub.faces(users).await?;
        self.session.spend_bytes(faces.len() * FACE_BYTES);
        Ok(faces)
    }

    /// Whether it may ask for something of many bytes.
    fn afford(&self) -> Result<(), Refused> {
        let Some(wait) = self.session.bytes_wait() else {
            return Ok(());
        };
        let message = "too many bytes of lists and whole states";
        Err(Refused::new(ErrorCode::RateLimited, message).retry_after(wait))
    }

    /// Goes on with a fresh token, of the same user.
    pub(crate) fn authenticate(&mut self, token: &str) -> Result<(), Refused> {
        let renewed = self.app.gate.renew(&self.identity, token, self.app.now());
        let renewed = renewed.map_err(|why| Refused {
            field: Some("token".to_owned()),
            ..Refused::from(why)
        })?;
        self.go_on_as(renewed)
    }

    /// Goes on as the same user with another identity: in its workspaces, under its name, where it may be. What it has to
    /// leave is in [`take_lost`](Self::take_lost), also after an error; then the same again does the rest.
    pub(crate) fn go_on_as(&mut self, identity: Identity) -> Result<(), Refused> {
        let card = request::meta(None, &identity)?;
        self.identity = identity;
        self.confine()?;
        self.rename()?;
        let workspaces = self.identity.workspaces.clone();
        Ok(self.session.move_to(workspaces, card)?)
    }

    /// Says the name of its identity in each channel that it is in.
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
        let max = self.app.config.socket.watches_max;
        if self.session.watches() + more <= max {
            return Ok(());
        }
        let message = format!("at most {max} topics and users are watched by one session");
        Err(Refused::new(ErrorCode::TooMany, message))
    }

    /// Takes the session out of what its identity does not allow: a newer token may allow less than the one before.
    fn confine(&mut self) -> Result<(), Busy> {
        let Guest {
            identity,
            session,
            lost,
            ..
        } = self;
        let joined = session.joined();
        let left: Vec<ChannelId> = joined
            .filter(|channel| identity.may_join(channel).is_err())
            .cloned()
            .collect();
        for channel in left {
            session.depart(channel.clone(), None)?;
            lost.push(Lost::Place(Topic::Channel(channel)));
        }
        let forbidden = |topic: &&Topic| match topic {
            Topic::Channel(channel) => identity.may_watch_channel(channel).is_err(),
            Topic::Workspace(workspace) => identity.may_watch_workspace(workspace).is_err(),
        };
        let topics: Vec<Topic> = session.topics().filter(forbidden).cloned().collect();
        for topic in topics {
            session.unwatch(&topic, None)?;
            lost.push(Lost::Place(topic));
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

/// A device for a client that names none: a browser, most likely, and another one each time.
fn random_device() -> DeviceId {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    let name = format!("web:{:016x}", u64::from_le_bytes(bytes));
    DeviceId::new(&name).expect("hexadecimal digits are fine")
}
