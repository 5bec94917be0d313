//! Clients that read slowly or not at all: their backlog is bounded, and nobody else feels it.

use std::time::{Duration, Instant};

use presence_client::Picture;
use presence_client::wire::{Event, TopicId};
use presence_testkit::pulse::Pulse;
use tokio::net::TcpSocket;

use crate::gateway::options;
use crate::people::{Person, ROOM};
use crate::program::ProgramFolder as Folder;
use crate::raw::{Raw, get};

#[tokio::test]
async fn who_reads_nothing_costs_little_disturbs_nobody_and_catches_up() {
    // In one round less than fits into the outbox of somebody who reads; in all of them much more than the system
    // buffers for a connection.
    const ROUNDS: usize = 40;
    const TOLD_IN_A_ROUND: usize = 6;
    const TOLD_BYTES: usize = 32 * 1024;
    let pulse = Pulse::start();
    let folder = Folder::new();
    let program = folder.start(&[
        ("PRESENCE_RATE_BROADCAST", "1000/s burst 100000"),
        ("PRESENCE_RATE_OTHER", "1000/s burst 100000"),
        ("PRESENCE_BROADCASTS_MAX", "100000"),
    ]);
    let mut ann = Person::comes_with(&options(program.address, "ann")).await;
    let mut bob = Person::comes_with(&options(program.address, "bob")).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(program.address).await.unwrap();
    let mut slow = Raw::upgrade_over(stream, "/ws?user_id=slow", "").await;
    slow.text(r#"{"type":"presence:join","channel":"room:1"}"#)
        .await;
    ann.sees(&["ann", "bob", "slow"]).await;
    bob.sees(&["ann", "bob", "slow"]).await;

    let payload = "x".repeat(TOLD_BYTES);
    let say = format!(
        r#"{{"type":"presence:broadcast","channel":"room:1","event":"e","payload":"{payload}"}}"#
    );
    let mut slowest = Duration::ZERO;
    let mut before = 0;
    for n in 0..ROUNDS {
        for _ in 0..TOLD_IN_A_ROUND {
            bob.says(&say).await;
        }
        let word = format!("mark-{n}");
        let asked = Instant::now();
        bob.tells(&word).await;
        ann.hears_word(&word).await;
        bob.hears_word(&word).await;
        slowest = slowest.max(asked.elapsed());
        ann.heard.clear();
        bob.heard.clear();
        if n == 10 {
            before = program.memory();
        }
    }
    let page = get(program.address, "/metrics").await;
    let conflations = page
        .lines()
        .find_map(|it| it.strip_prefix("presence_conflations_total "));
    assert!(conflations.is_some_and(|it| it != "0"), "{page}");
    let grown = program.memory().saturating_sub(before);
    assert!(
        grown < TOLD_BYTES * TOLD_IN_A_ROUND * ROUNDS / 2,
        "{grown} bytes more"
    );
    assert!(
        slowest < Duration::from_secs(5) + pulse.slack(),
        "the others waited {slowest:?}"
    );

    // People come and go meanwhile, too.
    let eve = Person::comes_with(&options(program.address, "eve")).await;
    bob.does(r#"{"type":"presence:update","channel":"room:1","meta":{"name":"Robert"}}"#)
        .await;
    ann.until("all of it", |it| {
        it.ids().len() == 4 && it.room.user("bob").unwrap().name.as_deref() == Some("Robert")
    })
    .await;

    // It reads again, and after what was on its way it has the right picture, without a gap.
    let mut picture = Picture::of(TopicId::Channel(ROOM.into()));
    while picture.users() != ann.room.users() {
        picture.apply(&slow.event().await).unwrap();
    }
    assert_eq!(picture.surprises(), 0);
    // And goes on like everybody else.
    slow.text(r#"{"type":"presence:ping","ref":1}"#).await;
    assert!(matches!(slow.answer(1).await, Event::Pong(_)));
    drop(eve);
    assert_eq!(ann.departures() + bob.departures(), 0);
    assert!(!program.log().contains("panic"), "{}", program.log());
}
