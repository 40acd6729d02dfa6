//! Workers: receive, match, run the script, send.
#![forbid(unsafe_code)]
