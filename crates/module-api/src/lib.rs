//! What a script function sees: signature, value, call, outcome, wait.
#![forbid(unsafe_code)]
