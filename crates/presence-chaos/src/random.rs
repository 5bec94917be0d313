//! Recipes and random plans: clients that do anything at any time, gateways and a Redis that break, and a checker that
//! knows only what the clients did and what they were told.

pub(crate) mod recipes;

pub(crate) mod play;

mod plan;

mod clients;
mod faults;
mod ground;

mod fault;
mod journal;
mod store;
mod web;

mod register;
mod truth;
mod windows;

mod checks;
