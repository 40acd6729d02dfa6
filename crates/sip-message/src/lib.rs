//! SIP text to structure and back: index, URIs, headers, SDP, edits, writing.
#![forbid(unsafe_code)]
