//! Session descriptions of phones that do not know their own address.

use std::net::IpAddr;
use std::sync::Arc;

use module_api::{Call, Function, Outcome, Param, ParamKind, Routes};
use sip_message::{Limits, Span, multipart};

use super::Nat;
use super::address::read_address;

pub(super) const FIX: Function = Function {
    name: "fix_nated_sdp",
    params: &[Param::required("flags", ParamKind::Int), Param::optional("address", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Changes the session description: 1 adds a=direction:active, 2 writes the source address, or the given one, over \
          each connection address, 4 adds a=nortpproxy:yes, 8 does as 2 with the origin. Returns 1 when an address was \
          written over, 2 when none was; false without a session description.",
    example: "fix_nated_sdp(\"3\");",
    run: fix,
};

fn fix(call: &mut Call<'_>) -> Outcome {
    let flags = call.int(0).unwrap_or(0);
    let new = match call.arg_count() {
        1 => Some(call.context.arrival.source.ip()),
        _ => read_address(&call.text(1)),
    };
    let Some(new) = new else { return Outcome::fail("fix_nated_sdp: not an address") };
    let message = Arc::clone(&call.context.message);
    let Ok(Some(part)) = multipart::find(&message, "application/sdp", &Limits::default()) else {
        return Outcome::FALSE;
    };
    let settings = call.state::<Nat>();
    let edits = &mut call.context.edits;
    let mut at = part.body_span.start as usize;
    let (mut added, mut is_changed) = (Vec::new(), false);
    if flags & 1 != 0 {
        added.extend_from_slice(b"a=direction:active\r\n");
    }
    if flags & 4 != 0 {
        added.extend_from_slice(settings.no_proxy_line.as_bytes());
        added.extend_from_slice(b"\r\n");
    }
    for line in part.body().split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii_end();
        let is_meant = (flags & 2 != 0 && text.starts_with(b"c=")) || (flags & 8 != 0 && text.starts_with(b"o="));
        if let Some((from, old)) = address_of(text).filter(|_| is_meant) {
            edits.replace(Span::new(at + from, at + text.len()), connection(new));
            if settings.keeps_old_address {
                added.extend_from_slice(format!("a=oldmediaip:{old}\r\n").as_bytes());
            }
            is_changed = true;
        }
        at += line.len();
    }
    if !added.is_empty() {
        // A description whose last line has no end would take the first added line into it.
        let lead: &[u8] = if part.body().ends_with(b"\n") { b"" } else { b"\r\n" };
        edits.insert(at as u32, [lead, &added].concat());
    }
    Outcome::Value(if is_changed { 1 } else { 2 })
}

/// Where `IP4 ADDRESS` begins in an `o=` or `c=` line, and the address. A multicast scope behind it
/// is no phone's address, and stays.
fn address_of(line: &[u8]) -> Option<(usize, IpAddr)> {
    let from = line.windows(3).position(|part| part == b"IN ")? + 3;
    let address = std::str::from_utf8(line.get(from + 4..)?).ok()?;
    Some((from, address.parse().ok()?))
}

fn connection(address: IpAddr) -> String {
    format!("{} {address}", if address.is_ipv4() { "IP4" } else { "IP6" })
}

#[cfg(test)]
mod tests {
    use super::super::{MODULE, tests::bench};
    use crate::testing::INVITE;
    use sip_message::Transport;

    const BODY: &str =
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n";

    fn fixed(args: &[&str], settings: &[(&str, &str)]) -> (i64, String) {
        let head = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n", BODY.len());
        let text = INVITE.replace("Content-Length: 0\r\n\r\n", &head) + BODY;
        let mut bench = bench(&text, "203.0.113.5:41234", Transport::Udp, settings);
        let code = bench.run(&MODULE, "fix_nated_sdp", args);
        (code, bench.written().split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    // Codes and lines are those of Kamailio 5.6.3.
    #[test]
    fn addresses_are_written_over_and_lines_added() {
        let media = "t=0 0\r\nm=audio 5004 RTP/AVP 0\r\n";
        let old = "a=oldmediaip:10.0.0.1\r\n";
        assert_eq!(fixed(&["1"], &[]), (2, format!("{BODY}a=direction:active\r\n")));
        assert_eq!(fixed(&["4"], &[]), (2, format!("{BODY}a=nortpproxy:yes\r\n")));
        let origin = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\n";
        assert_eq!(fixed(&["2"], &[]), (1, format!("{origin}c=IN IP4 203.0.113.5\r\n{media}{old}")));
        assert_eq!(fixed(&["2", "9.9.9.9"], &[]), (1, format!("{origin}c=IN IP4 9.9.9.9\r\n{media}{old}")));
        let both = "v=0\r\no=- 1 1 IN IP4 203.0.113.5\r\ns=-\r\nc=IN IP4 203.0.113.5\r\n";
        assert_eq!(fixed(&["10"], &[]), (1, format!("{both}{media}{old}{old}")));
        let settings = [("append_sdp_oldmediaip", "0"), ("nortpproxy_str", "a=x:y")];
        assert_eq!(fixed(&["14"], &settings), (1, format!("{both}{media}a=x:y\r\n")));
    }

    #[test]
    fn without_a_description_nothing_is_done() {
        let mut bench = bench(INVITE, "203.0.113.5:41234", Transport::Udp, &[]);
        assert_eq!(bench.run(&MODULE, "fix_nated_sdp", &["2"]), -1);
        assert_eq!(fixed(&["2", "no address"], &[]).0, -1);
    }
}
