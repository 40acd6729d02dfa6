//! Messages as they were, for a collector that speaks SIP itself.

use module_api::Sighting;
use sip_message::{Limits, Message};

/// The message, with header lines that say where it was seen if that is wanted, as Kamailio's siptrace reads them.
pub(super) fn packet(seen: &Sighting, has_extra_headers: bool) -> Vec<u8> {
    let bytes = &seen.bytes[..];
    let line = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
    let extra = if has_extra_headers { headers(seen) } else { String::new() };
    [&bytes[..line], extra.as_bytes(), &bytes[line..]].concat()
}

fn headers(seen: &Sighting) -> String {
    let transport = seen.transport.uri_param();
    let direction = if seen.is_sent { "out" } else { "in" };
    format!(
        "X-Siptrace-Fromip: {transport}:{}\r\nX-Siptrace-Toip: {transport}:{}\r\nX-Siptrace-Time: {} {}\r\n\
         X-Siptrace-Method: {}\r\nX-Siptrace-Dir: {direction}\r\n",
        seen.source,
        seen.destination,
        seen.at.as_secs(),
        seen.at.subsec_micros(),
        method(seen),
    )
}

/// The method of a request, and of the request that a reply answers.
fn method(seen: &Sighting) -> String {
    let message = Message::parse(seen.bytes.clone(), &Limits::default());
    let method = message.ok().and_then(|message| message.cseq().ok().map(|cseq| cseq.method_text.to_vec()));
    String::from_utf8_lossy(&method.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_headers_say_where_a_message_was_seen() {
        let seen = Sighting {
            at: Duration::new(7, 9_000),
            is_sent: false,
            transport: sip_message::Transport::Tcp,
            source: "192.0.2.1:5060".parse().expect("a literal"),
            destination: "192.0.2.2:5070".parse().expect("a literal"),
            bytes: "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nCSeq: 1 BYE\r\nCall-ID: a\r\n\r\n".into(),
        };
        assert_eq!(packet(&seen, false), seen.bytes);
        let text = String::from_utf8(packet(&seen, true)).expect("it is text");
        let expected = "SIP/2.0 200 OK\r\nX-Siptrace-Fromip: tcp:192.0.2.1:5060\r\nX-Siptrace-Toip: tcp:192.0.2.2:5070\r\n\
            X-Siptrace-Time: 7 9\r\nX-Siptrace-Method: BYE\r\nX-Siptrace-Dir: in\r\nVia: ";
        assert!(text.starts_with(expected), "{text}");
    }
}
