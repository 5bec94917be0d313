//! Where a connection comes from, in the form in which it may be told to an administrator.

use std::net::IpAddr;
use std::sync::Arc;

use presence_core::explain::ClientOrigin;

use crate::config::Addresses;
use crate::dialect_name::DialectName;
use crate::identity::ResumeKey;

/// The address from which a connection was accepted: that of the last proxy, if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

/// Where a connection of a test comes from.
#[cfg(test)]
pub(crate) fn of_a_test() -> Arc<ClientOrigin> {
    Arc::new(ClientOrigin {
        dialect: "test".into(),
        address: None,
    })
}

/// Where a connection of this dialect comes from. The key makes the hash of an address.
pub(crate) fn of(
    (addresses, key): (Addresses, &ResumeKey),
    dialect: DialectName,
    address: Option<PeerAddress>,
) -> Arc<ClientOrigin> {
    let address = address.map(|it| it.0.to_canonical());
    let address = match addresses {
        Addresses::Hashed => address.map(|it| key.hash_of(it)),
        Addresses::Full => address.map(|it| it.to_string()),
        Addresses::Off => None,
    };
    Arc::new(ClientOrigin {
        dialect: dialect.name().into(),
        address: address.map(Arc::from),
    })
}
