//! The virtual machine: runs a program on a request, and can be parked in the middle.

mod call;
mod compare;
mod evaluate;
mod run;

pub use run::{End, Progress, Run, Stop};
