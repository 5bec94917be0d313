//! A window: a few consecutive rows of a roster, by when people joined or by name.

use std::sync::Arc;

use crate::words::words;
use crate::{Person, Timestamp, UserId};

/// The maximum number of rows of one window.
pub const WINDOW_ROWS_MAX: usize = 50;
/// The maximum size of the name by which a person is sorted, in bytes of its lower-case form. What is longer is cut.
pub const SORTED_NAME_BYTES_MAX: usize = 256;
/// The maximum number of sessions that one row shows.
pub const ROW_SESSIONS_MAX: usize = 4;

/// The order of the people of a roster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By when they joined, and by their id where that is the same.
    #[default]
    Joined,
    /// By the lower-case form of their name, byte by byte, and by their id where that is the same. A person without a
    /// name is sorted by their id.
    Name,
}

words!(Order is a "sort order": Joined = "joined", Name = "name");

/// The lower-case form of a name, as far as people are sorted by it.
pub(crate) type SortedName = Arc<str>;
/// The place of a person among those who are sorted by name. Without an id it is before everybody with that name.
pub(crate) type NameKey = (SortedName, Option<UserId>);
/// The place of a person among those who are sorted by when they joined.
pub(crate) type JoinedKey = (Timestamp, UserId);

/// Where rows of a roster begin, and in which order they are.
///
/// ```
/// use presence_core::{Order, Span};
///
/// assert_eq!(Span::named("AN", None), Span::named("an", None));
/// assert_eq!(Span::default().order(), Order::Joined);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub(crate) Kind);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Joined {
        after: Option<JoinedKey>,
    },
    Named {
        prefix: SortedName,
        /// All rows come after this place. It is never before the prefix.
        from: NameKey,
    },
}

impl Default for Span {
    /// Everybody, by when they joined.
    fn default() -> Self {
        Span::joined(None)
    }
}

impl Span {
    /// The people who joined after `after`, by when they joined.
    pub fn joined(after: Option<(Timestamp, UserId)>) -> Self {
        Span(Kind::Joined { after })
    }

    /// The people whose name begins with `prefix`, by name. With `after`, only those who come after that name and
    /// that id, or without an id, those who have that name or a later one. Upper and lower case make no difference.
    pub fn named(prefix: &str, after: Option<(&str, Option<UserId>)>) -> Self {
        let prefix = sorted_name(prefix);
        let after = after.map(|(name, user)| (sorted_name(name), user));
        let from = after.unwrap_or_default().max((prefix.clone(), None));
        Span(Kind::Named { prefix, from })
    }

    /// The order of the rows.
    pub fn order(&self) -> Order {
        match self.0 {
            Kind::Joined { .. } => Order::Joined,
            Kind::Named { .. } => Order::Name,
        }
    }
}

/// The first rows of a [`Span`], at least one and at most [`WINDOW_ROWS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    span: Span,
    rows: usize,
}

impl Window {
    /// The first `rows` rows of `span`; `None` unless these are 1 to [`WINDOW_ROWS_MAX`].
    pub fn new(span: Span, rows: usize) -> Option<Self> {
        (1..=WINDOW_ROWS_MAX)
            .contains(&rows)
            .then_some(Window { span, rows })
    }

    /// Where the rows begin, and their order.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// How many rows the window has at most.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// The lower-case form of `name`, of at most [`SORTED_NAME_BYTES_MAX`] bytes.
fn sorted_name(name: &str) -> SortedName {
    let mut lower = name.to_lowercase();
    let mut end = lower.len().min(SORTED_NAME_BYTES_MAX);
    while !lower.is_char_boundary(end) {
        end -= 1;
    }
    lower.truncate(end);
    lower.into()
}

/// The place of `person` among those who are sorted by name.
pub(crate) fn name_key(person: &Person) -> NameKey {
    (person.sorted_name(), Some(person.user.clone()))
}

impl Person {
    /// The name by which the person is sorted in [`Order::Name`]: their name in lower case, or their id if they have
    /// none; at most [`SORTED_NAME_BYTES_MAX`] bytes. It is the name that a row of a window shows.
    pub fn sorted_name(&self) -> Arc<str> {
        let name = match self.members.len() > ROW_SESSIONS_MAX {
            true => row_of_many(self).newest(crate::Meta::name).cloned(),
            false => self.newest(crate::Meta::name).cloned(),
        };
        sorted_name(name.as_deref().unwrap_or(self.user.as_str()))
    }
}

/// The place of `person` among those who are sorted by when they joined.
pub(crate) fn joined_key(person: &Person) -> JoinedKey {
    (person.joined_at, person.user.clone())
}

/// What a row shows of `person`: at most [`ROW_SESSIONS_MAX`] of their sessions, so that the size of a window is bounded.
pub(crate) fn row_of(person: &Arc<Person>) -> Arc<Person> {
    match person.members.len() > ROW_SESSIONS_MAX {
        true => Arc::new(row_of_many(person)),
        false => person.clone(),
    }
}

/// The newest sessions of `person`, and among them the one that knows how the person looks.
fn row_of_many(person: &Person) -> Person {
    let (older, newest) = person
        .members
        .split_at(person.members.len() - ROW_SESSIONS_MAX);
    let mut members = newest.to_vec();
    let shown = |members: &[Arc<crate::Member>]| {
        let revisions = members.iter().map(|it| (it.profile, it.look_revision));
        revisions.max()
    };
    if let Some(current) = older.iter().max_by_key(|it| (it.profile, it.look_revision))
        && shown(&members) < Some((current.profile, current.look_revision))
    {
        members[0] = current.clone();
    }
    Person {
        user: person.user.clone(),
        joined_at: person.joined_at,
        members,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceKind, Look, Member, Meta, SessionId, Visible};

    fn person(sessions: u128, current: u128) -> Person {
        let member = |n: u128| {
            Arc::new(Member {
                session: SessionId::from_u128(n),
                alias: SessionId::from_u128(n),
                epoch: 0,
                user: UserId::new("Ann-1").unwrap(),
                device: DeviceKind::Web,
                joined_at: Timestamp::from_millis(n as u64),
                meta: Arc::new(Meta::default()),
                look: Arc::new(Look {
                    status: match n == current {
                        true => Visible::Busy,
                        false => Visible::Online,
                    },
                    message: None,
                    emoji: None,
                }),
                look_revision: u64::from(n == current),
                profile: 0,
            })
        };
        Person {
            user: UserId::new("Ann-1").unwrap(),
            joined_at: Timestamp::from_millis(0),
            members: (0..sessions).map(member).collect(),
        }
    }

    #[test]
    fn a_window_has_one_to_fifty_rows() {
        let rows = |rows| Window::new(Span::default(), rows).map(|it| it.rows());
        assert_eq!([rows(0), rows(1)], [None, Some(1)]);
        let max = WINDOW_ROWS_MAX;
        assert_eq!([rows(max), rows(max + 1)], [Some(max), None]);
    }

    #[test]
    fn a_row_shows_the_newest_sessions_and_how_the_person_looks() {
        for current in 0..9 {
            let person = Arc::new(person(9, current));
            let row = row_of(&person);
            assert_eq!(row.members.len(), ROW_SESSIONS_MAX);
            assert_eq!(row.look(), person.look());
            assert_eq!(row.joined_at, person.joined_at);
            assert!(Arc::ptr_eq(&row.members[3], &person.members[8]));
        }
        let few = Arc::new(person(4, 0));
        assert!(Arc::ptr_eq(&row_of(&few), &few));
    }

    #[test]
    fn who_has_no_name_is_sorted_by_their_id_and_a_long_name_is_cut() {
        let mut person = person(1, 0);
        assert_eq!(&*name_key(&person).0, "ann-1");
        let mut named = |name: &str| {
            let meta = Meta::from_json(format!("{{\"name\":\"{name}\"}}")).unwrap();
            Arc::make_mut(&mut person.members[0]).meta = Arc::new(meta);
            name_key(&person).0
        };
        assert_eq!(&*named("ÉVE"), "éve");
        let long = named(&format!("x{}", "É".repeat(200)));
        assert_eq!(long.len(), SORTED_NAME_BYTES_MAX - 1);
        assert_eq!(
            Span::named(&long, None),
            Span::named(&format!("{long}É"), None)
        );
    }
}
