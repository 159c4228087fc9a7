pub mod capture;
pub mod port;
pub mod stack;
pub mod wire;
