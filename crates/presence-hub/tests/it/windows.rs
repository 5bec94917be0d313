//! Windows of sessions: they stay complete for slow readers, have their limits, and end with their session.

use std::sync::Arc;
use std::time::Duration;

use presence_core::{Event, Limits, Meta, Refusal, Span, Topic, Window};
use presence_embedded::ProfileMemory;
use presence_hub::{Delivery, Hub, Reference, Session, Settings};
use tokio::time::timeout;

use crate::support::{channel, connect, resume, user};

fn topic() -> Topic {
    Topic::Channel(channel())
}

fn window(rows: usize) -> Window {
    Window::new(Span::named("", None), rows).unwrap()
}

fn named(name: &str) -> Arc<Meta> {
    Arc::new(Meta::from_json(format!("{{\"name\":\"{name}\"}}")).unwrap())
}

/// What a client makes of one window.
#[derive(Default)]
struct Rows {
    users: Vec<String>,
    count: usize,
    states: usize,
    changes: usize,
    refused: Vec<Refusal>,
    granted: usize,
}

impl Rows {
    /// Reads until nothing has come for `span`.
    async fn read(&mut self, session: &mut Session, span: Duration) {
        while let Ok(delivery) = timeout(span, session.next()).await {
            match delivery {
                Delivery::Event(shared) => self.hear(&shared.event),
                Delivery::Granted(_) => self.granted += 1,
                Delivery::Refused(_, why) => self.refused.push(why),
                Delivery::Ended(why) => panic!("{why:?}"),
            }
        }
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::Window { count, rows, .. } => {
                self.states += 1;
                self.count = *count;
                self.users = rows.iter().map(|it| it.user.to_string()).collect();
            }
            Event::WindowChanges {
                count, gone, rows, ..
            } => {
                assert!(self.states > 0, "changes of what was not told");
                self.changes += 1;
                self.count = count.unwrap_or(self.count);
                let goes = |it: &String| {
                    let mut moved = rows.iter().map(|it| &it.person.user).chain(gone);
                    moved.any(|user| user.as_str() == it)
                };
                self.users.retain(|it| !goes(it));
                for row in rows {
                    self.users.insert(row.at, row.person.user.to_string());
                }
            }
            _ => {}
        }
    }
}

const SOON: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_is_sent_the_rows_again_and_has_them_right() {
    let settings = Settings {
        outbox_bytes_max: 2_000,
        ..Settings::default()
    };
    let hub = Hub::start(settings, Arc::new(ProfileMemory::new()));
    let mut crowd = Vec::new();
    for n in 0..9 {
        let mut session = connect(&hub, &format!("u{n}")).await;
        session
            .join(channel(), named(&format!("N{n}")), None, None)
            .unwrap();
        crowd.push(session);
    }
    let mut eve = connect(&hub, "eve").await;
    eve.open_window(topic(), 1, window(5), Some(Reference(1)))
        .unwrap();
    eve.open_window(topic(), 2, window(3), Some(Reference(2)))
        .unwrap();
    let mut rows = Rows::default();
    rows.read(&mut eve, SOON).await;
    assert_eq!((rows.states, rows.granted, rows.count), (2, 2, 9));
    eve.close_window(&topic(), 2, None).unwrap();
    let mut told = Rows::default();
    for round in 0..200 {
        let name = format!("N{}", 8 - round % 9);
        crowd[round % 9]
            .update(channel(), named(&name), None)
            .unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    told.read(&mut eve, SOON).await;
    assert_eq!(told.states, 1, "what was dropped is told once, as a whole");
    assert!(told.changes < 20, "{} changes waited", told.changes);
    let page = hub.rows(topic(), Span::named("", None), 0, 5).await;
    let page = page.unwrap();
    let truth: Vec<_> = page.people.iter().map(|it| it.user.to_string()).collect();
    assert_eq!((told.users, told.count), (truth, 9));
}

#[tokio::test(start_paused = true)]
async fn a_window_too_many_is_refused_and_the_others_are_as_they_were() {
    let settings = Settings {
        limits: Limits {
            windows_max: 2,
            topic_windows_max: 2,
            ..Limits::default()
        },
        ..Settings::default()
    };
    let hub = Hub::start(settings, Arc::new(ProfileMemory::new()));
    let (mut ann, mut eve) = (connect(&hub, "ann").await, connect(&hub, "eve").await);
    for (number, rows) in [(1, 1), (2, 2), (3, 3)] {
        eve.open_window(
            topic(),
            number,
            window(rows),
            Some(Reference(number.into())),
        )
        .unwrap();
    }
    let mut of_eve = Rows::default();
    of_eve.read(&mut eve, SOON).await;
    let (what, max) = ("windows of one session", 2);
    assert_eq!(of_eve.refused, [Refusal::TooMany { what, max }]);
    assert_eq!((of_eve.states, eve.windows().count()), (2, 2));

    // Those on the topic are used up.
    ann.open_window(topic(), 1, window(9), None).unwrap();
    ann.open_window(topic(), 1, window(1), None).unwrap();
    ann.open_window(topic(), 1, window(9), None).unwrap();
    let mut of_ann = Rows::default();
    of_ann.read(&mut ann, SOON).await;
    let what = "different windows on one topic";
    let why = Refusal::TooMany { what, max };
    assert_eq!(of_ann.refused, [why.clone(), why]);
    let windows: Vec<_> = ann
        .windows()
        .map(|(_, number, it)| (number, it.rows()))
        .collect();
    assert_eq!(windows, [(1, 1)], "the one that it had");
    ann.join(channel(), named("Ann"), None, None).unwrap();
    of_ann.read(&mut ann, SOON).await;
    of_eve.read(&mut eve, SOON).await;
    assert_eq!((of_ann.users, of_ann.count), (vec!["ann".to_owned()], 1));
    assert_eq!(of_eve.count, 1);
}

#[tokio::test(start_paused = true)]
async fn windows_end_with_their_connection_and_go_along_to_the_next_one() {
    let hub = Hub::start(Settings::default(), Arc::new(ProfileMemory::new()));
    let mut ann = connect(&hub, "ann").await;
    ann.join(channel(), named("Ann"), None, None).unwrap();
    let mut eve = connect(&hub, "eve").await;
    eve.open_window(topic(), 1, window(5), None).unwrap();
    let mut rows = Rows::default();
    rows.read(&mut eve, SOON).await;
    assert_eq!(rows.users, ["ann"]);
    let (before, mut watches) = (eve.connection(), eve.watched());
    let mut again = resume(&hub, "eve", before).await;
    // The older connection ends after the newer one has opened its window.
    again.watch_again(&mut watches).unwrap();
    drop(eve);
    let mut rows = Rows::default();
    rows.read(&mut again, SOON).await;
    assert_eq!((rows.states, watches.windows.len()), (1, 0));
    ann.leave(channel(), None).unwrap();
    rows.read(&mut again, SOON).await;
    assert_eq!((rows.users.len(), rows.count), (0, 0));
    again.close_windows(&topic()).unwrap();
    ann.join(channel(), named("Ann"), None, None).unwrap();
    let mut rows = Rows::default();
    rows.read(&mut again, SOON).await;
    assert_eq!((rows.states, rows.changes), (0, 0));
    assert!(hub.public_view(&user("ann")).await.is_ok());
}
