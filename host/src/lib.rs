pub mod capture;
pub mod port;
pub mod stack;
