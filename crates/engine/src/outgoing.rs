//! Messages on their way out, between the core of a worker and its sockets.

use std::net::SocketAddr;

use bytes::Bytes;
use module_api::{SocketId, TransactionKey};
use sip_message::Transport;

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Which way.
    pub way: Way,
    /// The message.
    pub bytes: Bytes,
    /// Which branch to tell when it cannot be sent; none for replies and what is sent statelessly.
    pub sender: Option<Sender>,
}

/// A way to a peer: over which socket, to which address, on which connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The socket to send from, or whose address a new connection starts from.
    pub socket: SocketId,
    /// The transport.
    pub transport: Transport,
    /// The peer.
    pub peer: SocketAddr,
    /// The open connection to prefer.
    pub connection: Option<u64>,
    /// Whether no other connection will do: it is a flow (RFC 5626).
    pub is_bound: bool,
    /// The name to ask for and to check in a TLS certificate (RFC 5922).
    pub server_name: Option<Box<str>>,
}

/// The branch that sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sender {
    /// Its transaction.
    pub transaction: TransactionKey,
    /// Its number in the transaction.
    pub branch: u16,
}

impl Sender {
    /// As one number with the number of the worker, to be handed through layers that know no transactions.
    /// Never 0: generations begin at 1.
    pub(crate) fn to_token(self, worker: u16) -> u64 {
        let slot = u64::from(self.transaction.slot & 0xff_ffff);
        let generation = u64::from(self.transaction.generation & 0xff_ffff);
        slot << 40 | generation << 16 | u64::from(self.branch as u8) << 8 | u64::from(worker as u8)
    }

    /// The inverse of [`Sender::to_token`]; none for 0.
    pub(crate) fn from_token(token: u64) -> Option<(usize, Sender)> {
        let part = |shift: u64| (token >> shift & 0xff_ffff) as u32;
        let transaction = TransactionKey { slot: part(40), generation: part(16) };
        let sender = Sender { transaction, branch: u16::from((token >> 8) as u8) };
        (token != 0).then_some((usize::from(token as u8), sender))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_brings_back_its_sender_and_worker() {
        let transaction = TransactionKey { slot: 0x12_3456, generation: 0xab_cdef };
        let sender = Sender { transaction, branch: 77 };
        assert_eq!(Sender::from_token(sender.to_token(3)), Some((3, sender)));
        assert_eq!(Sender::from_token(0), None);
    }
}
