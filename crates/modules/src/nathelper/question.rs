//! `nat_uac_test()`: signs that a message's sender sits behind NAT.

use std::net::IpAddr;

use module_api::{Call, Context, Function, KeyRule, Outcome, Param, ParamKind, Routes, Value, Variable};
use sip_message::{Limits, NameAddr, Transport, Uri, Via, multipart};

use super::Nat;
use super::address::{is_private, port_of, read_address};

pub(super) const TEST: Function = Function {
    name: "nat_uac_test",
    params: &[Param::required("tests", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "True when one of the chosen tests hits. Tests add up: 1 private address in Contact; 2 top Via and source address \
          differ; 4 private address in top Via; 8 private address in the session description; 16 top Via and source port \
          differ; 32 private source address; 64 it came over WebSocket; 128 Contact and source port differ; 256 an \
          address in the session description and the source differ. The Via tests never hit on replies, whose top Via is \
          this server's.",
    example: "if (nat_uac_test(\"19\")) force_rport();",
    run: |call| {
        let chosen = call.int(0).unwrap_or(0);
        let is_wide = call.state::<Nat>().is_wide;
        let context = &*call.context;
        TESTS.iter().any(|(bit, test)| chosen & bit != 0 && test(context, is_wide)).into()
    },
};

pub(super) const IS_RFC1918: Function = Function {
    name: "is_rfc1918",
    params: &[Param::required("address", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when the address is private, see nat_addr_mode. -1 for other addresses and for text that is none.",
    example: "if (is_rfc1918(\"$si\")) xlog(\"from inside\\n\");",
    run: |call| match read_address(&call.text(0)) {
        Some(address) => is_private(address, call.state::<Nat>().is_wide).into(),
        None => Outcome::FALSE,
    },
};

type Test = fn(&Context, bool) -> bool;

// The cheap ones first.
const TESTS: [(i64, Test); 9] = [
    (64, |context, _| matches!(context.arrival.transport, Transport::Ws | Transport::Wss)),
    (32, |context, is_wide| is_private(context.arrival.source.ip(), is_wide)),
    // A host name counts as different, as for `received` in RFC 3261 section 18.2.1.
    (2, |context, _| top_via(context).is_some_and(|via| via_address(&via) != Some(context.arrival.source.ip()))),
    (4, |context, is_wide| {
        top_via(context).and_then(|via| via_address(&via)).is_some_and(|address| is_private(address, is_wide))
    }),
    (16, |context, _| {
        top_via(context).is_some_and(|via| {
            let default = via.transport.unwrap_or(Transport::Udp).default_port();
            via.port.unwrap_or(default) != context.arrival.source.port()
        })
    }),
    (1, |context, is_wide| {
        any_contact(context, |uri| uri.host.address().is_some_and(|address| is_private(address, is_wide)))
    }),
    (128, |context, _| any_contact(context, |uri| port_of(uri) != context.arrival.source.port())),
    (8, |context, is_wide| any_media_address(context, |address| is_private(address, is_wide))),
    (256, |context, _| any_media_address(context, |address| address != context.arrival.source.ip())),
];

fn top_via(context: &Context) -> Option<Via<'_>> {
    context.message.is_request().then(|| context.message.top_via().ok()).flatten()
}

fn via_address(via: &Via<'_>) -> Option<IpAddr> {
    via.parsed_host()?.address()
}

fn any_contact(context: &Context, test: impl Fn(&Uri<'_>) -> bool) -> bool {
    let addresses = context.message.contacts().filter_map(|contact| contact.ok()?.address());
    addresses.filter_map(|address| address.parsed_uri().ok()).filter(Uri::is_sip).any(|uri| test(&uri))
}

/// Whether an address where media is received passes the test; the null address of a stream on hold
/// says nothing (RFC 3264 section 8.4).
fn any_media_address(context: &Context, test: impl Fn(IpAddr) -> bool) -> bool {
    let Ok(Some(session)) = multipart::session(&context.message, &Limits::default()) else { return false };
    session.connections().filter(|connection| !connection.is_null()).filter_map(|connection| connection.ip()).any(test)
}

/// `$rr_count`.
pub(super) const RECORD_ROUTES: Variable = Variable {
    name: "rr_count",
    key: KeyRule::None,
    routes: Routes::ANY,
    doc: "How many values Record-Route has.",
    example: "if ($rr_count > 2) xlog(\"far away\\n\");",
    read: |call, _| Value::Int(record_routes(call).count() as i64),
    write: None,
};

/// `$rr_top_count`.
pub(super) const TOP_RECORD_ROUTES: Variable = Variable {
    name: "rr_top_count",
    key: KeyRule::None,
    routes: Routes::ANY,
    doc: "How many values of Record-Route the last proxy has added: 2 where it changed transport or network, which its \
          parameter r2 says, else 1; 0 without Record-Route.",
    example: "if ($rr_count == $rr_top_count) xlog(\"the first proxy\\n\");",
    read: |call, _| {
        let first = record_routes(call).next();
        Value::Int(first.map_or(0, |value| {
            let address = NameAddr::parse(value).ok();
            let uri = address.and_then(|address| Uri::parse(address.uri).ok());
            if uri.is_some_and(|uri| uri.params.value("r2").is_some()) { 2 } else { 1 }
        }))
    },
    write: None,
};

fn record_routes<'a>(call: &'a Call<'_>) -> impl Iterator<Item = &'a [u8]> {
    let headers = call.context.message.headers_with_name(b"Record-Route");
    headers.flat_map(|header| header.values()).map(|value| value.text)
}

#[cfg(test)]
mod tests {
    use super::super::{MODULE, tests::BROWSER, tests::bench};
    use crate::testing::INVITE;
    use sip_message::Transport;

    #[test]
    fn proxies_on_the_way_are_counted() {
        let mut bench = crate::testing::Bench::new(INVITE);
        let counts = |bench: &mut crate::testing::Bench| {
            ["rr_count", "rr_top_count"].map(|name| bench.read(&MODULE, name, None).to_int())
        };
        assert_eq!(counts(&mut bench), [0, 0]);
        let lines =
            "Record-Route: <sip:192.0.2.3;r2=on;lr>, <sip:192.0.2.4;r2=on;lr>\r\nRecord-Route: <sip:192.0.2.5;lr>\r\n";
        let mut bench = crate::testing::Bench::new(&INVITE.replace("Subject: lunch\r\n", lines));
        assert_eq!(counts(&mut bench), [3, 2]);
    }

    const ALL: [i64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

    /// Which tests hit, each asked alone.
    fn check(message: &str, source: &str, transport: Transport, expected: &[i64]) {
        let mut bench = bench(message, source, transport, &[]);
        let mut asked = |bits: i64| bench.run(&MODULE, "nat_uac_test", &[&bits.to_string()]);
        let hits: Vec<i64> = ALL.into_iter().filter(|bit| asked(*bit) == 1).collect();
        assert_eq!(hits, expected, "{message}");
        assert_eq!(asked(511), if expected.is_empty() { -1 } else { 1 });
        assert_eq!(asked(0), -1);
    }

    fn with_sdp(address: &str) -> String {
        let sdp = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n");
        let length = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
        INVITE.replace("Content-Length: 0\r\n\r\n", &length)
    }

    #[test]
    fn a_phone_with_an_address_of_its_own_passes_every_test() {
        check(INVITE, "198.51.100.7:5070", Transport::Udp, &[]);
        check(&with_sdp("198.51.100.7"), "198.51.100.7:5070", Transport::Udp, &[]);
    }

    #[test]
    fn a_phone_behind_nat_is_found_out() {
        let invite = with_sdp("192.168.1.2").replace("198.51.100.7:5070", "192.168.1.2:5070");
        check(&invite, "203.0.113.5:41234", Transport::Udp, &[1, 2, 4, 8, 16, 128, 256]);
        check(&invite, "192.168.1.2:5070", Transport::Udp, &[1, 4, 8, 32]);
    }

    #[test]
    fn a_browser_is_told_by_its_transport_and_its_names() {
        check(BROWSER, "203.0.113.5:41234", Transport::Ws, &[2, 16, 64, 128]);
    }

    #[test]
    fn a_stream_on_hold_says_nothing() {
        check(&with_sdp("0.0.0.0"), "198.51.100.7:5070", Transport::Udp, &[]);
    }

    #[test]
    fn the_via_of_a_reply_is_not_the_senders() {
        let (_, headers) = INVITE.split_once("\r\n").unwrap();
        check(&format!("SIP/2.0 200 OK\r\n{headers}"), "203.0.113.5:5070", Transport::Udp, &[]);
    }

    #[test]
    fn an_address_can_be_asked_about() {
        let mut wide = bench(INVITE, "198.51.100.7:5070", Transport::Udp, &[]);
        let mut narrow = bench(INVITE, "198.51.100.7:5070", Transport::Udp, &[("nat_addr_mode", "0")]);
        for (address, in_wide, in_narrow) in
            [("10.1.2.3", 1, 1), ("100.64.0.1", 1, -1), ("[fd00::1]", 1, 1), ("8.8.8.8", -1, -1), ("home", -1, -1)]
        {
            assert_eq!(wide.run(&MODULE, "is_rfc1918", &[address]), in_wide, "{address}");
            assert_eq!(narrow.run(&MODULE, "is_rfc1918", &[address]), in_narrow, "{address}");
        }
    }
}
