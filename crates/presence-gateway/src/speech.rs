//! The names of the dialects.

/// A dialect, by its name in metrics, logs and lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// The native protocol.
    Native,
    /// The protocol of Phoenix channels, version 2 of the serializer.
    Phoenix,
    /// The protocol of Action Cable, with AnyCable's extension of it.
    Cable,
    /// Pusher protocol 7.
    Pusher,
}

impl Speech {
    /// All dialects, in the order of their numbers.
    pub(crate) const ALL: [Speech; 4] = [
        Speech::Native,
        Speech::Phoenix,
        Speech::Cable,
        Speech::Pusher,
    ];

    /// The name of the dialect.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Speech::Native => "native",
            Speech::Phoenix => "phoenix",
            Speech::Cable => "cable",
            Speech::Pusher => "pusher",
        }
    }

    /// The dialect of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Speech::ALL.into_iter().find(|it| it.name() == name)
    }
}
