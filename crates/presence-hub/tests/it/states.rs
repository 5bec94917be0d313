//! Whole states: what they cost, and that one waits for another.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::{ByteRate, ChannelId, Event, Meta, Refusal, Topic, Watching};
use presence_embedded::ProfileMemory;
use presence_hub::{Delivery, Hub, Reference, Session, Settings};
use tokio::time::{Instant, timeout};

use crate::support::{Watcher, channel, connect};

/// People in a room, each with a meta of nearly four kilobytes.
const PEOPLE: usize = 60;
/// About how many bytes its whole state has.
const STATE: usize = PEOPLE * 4200;

#[tokio::test(start_paused = true)]
async fn whole_states_are_charged_by_their_bytes_and_all_who_asked_get_one() {
    let (burst, per_second) = (1_000_000, 100_000);
    let (hub, _crowd) = crowded(ByteRate { burst, per_second }).await;
    let mut eve = connect(&hub, "eve").await;
    let (start, span) = (Instant::now(), Duration::from_secs(20));
    let mut told = Received::default();
    let mut asked = 0;
    while start.elapsed() < span {
        let reference = Some(Reference(1));
        eve.watch(topic(), Watching::Full, None, reference).unwrap();
        asked += 1;
        if asked % 3 == 0 {
            // That does not make the next one free.
            eve.unwatch(&topic(), None).unwrap();
            eve.watch(topic(), Watching::Full, None, None).unwrap();
        }
        told.read(&mut eve, Duration::from_millis(10)).await;
    }
    let most = burst as usize + per_second as usize * 20 + STATE;
    assert!(told.bytes <= most, "{} bytes, not {most}", told.bytes);
    assert!(told.bytes >= most / 2, "{} bytes", told.bytes);
    told.read(&mut eve, Duration::from_secs(30)).await;
    assert_eq!((told.granted, told.refused), (asked, 0));
    // Who goes on with other things is not held up by that.
    let mut other = connect(&hub, "other").await;
    let mut quick = Received::default();
    other.watch(topic(), Watching::Full, None, None).unwrap();
    quick.read(&mut other, Duration::from_millis(10)).await;
    assert_eq!(quick.states, 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_whole_state_of_a_topic_waits_while_the_first_is_unsent() {
    let (hub, _crowd) = crowded(Settings::default().states).await;
    let mut eve = connect(&hub, "eve").await;
    for reference in 1..=3 {
        let reference = Some(Reference(reference));
        eve.watch(topic(), Watching::Full, None, reference).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut waiting = 0;
    while let Some(delivery) = eve.try_next() {
        waiting += usize::from(is_state(&delivery).is_some());
    }
    assert_eq!(waiting, 1);
    let mut told = Received::default();
    told.read(&mut eve, Duration::from_secs(1)).await;
    assert_eq!(told.states, 1, "and then the second, once for both");
    // Of other topics that are quiet, one does not wait for another.
    for n in 0..100 {
        let quiet: ChannelId = format!("quiet:{n}").parse().unwrap();
        let topic = Topic::Channel(quiet);
        eve.watch(topic, Watching::Full, None, None).unwrap();
    }
    let mut told = Received::default();
    told.read(&mut eve, Duration::from_secs(1)).await;
    assert_eq!(told.states, 100);
}

#[tokio::test(start_paused = true)]
async fn who_joins_while_states_have_to_wait_is_in_at_once_and_sees_later() {
    let rate = ByteRate {
        burst: STATE as u64 / 2,
        per_second: STATE as u64 / 10,
    };
    let (hub, mut crowd) = crowded(rate).await;
    let mut eve = connect(&hub, "eve").await;
    eve.watch(topic(), Watching::Full, None, None).unwrap();
    let mut told = Received::default();
    told.read(&mut eve, Duration::from_millis(100)).await;
    assert_eq!(told.states, 1);
    let elsewhere: ChannelId = "elsewhere".parse().unwrap();
    let watch = Some((Watching::Full, None));
    eve.join(elsewhere.clone(), Arc::default(), watch, Some(Reference(2)))
        .unwrap();
    let mut told = Received::default();
    told.read(&mut eve, Duration::from_millis(100)).await;
    assert_eq!((told.granted, told.states), (1, 0));
    let watch = Some((Watching::Full, None));
    let first = &mut crowd[0];
    first.join(elsewhere, Arc::default(), watch, None).unwrap();
    let mut seen = Received::default();
    seen.read(first, Duration::from_millis(100)).await;
    assert_eq!(seen.people, 2, "eve is there");
    told.read(&mut eve, Duration::from_secs(10)).await;
    assert_eq!((told.states, told.people), (1, 2));
    // Once the state is there, changes follow it.
    crowd.remove(0).end().await;
    told.read(&mut eve, Duration::from_secs(1)).await;
    assert!(told.changes > 0);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_waits_is_not_told_to_who_watches_no_longer() {
    let rate = ByteRate {
        burst: STATE as u64 / 2,
        per_second: STATE as u64 / 10,
    };
    let (hub, _crowd) = crowded(rate).await;
    let mut eve = connect(&hub, "eve").await;
    let mut told = Received::default();
    for reference in 1..=2 {
        let reference = Some(Reference(reference));
        eve.watch(topic(), Watching::Full, None, reference).unwrap();
        told.read(&mut eve, Duration::from_millis(100)).await;
    }
    assert_eq!((told.granted, told.states), (1, 1));
    eve.unwatch(&topic(), Some(Reference(3))).unwrap();
    told.read(&mut eve, Duration::from_secs(20)).await;
    assert_eq!((told.granted, told.states), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_all_together_is_bounded_and_everybody_catches_up() {
    let bytes_max = 1 << 20;
    let settings = Settings {
        outbox_bytes_max: 1 << 20,
        outboxes_bytes_max: bytes_max,
        ..Settings::default()
    };
    let hub = Hub::start(settings, Arc::new(ProfileMemory::new()));
    let mut slow = Vec::new();
    for n in 0..20 {
        slow.push(Watcher::join(&hub, &format!("slow-{n:02}")).await);
    }
    let mut busy = connect(&hub, "busy").await;
    busy.join(channel(), Arc::default(), None, None).unwrap();
    for n in 0..2000 {
        if n % 100 == 0 {
            busy.heard().unwrap();
            slow.iter().for_each(|it| it.session.heard().unwrap());
        }
        busy.update(channel(), meta(n), None).unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        let waiting = hub.counters().waiting_bytes.load(Relaxed);
        assert!(waiting <= bytes_max as u64 + 10_000, "{waiting} bytes wait");
    }
    assert!(hub.counters().crowded.load(Relaxed) > 0);
    let mut people: Vec<String> = (0..20).map(|n| format!("slow-{n:02}")).collect();
    people.insert(0, "busy".to_owned());
    let people: Vec<&str> = people.iter().map(|it| &**it).collect();
    for watcher in &mut slow {
        watcher.sees(&people).await;
    }
    assert!(hub.counters().waiting_bytes.load(Relaxed) < bytes_max as u64 / 2);
}

/// What a session was told.
#[derive(Default)]
struct Received {
    states: usize,
    bytes: usize,
    /// In the last state.
    people: usize,
    changes: usize,
    granted: usize,
    refused: usize,
}

impl Received {
    /// Reads what is there, until nothing comes for `patience`.
    async fn read(&mut self, session: &mut Session, patience: Duration) {
        while let Ok(delivery) = timeout(patience, session.next()).await {
            if let Some((people, bytes)) = is_state(&delivery) {
                self.states += 1;
                self.people = people;
                self.bytes += bytes;
            }
            match delivery {
                Delivery::Event(told) => {
                    let is_change = matches!(&*told.event, Event::Changes { .. });
                    self.changes += usize::from(is_change);
                }
                Delivery::Granted(_) => self.granted += 1,
                Delivery::Refused(_, why) => {
                    assert_ne!(why, Refusal::NoSession);
                    self.refused += 1;
                }
                Delivery::Ended(why) => panic!("ended: {why:?}"),
            }
        }
    }
}

/// How many people are in a whole state, and in how many bytes.
fn is_state(delivery: &Delivery) -> Option<(usize, usize)> {
    let Delivery::Event(told) = delivery else {
        return None;
    };
    let Event::Everyone { people, .. } = &*told.event else {
        return None;
    };
    let bytes = people.iter().map(|it| it.weight()).sum();
    Some((people.len(), bytes))
}

fn topic() -> Topic {
    Topic::Channel(channel())
}

fn meta(n: usize) -> Arc<Meta> {
    let json = format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(3900));
    Arc::new(Meta::from_json(json).unwrap())
}

/// A hub with everybody in the room, who do not read.
async fn crowded(states: ByteRate) -> (Hub, Vec<Session>) {
    let settings = Settings {
        states,
        ..Settings::default()
    };
    let hub = Hub::start(settings, Arc::new(ProfileMemory::new()));
    let mut crowd = Vec::new();
    for n in 0..PEOPLE {
        let session = connect(&hub, &format!("user-{n}")).await;
        let mut session = session;
        session.join(channel(), meta(n), None, None).unwrap();
        crowd.push(session);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    (hub, crowd)
}
