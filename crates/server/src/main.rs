//! The SIP Express Router.
fn main() {}
