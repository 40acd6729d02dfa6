//! Capture files: pcapng written, pcap and pcapng read.
//!
//! Ours rather than a library: what is written are three kinds of block, and what is read must be taken apart down to
//! SIP in any case, with bounds for whatever a hostile file promises.

mod frame;
mod read;
mod stream;
mod write;

pub(crate) use read::read;
pub(crate) use write::Writer;
