//! A client that was let in: its session, and what its identity allows. Every dialect does what its clients ask
//! for through this.

pub(crate) use presence_native::authorized::Lost;

use crate::app::App;
use crate::connection_list::ListedSession;

/// A client that was let in by this gateway.
pub(crate) type Authorized = presence_native::authorized::Authorized<App>;

/// What the list of connections shows of a session.
pub(crate) fn listed(authorized: &Authorized) -> ListedSession {
    ListedSession {
        user: authorized.session().user().clone(),
        device: authorized.device().clone(),
        session: authorized.session().connection().session,
    }
}
