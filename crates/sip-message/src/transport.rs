//! Transport protocols as SIP names them.

/// A transport that a `Via` or a `transport=` parameter can name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each variant is the transport of that name")]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
    Sctp,
}

impl Transport {
    /// The transport that `token` names, in any case (RFC 3261 section 7.3.1); `None` for one
    /// that is not known here.
    pub fn from_token(token: &[u8]) -> Option<Transport> {
        const ALL: [Transport; 6] =
            [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss, Transport::Sctp];
        ALL.into_iter().find(|transport| token.eq_ignore_ascii_case(transport.as_str().as_bytes()))
    }

    /// Its name in a `Via`: `UDP`.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
            Transport::Sctp => "SCTP",
        }
    }

    /// Its name in a `transport=` parameter: `udp`.
    pub fn uri_param(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
            Transport::Sctp => "sctp",
        }
    }

    /// Whether it delivers in order or reports failure, so that transactions need not retransmit.
    pub fn is_reliable(self) -> bool {
        self != Transport::Udp
    }

    /// Whether it is encrypted hop by hop, as a `sips` URI asks.
    pub fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// Port when none is written (RFC 3261 section 18.1.1 and 19.1.2; RFC 7118 section 8).
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp | Transport::Sctp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_read_in_any_case() {
        assert_eq!(Transport::from_token(b"udp"), Some(Transport::Udp));
        assert_eq!(Transport::from_token(b"Tls"), Some(Transport::Tls));
        assert_eq!(Transport::from_token(b"TLS-SCTP"), None);
    }
}
