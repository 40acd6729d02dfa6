//! What the engine can be told, and what every worker shares.

use std::time::Duration;

use module_api::Socket;
use sip_message::{Limits, Transport};
use sip_proto::resolve::ResolveSettings;

/// Settings of the engine. Each has the default that RFC 3261 or long practice gives it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bounds of a message.
    pub limits: Limits,
    /// Transaction timers.
    pub timers: sip_proto::transaction::Timers,
    /// Most transactions per worker; beyond it new requests get 503.
    pub max_transactions: usize,
    /// Most requests per worker that wait for something; beyond it new ones get 503.
    pub max_parked: usize,
    /// How long a wait may take before the function that asked for it fails.
    pub wait_deadline: Duration,
    /// Whether an INVITE that is relayed gets a 100 at once (RFC 3261 section 17.2.1).
    pub auto_trying: bool,
    /// `Server` header line for replies made here, without CRLF; none sends no such header.
    pub server_header: Option<String>,
    /// `User-Agent` header line for requests of our own, without CRLF; none sends no such header.
    pub user_agent_header: Option<String>,
    /// Whether every request is answered to the port that it came from (RFC 3581).
    pub forces_rport: bool,
    /// Whether the Via of ours asks for `rport` (RFC 3581).
    pub asks_rport: bool,
    /// Whether replies over UDP go to the address that the sender's Via names, and not where the request came from.
    pub replies_to_via: bool,
    /// Says from which of its addresses the host would send to a peer; none: the socket that a request came to is
    /// preferred, wherever it goes.
    pub source_toward: Option<fn(std::net::SocketAddr) -> Option<std::net::IpAddr>>,
    /// How clocks on the wall stand to UTC at a time in seconds since 1970; none: the server lives in UTC.
    pub zone: Option<fn(i64) -> module_api::Zone>,
    /// The extended attributes whose fields become parameters of our Via, and its address and port.
    pub via_records: ViaRecords,
    /// The number of this instance among several, for Vias that shall tell it; 0: none.
    pub server_id: u32,
    /// Requests over UDP larger than this leave over TCP (RFC 3261 section 18.1.1), where TCP is there.
    pub udp_mtu: usize,
    /// Which replies are left out of the choice when a failure route tries elsewhere.
    pub forgets: Forgets,
    /// Most branches of one transaction, and `Max-Breadth` for requests that bring none (RFC 5393).
    pub max_branches: u16,
    /// Memory per worker for the messages seen last and what the script made of them; zero keeps none.
    pub capture_bytes: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            limits: Limits::default(),
            timers: sip_proto::transaction::Timers::default(),
            max_transactions: 500_000,
            max_parked: 10_000,
            wait_deadline: Duration::from_secs(5),
            auto_trying: true,
            server_header: Some(concat!("Server: SER/", env!("CARGO_PKG_VERSION")).to_owned()),
            user_agent_header: Some(concat!("User-Agent: SER/", env!("CARGO_PKG_VERSION")).to_owned()),
            forces_rport: false,
            asks_rport: false,
            replies_to_via: false,
            source_toward: None,
            zone: None,
            via_records: ViaRecords::default(),
            server_id: 0,
            udp_mtu: 1300,
            forgets: Forgets::Nothing,
            max_branches: 60,
            capture_bytes: 0,
        }
    }
}

/// Names of extended attributes about our Via; empty: none.
#[derive(Debug, Clone, Default)]
pub struct ViaRecords {
    /// Its fields become parameters.
    pub params: bytes::Bytes,
    /// Its fields `address` and `port` become sent-by.
    pub fields: bytes::Bytes,
}

/// Replies of earlier tries that do not count for the final one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forgets {
    /// The best of all is chosen (RFC 3261 section 16.7 step 6).
    #[default]
    Nothing,
    /// Those of all tries before, as Kamailio does.
    Earlier,
    /// Those of the try that has just failed.
    Latest,
}

/// A name under which this server is addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Host name or address, lower case; an IPv6 address in brackets.
    pub host: String,
    /// Only with this port; none: with any.
    pub port: Option<u16>,
    /// Only over this transport; none: over any.
    pub transport: Option<Transport>,
}

/// The addresses and names of this server.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Listening sockets, in the order of the script.
    pub sockets: Vec<Socket>,
    /// Further names.
    pub aliases: Vec<Alias>,
}

impl Identity {
    /// What can be reached from these sockets (RFC 3263 section 4.1).
    pub fn resolve_settings(&self) -> ResolveSettings {
        let mut transports: Vec<Transport> = Vec::new();
        for socket in &self.sockets {
            if !transports.contains(&socket.transport) {
                transports.push(socket.transport);
            }
        }
        let default = if transports.contains(&Transport::Udp) { Some(&Transport::Udp) } else { transports.first() };
        ResolveSettings {
            default_transport: default.copied().unwrap_or(Transport::Udp),
            ipv4: self.sockets.iter().any(|socket| socket.address.is_ipv4()),
            ipv6: self.sockets.iter().any(|socket| socket.address.is_ipv6()),
            transports,
            ..ResolveSettings::default()
        }
    }

    /// Whether a URI with `host`, `port` and `transport` is addressed to this server.
    ///
    /// A URI without port means the default port when compared with an address on which the server
    /// listens (SER's rule), and any port when compared with an alias that names none.
    pub fn is_myself(&self, host: &[u8], port: Option<u16>, transport: Option<Transport>) -> bool {
        let is_alias = self.aliases.iter().any(|alias| {
            alias.host.as_bytes().eq_ignore_ascii_case(host)
                && alias.port.is_none_or(|ours| ours == port.unwrap_or_else(|| default_port(transport)))
                && alias.transport.is_none_or(|ours| transport.is_none_or(|theirs| theirs == ours))
        });
        is_alias || self.sockets.iter().any(|socket| listens_as(socket, host, port, transport))
    }
}

fn listens_as(socket: &Socket, host: &[u8], port: Option<u16>, transport: Option<Transport>) -> bool {
    if transport.is_some_and(|transport| transport != socket.transport) {
        return false;
    }
    let port = port.unwrap_or_else(|| default_port(transport));
    let is_advertised =
        socket.advertised.as_ref().is_some_and(|(name, number)| name.eq_ignore_ascii_case(host) && *number == port);
    let text = std::str::from_utf8(host).ok().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    let is_address = text
        .and_then(|text| text.parse().ok())
        .is_some_and(|ip: std::net::IpAddr| socket.address.port() == port && socket.address.ip() == ip);
    is_advertised || is_address
}

fn default_port(transport: Option<Transport>) -> u16 {
    transport.unwrap_or(Transport::Udp).default_port()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn identity() -> Identity {
        let socket = |transport, address: &str| Socket {
            transport,
            address: address.parse().expect("a literal address"),
            advertised: None,
            name: None,
        };
        let mut sockets = vec![socket(Transport::Udp, "192.0.2.1:5060"), socket(Transport::Tcp, "[2001:db8::1]:5070")];
        sockets[0].advertised = Some((Bytes::from_static(b"sip.example.net"), 5080));
        let aliases = vec![
            Alias { host: "example.com".into(), port: None, transport: None },
            Alias { host: "example.org".into(), port: Some(5060), transport: Some(Transport::Udp) },
        ];
        Identity { sockets, aliases }
    }

    fn check(host: &str, port: Option<u16>, expected: bool) {
        assert_eq!(identity().is_myself(host.as_bytes(), port, None), expected, "{host} {port:?}");
    }

    #[test]
    fn an_address_is_ours_only_with_its_port() {
        check("192.0.2.1", None, true);
        check("192.0.2.1", Some(5060), true);
        check("192.0.2.1", Some(5061), false);
        check("192.0.2.2", None, false);
        check("[2001:db8::1]", Some(5070), true);
        check("[2001:DB8:0::1]", Some(5070), true);
        check("[2001:db8::1]", None, false);
    }

    #[test]
    fn an_alias_without_port_is_ours_on_any_port() {
        check("EXAMPLE.com", Some(9999), true);
        check("example.org", None, true);
        check("example.org", Some(5070), false);
    }

    #[test]
    fn an_advertised_name_is_ours() {
        check("sip.example.net", Some(5080), true);
        check("sip.example.net", None, false);
    }
}
