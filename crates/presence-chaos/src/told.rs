//! What an event tells a watcher, as facts.

use presence_client::wire::event::{Change as Told, User as View};
use presence_client::wire::{Event, Have};
use presence_client::{Gap, Picture};

use crate::journal::{Change, Fact, User, Watcher};
use crate::virtual_user::Mark;

/// What it tells.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) facts: Vec<Fact>,
    /// Whether the picture is complete from now on.
    pub(crate) is_whole: bool,
}

/// The id of a person in the protocol.
pub(crate) fn name(user: User) -> String {
    format!("u{}", user.0)
}

/// The person with this id; `None` if the run has made no such id.
pub(crate) fn user(name: &str) -> Option<User> {
    name.strip_prefix('u')?.parse().ok().map(User)
}

/// Takes `event` into `picture` and says what it told: as it was told, so that what is told twice is seen.
pub(crate) fn take(picture: &mut Picture, event: &Event, watcher: Watcher) -> Result<News, Gap> {
    let before = picture.have();
    picture.apply(event)?;
    let place = picture.place();
    let is_news = picture.have() != before;
    let mut told = News::default();
    match event {
        Event::CurrentUsers(it) if it.place == *place => {
            let has = Have {
                epoch: it.epoch,
                version: it.version,
            };
            // Unless it is an old one.
            if picture.have() == Some(has) {
                let views = it
                    .users
                    .iter()
                    .filter_map(|view| Some((user(&view.id)?, change(view))));
                told.facts.push(Fact::Whole(watcher, views.collect()));
                told.is_whole = true;
            }
        }
        Event::Unchanged(it) if it.place == *place => told.is_whole = true,
        Event::UserJoined(it) if is_news && it.place == *place => told.joined(watcher, &it.user),
        Event::UserUpdated(it) if is_news && it.place == *place => told.updated(watcher, &it.user),
        Event::UserLeft(it) if is_news && it.place == *place => told.left(watcher, &it.user_id),
        Event::Changes(it) if is_news && it.place == *place => {
            for change in &it.changes {
                match change {
                    Told::Joined(view) => told.joined(watcher, view),
                    Told::Updated(view) => told.updated(watcher, view),
                    Told::Left { user_id, .. } => told.left(watcher, user_id),
                }
            }
        }
        _ => {}
    }
    Ok(told)
}

/// The latest change that a face shows.
fn change(view: &View) -> Change {
    let marks = view.metas.iter();
    let marks = marks.filter_map(|meta| serde_json::from_str::<Mark>(meta.meta.as_str()).ok());
    marks.map(|mark| mark.change).max().unwrap_or(0)
}

impl News {
    fn joined(&mut self, watcher: Watcher, view: &View) {
        let user = user(&view.id);
        self.facts
            .extend(user.map(|user| Fact::Joined(watcher, user, change(view))));
    }

    fn updated(&mut self, watcher: Watcher, view: &View) {
        let user = user(&view.id);
        self.facts
            .extend(user.map(|user| Fact::Updated(watcher, user, change(view))));
    }

    fn left(&mut self, watcher: Watcher, id: &str) {
        self.facts
            .extend(user(id).map(|user| Fact::Left(watcher, user)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOE: Watcher = Watcher(0);

    #[test]
    fn a_whole_state_then_changes_are_told_one_by_one() {
        let mut picture = Picture::of(presence_client::wire::TopicId::Channel("room:1".into()));
        let told = hear(&mut picture, &whole(7, &view("u1", 3)));
        assert!(told.is_whole);
        assert_eq!(told.facts, [Fact::Whole(JOE, vec![(User(1), 3)])]);
        let joined = format!(
            r#"{{"type":"presence:userJoined",{},"user":{}}}"#,
            at(8),
            view("u2", 0)
        );
        assert_eq!(
            hear(&mut picture, &joined).facts,
            [Fact::Joined(JOE, User(2), 0)]
        );
        let left = format!(
            r#"{{"type":"presence:userLeft",{},"user_id":"u1","reason":"left"}}"#,
            at(9)
        );
        assert_eq!(hear(&mut picture, &left).facts, [Fact::Left(JOE, User(1))]);
    }

    #[test]
    fn what_is_told_again_in_a_new_version_is_a_fact_again() {
        let mut picture = Picture::of(presence_client::wire::TopicId::Channel("room:1".into()));
        hear(&mut picture, &whole(7, &view("u1", 0)));
        for version in [8, 9] {
            let joined = format!(
                r#"{{"type":"presence:userJoined",{},"user":{}}}"#,
                at(version),
                view("u1", 0)
            );
            assert_eq!(
                hear(&mut picture, &joined).facts,
                [Fact::Joined(JOE, User(1), 0)]
            );
        }
    }

    #[test]
    fn an_old_version_is_no_news_and_a_later_one_a_gap() {
        let mut picture = Picture::of(presence_client::wire::TopicId::Channel("room:1".into()));
        hear(&mut picture, &whole(7, &view("u1", 0)));
        let joined = |version| {
            format!(
                r#"{{"type":"presence:userJoined",{},"user":{}}}"#,
                at(version),
                view("u2", 0)
            )
        };
        assert!(hear(&mut picture, &joined(7)).facts.is_empty());
        let later = Event::from_json(&joined(9)).unwrap();
        assert!(take(&mut picture, &later, JOE).is_err());
        assert!(hear(&mut picture, &whole(6, "")).facts.is_empty());
    }

    #[test]
    fn the_newest_change_of_all_devices_counts() {
        let view: View = serde_json::from_str(&view("u1", 4)).unwrap();
        assert_eq!(change(&view), 4);
        assert_eq!(user("u12"), Some(User(12)));
        assert_eq!(user("watcher12"), None);
    }

    fn hear(picture: &mut Picture, event: &str) -> News {
        take(picture, &Event::from_json(event).unwrap(), JOE).unwrap()
    }

    fn at(version: u64) -> String {
        format!(r#""channel":"room:1","epoch":"6c0f2a9b11d4e877","version":{version}"#)
    }

    fn whole(version: u64, users: &str) -> String {
        let at = at(version);
        format!(
            r#"{{"type":"presence:currentUsers",{at},"mode":"full","count":1,"users":[{users}],"typing":[],"cursors":[]}}"#
        )
    }

    /// Two devices, of which the first has made changes.
    fn view(name: &str, change: Change) -> String {
        let meta = |session: &str, change| {
            format!(
                r#"{{"session":"0192f6b0c4d84e7fa1b2c3d4e5f607{session}","device":"web","joined_at":1,"meta":{{"change":{change}}}}}"#
            )
        };
        let metas = [meta("18", change), meta("19", 0)].join(",");
        format!(r#"{{"id":"{name}","status":"online","joined_at":1,"metas":[{metas}]}}"#)
    }
}
