//! What a session says about itself in a channel.

use std::sync::Arc;

use crate::UserId;

/// The longest meta, in bytes of its JSON text.
pub const META_BYTES_MAX: usize = 4096;

/// What a session says about itself in a channel: any JSON object, of which three members have a meaning.
///
/// The core never reads the text. Whoever makes a `Meta` has parsed it, and has copied out the three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The JSON text of the object, at most [`META_BYTES_MAX`] bytes. Empty means `{}`.
    pub json: Arc<str>,
    /// Its `name`, if that is a string.
    pub name: Option<Arc<str>>,
    /// Its `color`, if that is a string; else people are shown in [`color_of`] their id.
    pub color: Option<Arc<str>>,
    /// Its `avatar`, if that is a string: a URL.
    pub avatar: Option<Arc<str>>,
}

/// Dark enough for white letters, apart enough to be told from each other, in light and dark themes (WCAG AA, 4.5:1 on white).
const PALETTE: [&str; 16] = [
    "#b91c1c", "#c2410c", "#a16207", "#4d7c0f", "#15803d", "#047857", "#0f766e", "#0e7490",
    "#0369a1", "#1d4ed8", "#4338ca", "#6d28d9", "#7e22ce", "#a21caf", "#be185d", "#be123c",
];

/// The color that `user` has wherever they have not chosen one: the same on every node, today and tomorrow.
pub fn color_of(user: &UserId) -> &'static str {
    // FNV-1a: short, and fixed by its definition. Its low bits are those in which names that differ in one letter differ.
    let hash = user
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    PALETTE[hash as usize % PALETTE.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_one_color_for_ever() {
        let color = |id| color_of(&UserId::new(id).unwrap());
        assert_eq!(color("ann"), color("ann"));
        assert_eq!(
            [color("ann"), color("bob"), color("eve")],
            ["#0369a1", "#15803d", "#047857"]
        );
    }

    #[test]
    fn a_hundred_users_use_the_whole_palette() {
        let mut used: Vec<_> = (0..100)
            .map(|n| color_of(&UserId::new(&format!("user-{n}")).unwrap()))
            .collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), PALETTE.len());
    }
}
