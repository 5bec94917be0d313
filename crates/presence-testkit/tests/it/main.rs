//! The servers of our own, really started.

mod mongo;
mod redis;

/// The example of an own store of profiles keeps the contract.
#[cfg(feature = "conformance")]
#[path = "../../examples/own_profiles.rs"]
#[allow(unreachable_pub)] // It is a program.
mod own_profiles;

#[cfg(feature = "conformance")]
#[test]
fn the_example_of_an_own_store_keeps_the_contract() {
    own_profiles::main();
}
