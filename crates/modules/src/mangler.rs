//! Session descriptions and contacts rewritten as SER's module mangler did.

use std::sync::Arc;

use module_api::{Call, Function, Module, Outcome, Param, ParamKind, Parameter, Routes, SetupError, State};
use sip_message::{Limits, Message, Span, multipart};

use crate::contact_code::{self, Separator};
use crate::network::{self, Network};
use crate::setting::text;

/// Session descriptions and contacts rewritten.
pub static MODULE: Module = Module {
    name: "mangler",
    doc: "Rewrites addresses and ports of session descriptions, and contacts.",
    parameters: PARAMETERS,
    functions: &[MANGLE_PORT, MANGLE_IP, ENCODE_CONTACT, DECODE_CONTACT, DECODE_CONTACT_HEADER],
    make: |setup| {
        let separator = Separator::parse(&setup.text("contact_flds_separator"));
        let cause = |cause| SetupError::Setting { name: "contact_flds_separator", cause };
        separator.map(|separator| Arc::new(separator) as Arc<dyn State>).map_err(cause)
    },
    ..Module::EMPTY
};

const PARAMETERS: &[Parameter] =
    &[text("contact_flds_separator", "*", "The character between the parts of an encoded contact.")];

const ENCODE_CONTACT: Function = Function {
    name: "encode_contact",
    params: &[Param::required("prefix", ParamKind::Format), Param::required("host", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Writes user, host and port of each Contact into its user part, as PREFIX*USER*PASSWORD*HOST*PORT*PROTOCOL, with a \
          host of this server behind it.",
    example: "encode_contact(\"enc\", \"192.0.2.1\");",
    run: |call| contact_code::encode(call, *call.state::<Separator>(), false),
};

const DECODE_CONTACT: Function = Function {
    name: "decode_contact",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "Makes the Request-URI what it was before encode_contact(). False when it was not encoded.",
    example: "decode_contact();",
    run: |call| contact_code::decode(call, *call.state::<Separator>()),
};

const DECODE_CONTACT_HEADER: Function = Function {
    name: "decode_contact_header",
    params: &[],
    routes: Routes::ANY,
    doc: "Makes each Contact what it was before encode_contact(). False when none was encoded.",
    example: "decode_contact_header();",
    run: |call| contact_code::decode_header(call, *call.state::<Separator>()),
};

const MANGLE_PORT: Function = Function {
    name: "sdp_mangle_port",
    params: &[Param::required("offset", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Adds +N to the port of each media, takes -N away, or sets it to N. Returns one more than the number of ports \
          changed; false when there is none.",
    example: "sdp_mangle_port(\"-12\");",
    run: |call| {
        let text = String::from_utf8_lossy(&call.text(0)).trim().to_owned();
        let Ok(offset) = text.parse::<i32>() else { return Outcome::fail("sdp_mangle_port: not +N, -N or N") };
        let is_change = text.starts_with(['+', '-']);
        mangle(call, |line| {
            // m=audio 5004 RTP/AVP 0, or 5004/2 (RFC 4566 section 5.14).
            let from = line.strip_prefix(b"m=").and_then(|rest| rest.iter().position(|byte| *byte == b' '))? + 3;
            let digits = line[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let port: i32 = std::str::from_utf8(&line[from..from + digits]).ok()?.parse().ok()?;
            // Port 0 refuses the media (RFC 3264 section 6), and must stay.
            let new = if is_change { port + offset } else { offset };
            let is_port = port != 0 && (1..=65_535).contains(&new);
            is_port.then(|| (from, from + digits, new.to_string()))
        })
    },
};

const MANGLE_IP: Function = Function {
    name: "sdp_mangle_ip",
    params: &[Param::required("network", ParamKind::Format), Param::required("address", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Replaces each connection address that lies in a network. Returns one more than the number of addresses changed; \
          false when there is none.",
    example: "sdp_mangle_ip(\"10.0.0.0/8\", \"192.0.2.7\");",
    run: |call| {
        let (inside, new) = (String::from_utf8_lossy(&call.text(0)).into_owned(), network::address(&call.text(1)));
        let (Some(inside), Some(new)) = (parse_network(&inside), new) else {
            return Outcome::fail("sdp_mangle_ip: not a network and an address");
        };
        mangle(call, |line| {
            let rest = line.strip_prefix(b"c=IN ")?;
            let address = rest.get(4..)?;
            let length = address.iter().position(|byte| matches!(byte, b'/' | b' ')).unwrap_or(address.len());
            let old = network::pure_address(&address[..length])?;
            let family = if new.is_ipv4() { "IP4" } else { "IP6" };
            inside.contains(old).then(|| (5, 9 + length, format!("{family} {new}")))
        })
    },
};

/// `10.0.0.0/8` or `10.0.0.0/255.0.0.0`.
fn parse_network(text: &str) -> Option<Network> {
    let (address, mask) = text.split_once('/').unwrap_or((text, "32"));
    match mask.parse::<std::net::Ipv4Addr>() {
        Ok(mask) => {
            let mask = u32::from(mask);
            let bits = mask.leading_ones();
            let is_whole = mask.checked_shl(bits).unwrap_or(0) == 0;
            Network::new(address.trim().parse().ok()?, bits as u8).filter(|_| is_whole)
        }
        Err(_) => Network::parse(text),
    }
}

/// Replaces a part of each line of the session description for which `change` names one.
fn mangle(call: &mut Call<'_>, change: impl Fn(&[u8]) -> Option<(usize, usize, String)>) -> Outcome {
    let message = Arc::clone(&call.context.message);
    let Some((start, text)) = description(&message) else { return Outcome::FALSE };
    let (mut at, mut changes) = (start, 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if let Some((from, to, new)) = change(line.trim_ascii_end()) {
            call.context.edits.replace(Span::new(at + from, at + to), new);
            changes += 1;
        }
        at += line.len();
    }
    if changes == 0 { Outcome::FALSE } else { Outcome::Value(1 + changes) }
}

/// Where the session description of a message begins, and its text.
fn description(message: &Message) -> Option<(usize, &[u8])> {
    let part = multipart::find(message, "application/sdp", &Limits::default()).ok()??;
    let text = part.body();
    Some((part.body_span.start as usize, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE};

    const BODY: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\nm=video 0 RTP/AVP 31\r\n";

    fn mangled(function: &str, args: &[&str]) -> (i64, String) {
        let head = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n", BODY.len());
        let mut bench = Bench::new(&(INVITE.replace("Content-Length: 0\r\n\r\n", &head) + BODY));
        let code = bench.run(&MODULE, function, args);
        (code, bench.written())
    }

    // The codes are those of Kamailio 5.6.3.
    #[test]
    fn ports_are_moved_and_set() {
        for (argument, port) in [("-10", 4994), ("+10", 5014), ("6000", 6000)] {
            let (code, written) = mangled("sdp_mangle_port", &[argument]);
            assert_eq!(code, 2);
            assert!(written.contains(&format!("m=audio {port} RTP/AVP 0\r\nm=video 0 RTP")), "{written}");
        }
        assert_eq!(mangled("sdp_mangle_port", &["-6000"]).0, -1);
        assert_eq!(mangled("sdp_mangle_port", &["x"]).0, -1);
    }

    #[test]
    fn contacts_are_encoded_and_decoded() {
        let mut bench = Bench::with_state(INVITE, crate::testing::started(&MODULE, &[]));
        assert_eq!(bench.run(&MODULE, "encode_contact", &["enc", "192.0.2.1"]), 1);
        assert!(
            bench.written().contains("Contact: <sip:enc*alice**198.51.100.7*5070*@192.0.2.1>"),
            "{}",
            bench.written()
        );
        bench.context.set_uri("sip:enc*alice**198.51.100.7*5070*tcp@192.0.2.1".into());
        assert_eq!(bench.run(&MODULE, "decode_contact", &[]), 1);
        assert_eq!(bench.uri(), "sip:alice@198.51.100.7:5070;transport=tcp");
        assert_eq!(bench.run(&MODULE, "decode_contact", &[]), -1);
        assert!(crate::testing::try_start(&MODULE, &[("contact_flds_separator", "**")]).is_err());
    }

    #[test]
    fn addresses_of_a_network_are_replaced() {
        for network in ["10.0.0.0/8", "10.0.0.0/255.0.0.0"] {
            let (code, written) = mangled("sdp_mangle_ip", &[network, "203.0.113.200"]);
            assert_eq!(code, 2);
            assert!(written.contains("o=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 203.0.113.200\r\n"), "{written}");
            assert!(written.contains(&format!("Content-Length: {}\r\n", BODY.len() + 5)), "{written}");
        }
        assert_eq!(mangled("sdp_mangle_ip", &["192.168.0.0/16", "203.0.113.200"]).0, -1);
        assert_eq!(mangled("sdp_mangle_ip", &["10.0.0.0/255.0.255.0", "203.0.113.200"]).0, -1);
    }
}
