//! What operators list and end: channels, gateways and connections, on all gateways of the cluster. The HTTP API and the
//! native protocol share this.

mod channels;
mod connections;
mod nodes;

use std::time::Duration;

use presence_protocol::ErrorCode;

pub(crate) use self::channels::channels;
pub(crate) use self::connections::{GatewayCount, Named, connections, disconnect};
pub(crate) use self::nodes::nodes;
use crate::identity::{Forbidden, Identity};
use crate::request::Refused;

/// Checks that the caller may see who hides. Without a key everybody is an admin, and hiding shall work there too.
pub(crate) fn may_see_hidden(identity: &Identity) -> Result<(), Forbidden> {
    identity.may_administer()?;
    match identity.open {
        true => Err(Forbidden::without_a_key()),
        false => Ok(()),
    }
}

/// The refusal where a store does not answer.
fn unavailable(message: &str) -> Refused {
    Refused::new(ErrorCode::Unavailable, message).retry_after(Duration::from_secs(2))
}
