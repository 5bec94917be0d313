//! What a dialect may be like that the native one is not, with the smallest one that is like that.

use std::time::Duration;

use futures_util::StreamExt;
use presence_core::explain::ClientOrigin;
use presence_core::{Event, Payload, Reason, UserId};
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::closing::CloseReason;
use crate::frame::TEXT;
use crate::socket::far::{self, Far, app, identity, session};

#[tokio::test(start_paused = true)]
async fn who_has_not_said_who_they_are_stays_and_may_be_several_users_later() {
    let app = app(&[]);
    let mut far = Parrot::connects(&app).await;
    far.hears("tick").await;
    far.text("watch ann room:1").await;
    far.hears("nobody").await;
    far.text("ann room:1").await;
    far.hears("#0 room:1 [ann]").await;
    far.text("bob room:2").await;
    far.hears("#1 room:2 [bob]").await;

    let mut eve = session(&app, "eve").await;
    for room in ["room:1", "room:2"] {
        let channel = room.parse().unwrap();
        eve.join(channel, Arc::default(), Some(Default::default()), None)
            .unwrap();
    }
    far.hears("#0 room:1 +eve").await;
    far.hears("#1 room:2 +eve").await;

    // Lost, not left: its clients have no word for goodbye.
    far.client.close(None).await.unwrap();
    let began = Instant::now();
    let mut gone = Vec::new();
    while gone.len() < 2 {
        if let Delivery::Event(shared) = eve.next().await
            && let Event::Changes { changes, .. } = &*shared.event
            && let [presence_core::Change::Left { person, reason }] = &changes[..]
        {
            gone.push((person.user.to_string(), *reason));
        }
    }
    gone.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        gone,
        [("ann".into(), Reason::Lost), ("bob".into(), Reason::Lost)]
    );
    assert!(began.elapsed() >= app.config.timing.grace());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_the_dialect_is_kept_whatever_else_happens() {
    let app = app(&[]);
    let mut far = Parrot::connects(&app).await;
    let began = Instant::now();
    for n in 1..=20 {
        far.text("hello").await;
        far.hears("nobody").await;
        far.hears("tick").await;
        let due = Parrot::EVERY * n;
        assert!(due <= began.elapsed() && began.elapsed() < due + Duration::from_millis(100));
    }
}

#[tokio::test(start_paused = true)]
async fn who_only_answers_pings_stays_where_that_counts_as_a_sign_of_life() {
    let app = app(&[]);
    let mut far = Parrot::connects(&app).await;
    far.text("ann room:1").await;
    let hour = Instant::now() + Duration::from_secs(3600);
    let mut pings = 0;
    while Instant::now() < hour {
        match far.client.next().await.unwrap().unwrap() {
            Message::Ping(_) => pings += 1,
            Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(pings > 100, "{pings}");
    assert!(!far.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_user_is_the_end_of_the_connection_in_the_words_of_the_dialect() {
    let app = app(&[]);
    let mut far = Parrot::connects(&app).await;
    far.text("ann room:1").await;
    far.text("bob room:1").await;
    far.hears("#1 room:1 +bob").await;
    let bob: UserId = "bob".parse().unwrap();
    app.hub.kick(&bob).await.unwrap();
    far.hears("bye").await;
    assert_eq!(far.is_closed().await, (4321, "kicked".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn who_stops_reading_amid_a_shared_frame_can_still_read_to_its_end() {
    let app = app(&[]);
    let mut far = Parrot::connects_over(&app, 50).await;
    far.text("ann room:1").await;
    far.hears("#0 room:1 [ann]").await;
    let mut eve = session(&app, "eve").await;
    let channel: presence_core::ChannelId = "room:1".parse().unwrap();
    eve.join(channel.clone(), Arc::default(), None, None)
        .unwrap();
    for _ in 0..10 {
        let word = Payload::from_json(format!("\"{}\"", "x".repeat(200))).unwrap();
        eve.say(channel.clone(), "word".into(), word, None).unwrap();
    }
    // Until it is told to go, in the last moment.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let mut heard = Vec::new();
    while let Some(Ok(message)) = far.client.next().await {
        match message {
            Message::Text(text) => heard.push(text.to_string()),
            Message::Close(frame) => heard.push(format!("{}", frame.unwrap().reason)),
            _ => {}
        }
    }
    let (last, begun) = heard.split_at(heard.len() - 2);
    assert!(!begun.is_empty() && !last.is_empty());
    assert_eq!(heard[heard.len() - 2..], ["bye", "too slow"], "{heard:?}");
}

/// Says who it is in each frame: `<user> <channel>` is to be there.
struct Parrot {
    app: Arc<App>,
    sessions: Vec<Authorized>,
    ticks_at: Instant,
}

impl Parrot {
    const EVERY: Duration = Duration::from_secs(3);

    async fn connects(app: &Arc<App>) -> Far {
        Parrot::connects_over(app, 64 * 1024).await
    }

    async fn connects_over(app: &Arc<App>, buffer: usize) -> Far {
        let mut out = Out::default();
        let parrot = Parrot::enter(app.clone(), (), crate::origin::of_a_test(), &mut out)
            .await
            .unwrap();
        far::serve(app, parrot, out, buffer).await
    }
}

impl Far {
    async fn hears(&mut self, words: &str) {
        let mut heard = Vec::new();
        // Ticks come for ever.
        while heard.len() < 100 {
            match self.client.next().await {
                Some(Ok(Message::Text(text))) if text == words => return,
                Some(Ok(message)) => heard.push(message),
                end => panic!("no {words}: {end:?} after {heard:?}"),
            }
        }
        panic!("no {words}: {heard:?}");
    }

    async fn is_closed(&mut self) -> (u16, String) {
        match self.client.next().await {
            Some(Ok(Message::Close(Some(frame)))) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }
}

impl Dialect for Parrot {
    type Hello = ();

    const NAME: DialectName = DialectName::Native;

    const PONGS_COUNT: bool = true;

    fn read(_: &App, _: &Handshake<'_>) -> Result<Agreed<()>, Box<Answer>> {
        unreachable!("there is no handshake here")
    }

    async fn enter(
        app: Arc<App>,
        (): (),
        _: Arc<ClientOrigin>,
        _: &mut Out,
    ) -> Result<Self, Farewell> {
        Ok(Parrot {
            app,
            sessions: Vec::new(),
            ticks_at: Instant::now() + Parrot::EVERY,
        })
    }

    fn sessions(&self) -> &[Authorized] {
        &self.sessions
    }

    fn sessions_mut(&mut self) -> &mut [Authorized] {
        &mut self.sessions
    }

    fn into_sessions(self) -> Vec<Authorized> {
        self.sessions
    }

    fn deliver(&mut self, authorized: usize, delivery: Delivery, out: &mut Out) {
        let Delivery::Event(shared) = delivery else {
            return;
        };
        let encoded = shared.encoded(0, |event| Bytes::from(said(event)));
        if !encoded.is_empty() {
            out.push_shared(TEXT, format!("#{authorized} ").as_bytes(), encoded.clone());
        }
    }

    async fn take(&mut self, frame: Frame, out: &mut Out) -> Next {
        let Frame::Text(text) = frame else {
            return Next::Close(CloseReason::WrongType.into());
        };
        let Some((user, channel)) = text.split_once(' ') else {
            out.push_payload(TEXT, b"nobody");
            return Next::Continue;
        };
        let Ok(channel) = channel.parse() else {
            out.push_payload(TEXT, b"nobody");
            return Next::Continue;
        };
        let identity = identity(&self.app, user);
        let entered = Authorized::enter(self.app.clone(), identity, None, None).await;
        let mut authorized = entered.map_err(|why| why.message).unwrap();
        let watch = Some(Default::default());
        authorized.join(channel, None, watch, None).unwrap();
        self.sessions.push(authorized);
        Next::Continue
    }

    fn farewell(&mut self, closing: &Closing, out: &mut Out) -> Farewell {
        out.push_payload(TEXT, b"bye");
        Farewell::new(4321, closing.why)
    }

    fn is_goodbye(_: Option<&CloseFrame>) -> bool {
        false
    }

    fn next_deadline(&self) -> Option<Instant> {
        Some(self.ticks_at)
    }

    fn expire(&mut self, now: Instant, out: &mut Out) {
        if self.ticks_at <= now {
            self.ticks_at += Parrot::EVERY;
            out.push_payload(TEXT, b"tick");
        }
    }
}

/// An event in a word or two.
fn said(event: &Event) -> String {
    match event {
        Event::Everyone {
            topic: presence_core::Topic::Channel(channel),
            people,
            ..
        } => {
            let users: Vec<&str> = people.iter().map(|it| it.user.as_str()).collect();
            format!("{channel} [{}]", users.join(" "))
        }
        Event::Changes {
            topic: presence_core::Topic::Channel(channel),
            changes,
            ..
        } => match &changes[..] {
            [presence_core::Change::Joined(person)] => format!("{channel} +{}", person.user),
            _ => String::new(),
        },
        Event::Broadcast { payload, .. } => payload.json().to_string(),
        _ => String::new(),
    }
}
