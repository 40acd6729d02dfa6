//! Statistics and control.
#![forbid(unsafe_code)]
