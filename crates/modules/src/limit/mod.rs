//! How many requests pass in a time: the pipes of modules ratelimit and pipelimit.

mod commands;
mod load;
mod pipe;
mod pipelimit;
mod ratelimit;

pub use pipelimit::MODULE as PIPELIMIT;
pub use ratelimit::MODULE as RATELIMIT;
