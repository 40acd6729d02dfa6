//! Requests within a dialog (RFC 3261 section 12.2).

use bytes::Bytes;
use sip_message::{Builder, HeaderName, Message, NameAddr, Uri};

/// Where a request within a dialog goes (RFC 3261 section 12.2.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The Request-URI.
    pub uri: Bytes,
    /// Route header lines, each with its CRLF; empty without a route set.
    pub routes: Bytes,
    /// The next hop as a URI; none when it is the Request-URI.
    pub next_hop: Option<Bytes>,
}

/// The course to `target`, the URI of the peer's Contact, through `route_set`, whose entries are Route values.
pub fn course(target: &[u8], route_set: &[Bytes]) -> Course {
    let target = Bytes::copy_from_slice(target);
    let uri_of = |route: &Bytes| NameAddr::parse(route).ok().map(|name| route.slice_ref(name.uri));
    let Some(first) = route_set.first() else { return Course { uri: target, routes: Bytes::new(), next_hop: None } };
    let next_hop = uri_of(first);
    let is_loose = next_hop.as_ref().is_some_and(|uri| is_loose(uri));
    match next_hop {
        Some(uri) if !is_loose => {
            // A strict router is addressed in the Request-URI, and the target comes last.
            let last = Bytes::from([b"<", &target[..], b">"].concat());
            let rest: Vec<Bytes> = route_set[1..].iter().cloned().chain([last]).collect();
            Course { next_hop: Some(uri.clone()), uri, routes: route_lines(&rest) }
        }
        next_hop => Course { uri: target, routes: route_lines(route_set), next_hop },
    }
}

/// The route set that the Record-Route headers of `message` make, in their order: that of the UAS, and
/// reversed that of the UAC (RFC 3261 section 12.1).
pub fn recorded(message: &Message) -> Vec<Bytes> {
    message.values_of(HeaderName::RecordRoute).map(|value| message.slice(value.span)).collect()
}

/// The URI of the Contact: the remote target; none when it cannot be read.
pub fn contact_uri(message: &Message) -> Option<Bytes> {
    let value = message.values_of(HeaderName::Contact).next()?;
    let text = message.slice(value.span);
    let contact = NameAddr::parse(&text).ok()?;
    (contact.uri != b"*").then(|| Bytes::copy_from_slice(contact.uri))
}

/// An ACK without its Via, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuccessAck {
    /// The message.
    pub bytes: Bytes,
    /// The next hop as a URI; none when it is the Request-URI.
    pub next_hop: Option<Bytes>,
}

/// The course of the caller's requests in the dialog that `response` makes of `invite` (RFC 3261 section 12.1.2).
pub fn course_of_caller(invite: &Message, response: &Message) -> Course {
    let target = contact_uri(response).unwrap_or_else(|| invite.slice(invite.request_uri_span()));
    let mut route_set = recorded(response);
    route_set.reverse();
    course(&target, &route_set)
}

/// The ACK of a user agent client to a 2xx (RFC 3261 section 13.2.2.4).
pub fn ack_for_success(invite: &Message, response: &Message) -> SuccessAck {
    let course = course_of_caller(invite, response);
    let mut builder = Builder::request("ACK", &course.uri);
    builder.header(HeaderName::MaxForwards.as_str(), "70");
    if !course.routes.is_empty() {
        builder.raw_line(&course.routes);
    }
    builder.copy(invite, HeaderName::From).copy(response, HeaderName::To).copy(invite, HeaderName::CallId);
    // The credentials of the INVITE, for it was they that let it pass.
    builder.copy(invite, HeaderName::Authorization).copy(invite, HeaderName::ProxyAuthorization);
    let number = invite.cseq().map_or(1, |cseq| cseq.number);
    builder.header(HeaderName::CSeq.as_str(), format!("{number} ACK"));
    SuccessAck { bytes: builder.finish(), next_hop: course.next_hop }
}

fn route_lines(routes: &[Bytes]) -> Bytes {
    let mut lines = Vec::new();
    for route in routes {
        lines.extend_from_slice(b"Route: ");
        lines.extend_from_slice(route);
        lines.extend_from_slice(b"\r\n");
    }
    lines.into()
}

fn is_loose(uri: &[u8]) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.is_loose_router())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Limits;

    fn check(routes: &[&str], uri: &str, lines: &str, next_hop: Option<&str>) {
        let routes: Vec<Bytes> = routes.iter().map(|route| Bytes::copy_from_slice(route.as_bytes())).collect();
        let course = course(b"sip:bob@phone", &routes);
        assert_eq!(course.uri, uri);
        assert_eq!(course.routes, lines);
        assert_eq!(course.next_hop.as_deref(), next_hop.map(str::as_bytes));
    }

    // 12.2.1.1.
    #[test]
    fn without_a_route_set_the_target_is_the_next_hop() {
        check(&[], "sip:bob@phone", "", None);
    }

    // 12.2.1.1: loose routing.
    #[test]
    fn a_loose_route_leaves_the_target_in_the_request_uri() {
        check(
            &["<sip:p1.example;lr>", "<sip:p2.example;lr>"],
            "sip:bob@phone",
            "Route: <sip:p1.example;lr>\r\nRoute: <sip:p2.example;lr>\r\n",
            Some("sip:p1.example;lr"),
        );
    }

    // 12.2.1.1: "If the first URI of the route set does not contain the lr parameter".
    #[test]
    fn a_strict_router_is_addressed_itself_and_the_target_comes_last() {
        check(
            &["<sip:p1.example>", "<sip:p2.example;lr>"],
            "sip:p1.example",
            "Route: <sip:p2.example;lr>\r\nRoute: <sip:bob@phone>\r\n",
            Some("sip:p1.example"),
        );
    }

    // 13.2.2.4.
    #[test]
    fn the_ack_to_a_success_goes_to_the_contact_through_the_recorded_routes() {
        let parse = |text: &str| {
            Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).expect("a test's message")
        };
        let invite = parse(
            "INVITE sip:bob@example.com SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:bob@example.com>\r\n\
             Call-ID: x\r\nCSeq: 7 INVITE\r\nMax-Forwards: 70\r\n\r\n",
        );
        let reply = parse(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nRecord-Route: <sip:p2;lr>, <sip:p1;lr>\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:bob@example.com>;tag=2\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\n\
             Contact: <sip:bob@phone:5070>\r\nContent-Length: 0\r\n\r\n",
        );
        let ack = ack_for_success(&invite, &reply);
        assert_eq!(ack.next_hop.as_deref(), Some(&b"sip:p1;lr"[..]));
        assert_eq!(
            ack.bytes,
            "ACK sip:bob@phone:5070 SIP/2.0\r\nMax-Forwards: 70\r\nRoute: <sip:p1;lr>\r\nRoute: <sip:p2;lr>\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:bob@example.com>;tag=2\r\nCall-ID: x\r\nCSeq: 7 ACK\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }
}
