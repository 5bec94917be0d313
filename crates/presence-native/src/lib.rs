//! The native protocol of Presence for your own server.

#[doc(hidden)]
pub mod authorized;
#[doc(hidden)]
pub mod closing;
#[doc(hidden)]
pub mod color;
#[doc(hidden)]
pub mod connection;
#[doc(hidden)]
pub mod end;
#[doc(hidden)]
pub mod frame;
#[doc(hidden)]
pub mod host;
pub mod identity;
#[doc(hidden)]
pub mod rates;
#[doc(hidden)]
pub mod request;
#[doc(hidden)]
pub mod upkeep;

pub use connection::Encoding;
pub use presence_protocol::ErrorCode;
pub use rates::Rates;
pub use request::Refused;
