//! The native protocol of Presence for your own server.
