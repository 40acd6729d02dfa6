//! The requests that a client transaction makes by itself: ACK to a failure, and CANCEL.

use bytes::Bytes;
use sip_message::{Builder, HeaderName, Limits, Message, Method};

/// The ACK to a failure response (RFC 3261 section 17.1.1.3).
///
/// `invite` is the INVITE as it was sent, our Via on top; `response` the failure. Goes where the
/// INVITE went, in the same transaction. None when `invite` is no SIP message.
pub fn ack_for_failure(invite: &Bytes, response: &Message) -> Option<Bytes> {
    let invite = &read(invite)?;
    let mut builder = like_invite(invite, Method::Ack);
    // To is that of the response: it bears the tag of who refused.
    builder.copy(response, HeaderName::To);
    Some(finish(builder, invite, Method::Ack))
}

/// The CANCEL of an INVITE (RFC 3261 section 9.1).
///
/// `invite` is the INVITE as it was sent, our Via on top. Goes where the INVITE went, once a
/// provisional response has come, as a transaction of its own. None when `invite` is no SIP message.
pub fn cancel_for(invite: &Bytes) -> Option<Bytes> {
    let invite = &read(invite)?;
    let mut builder = like_invite(invite, Method::Cancel);
    builder.copy(invite, HeaderName::To);
    Some(finish(builder, invite, Method::Cancel))
}

/// What we sent may be larger than what we would take in: Via and Record-Route were added.
fn read(invite: &Bytes) -> Option<Message> {
    let limits = Limits { message_bytes: usize::MAX, head_bytes: usize::MAX, headers: usize::MAX, ..Limits::default() };
    Message::parse(invite.clone(), &limits).ok()
}

/// Request-URI, the top Via alone, and the Routes of the INVITE: the next hop must find it by these.
fn like_invite(invite: &Message, method: Method) -> Builder {
    let mut builder = Builder::request(method.as_str(), invite.request_uri());
    if let Some(via) = invite.values_of(HeaderName::Via).next() {
        builder.header(HeaderName::Via.as_str(), via.text);
    }
    builder.copy(invite, HeaderName::Route);
    // Its own hop only; 70 as any new request (8.1.1.6).
    builder.header(HeaderName::MaxForwards.as_str(), "70");
    builder.copy(invite, HeaderName::From);
    builder
}

fn finish(mut builder: Builder, invite: &Message, method: Method) -> Bytes {
    builder.copy(invite, HeaderName::CallId);
    let number = invite.cseq().map_or(1, |cseq| cseq.number);
    builder.header(HeaderName::CSeq.as_str(), format!("{number} {}", method.as_str()));
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Message {
        Message::parse(Bytes::from_static(text.as_bytes()), &Limits::default()).unwrap()
    }

    fn invite() -> Bytes {
        Bytes::from_static(
            b"INVITE sip:bob@[2001:db8::9] SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::10];branch=z9hG4bKus, \
             SIP/2.0/UDP client.example.com;branch=z9hG4bKclient\r\nMax-Forwards: 3\r\n\
             Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\nFrom: Alice <sip:alice@example.com>;tag=88\r\n\
             To: Bob <sip:bob@example.com>\r\nCall-ID: 987\r\nCSeq: 986759 INVITE\r\n\
             Contact: <sip:alice@client.example.com>\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
        )
    }

    // 17.1.1.3, after its example.
    #[test]
    fn the_ack_to_a_failure_is_made_of_invite_and_response() {
        let response = parse(
            "SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP [2001:db8::10];branch=z9hG4bKus\r\n\
             From: Alice <sip:alice@example.com>;tag=88\r\nTo: Bob <sip:bob@example.com>;tag=99\r\nCall-ID: 987\r\n\
             CSeq: 986759 INVITE\r\nContent-Length: 0\r\n\r\n",
        );
        let expected = "ACK sip:bob@[2001:db8::9] SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::10];branch=z9hG4bKus\r\n\
            Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\nMax-Forwards: 70\r\n\
            From: Alice <sip:alice@example.com>;tag=88\r\nTo: Bob <sip:bob@example.com>;tag=99\r\nCall-ID: 987\r\n\
            CSeq: 986759 ACK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(ack_for_failure(&invite(), &response).unwrap(), expected);
    }

    // 9.1.
    #[test]
    fn a_cancel_has_the_via_and_routes_of_its_invite() {
        let expected = "CANCEL sip:bob@[2001:db8::9] SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::10];branch=z9hG4bKus\r\n\
            Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\nMax-Forwards: 70\r\n\
            From: Alice <sip:alice@example.com>;tag=88\r\nTo: Bob <sip:bob@example.com>\r\nCall-ID: 987\r\n\
            CSeq: 986759 CANCEL\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(cancel_for(&invite()).unwrap(), expected);
    }
}
