//! Every function that a script can call.
#![forbid(unsafe_code)]
