pub mod port;
pub mod stack;
