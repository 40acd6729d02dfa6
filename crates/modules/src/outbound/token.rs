//! What a flow token holds (RFC 5626 section 5.2).

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use module_api::{Arrival, Call, Flow, SocketId};
use sip_message::Transport;

/// A flow: between which addresses, and on streams over which connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FlowToken {
    transport: Transport,
    connection: Option<u64>,
    local: SocketAddr,
    peer: SocketAddr,
}

const TRANSPORTS: [Transport; 5] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

impl FlowToken {
    /// The flow by which a message came.
    pub(super) fn of(arrival: &Arrival) -> FlowToken {
        FlowToken {
            transport: arrival.transport,
            connection: arrival.connection,
            local: arrival.local,
            peer: arrival.source,
        }
    }

    /// Whether it is the flow by which a message came.
    pub(crate) fn is_of(&self, arrival: &Arrival) -> bool {
        let other = FlowToken::of(arrival);
        (self.transport, self.connection, self.peer) == (other.transport, other.connection, other.peer)
    }

    /// Has the request go by the flow and no other way (RFC 5626 section 5.3.1).
    pub(crate) fn apply(&self, call: &mut Call<'_>) {
        let socket = self.socket(call);
        let target = &mut call.context.target;
        let transport = match self.transport {
            Transport::Udp => String::new(),
            transport => format!(";transport={}", transport.uri_param()),
        };
        target.destination = Some(Bytes::from(format!("sip:{}{transport}", self.peer)));
        // A number that no connection has: a token without one, for a stream, leads nowhere.
        let nowhere = (self.transport != Transport::Udp).then_some(u64::MAX);
        target.connection = self.connection.or(nowhere);
        target.socket = socket;
        target.flow = Some(Flow::Token);
        target.flows.clear();
        call.context.is_target_fresh = true;
    }

    /// The socket that the flow leads to: one that listens there, or at all addresses of the family.
    fn socket(&self, call: &Call<'_>) -> Option<SocketId> {
        let at = call.host.sockets().iter().position(|socket| {
            let address = socket.address;
            let is_address = address.ip() == self.local.ip()
                || (address.ip().is_unspecified() && address.is_ipv4() == self.local.is_ipv4());
            socket.transport == self.transport && is_address && address.port() == self.local.port()
        })?;
        u16::try_from(at).ok().map(SocketId)
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let transport = TRANSPORTS.iter().position(|known| *known == self.transport).unwrap_or_default();
        let mut out = vec![transport as u8];
        out.extend_from_slice(&self.connection.unwrap_or(0).to_be_bytes());
        for address in [self.local, self.peer] {
            match address.ip() {
                IpAddr::V4(ip) => out.extend_from_slice(&[&[4][..], &ip.octets()].concat()),
                IpAddr::V6(ip) => out.extend_from_slice(&[&[6][..], &ip.octets()].concat()),
            }
            out.extend_from_slice(&address.port().to_be_bytes());
        }
        out
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<FlowToken> {
        let (transport, rest) = bytes.split_first()?;
        let (connection, rest) = rest.split_first_chunk::<8>()?;
        let connection = u64::from_be_bytes(*connection);
        let (local, rest) = address(rest)?;
        let (peer, rest) = address(rest)?;
        let transport = *TRANSPORTS.get(usize::from(*transport))?;
        let connection = Some(connection).filter(|connection| *connection != 0);
        rest.is_empty().then_some(FlowToken { transport, connection, local, peer })
    }
}

fn address(bytes: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (family, rest) = bytes.split_first()?;
    let (ip, rest) = match family {
        4 => rest.split_first_chunk::<4>().map(|(ip, rest)| (IpAddr::from(*ip), rest))?,
        6 => rest.split_first_chunk::<16>().map(|(ip, rest)| (IpAddr::from(*ip), rest))?,
        _ => return None,
    };
    let (port, rest) = rest.split_first_chunk::<2>()?;
    Some((SocketAddr::new(ip, u16::from_be_bytes(*port)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_brings_the_flow_back() {
        for (transport, connection, peer) in [
            (Transport::Udp, None, "198.51.100.7:5070"),
            (Transport::Wss, Some(77), "[2001:db8::7]:40000"),
            (Transport::Tls, Some(u64::MAX), "198.51.100.7:1"),
        ] {
            let (local, peer) = ("192.0.2.1:5060".parse().unwrap(), peer.parse().unwrap());
            let token = FlowToken { transport, connection, local, peer };
            assert_eq!(FlowToken::from_bytes(&token.to_bytes()), Some(token));
            for length in 0..token.to_bytes().len() {
                assert_eq!(FlowToken::from_bytes(&token.to_bytes()[..length]), None);
            }
        }
        assert_eq!(FlowToken::from_bytes(&[9; 23]), None);
    }
}
