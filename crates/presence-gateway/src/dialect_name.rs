//! The names of the dialects.

/// A dialect, by its name in metrics, logs and lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialectName {
    /// The native protocol.
    Native,
    /// The protocol of Phoenix channels, version 2 of the serializer.
    Phoenix,
    /// The protocol of Action Cable, with AnyCable's extension of it.
    Cable,
    /// Pusher protocol 7.
    Pusher,
}

impl DialectName {
    /// All dialects, in the order of their numbers.
    pub(crate) const ALL: [DialectName; 4] = [
        DialectName::Native,
        DialectName::Phoenix,
        DialectName::Cable,
        DialectName::Pusher,
    ];

    /// The name of the dialect.
    pub(crate) fn name(self) -> &'static str {
        match self {
            DialectName::Native => "native",
            DialectName::Phoenix => "phoenix",
            DialectName::Cable => "cable",
            DialectName::Pusher => "pusher",
        }
    }

    /// The dialect of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        DialectName::ALL.into_iter().find(|it| it.name() == name)
    }
}
