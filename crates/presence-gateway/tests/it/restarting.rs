//! A gateway that is alone ends, wanted or not, and another process goes on in the same folder.

use std::time::{Duration, Instant};

use presence_client::Options;
use presence_client::wire::{Event, Visible};

use crate::gateway::{options, soon};
use crate::people::Person;
use crate::program::{Program, ProgramFolder};
use crate::raw::get;

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Told,
    Killed,
}

impl End {
    /// The `n`th.
    fn number(n: usize) -> End {
        match n % 2 {
            0 => End::Told,
            _ => End::Killed,
        }
    }

    async fn of(self, mut program: Program) {
        match self {
            End::Told => {
                let began = Instant::now();
                program.signal("TERM");
                let exit = program.ends().await;
                assert!(exit.success(), "{exit}: {}", program.log());
                let took = began.elapsed();
                assert!(took < Duration::from_secs(2), "{took:?}: {}", program.log());
            }
            End::Killed => program.kill(),
        }
    }
}

/// How `person` comes back with its resume token.
fn again(program: &Program, user: &str, person: &Person) -> Options {
    Options {
        resume: Some(person.client.hello().resume.to_string()),
        ..options(program.address, user)
    }
}

/// The ids and since when they are there, as newcomers see them.
async fn seen(program: &Program, users: usize) -> Vec<(String, u64, Visible)> {
    let mut eve = Person::connects(&options(program.address, "eve")).await;
    eve.does(r#"{"type":"presence:watch","channel":"room:1"}"#)
        .await;
    eve.until(format!("{users} people"), |it| it.ids().len() == users)
        .await;
    let ids = eve.ids();
    ids.iter()
        .map(|id| {
            let user = eve.room.user(id).unwrap();
            (id.clone(), user.joined_at, user.status)
        })
        .collect()
}

#[tokio::test]
async fn ten_restarts_are_no_event_for_who_comes_back() {
    let place = ProgramFolder::new();
    let mut program = place.start(&[]);
    let mut ann = Person::comes_with(&options(program.address, "ann")).await;
    let mut bob = Person::comes_with(&options(program.address, "bob")).await;
    ann.does(r#"{"type":"presence:status","status":"away"}"#)
        .await;
    bob.says(r#"{"type":"presence:activity","activity":"idle"}"#)
        .await;
    bob.until("both are away", |it| {
        let away = |id| {
            it.room
                .user(id)
                .is_some_and(|it| it.status == Visible::Away)
        };
        away("ann") && away("bob")
    })
    .await;
    let before = seen(&program, 2).await;
    for n in 0..10 {
        let (session_a, session_b) = (session(&ann), session(&bob));
        End::number(n).of(program).await;
        tokio::time::sleep(Duration::from_millis(37 * n as u64)).await;
        program = place.start(&[]);
        // Bob is back first, and sees ann, whose client is not.
        let mut back = Person::comes_with(&again(&program, "bob", &bob)).await;
        assert!(back.client.restored(), "restart {n}");
        assert_eq!(back.ids(), ["ann", "bob"], "restart {n}");
        assert_eq!(seen(&program, 2).await, before, "restart {n}");
        let ann_again = Person::comes_with(&again(&program, "ann", &ann)).await;
        assert!(ann_again.client.restored(), "restart {n}");
        assert_eq!(
            (session(&ann_again), session(&back)),
            (session_a, session_b)
        );
        // Something later than all of that: bob has been told nothing of ann.
        let mut eve = Person::comes_with(&options(program.address, "eve")).await;
        back.sees(&["ann", "bob", "eve"]).await;
        let told = back.heard.iter().any(|it| is_about(it, "ann"));
        assert!(!told, "restart {n}: {:#?}", back.heard);
        eve.says(r#"{"type":"presence:leave"}"#).await;
        eve.is_closed().await;
        back.sees(&["ann", "bob"]).await;
        (ann, bob) = (ann_again, back);
    }
}

fn session(person: &Person) -> String {
    person.client.hello().session.to_string()
}

/// Whether that says that `user` came, went or is different.
fn is_about(event: &Event, user: &str) -> bool {
    let said = format!("{event:?}");
    let kinds = ["UserJoined", "UserLeft", "UserUpdated", "Changes"];
    kinds.iter().any(|it| said.starts_with(it)) && said.contains(&format!("{user:?}"))
}

#[tokio::test]
async fn who_does_not_come_back_leaves_once_and_not_before_their_time() {
    let place = ProgramFolder::new();
    for end in [End::Killed, End::Told] {
        let program = place.start(&[]);
        let ann = Person::comes_with(&options(program.address, "ann")).await;
        drop(ann);
        let bob = Person::comes_with(&options(program.address, "bob")).await;
        let eve = Person::comes_with(&options(program.address, "eve")).await;
        end.of(program).await;
        let program = place.start(&[]);
        let up = Instant::now();
        let mut back = Person::comes_with(&again(&program, "bob", &bob)).await;
        assert_eq!(back.ids(), ["ann", "bob", "eve"], "{end:?}");
        back.sees(&["bob"]).await;
        let after = up.elapsed();
        assert!(after > Duration::from_secs(15), "{end:?}: {after:?}");
        assert!(after < Duration::from_secs(18), "{end:?}: {after:?}");
        let reasons: Vec<String> = back.noticed.iter().map(|it| format!("{it:?}")).collect();
        let gone = |id: &str| {
            let lost = reasons
                .iter()
                .filter(|it| it.contains("Left") && it.contains(id));
            lost.count()
        };
        assert_eq!((gone("ann"), gone("eve")), (1, 1), "{end:?}: {reasons:#?}");
        drop(eve);
        program.kill();
        tokio::fs::remove_dir_all(place.path().join("presence-data"))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn whoever_hides_stays_hidden_and_whoever_said_goodbye_stays_gone() {
    let place = ProgramFolder::new();
    let program = place.start(&[]);
    let mut ann = Person::comes_with(&options(program.address, "ann")).await;
    let mut bob = Person::comes_with(&options(program.address, "bob")).await;
    let mut cat = Person::comes_with(&options(program.address, "cat")).await;
    ann.does(r#"{"type":"presence:status","status":"invisible"}"#)
        .await;
    bob.says(r#"{"type":"presence:leave"}"#).await;
    bob.is_closed().await;
    cat.sees(&["cat"]).await;
    program.kill();
    let program = place.start(&[]);
    let mut back = Person::comes_with(&again(&program, "cat", &cat)).await;
    assert_eq!(back.ids(), ["cat"]);
    // She goes on with her session, and nobody hears of that.
    let ann = Person::connects(&again(&program, "ann", &ann)).await;
    assert!(ann.client.restored());
    let _dan = Person::comes_with(&options(program.address, "dan")).await;
    back.sees(&["cat", "dan"]).await;
    let page = get(
        program.address,
        "/api/presence/channel/room:1/viewers?user_id=x",
    )
    .await;
    assert!(!page.contains("ann"), "{page}");
}

#[tokio::test]
async fn after_half_a_minute_nobody_is_held() {
    let place = ProgramFolder::new();
    let program = place.start(&[]);
    let ann = Person::comes_with(&options(program.address, "ann")).await;
    program.kill();
    tokio::time::sleep(Duration::from_secs(31)).await;
    let program = place.start(&[]);
    let mut bob = Person::comes_with(&options(program.address, "bob")).await;
    assert_eq!(bob.ids(), ["bob"]);
    let back = Person::comes_with(&again(&program, "ann", &ann)).await;
    assert!(!back.client.restored());
    bob.sees(&["bob", "ann"]).await;
    let sessions = std::fs::read_dir(place.path().join("presence-data/sessions")).unwrap();
    let mut names: Vec<_> = sessions.map(|it| it.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["2", "lock"], "what is too old is not kept");
}

#[tokio::test]
async fn a_journal_that_was_cut_off_or_is_nonsense_keeps_nobody_from_starting() {
    let place = ProgramFolder::new();
    let program = place.start(&[("PRESENCE_SHARDS", "1")]);
    let mut people = Vec::new();
    for n in 0..5 {
        people.push(Person::comes_with(&options(program.address, &format!("user-{n}"))).await);
    }
    program.kill();
    let journal = place.path().join("presence-data/sessions/1/0-0.journal");
    let bytes = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, &bytes[..bytes.len() - 10]).unwrap();
    std::fs::write(
        place.path().join("presence-data/sessions/1/1-0.journal"),
        "nonsense",
    )
    .unwrap();
    let program = place.start(&[("PRESENCE_SHARDS", "4")]);
    let first = Person::comes_with(&again(&program, "user-0", &people[0])).await;
    assert!(first.client.restored());
    soon("it is logged", async {
        while !program
            .log()
            .contains("some of the sessions that the previous process kept cannot be read")
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
