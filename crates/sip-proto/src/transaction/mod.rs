//! The four transaction machines of RFC 3261 section 17, with RFC 6026 and RFC 4320.
//!
//! `LIFECYCLE.md` beside this file draws them and names the test of each arrow.

mod invite_client;
mod invite_server;
pub mod key;
pub mod messages;
mod non_invite_client;
mod non_invite_server;
mod timers;

pub use invite_client::{InviteClient, InviteClientState};
pub use invite_server::{Ack, InviteServer, InviteServerState};
pub use non_invite_client::{NonInviteClient, NonInviteClientState};
pub use non_invite_server::{NonInviteServer, NonInviteServerState};
pub use timers::Timers;

use bytes::Bytes;

/// What the owner of a server transaction is to do after a timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerTimer {
    /// Nothing was due.
    None,
    /// Make a 100 (Trying), send it and report it with `on_response_sent`: nothing else has gone
    /// out for long enough that the client needs one (RFC 3261 section 17.2.1, RFC 4320 section 4.1).
    Trying,
    /// Send this response again.
    Resend(Bytes),
    /// The failure response was never acknowledged (Timer H). The transaction is over.
    Failed,
    /// The transaction is over.
    Terminated,
}

/// What the owner of a client transaction is to do with a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientVerdict {
    /// It is news: hand it to the proxy.
    Pass,
    /// It is a repetition, or too late to matter.
    Absorb,
    /// A failure response to an INVITE: acknowledge it hop by hop, then hand it to the proxy.
    AckAndPass,
    /// The failure response again: repeat the ACK, tell nobody.
    AckAgain,
}

/// What the owner of a client transaction is to do after a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientTimer {
    /// Nothing was due.
    None,
    /// Send the request again.
    Resend,
    /// Nobody answered (Timer B or F): to the proxy this is a 408. The transaction is over.
    TimedOut,
    /// The transaction is over.
    Terminated,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They live in a table by the ten thousand.
    #[test]
    fn machines_stay_small() {
        assert_eq!(size_of::<InviteServer>(), 88);
        assert_eq!(size_of::<NonInviteServer>(), 72);
        assert_eq!(size_of::<InviteClient>(), 56);
        assert_eq!(size_of::<NonInviteClient>(), 56);
    }
}
