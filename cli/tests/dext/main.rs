//! The whole driver on the Linux runtime: the dext's life cycle, its data path with the core behind it, its user
//! client, and every failing call in between. Mostly simulated: one thread, virtual time, a seeded schedule.

mod client;
mod faults;
mod lifecycle;
mod support;
mod taps;
mod threads;
mod traffic;
