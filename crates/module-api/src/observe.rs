//! What modules may watch of transactions: for accounting and for dialogs.

use std::sync::Arc;

use bytes::Bytes;
use sip_message::Message;

use crate::Call;

/// Something that happened to a transaction whose request the script has routed.
///
/// The call that comes with it is about the request: its flags and attributes are those that the script left,
/// its target the one that was relayed to. What the observer changes of flags and attributes stays.
#[derive(Debug, Clone, Copy)]
pub enum Happening<'a> {
    /// A reply has been made or passed on, and leaves at the end of this turn: what an observer writes down now
    /// is written before the peer knows. Each status above 100 that goes upstream, the first final one being the last.
    Replied(Replied<'a>),
    /// Every branch has failed, and the failure route, where there is one, is about to run. `reply` is none where
    /// the status was made here.
    Failed {
        /// The status of the best reply.
        code: u16,
        /// The best reply.
        reply: Option<&'a Arc<Message>>,
    },
    /// The script relays the ACK to a success. It has no transaction of its own, so the call is about the ACK
    /// and the flags are those that the script gave it.
    Acknowledged,
}

/// A reply on its way upstream.
#[derive(Debug, Clone, Copy)]
pub struct Replied<'a> {
    /// Its status.
    pub code: u16,
    /// Its reason phrase.
    pub reason: &'a [u8],
    /// The tag of its To header; empty where it has none.
    pub to_tag: &'a Bytes,
    /// The reply as it came from a branch; none where it was made here.
    pub reply: Option<&'a Message>,
}

/// Code that watches. It must not block, and must not relay or reply.
pub type Observe = fn(&mut Call<'_>, &Happening<'_>);
