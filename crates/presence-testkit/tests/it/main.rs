//! The servers of our own, really started.

mod mongo;
mod redis;
