//! Signs in users whose identity the application's server has signed.

use presence_protocol::ErrorCode;

use super::closing::WATCHLIST_TOO_LONG;
use super::commands::SignIn;
use super::signature::is_for_user;
use super::signed::Signed;
use super::watchlist::WATCHLIST_MAX;
use super::{Pusher, words};
use crate::closing::CloseReason;
use crate::dialect::Next;
use crate::out::Out;
use crate::request::Refused;

impl Pusher {
    /// Signs a user in for as long as the connection lasts. The same user may sign in again, with a new watchlist.
    pub(super) async fn sign_in(&mut self, it: SignIn, out: &mut Out) -> Next {
        if !is_for_user(self.application(), &it.auth, self.socket, &it.user_data) {
            self.app.metrics.refused(ErrorCode::Unauthorized);
            return Next::Close(CloseReason::Unauthorized.into());
        }
        match self.try_to_sign_in(&it, out).await {
            Ok(()) => Next::Continue,
            Err(why) if why.code == ErrorCode::Unauthorized => {
                self.app.metrics.refused(why.code);
                Next::Close(CloseReason::Unauthorized.into())
            }
            Err(why) => {
                self.refuse(&why, out);
                Next::Continue
            }
        }
    }

    async fn try_to_sign_in(&mut self, it: &SignIn, out: &mut Out) -> Result<(), Refused> {
        let (signed, watchlist, wanted) = Signed::for_user(self.application(), &it.user_data)?;
        if self
            .signed_in
            .as_ref()
            .is_some_and(|before| before.user != signed.user)
        {
            let message = "the connection has signed in as another user";
            return Err(Refused::new(ErrorCode::Invalid, message));
        }
        let identity = signed.identity(self.application(), self.since);
        let authorized = self
            .authorized_for(&signed.user, || identity.clone(), None)
            .await?;
        // They may have been here already, as a channel's data say; what is signed now counts.
        if *self.sessions[authorized].identity() != identity {
            self.sessions[authorized].go_on_as(identity)?;
        }
        self.signed_in = Some(signed);
        out.push(words::signin_success(&it.user_data));
        if wanted > WATCHLIST_MAX {
            let message = format!("a watchlist has at most {WATCHLIST_MAX} users");
            out.push(words::error(&message, Some(WATCHLIST_TOO_LONG)));
            return Ok(());
        }
        let authorized = &mut self.sessions[authorized];
        let before: Vec<_> = authorized.session().users().cloned().collect();
        let gone: Vec<_> = before
            .into_iter()
            .filter(|it| !watchlist.contains(it))
            .collect();
        authorized.unwatch_users(&gone, None)?;
        self.watchlist = match watchlist.is_empty() {
            true => None,
            false => Some(Box::default()),
        };
        authorized.watch_users(watchlist, None)
    }
}
