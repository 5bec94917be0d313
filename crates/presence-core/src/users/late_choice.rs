//! A choice of a status that came late: another node may have answered a later one.

use std::time::Duration;

use crate::{Profile, StatusChange, Timestamp};

/// A choice of a status that came late, and as of when it counts. It is not known whether it was made before or after what
/// another node has answered meanwhile.
#[derive(Clone, Debug)]
pub(super) struct LateChoice {
    pub(super) change: StatusChange,
    pub(super) moment: Timestamp,
}

impl LateChoice {
    /// Whether a later choice has replaced it, or a part of it.
    pub(super) fn is_overtaken(&self, profile: &Profile) -> bool {
        let after = self.moment + Duration::from_millis(1);
        profile.moments.newer(&self.change, after) != self.change
    }
}
