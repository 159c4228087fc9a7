//! Intel's gigabit Ethernet controllers.

mod desc;
pub mod e1000e;
mod queue;
mod regs;

#[cfg(all(test, not(loom)))]
mod tests;
