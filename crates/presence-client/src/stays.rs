//! Who of this program wants to be in a channel. Pure: what follows from it is told by others.

use crate::wire::{Json, Mode};

/// How to be in a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Stay {
    /// What this session says about itself in the channel: a JSON object of up to
    /// [`meta_bytes_max`](crate::wire::event::Limits::meta_bytes_max) bytes. Its `name`, `color` and `avatar` are what others
    /// see. `None` is the empty object.
    pub meta: Option<Json>,
    /// How to watch the channel too; `None` does not watch it.
    pub watch: Option<Mode>,
}

impl Default for Stay {
    /// Without meta, and with the whole list of people.
    fn default() -> Self {
        Stay {
            meta: None,
            watch: Some(Mode::Full),
        }
    }
}

impl From<Json> for Stay {
    /// With this meta, and with the whole list of people.
    fn from(meta: Json) -> Self {
        Stay {
            meta: Some(meta),
            ..Stay::default()
        }
    }
}

/// Whose wish a stay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// That of `join`: there is at most one.
    Join,
    /// That of the `enter` with this number.
    Entered(u64),
}

/// One `join` at most, and every `enter` that has not left.
#[derive(Debug, Default)]
pub(crate) struct Stays(Vec<(Whose, Stay)>);

impl Stays {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a stay as the latest one. It replaces that of the same.
    pub(crate) fn add(&mut self, whose: Whose, stay: Stay) {
        self.remove(whose);
        self.0.push((whose, stay));
    }

    pub(crate) fn remove(&mut self, whose: Whose) {
        self.0.retain(|(it, _)| *it != whose);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Replaces the meta of whoever came last. Returns whether there is anybody.
    pub(crate) fn update(&mut self, meta: Json) -> bool {
        let last = self.0.last_mut();
        last.map(|(_, stay)| stay.meta = Some(meta)).is_some()
    }

    /// The gateway has refused the meta `refused`: those who wanted it have the one before it.
    pub(crate) fn forget_meta(&mut self, refused: &Option<Json>, before: &Option<Json>) {
        for (_, stay) in &mut self.0 {
            if stay.meta == *refused {
                stay.meta.clone_from(before);
            }
        }
    }

    /// The gateway does not let anybody watch.
    pub(crate) fn forget_watch(&mut self) {
        self.0.iter_mut().for_each(|(_, stay)| stay.watch = None);
    }

    /// What they want together: the latest meta that was given, and the whole list if anybody wants it. `None` if nobody wants to
    /// be in.
    pub(crate) fn wish(&self) -> Option<Stay> {
        if self.0.is_empty() {
            return None;
        }
        let metas = self.0.iter().rev();
        let modes = || self.0.iter().filter_map(|(_, stay)| stay.watch);
        Some(Stay {
            meta: metas.clone().find_map(|(_, stay)| stay.meta.clone()),
            watch: modes().find(|it| *it == Mode::Full).or(modes().next()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stay(meta: Option<&str>, watch: Option<Mode>) -> Stay {
        let meta = meta.map(|it| Json::new(it).expect("JSON"));
        Stay { meta, watch }
    }

    #[test]
    fn the_latest_meta_is_shown_and_whoever_wants_most_is_served() {
        let mut stays = Stays::default();
        assert_eq!(stays.wish(), None);
        let [one, two] = [1, 2].map(Whose::Entered);
        stays.add(one, stay(Some("{}"), Some(Mode::Summary)));
        stays.add(two, stay(None, None));
        assert_eq!(stays.wish(), Some(stay(Some("{}"), Some(Mode::Summary))));
        stays.add(Whose::Join, stay(Some("[1]"), Some(Mode::Full)));
        assert_eq!(stays.wish(), Some(stay(Some("[1]"), Some(Mode::Full))));
        stays.add(Whose::Join, stay(None, None));
        assert_eq!(stays.wish(), Some(stay(Some("{}"), Some(Mode::Summary))));
        stays.remove(one);
        assert_eq!(stays.wish(), Some(stay(None, None)));
        stays.remove(Whose::Join);
        stays.remove(two);
        assert_eq!(stays.wish(), None);
    }

    #[test]
    fn a_refused_meta_is_nobodys_any_more() {
        let mut stays = Stays::default();
        assert!(!stays.update(Json::new("1").expect("JSON")));
        stays.add(Whose::Entered(1), stay(Some("{}"), None));
        stays.add(Whose::Join, stay(None, None));
        let bad = Json::new("1").expect("JSON");
        assert!(stays.update(bad.clone()));
        stays.forget_meta(&Some(bad), &None);
        assert_eq!(stays.wish(), Some(stay(Some("{}"), None)));
    }
}
