//! Where a collector is, as scripts write it: a SIP URI.

use std::fmt;
use std::net::SocketAddr;

use sip_message::{Transport, Uri};

/// Where a collector is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) host: Box<str>,
    pub(super) port: u16,
    pub(super) is_tcp: bool,
}

impl Place {
    /// Reads `sip:HOST[:PORT][;transport=tcp]`.
    pub(super) fn parse(text: &[u8]) -> Result<Place, String> {
        let shown = || format!("`{}` is no address; write sip:HOST:PORT", String::from_utf8_lossy(text));
        let uri = Uri::parse(text).ok().filter(Uri::is_sip).ok_or_else(shown)?;
        let host = std::str::from_utf8(uri.host_text).map_err(|_| shown())?.trim_matches(['[', ']']);
        let is_tcp = match uri.transport() {
            None | Some(Transport::Udp) => false,
            Some(Transport::Tcp) => true,
            Some(other) => return Err(format!("a collector takes UDP or TCP, not {}", other.as_str())),
        };
        if host.is_empty() {
            return Err(shown());
        }
        Ok(Place { host: host.into(), port: uri.port.unwrap_or(5060), is_tcp })
    }

    /// Where it is now. The system's resolver may take its time: for tasks beside the workers.
    pub(super) async fn address(&self) -> Result<SocketAddr, String> {
        let found = tokio::net::lookup_host((&*self.host, self.port)).await;
        let mut found = found.map_err(|why| format!("{} cannot be resolved: {why}", self.host))?;
        found.next().ok_or_else(|| format!("{} has no address", self.host))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = if self.is_tcp { "tcp" } else { "udp" };
        match self.host.contains(':') {
            true => write!(f, "{transport}:[{}]:{}", self.host, self.port),
            false => write!(f, "{transport}:{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_sip_uri() {
        let shown = |text: &str| Place::parse(text.as_bytes()).map(|place| place.to_string());
        assert_eq!(shown("sip:192.0.2.1:9060"), Ok("udp:192.0.2.1:9060".into()));
        assert_eq!(shown("sip:homer.example.com;transport=tcp"), Ok("tcp:homer.example.com:5060".into()));
        assert_eq!(shown("sip:[2001:db8::1]:9060"), Ok("udp:[2001:db8::1]:9060".into()));
        for wrong in ["homer:9060", "", "tel:1", "sip:a;transport=tls"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
