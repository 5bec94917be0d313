//! What an event tells a watcher, as facts.

use presence_client::wire::event::{Change as Told, User as Face};
use presence_client::wire::{Event, Have};
use presence_client::{Gap, Picture};

use crate::journal::{Change, Fact, User, Watcher};
use crate::seat::Mark;

/// What it tells.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) facts: Vec<Fact>,
    /// Whether the picture is complete from now on.
    pub(crate) is_whole: bool,
}

/// The name of a person.
pub(crate) fn name(user: User) -> String {
    format!("u{}", user.0)
}

/// Whose name it is.
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
                let faces = it
                    .users
                    .iter()
                    .filter_map(|face| Some((user(&face.id)?, change(face))));
                told.facts.push(Fact::Whole(watcher, faces.collect()));
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
                    Told::Joined(face) => told.joined(watcher, face),
                    Told::Updated(face) => told.updated(watcher, face),
                    Told::Left { user_id, .. } => told.left(watcher, user_id),
                }
            }
        }
        _ => {}
    }
    Ok(told)
}

/// The latest change that a face shows.
fn change(face: &Face) -> Change {
    let marks = face.metas.iter();
    let marks = marks.filter_map(|meta| serde_json::from_str::<Mark>(meta.meta.as_str()).ok());
    marks.map(|mark| mark.change).max().unwrap_or(0)
}

impl News {
    fn joined(&mut self, watcher: Watcher, face: &Face) {
        let user = user(&face.id);
        self.facts
            .extend(user.map(|user| Fact::Joined(watcher, user, change(face))));
    }

    fn updated(&mut self, watcher: Watcher, face: &Face) {
        let user = user(&face.id);
        self.facts
            .extend(user.map(|user| Fact::Updated(watcher, user, change(face))));
    }

    fn left(&mut self, watcher: Watcher, id: &str) {
        self.facts
            .extend(user(id).map(|user| Fact::Left(watcher, user)));
    }
}
