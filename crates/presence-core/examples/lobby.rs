//! A game lobby: rosters alone, without statuses, devices or grace times. Your game says who is in which lobby.

use std::sync::Arc;
use std::time::Duration;

use presence_core::rosters::{Effect, Input, Rosters};
use presence_core::{
    Change, ChannelId, DeviceKind, Event, Limits, Look, Member, Meta, Reason, SessionId, Timestamp,
    Timing, Topic, UserId, Visible, Watching,
};

fn player(id: u128, name: &str, now: Timestamp) -> Result<Member, Box<dyn std::error::Error>> {
    let meta = Meta::from_json(format!(r#"{{"name":"{name}","ready":false}}"#))?;
    Ok(Member {
        session: SessionId::from_u128(id),
        alias: SessionId::from_u128(id),
        epoch: 0,
        user: UserId::new(name)?,
        device: DeviceKind::Other,
        joined_at: now,
        meta: Arc::new(meta),
        look: Arc::new(Look {
            status: Visible::Online,
            message: None,
            emoji: None,
        }),
        look_revision: 0,
        profile: 0,
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut now = Timestamp::from_millis(1_764_000_000_000);
    let lobby = Topic::Channel(ChannelId::new("lobby:7")?);
    let mut rosters = Rosters::new(Timing::default(), Limits::default(), 7);
    let mut effects: Vec<Effect<&str>> = Vec::new();

    // A screen beside the lobby watches it.
    let watched = Input::Watched {
        topic: lobby.clone(),
        watcher: SessionId::from_u128(1 << 100),
        watching: Watching::Full,
        before: None,
        have: None,
        reply_to: Some("the screen"),
    };
    rosters.handle(now, watched, &mut effects);

    // Two players come, and one of them leaves: the entry is replaced by the reason.
    let ann = player(2 << 100, "ann", now)?;
    let bob = player(3 << 100, "bob", now)?;
    for (session, entry) in [
        (ann.session, Ok(Arc::new(ann))),
        (bob.session, Ok(Arc::new(bob.clone()))),
        (bob.session, Err(Reason::Left)),
    ] {
        let wrote = Input::Wrote {
            topic: lobby.clone(),
            session,
            entry,
            is_shared: false,
        };
        rosters.handle(now, wrote, &mut effects);
        // What came in one turn of your loop is one event; `next_deadline` says when there may be more to tell.
        now = now + Duration::from_secs(1);
        rosters.expire(now, &mut effects);
    }

    let mut told = Vec::new();
    for effect in &effects {
        let Effect::Tell { event, .. } = effect else {
            continue;
        };
        if let Event::Changes { changes, .. } = &**event {
            told.extend(changes.iter().map(|change| match change {
                Change::Joined(who) => format!("{} came", who.user),
                Change::Updated { to, .. } => format!("{} changed", to.user),
                Change::Left { person, reason } => format!("{} went: {reason}", person.user),
            }));
        }
    }
    assert_eq!(told, ["ann came", "bob came", "bob went: left"]);
    assert_eq!(rosters.list(&lobby, 0, 10).total, 1);
    println!("{}", told.join(", "));
    Ok(())
}
