//! The part of your own server that serves clients of the native protocol.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Sink, Stream};
use presence_core::{DeviceId, META_BYTES_MAX};
use presence_hub::Hub;
use presence_protocol::ErrorCode;
use presence_protocol::event::Answer;

use crate::authorized::Authorized;
use crate::connection::Hello;
use crate::handshake::Handshake;
use crate::host::{Host, Operation};
use crate::identity::{Identity, ResumeKey};
use crate::message::Message;
use crate::rates::Rates;
use crate::request::Refused;
use crate::serving;

/// The room that a frame has besides a meta, in bytes: a frame may always be longer than the longest meta by this.
const FRAME_BESIDES_META: usize = 1024;

/// The settings of a [`Server`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often a connection may do each kind of thing. A command above that is refused, and a client that does not
    /// stop is closed.
    pub rates: Rates,
    /// The longest frame that a client may send, in bytes. A longer one closes its connection with 1009. It is raised to
    /// [`META_BYTES_MAX`] and 1 KiB, if it is less than that.
    pub frame_bytes_max: usize,
    /// The most topics and users that one session may watch. One more is refused with `too_many`.
    pub watches_max: usize,
    /// How long a connection may stay after its identity has expired ([`Identity::expires_at`]).
    pub token_leeway: Duration,
    /// The key that signs resume tokens. All nodes that share a store need the same key, so that a client which loses one
    /// node can continue on another; and a server that keeps its sessions over a restart needs the key from before. The
    /// default is a random one.
    pub resume_key: ResumeKey,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            rates: Rates::default(),
            frame_bytes_max: 64 * 1024,
            watches_max: 2000,
            token_leeway: Duration::from_secs(5),
            resume_key: ResumeKey::random().expect("the operating system has random numbers"),
        }
    }
}

/// Serves the native protocol on a hub. A clone is the same server, and cheap.
#[derive(Clone)]
pub struct Server(Arc<Own>);

struct Own {
    hub: Hub,
    settings: Settings,
    renew: Option<Renew>,
}

type Renew = Box<dyn Fn(&Identity, &str) -> Result<Identity, Refused> + Send + Sync>;

impl Server {
    /// A server on `hub` whose clients keep the identity that they have when they connect. A fresh token, which a client
    /// may send with `presence:authenticate`, is refused.
    pub fn new(hub: Hub, settings: Settings) -> Server {
        Server(Arc::new(Own {
            hub,
            settings,
            renew: None,
        }))
    }

    /// A server on `hub` where `renew` answers a client that sends a fresh token: with the new identity, or with the
    /// reason why it is refused. It gets the identity so far, and the token. Identities that expire need this: a client
    /// is asked for a fresh token up to a minute before [`Identity::expires_at`], and is closed when it sends none.
    ///
    /// The new identity has to be of the same user; one of another user is refused. `renew` must not block.
    pub fn renewing(
        hub: Hub,
        settings: Settings,
        renew: impl Fn(&Identity, &str) -> Result<Identity, Refused> + Send + Sync + 'static,
    ) -> Server {
        Server(Arc::new(Own {
            hub,
            settings,
            renew: Some(Box::new(renew)),
        }))
    }

    /// The hub whose sessions the clients have.
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// The longest message that your WebSocket library should accept, in bytes: twice the longest frame that a client may
    /// send. What is too long for the protocol but not for the library is answered with the close code for that; a
    /// connection that the library breaks cannot be told why.
    pub fn message_bytes_max(&self) -> usize {
        self.0.frame_bytes_max() * 2
    }

    /// Serves one connection until it ends, and ends its session or leaves it for the grace time.
    ///
    /// `socket` is an upgraded WebSocket: a stream of the client's messages, and a sink for ours. Its library has to
    /// answer pings. `identity` is who the client is and what it may do, as your server has found out; an error is told
    /// to the client, with a close code that says whether it should come back. (The answer to the upgrade cannot tell it:
    /// browsers keep that from pages.)
    ///
    /// The connection ends when the client goes or is silent for too long, when its identity expires, when the hub closes
    /// its session ([`Hub::kick`]), and when the hub stops. Dropping the future is a lost connection.
    ///
    /// A browser sends cookies from any page. If a cookie says who the client is, check the `Origin` header before you
    /// upgrade.
    pub async fn serve<S, M, E>(
        &self,
        socket: S,
        handshake: Handshake,
        identity: Result<Identity, Refused>,
    ) where
        S: Stream<Item = Result<M, E>> + Sink<M>,
        M: Into<Message> + From<Message>,
    {
        let hello = Hello {
            encoding: handshake.encoding,
            identity: identity.and_then(|it| on_device(it, &handshake)),
            resume: handshake.resume,
        };
        serving::serve(self.0.clone(), hello, socket).await;
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Server");
        shown.field("settings", &self.0.settings);
        shown.finish_non_exhaustive()
    }
}

/// The identity with the device that the client names, unless it has one.
fn on_device(identity: Identity, handshake: &Handshake) -> Result<Identity, Refused> {
    let device = match identity.device {
        None => handshake.asked().device()?,
        device => device,
    };
    Ok(Identity { device, ..identity })
}

impl Host for Own {
    fn hub(&self) -> &Hub {
        &self.hub
    }

    fn resume_key(&self) -> &ResumeKey {
        &self.settings.resume_key
    }

    fn rates(&self) -> &Rates {
        &self.settings.rates
    }

    fn frame_bytes_max(&self) -> usize {
        let least = META_BYTES_MAX + FRAME_BESIDES_META;
        self.settings.frame_bytes_max.max(least)
    }

    fn watches_max(&self) -> usize {
        self.settings.watches_max
    }

    fn token_leeway(&self) -> Duration {
        self.settings.token_leeway
    }

    /// Nothing revokes an identity here: the hub closes whom it kicks.
    fn check(&self, _: &Identity) -> Result<(), Refused> {
        Ok(())
    }

    fn renew(&self, old: &Identity, device: &DeviceId, token: &str) -> Result<Identity, Refused> {
        let unauthorized = |message: &str| Refused::new(ErrorCode::Unauthorized, message);
        let Some(renew) = &self.renew else {
            return Err(unauthorized("this server takes no fresh tokens"));
        };
        let renewed = renew(old, token)?;
        if renewed.user != old.user {
            return Err(unauthorized("the token is of another user"));
        }
        if renewed.device.as_ref().is_some_and(|it| it != device) {
            return Err(unauthorized("the token is of another device"));
        }
        Ok(Identity {
            device: old.device.clone(),
            ..renewed
        })
    }

    async fn operate(&self, _: &Authorized<Self>, operation: Operation) -> Result<Answer, Refused> {
        let message = format!("this server has no {} for operators", operation.name());
        Err(Refused::new(ErrorCode::UnknownCommand, message))
    }
}
