//! What the SIP RFCs say to do, without input, output or a clock.
#![forbid(unsafe_code)]
