//! SIP text to structure and back: index, URIs, headers, SDP, edits, writing.
//!
//! A received message stays the bytes that came. [`Message::parse`] finds where each header lies
//! and decodes nothing; accessors decode what is asked for; [`Edits`] list what shall change, and
//! [`write()`] puts spans and edits together. No I/O, no clock, no panic on any input.
//!
//! # What is refused and what is borne
//!
//! One header model serves parsing, framing and writing, so that no two parts of the program can
//! see different headers. [`Message::parse`] fails only where nobody could be answered; every
//! other fault is kept in the message and reported by [`Message::verdict`], so that a request
//! still gets its 400.
//!
//! | input | answer |
//! |---|---|
//! | white space between header name and colon | accepted, it is in the grammar (HCOLON, RFC 3261 section 25.1) |
//! | CRLF before the start line | skipped (section 7.5) |
//! | LF without CR, CR without LF, anywhere in the head | 400; on a stream a bare LF ends the connection |
//! | NUL in the head | 400, except as a quoted pair, which the grammar allows |
//! | second `Content-Length`, `CSeq`, `Call-ID`, `From`, `To`, `Max-Forwards`, `Content-Type`, `Expires` | 400, equal or not |
//! | `Content-Length` beyond 32 bits, signed or not a number | 400; on a stream the connection ends |
//! | `Content-Length` larger than the datagram's body | 400 (section 18.3) |
//! | `Content-Length` smaller than the datagram's body | the rest is cut (section 18.3) |
//! | no `Content-Length` | datagram: body to its end; stream: the connection ends (section 20.14) |
//! | a line without colon or without name | 400 |
//! | a fold right after the start line | 400 |
//! | `Max-Forwards` above 255, `CSeq` of 2^31 or more | 400 |
#![forbid(unsafe_code)]

mod builder;
mod decimal;
mod decode;
mod decoded;
mod edits;
mod framing;
mod header;
mod header_name;
mod index;
mod lex;
mod message;
mod method;
pub mod multipart;
mod name_addr;
mod params;
mod reject;
pub mod sdp;
mod span;
mod transport;
mod uri;
mod uri_equivalence;
mod verdict;
mod via;
mod write;

pub use builder::Builder;
pub use decimal::{push_address, push_number};
pub use decode::{CSeq, RAck};
pub use edits::Edits;
pub use framing::{Frame, Framer};
pub use header::{Header, Value, Values};
pub use header_name::HeaderName;
pub use lex::{is_token, unescape, unfold, unquote};
pub use message::Message;
pub use method::Method;
pub use name_addr::{ContactValue, NameAddr};
pub use params::{AuthParams, Param, Params};
pub use reject::Reject;
pub use span::{Limits, Span};
pub use transport::Transport;
pub use uri::{Host, Scheme, Uri};
pub use verdict::{Element, Verdict};
pub use via::Via;
pub use write::write;
