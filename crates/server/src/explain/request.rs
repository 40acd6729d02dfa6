//! The request that the options of `ser explain` describe.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use sip_message::{Transport, Uri};

use super::ExplainArguments;
use crate::simulate::message::Text;

/// Writes the request as a phone at `source` would send it to the server at `local`.
///
/// # Errors
/// When a part of it cannot be written.
pub(super) fn build(
    arguments: &ExplainArguments,
    (method, target): (&str, &str),
    (source, _): (SocketAddr, SocketAddr),
    transport: Transport,
) -> Result<String> {
    let target = uri(target);
    if Uri::parse(target.as_bytes()).is_err() {
        bail!("`{target}` is no URI; write sip:bob@example.com");
    }
    let from = uri(&arguments.from);
    let to = match &arguments.to {
        Some(to) => uri(to),
        None if method == "REGISTER" => from.clone(),
        None => target.clone(),
    };
    let user = from.split_once(':').and_then(|(_, rest)| rest.split_once('@')).map_or("anonymous", |(user, _)| user);
    let via = transport.as_str();
    let param = match transport {
        Transport::Udp => String::new(),
        other => format!(";transport={}", other.uri_param()),
    };
    let mut text = Text {
        start: format!("{method} {target} SIP/2.0"),
        headers: [
            ("Via", format!("SIP/2.0/{via} {source};branch=z9hG4bKexplain;rport")),
            ("Max-Forwards", "70".to_owned()),
            ("From", format!("<{from}>;tag=explain")),
            ("To", format!("<{to}>")),
            ("Call-ID", "explain@ser".to_owned()),
            ("CSeq", format!("1 {method}")),
            ("Contact", format!("<sip:{user}@{source}{param}>")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        body: String::new(),
    };
    for line in &arguments.header {
        let (name, value) = line.split_once(':').with_context(|| format!("--header `{line}`: write Name: value"))?;
        text.set(name.trim(), value.trim());
    }
    if let Some(file) = &arguments.body {
        text.body = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        if text.header("Content-Type").is_none() {
            text.set("Content-Type", "application/sdp");
        }
    }
    Ok(text.to_wire())
}

/// A URI, of which the scheme may be left out.
pub(crate) fn uri(text: &str) -> String {
    let has_scheme = ["sip:", "sips:", "tel:"].iter().any(|scheme| text.starts_with(scheme));
    if has_scheme { text.to_owned() } else { format!("sip:{text}") }
}
