//! The servers of our own, really started.

mod redis;
