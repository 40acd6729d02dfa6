//! Forwarding requests and responses (RFC 3261 sections 16.6, 16.7, 18.2; RFC 3581).

use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use sip_message::{Edits, Header, HeaderName, Host, Message, Transport, Via, push_address, push_number};

use crate::branch::has_magic_cookie;
use crate::values;

/// Max-Forwards of a request that came without (RFC 3261 section 16.6 step 3).
pub const MAX_FORWARDS: u8 = 70;

/// The request has made too many hops: 483 (RFC 3261 section 16.3 step 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyHops;

/// Counts Max-Forwards down, or adds it (RFC 3261 section 16.6 step 3).
///
/// # Errors
/// [`TooManyHops`] when it is zero; the request is to be refused with 483. A value that cannot be
/// read counts as absent: the message's verdict has spoken on it before.
pub fn count_down(request: &Message, edits: &mut Edits) -> Result<(), TooManyHops> {
    let header = request.header(HeaderName::MaxForwards);
    match (request.max_forwards(), header) {
        (Ok(Some(0)), _) => return Err(TooManyHops),
        (Ok(Some(hops)), Some(header)) => edits.replace(header.value_span, (hops - 1).to_string()),
        (_, Some(header)) => edits.replace(header.value_span, MAX_FORWARDS.to_string()),
        (_, None) => edits.append_header(format!("Max-Forwards: {MAX_FORWARDS}\r\n")),
    }
    Ok(())
}

/// What a Via of ours says.
#[derive(Debug, Clone, Copy)]
pub struct OwnVia<'a> {
    /// The transport of the next hop.
    pub transport: Transport,
    /// Host of sent-by, an IPv6 address in its brackets.
    pub host: &'a [u8],
    /// Port of sent-by.
    pub port: u16,
    /// From [`crate::branch`].
    pub branch: &'a [u8],
    /// Whether to ask the next hop for `rport` (RFC 3581).
    pub asks_rport: bool,
    /// Further parameters, each with its semicolon.
    pub params: &'a [u8],
}

/// Puts our Via on top (RFC 3261 section 16.6 step 8).
pub fn push_via(via: &OwnVia<'_>, edits: &mut Edits) {
    edits.insert_before(HeaderName::Via, via_line(via));
}

/// The header line of a Via of ours, with its line end.
pub fn via_line(via: &OwnVia<'_>) -> Bytes {
    let mut line = Vec::with_capacity(128);
    line.extend_from_slice(b"Via: SIP/2.0/");
    line.extend_from_slice(via.transport.as_str().as_bytes());
    line.push(b' ');
    line.extend_from_slice(via.host);
    line.push(b':');
    push_number(&mut line, via.port.into());
    line.extend_from_slice(b";branch=");
    line.extend_from_slice(via.branch);
    if via.asks_rport {
        line.extend_from_slice(b";rport");
    }
    line.extend_from_slice(via.params);
    line.extend_from_slice(b"\r\n");
    line.into()
}

/// Notes in the sender's Via where the request really came from (RFC 3261 section 18.2.1, RFC 3581
/// section 4). `is_rport_forced` acts as if the sender had asked for `rport`.
pub fn mark_sender(request: &Message, source: SocketAddr, is_rport_forced: bool, edits: &mut Edits) {
    let Ok(via) = request.top_via() else { return };
    if let Some(text) = marked_via(request, &via, source, is_rport_forced) {
        edits.replace(via.span, text);
    }
}

/// The sender's Via as [`mark_sender`] leaves it; none when it stays as it is. For
/// [`sip_message::Builder::response_via`].
pub fn marked_via(request: &Message, via: &Via<'_>, source: SocketAddr, is_rport_forced: bool) -> Option<Vec<u8>> {
    answered_via(request, via, (source, is_rport_forced), None)
}

/// What an overloaded server tells the neighbour that a request came from (RFC 7339 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverloadFeedback {
    /// Percentage of its requests that the neighbour shall keep to itself; 0: none.
    pub loss: u8,
    /// When that was decided, by the wall clock: of two, the later one counts.
    pub decided: Duration,
}

/// As [`marked_via`], with feedback for a sender that asks for it.
pub fn answered_via(
    request: &Message,
    via: &Via<'_>,
    (source, is_rport_forced): (SocketAddr, bool),
    feedback: Option<OverloadFeedback>,
) -> Option<Vec<u8>> {
    let feedback = feedback.filter(|_| via.asks_for_overload());
    let wants_rport = is_rport_forced || via.rport().is_some();
    let address = source.ip().to_canonical();
    let is_where_it_says = via.parsed_host().and_then(Host::address).is_some_and(|host| host.to_canonical() == address);
    let has_marks = via.received().is_some() || via.rport().flatten().is_some();
    if is_where_it_says && !wants_rport && !has_marks && feedback.is_none() {
        return None;
    }
    let head = via.params.span().start.max(via.sent_by.end) - via.span.start;
    let mut text = Vec::with_capacity(via.span.len() + 64);
    text.extend_from_slice(request.text(via.span)[..head as usize].trim_ascii_end());
    for param in via.params.iter_spans() {
        // Whatever the sender wrote there itself would lead our response astray.
        let is_ours = param.name.eq_ignore_ascii_case(b"received")
            || param.name.eq_ignore_ascii_case(b"rport")
            || (feedback.is_some() && is_of_overload(param.name));
        if !is_ours {
            text.extend_from_slice(request.text(param.span));
        }
    }
    if !is_where_it_says || wants_rport {
        // Without brackets, also for IPv6: the grammar of `received` has none (RFC 5118 section 4.5).
        text.extend_from_slice(b";received=");
        push_address(&mut text, address);
    }
    if wants_rport {
        text.extend_from_slice(b";rport=");
        push_number(&mut text, source.port().into());
    }
    if let Some(OverloadFeedback { loss, decided }) = feedback {
        // What is over ends at once (section 4.3).
        let validity = if loss == 0 { 0 } else { VALIDITY.as_millis() };
        let (seconds, fraction) = (decided.as_secs(), decided.subsec_millis());
        let told = format!(";oc={loss};oc-algo=\"loss\";oc-validity={validity};oc-seq={seconds}.{fraction:03}");
        text.extend_from_slice(told.as_bytes());
    }
    Some(text)
}

/// How long feedback holds without news (RFC 7339 section 4.3).
const VALIDITY: Duration = Duration::from_millis(500);

fn is_of_overload(name: &[u8]) -> bool {
    ["oc", "oc-algo", "oc-validity", "oc-seq"].iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

/// Where to send the response to a request that came from `source` (RFC 3261 section 18.2.2, RFC 3581).
///
/// `to_source` sends it to the very port that the request came from, as over a connection or when
/// `rport` is forced.
pub fn response_address(via: &Via<'_>, source: SocketAddr, to_source: bool) -> SocketAddr {
    if to_source {
        return source;
    }
    let port = via.port.unwrap_or_else(|| via.transport.map_or(5060, Transport::default_port));
    // Of the other address family it could not be reached from the socket that the request came to.
    let is_reachable = |address: &IpAddr| address.is_ipv4() == source.is_ipv4();
    if let Some(maddr) = via.maddr().and_then(Host::parse).and_then(Host::address).filter(is_reachable) {
        // Before `rport`, which counts where there is no maddr (RFC 3581 section 4).
        return SocketAddr::new(maddr, port);
    }
    if via.rport().is_some() {
        return source;
    }
    // To `received`, which is the source (18.2.1).
    SocketAddr::new(source.ip(), port)
}

/// As [`response_address`], where an operator trusts what senders write: to the address in the Via, where it names
/// one. Deviates from section 18.2.1, by which replies go where the request really came from.
pub fn response_address_as_written(via: &Via<'_>, source: SocketAddr) -> SocketAddr {
    let written = via.parsed_host().and_then(Host::address).filter(|address| address.is_ipv4() == source.is_ipv4());
    match written {
        Some(address) if via.rport().is_none() && via.maddr().is_none() => {
            let port = via.port.unwrap_or_else(|| via.transport.map_or(5060, Transport::default_port));
            SocketAddr::new(address, port)
        }
        _ => response_address(via, source, false),
    }
}

/// Where a Via leads, when there is no transaction that knows better (RFC 3261 section 18.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseTarget<'a> {
    /// A name is looked up as RFC 3263 section 5 says: [`crate::resolve::plan_response`].
    pub host: Host<'a>,
    /// None asks for SRV records when the host is a name, else means the default.
    pub port: Option<u16>,
    /// None when it is one that is not known here.
    pub transport: Option<Transport>,
}

/// Where to forward a response whose next Via, after ours, is `via`. None when its host cannot be read.
pub fn response_target<'a>(via: &Via<'a>) -> Option<ResponseTarget<'a>> {
    let transport = via.transport;
    if let Some(host) = via.maddr().and_then(Host::parse) {
        return Some(ResponseTarget { host, port: via.port, transport });
    }
    if let Some(host) = via.received().and_then(received_host) {
        let default = transport.map_or(5060, Transport::default_port);
        let port = via.rport().flatten().or(via.port).unwrap_or(default);
        return Some(ResponseTarget { host, port: Some(port), transport });
    }
    Some(ResponseTarget { host: via.parsed_host()?, port: via.port, transport })
}

/// With and without brackets: some elements write them (RFC 5118 section 4.5).
fn received_host(text: &[u8]) -> Option<Host<'_>> {
    let bare: Option<IpAddr> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    match bare {
        Some(IpAddr::V4(address)) => Some(Host::V4(address)),
        Some(IpAddr::V6(address)) => Some(Host::V6(address)),
        None => Host::parse(text).filter(|host| host.address().is_some()),
    }
}

/// Takes our Via off a response (RFC 3261 section 16.7 step 3). Returns whether another one follows;
/// if none does, the response was for us.
pub fn pop_via(response: &Message, edits: &mut Edits) -> bool {
    values::remove(response, HeaderName::Via, edits, |place| place == 0);
    response.values_of(HeaderName::Via).nth(1).is_some()
}

/// Adds the challenges of another branch to the response that goes upstream (RFC 3261 section 16.7 step 7).
pub fn add_challenges(response: &Message, other: &Message, edits: &mut Edits) {
    for name in [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate] {
        for header in other.headers_named(name) {
            // Two branches of one server would have the client answer the same challenge twice.
            let is_there = |own: Header<'_>| own.value == header.value;
            if !response.headers_named(name).any(is_there) {
                let line = [name.as_str().as_bytes(), b": ", &header.unfolded(), b"\r\n"].concat();
                edits.append_header(line);
            }
        }
    }
}

/// [`stateless_identity`] of the request that a response answers, from the Via below our own.
///
/// None when that Via is of RFC 2543.
pub fn stateless_identity_of(response: &Message, next: &Via<'_>, mut hasher: impl Hasher) -> Option<u64> {
    identity_of_branch(response, next, &mut hasher)
}

fn identity_of_branch(message: &Message, via: &Via<'_>, hasher: &mut impl Hasher) -> Option<u64> {
    let branch = via.branch().filter(|branch| has_magic_cookie(branch))?;
    hasher.write(branch);
    hasher.write(message.text(via.sent_by));
    Some(hasher.finish())
}

/// What tells transactions apart where no state is kept (RFC 3261 section 16.11): the same for a
/// retransmission, for a CANCEL, and for the ACK to a failure.
///
/// `hasher` is keyed with a secret, and the same one each time.
pub fn stateless_identity(request: &Message, mut hasher: impl Hasher) -> u64 {
    let Ok(via) = request.top_via() else { return hasher.finish() };
    match identity_of_branch(request, &via, &mut hasher) {
        Some(identity) => return identity,
        None => {
            let cseq = request.cseq().map_or(0, |cseq| cseq.number);
            // The To tag of 16.11 is left out: the ACK to a failure has one and its INVITE has not.
            let from_tag = request.from_tag().unwrap_or_default();
            for part in [request.text(via.span), request.call_id(), from_tag, request.request_uri()] {
                hasher.write(part);
                hasher.write_usize(part.len());
            }
            hasher.write_u32(cseq);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
