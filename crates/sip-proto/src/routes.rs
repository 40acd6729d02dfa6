//! Route and Record-Route (RFC 3261 sections 16.4, 16.6 and 16.12, RFC 5658).

use bytes::Bytes;
use sip_message::{Edits, HeaderName, Message, Reject, Transport, Uri};

use crate::values;

/// What the Route headers of a request come to.
///
/// Scripts of SER and of Kamailio read different return codes from the same facts; here are the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    /// Where the request goes by its Routes.
    pub outcome: Outcome,
    /// The new Request-URI: restored behind a strict router, or the next hop that is one. It is
    /// the caller's to set, for scripts may change it further.
    pub request_uri: Option<Bytes>,
    /// The URI of the next hop, which wins over the Request-URI.
    pub next_hop: Option<Bytes>,
    /// The URI of our own Route that the request came along, with its parameters (`ftag`, ...).
    pub own: Option<Bytes>,
    /// Of a double Record-Route the URI of the side to send from (RFC 5658 section 4).
    pub send_from: Option<Bytes>,
    /// Whether the To has no tag: the Route was preloaded and the request begins a dialog.
    pub is_preloaded: bool,
}

/// Where a request goes by its Routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has no Route: to its Request-URI, which nothing here has looked at.
    NoRoute,
    /// It had our own Route alone: to its Request-URI. SER's `loose_route` says -1, Kamailio's 1 within
    /// a dialog and -3 when preloaded.
    OwnRouteOnly,
    /// A strict router before us had put our URI into the Request-URI; it is restored, and no Route is left.
    Restored,
    /// To [`Routing::next_hop`], a loose router.
    LooseHop,
    /// To [`Routing::next_hop`], a strict router: it gets its own URI as Request-URI (16.6 step 6).
    StrictHop,
}

/// Takes our own Routes off a request and finds the next hop (RFC 3261 sections 16.4 and 16.6 step 6).
///
/// `is_own` tells whether a URI names this server. The edits to the Route headers go into `edits`.
///
/// # Errors
/// When a Route value cannot be read: to be refused with 400. `edits` is then as it was.
pub fn loose_route(request: &Message, is_own: impl Fn(&Uri<'_>) -> bool, edits: &mut Edits) -> Result<Routing, Reject> {
    let routes = read(request)?;
    let mut routing = Routing {
        outcome: Outcome::NoRoute,
        request_uri: None,
        next_hop: None,
        own: None,
        send_from: None,
        is_preloaded: request.to_tag().is_none(),
    };
    if routes.is_empty() {
        return Ok(routing);
    }
    let mut left = 0..routes.len();
    if is_recorded(request.request_uri(), &is_own) {
        // 16.4: a strict router went before; the real target is the last Route.
        left.end -= 1;
        routing.own = Some(copy(request.request_uri()));
        routing.request_uri = Some(copy(routes[left.end].text));
    }
    pop_own(&routes[left.clone()], &is_own, &mut routing, &mut left.start);
    let Some(next) = routes.get(left.start).filter(|_| !left.is_empty()) else {
        routing.outcome = if routing.request_uri.is_some() { Outcome::Restored } else { Outcome::OwnRouteOnly };
        values::remove(request, HeaderName::Route, edits, |_| true);
        return Ok(routing);
    };
    routing.next_hop = Some(copy(next.text));
    if next.uri.is_loose_router() {
        routing.outcome = Outcome::LooseHop;
    } else {
        // 16.6 step 6: the Request-URI goes to the end of the Routes, and the strict router's takes its place.
        routing.outcome = Outcome::StrictHop;
        left.start += 1;
        let target = routing.request_uri.replace(copy(next.text));
        let target = target.unwrap_or_else(|| copy(request.request_uri()));
        edits.insert_after(HeaderName::Route, [b"Route: <", &target[..], b">\r\n"].concat());
    }
    values::remove(request, HeaderName::Route, edits, |place| !left.contains(&place));
    Ok(routing)
}

struct Route<'a> {
    text: &'a [u8],
    uri: Uri<'a>,
}

fn read(request: &Message) -> Result<Vec<Route<'_>>, Reject> {
    request
        .routes()
        .map(|route| {
            let route = route?;
            let offset = route.uri_span.start as usize;
            let uri = route.parsed_uri().map_err(|_| Reject::Header { name: HeaderName::Route, offset })?;
            Ok(Route { text: route.uri, uri })
        })
        .collect()
}

/// Whether a Request-URI is one that we wrote into a Record-Route: ours, without a user, and with
/// `lr`. A phone that sends to its proxy `sip:bob@us` along a Route must not be mistaken for a strict router.
fn is_recorded(request_uri: &[u8], is_own: impl Fn(&Uri<'_>) -> bool) -> bool {
    Uri::parse(request_uri).is_ok_and(|uri| uri.user.is_none() && uri.is_loose_router() && is_own(&uri))
}

/// Our topmost Route goes, and with it the second one of a double Record-Route (RFC 5658 section 5).
fn pop_own(routes: &[Route<'_>], is_own: impl Fn(&Uri<'_>) -> bool, routing: &mut Routing, popped: &mut usize) {
    let Some(first) = routes.first().filter(|route| is_own(&route.uri)) else { return };
    *popped += 1;
    routing.own.get_or_insert_with(|| copy(first.text));
    let is_second = |route: &&Route<'_>| first.uri.params.has("r2") && route.uri.params.has("r2") && is_own(&route.uri);
    if let Some(second) = routes.get(1).filter(is_second) {
        *popped += 1;
        routing.send_from = Some(copy(second.text));
    }
}

fn copy(text: &[u8]) -> Bytes {
    Bytes::copy_from_slice(text)
}

/// One side of this server, as a Record-Route names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side<'a> {
    /// An IPv6 address in its brackets.
    pub host: &'a [u8],
    /// The port.
    pub port: u16,
    /// The transport.
    pub transport: Transport,
}

/// How to write a Record-Route.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordRouteOptions<'a> {
    /// `;lr=on` in place of `;lr`, for peers that drop parameters without a value.
    pub has_full_lr: bool,
    /// Further parameters, each with its `;`, such as `;ftag=abc`.
    pub params: &'a [u8],
    /// The user part, which names a flow (RFC 5626 section 5.3); empty for none.
    pub user: &'a [u8],
    /// Whether the Request-URI is `sips:`, so that the Record-Route must be too (16.6 step 4).
    pub is_secure: bool,
}

/// Record-Route header lines, with their line ends, to stand before all others of that name.
///
/// One when the request leaves as it came; two where host, port or transport change, marked `;r2=on`,
/// the side that it leaves from on top (RFC 5658 section 4).
pub fn record_route(inbound: &Side<'_>, outbound: &Side<'_>, options: &RecordRouteOptions<'_>) -> Bytes {
    let is_double = inbound != outbound;
    let mut lines = Vec::with_capacity(128);
    push_record_route(&mut lines, outbound, is_double, options);
    if is_double {
        push_record_route(&mut lines, inbound, is_double, options);
    }
    lines.into()
}

/// Puts Record-Route lines before those that are there (16.6 step 4).
pub fn push_record_route_lines(lines: Bytes, request: &Message, edits: &mut Edits) {
    if request.has(HeaderName::RecordRoute) {
        edits.insert_before(HeaderName::RecordRoute, lines);
    } else {
        edits.insert_after(HeaderName::Via, lines);
    }
}

fn push_record_route(lines: &mut Vec<u8>, side: &Side<'_>, is_double: bool, options: &RecordRouteOptions<'_>) {
    lines.extend_from_slice(if options.is_secure { b"Record-Route: <sips:" } else { b"Record-Route: <sip:" });
    if !options.user.is_empty() {
        lines.extend_from_slice(options.user);
        lines.push(b'@');
    }
    lines.extend_from_slice(side.host);
    lines.extend_from_slice(format!(":{}", side.port).as_bytes());
    // UDP is what a URI without the parameter means.
    if side.transport != Transport::Udp {
        lines.extend_from_slice(b";transport=");
        lines.extend_from_slice(side.transport.uri_param().as_bytes());
    }
    if is_double {
        lines.extend_from_slice(b";r2=on");
    }
    lines.extend_from_slice(if options.has_full_lr { b";lr=on" } else { b";lr" });
    lines.extend_from_slice(options.params);
    lines.extend_from_slice(b">\r\n");
}

#[cfg(test)]
mod tests {
    use sip_message::{Limits, write};

    use super::*;

    fn request(uri: &str, routes: &str, to: &str) -> Message {
        let text = format!("BYE {uri} SIP/2.0\r\n{routes}To: {to}\r\n\r\n");
        Message::parse(Bytes::from(text), &Limits::default()).unwrap()
    }

    fn is_own(uri: &Uri<'_>) -> bool {
        uri.host_text == b"us" || uri.host_text == b"[2001:db8::1]"
    }

    struct Expected<'a> {
        outcome: Outcome,
        request_uri: Option<&'a str>,
        next_hop: Option<&'a str>,
        routes: &'a str,
    }

    fn check(uri: &str, routes: &str, expected: &Expected<'_>) -> Routing {
        let message = request(uri, routes, "<sip:b@h>;tag=1");
        let mut edits = Edits::new();
        let routing = loose_route(&message, is_own, &mut edits).unwrap();
        assert_eq!(routing.outcome, expected.outcome);
        assert_eq!(routing.request_uri.as_deref(), expected.request_uri.map(str::as_bytes));
        assert_eq!(routing.next_hop.as_deref(), expected.next_hop.map(str::as_bytes));
        let mut out = Vec::new();
        write(&message, &[&edits], &mut out);
        let written = String::from_utf8(out).unwrap();
        assert_eq!(written, format!("BYE {uri} SIP/2.0\r\n{}To: <sip:b@h>;tag=1\r\n\r\n", expected.routes));
        routing
    }

    // 16.12.1.1: loose routers all along.
    #[test]
    fn our_route_goes_and_the_next_one_is_the_next_hop() {
        let routing = check(
            "sip:b@host",
            "Route: <sip:us;lr;ftag=7>, <sip:p2;lr>\r\n",
            &Expected {
                outcome: Outcome::LooseHop,
                request_uri: None,
                next_hop: Some("sip:p2;lr"),
                routes: "Route: <sip:p2;lr>\r\n",
            },
        );
        assert_eq!(routing.own.as_deref(), Some(&b"sip:us;lr;ftag=7"[..]));
        assert!(!routing.is_preloaded);
    }

    #[test]
    fn our_route_alone_leaves_the_request_uri_to_decide() {
        let expected = Expected { outcome: Outcome::OwnRouteOnly, request_uri: None, next_hop: None, routes: "" };
        check("sip:b@host", "Route: <sip:us;lr>\r\n", &expected);
    }

    #[test]
    fn a_route_without_dialog_is_preloaded() {
        let message = request("sip:b@host", "Route: <sip:us;lr>\r\n", "<sip:b@h>");
        let routing = loose_route(&message, is_own, &mut Edits::new()).unwrap();
        assert_eq!((routing.outcome, routing.is_preloaded), (Outcome::OwnRouteOnly, true));
    }

    #[test]
    fn without_route_nothing_changes() {
        check("sip:b@host", "", &Expected { outcome: Outcome::NoRoute, request_uri: None, next_hop: None, routes: "" });
    }

    #[test]
    fn a_route_of_others_is_the_next_hop() {
        check(
            "sip:b@host",
            "Route: <sip:p9;lr>\r\n",
            &Expected {
                outcome: Outcome::LooseHop,
                request_uri: None,
                next_hop: Some("sip:p9;lr"),
                routes: "Route: <sip:p9;lr>\r\n",
            },
        );
    }

    // 16.12.1.2: a strict router after us.
    #[test]
    fn a_strict_router_gets_its_uri_as_request_uri() {
        check(
            "sip:b@host",
            "Route: <sip:us;lr>, <sip:p3>, <sip:p4;lr>\r\n",
            &Expected {
                outcome: Outcome::StrictHop,
                request_uri: Some("sip:p3"),
                next_hop: Some("sip:p3"),
                routes: "Route: <sip:p4;lr>\r\nRoute: <sip:b@host>\r\n",
            },
        );
        check(
            "sip:b@host",
            "Route: <sip:us;lr>, <sip:p3>\r\n",
            &Expected {
                outcome: Outcome::StrictHop,
                request_uri: Some("sip:p3"),
                next_hop: Some("sip:p3"),
                routes: "Route: <sip:b@host>\r\n",
            },
        );
    }

    // 16.4: a strict router before us.
    #[test]
    fn behind_a_strict_router_the_last_route_is_the_target() {
        check(
            "sip:us;lr",
            "Route: <sip:b@host>\r\n",
            &Expected { outcome: Outcome::Restored, request_uri: Some("sip:b@host"), next_hop: None, routes: "" },
        );
        check(
            "sip:us;lr",
            "Route: <sip:p3;lr>, <sip:b@host>\r\n",
            &Expected {
                outcome: Outcome::LooseHop,
                request_uri: Some("sip:b@host"),
                next_hop: Some("sip:p3;lr"),
                routes: "Route: <sip:p3;lr>\r\n",
            },
        );
    }

    #[test]
    fn a_user_of_ours_is_no_strict_router() {
        check(
            "sip:b@us",
            "Route: <sip:us;lr>\r\n",
            &Expected { outcome: Outcome::OwnRouteOnly, request_uri: None, next_hop: None, routes: "" },
        );
    }

    // RFC 5658 section 5.
    #[test]
    fn both_of_a_double_record_route_go() {
        let routes = "Route: <sip:us;r2=on;lr>\r\nRoute: <sip:[2001:db8::1]:5060;r2=on;lr>, <sip:p2;lr>\r\n";
        let routing = check(
            "sip:b@host",
            routes,
            &Expected {
                outcome: Outcome::LooseHop,
                request_uri: None,
                next_hop: Some("sip:p2;lr"),
                routes: "Route: <sip:p2;lr>\r\n",
            },
        );
        assert_eq!(routing.send_from.as_deref(), Some(&b"sip:[2001:db8::1]:5060;r2=on;lr"[..]));
    }

    #[test]
    fn a_second_visit_is_no_double_record_route() {
        check(
            "sip:b@host",
            "Route: <sip:us;lr>, <sip:us;lr>\r\n",
            &Expected {
                outcome: Outcome::LooseHop,
                request_uri: None,
                next_hop: Some("sip:us;lr"),
                routes: "Route: <sip:us;lr>\r\n",
            },
        );
    }

    #[test]
    fn a_route_that_cannot_be_read_is_refused() {
        let message = request("sip:b@host", "Route: <sip:us;lr>, <sip:\r\n", "<sip:b@h>");
        let mut edits = Edits::new();
        assert!(loose_route(&message, is_own, &mut edits).is_err());
        assert!(edits.is_empty());
    }

    const V4: Side<'static> = Side { host: b"192.0.2.1", port: 5060, transport: Transport::Udp };
    const V6: Side<'static> = Side { host: b"[2001:db8::1]", port: 5061, transport: Transport::Tls };

    #[test]
    fn one_record_route_where_nothing_changes() {
        let options = RecordRouteOptions { params: b";ftag=7", ..RecordRouteOptions::default() };
        assert_eq!(record_route(&V4, &V4, &options), "Record-Route: <sip:192.0.2.1:5060;lr;ftag=7>\r\n");
        let options = RecordRouteOptions { has_full_lr: true, is_secure: true, ..options };
        assert_eq!(
            record_route(&V6, &V6, &options),
            "Record-Route: <sips:[2001:db8::1]:5061;transport=tls;lr=on;ftag=7>\r\n"
        );
    }

    // RFC 5626 section 5.3.
    #[test]
    fn a_flow_is_named_in_the_user_part() {
        let options = RecordRouteOptions { params: b";ob", user: b"token", ..RecordRouteOptions::default() };
        assert_eq!(record_route(&V4, &V4, &options), "Record-Route: <sip:token@192.0.2.1:5060;lr;ob>\r\n");
    }

    // RFC 5658 section 4.
    #[test]
    fn two_record_routes_where_family_or_transport_change() {
        let lines = "Record-Route: <sip:[2001:db8::1]:5061;transport=tls;r2=on;lr>\r\n\
            Record-Route: <sip:192.0.2.1:5060;r2=on;lr>\r\n";
        assert_eq!(record_route(&V4, &V6, &RecordRouteOptions::default()), lines);
    }

    #[test]
    fn a_record_route_stands_before_the_others() {
        for (headers, expected) in [
            (
                "Via: v\r\nRecord-Route: <sip:p1;lr>\r\n",
                "Via: v\r\nRecord-Route: <sip:us;lr>\r\nRecord-Route: <sip:p1;lr>\r\n",
            ),
            ("Via: v\r\n", "Via: v\r\nRecord-Route: <sip:us;lr>\r\n"),
        ] {
            let message = request("sip:b@host", headers, "<sip:b@h>");
            let mut edits = Edits::new();
            let lines = Bytes::from_static(b"Record-Route: <sip:us;lr>\r\n");
            push_record_route_lines(lines, &message, &mut edits);
            let mut out = Vec::new();
            write(&message, &[&edits], &mut out);
            let expected = format!("BYE sip:b@host SIP/2.0\r\n{expected}To: <sip:b@h>\r\n\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
