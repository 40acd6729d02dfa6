//! From what a script or the command line says about listening to addresses of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use module_api::Socket;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use script::Listen;
use sip_message::Transport;

/// What decides about transports where a line names none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    /// The port where none is given, for UDP and TCP.
    pub(crate) port: u16,
    /// Whether TCP is on.
    pub(crate) tcp: bool,
    /// Whether TLS is on: there is a certificate.
    pub(crate) tls: bool,
}

/// Reads `[PROTO:]HOST[:PORT]` from the command line.
///
/// # Errors
/// When it is no such thing.
pub(crate) fn parse(text: &str) -> Result<Listen> {
    Listen::parse(text).with_context(|| {
        format!(
            "`{text}` is not an address to listen on; write [PROTO:]HOST[:PORT], as in udp:192.0.2.1:5060 or tls:[::1]"
        )
    })
}

/// The sockets that `lines` ask for; without lines, every address of this machine.
///
/// # Errors
/// When a host cannot be resolved, or a transport is not to be had.
pub(crate) fn sockets(lines: &[Listen], defaults: Defaults) -> Result<Vec<Socket>> {
    let mut sockets: Vec<Socket> = Vec::new();
    let everywhere = [wildcard()];
    let lines = if lines.is_empty() { &everywhere } else { lines };
    for line in lines {
        for transport in transports(line, defaults)? {
            for ip in addresses(&line.host)? {
                let port = line.port.unwrap_or_else(|| default_port(transport, defaults));
                let advertised = line.advertise.as_ref().map(|(host, port)| (bracketed(host), *port));
                let name = line.name.as_ref().map(|name| Bytes::from(name.clone()));
                let socket = Socket { transport, address: SocketAddr::new(ip, port), advertised, name };
                if !sockets.iter().any(|known| is_same(known, &socket)) {
                    sockets.push(socket);
                }
            }
        }
    }
    Ok(sockets)
}

fn wildcard() -> Listen {
    Listen { transport: None, host: "*".to_owned(), port: None, advertise: None, name: None }
}

fn is_same(one: &Socket, other: &Socket) -> bool {
    one.transport == other.transport && one.address == other.address && one.address.port() != 0
}

fn transports(line: &Listen, defaults: Defaults) -> Result<Vec<Transport>> {
    let needs_tls = |transport| matches!(transport, Transport::Tls | Transport::Wss);
    match line.transport {
        None => {
            let mut transports = vec![Transport::Udp];
            transports.extend(defaults.tcp.then_some(Transport::Tcp));
            // TLS has a port of its own, so a line that names one does not ask for it.
            transports.extend((defaults.tls && line.port.is_none()).then_some(Transport::Tls));
            Ok(transports)
        }
        Some(Transport::Sctp) => bail!("listen sctp:{}: SCTP is not supported; use tcp or tls", line.host),
        Some(transport) if needs_tls(transport) && !defaults.tls => bail!(
            "listen {}:{}: there is no certificate; give --tls-cert and --tls-key, or load module tls with them",
            transport.uri_param(),
            line.host
        ),
        Some(transport) => Ok(vec![transport]),
    }
}

fn default_port(transport: Transport, defaults: Defaults) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => defaults.port,
        other => other.default_port(),
    }
}

fn bracketed(host: &str) -> Bytes {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => Bytes::from(format!("[{address}]")),
        Err(_) => Bytes::copy_from_slice(host.as_bytes()),
    }
}

/// The addresses that a host word means: itself, an interface, a name, or `*` for all of this machine.
fn addresses(host: &str) -> Result<Vec<IpAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if host == "*" {
        return Ok(all_addresses(|_| true));
    }
    match bare.parse::<IpAddr>() {
        // A wildcard cannot stand in a Via; the machine's own addresses can.
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => return Ok(all_addresses(IpAddr::is_ipv4)),
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => return Ok(all_addresses(IpAddr::is_ipv6)),
        Ok(address) => return Ok(vec![address]),
        Err(_) => {}
    }
    let of_interface = interface_addresses(host);
    if !of_interface.is_empty() {
        return Ok(of_interface);
    }
    let found = (host, 0)
        .to_socket_addrs()
        .with_context(|| format!("listen {host}: neither an address nor an interface, and no such name is known"))?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    Ok(addresses)
}

fn interface_addresses(name: &str) -> Vec<IpAddr> {
    own_addresses().filter(|(interface, ..)| interface == name).map(|(_, address, _)| address).collect()
}

/// Every address of this machine that a peer could use. Loopback comes last, so that a real address
/// is chosen where the choice is free; link-local ones are left out, since they mean nothing without a zone.
fn all_addresses(wanted: impl Fn(&IpAddr) -> bool) -> Vec<IpAddr> {
    let mut found: Vec<(bool, IpAddr)> = own_addresses()
        .filter(|(_, address, _)| wanted(address) && !is_link_local(address))
        .map(|(_, address, is_loopback)| (is_loopback, address))
        .collect();
    found.sort_by_key(|(is_loopback, address)| (*is_loopback, address.is_ipv6()));
    found.into_iter().map(|(_, address)| address).collect()
}

fn own_addresses() -> impl Iterator<Item = (String, IpAddr, bool)> {
    let interfaces = getifaddrs().ok().into_iter().flatten();
    interfaces.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP)).filter_map(|interface| {
        let storage = interface.address?;
        let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let address = v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))?;
        Some((interface.interface_name, address, interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)))
    })
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults = Defaults { port: 5060, tcp: true, tls: false };

    fn check(line: &str, expected: &[&str]) {
        let listen = parse(line).expect("the line is an address");
        let sockets = sockets(&[listen], DEFAULTS).expect("the address is of this machine");
        let shown: Vec<String> =
            sockets.iter().map(|socket| format!("{} {}", socket.transport.uri_param(), socket.address)).collect();
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn a_line_without_transport_means_udp_and_tcp() {
        check("127.0.0.1", &["udp 127.0.0.1:5060", "tcp 127.0.0.1:5060"]);
    }

    #[test]
    fn an_ipv6_address_keeps_its_brackets_to_itself() {
        check("udp:[::1]:5070", &["udp [::1]:5070"]);
    }

    #[test]
    fn an_interface_means_its_addresses() {
        let listen = parse("udp:lo").expect("an interface name");
        let sockets = sockets(&[listen], DEFAULTS).expect("every machine has a loopback interface");
        assert!(sockets.iter().any(|socket| socket.address == "127.0.0.1:5060".parse().expect("a literal")));
    }

    #[test]
    fn tls_without_certificate_is_refused_with_the_cure() {
        let listen = parse("tls:127.0.0.1").expect("an address");
        let error = sockets(&[listen], DEFAULTS).expect_err("there is no certificate");
        assert!(error.to_string().contains("--tls-cert"), "{error}");
    }

    #[test]
    fn an_unknown_name_is_named_in_the_error() {
        let listen = parse("udp:no-such-host.invalid").expect("a name");
        let error = sockets(&[listen], DEFAULTS).expect_err("there is no such host");
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    }
}
