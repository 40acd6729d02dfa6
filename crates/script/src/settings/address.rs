//! Addresses of `listen` and `alias`.

use sip_message::Transport;

use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::syntax::tree::{ListenTree, Word};

/// One place to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The transport; none: UDP and TCP, and TLS where it is enabled.
    pub transport: Option<Transport>,
    /// An address, a host name or the name of an interface; IPv6 without brackets.
    pub host: String,
    /// The port; none: the transport's default, or the parameter `port`.
    pub port: Option<u16>,
    /// Host and port to put into Via and Record-Route instead.
    pub advertise: Option<(String, u16)>,
    /// The name by which a script may call the socket.
    pub name: Option<String>,
}

/// A name that counts as this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Only over this transport.
    pub transport: Option<Transport>,
    /// The host, IPv6 without brackets.
    pub host: String,
    /// Only with this port.
    pub port: Option<u16>,
}

impl Listen {
    /// Reads `[transport:]host[:port]`, as a command line gives it; none when it is no address.
    pub fn parse(text: &str) -> Option<Listen> {
        let Alias { transport, host, port } = parse(text)?;
        Some(Listen { transport, host, port, advertise: None, name: None })
    }
}

pub(super) fn listen(tree: &ListenTree, diagnostics: &mut Diagnostics) -> Option<Listen> {
    let Alias { transport, host, port } = alias(&tree.address, diagnostics)?;
    let advertise = match &tree.advertise {
        None => None,
        Some(word) => alias(word, diagnostics).map(|advertised| {
            let default = transport.map_or(5060, Transport::default_port);
            (advertised.host, advertised.port.or(port).unwrap_or(default))
        }),
    };
    Some(Listen { transport, host, port, advertise, name: tree.name.clone() })
}

pub(super) fn alias(word: &Word, diagnostics: &mut Diagnostics) -> Option<Alias> {
    let parsed = parse(&word.text);
    if parsed.is_none() {
        let text = format!("`{}` is not an address", word.text);
        let help = "write [transport:]host[:port], for instance udp:192.0.2.1:5060 or tcp:[2001:db8::1]:5060";
        diagnostics.push(Diagnostic::error(codes::BAD_ADDRESS, word.span, text).help(help));
    }
    parsed
}

/// Reads `[transport:]host[:port]`; the port may be `*` for any.
fn parse(text: &str) -> Option<Alias> {
    let (transport, rest) = match text.split_once(':') {
        Some((head, rest)) if !head.is_empty() => match Transport::from_token(head.as_bytes()) {
            Some(transport) => (Some(transport), rest),
            None => (None, text),
        },
        _ => (None, text),
    };
    let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
        let (host, behind) = inner.split_once(']')?;
        if !behind.is_empty() && !behind.starts_with(':') {
            return None;
        }
        (host, behind.strip_prefix(':'))
    } else if rest.matches(':').count() > 1 {
        (rest, None)
    } else {
        rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)))
    };
    let port = match port {
        None | Some("*" | "0") => None,
        Some(port) => Some(port.parse().ok()?),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '*' | '%');
    let is_good = !host.is_empty() && host.chars().all(is_host);
    is_good.then(|| Alias { transport, host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_an_optional_transport_and_port() {
        let check = |text: &str, transport: Option<Transport>, host: &str, port: Option<u16>| {
            assert_eq!(parse(text), Some(Alias { transport, host: host.into(), port }), "{text}");
        };
        check("192.0.2.1", None, "192.0.2.1", None);
        check("udp:192.0.2.1:5060", Some(Transport::Udp), "192.0.2.1", Some(5060));
        check("tls:[2001:db8::1]:5061", Some(Transport::Tls), "2001:db8::1", Some(5061));
        check("2001:db8::1", None, "2001:db8::1", None);
        check("eth0:*", None, "eth0", None);
        check("TCP:sip.example.com", Some(Transport::Tcp), "sip.example.com", None);
        assert_eq!(parse("udp:192.0.2.1:99999"), None);
        assert_eq!(parse("[2001:db8::1"), None);
    }
}
