//! Which transaction a message belongs to (RFC 3261 sections 17.1.3, 17.2.3 and 9.2).

use sip_message::{Message, Method};
use smallvec::SmallVec;

use crate::branch::has_magic_cookie;

/// What requests of one server transaction have in common (RFC 3261 section 17.2.3).
///
/// Two keys are equal when their requests belong to the same transaction: a retransmission, the ACK
/// to a failure. Whoever keeps it in a table hashes it with a secret, for peers choose its content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    // Inline, so that a look-up that finds nothing has allocated nothing.
    text: SmallVec<[u8; 80]>,
}

/// What a response says about the client transaction that it belongs to (RFC 3261 section 17.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientKey<'a> {
    /// Branch of the top Via: to be read with [`crate::branch::parse`] and compared as a whole with
    /// what was sent.
    pub branch: &'a [u8],
    /// Method of the CSeq: a CANCEL shares the branch of its INVITE.
    pub method: Method,
    /// The method as written.
    pub method_text: &'a [u8],
}

/// The key of a request. An ACK has the key of its INVITE. None when a header that is needed is
/// absent or malformed.
pub fn server_key(request: &Message) -> Option<Key> {
    let method = match request.method() {
        Method::Ack => Method::Invite.as_str().as_bytes(),
        _ => request.method_text(),
    };
    key(request, method)
}

/// The key of the INVITE that a CANCEL is for (RFC 3261 section 9.2).
///
/// Nothing but an INVITE can be cancelled to any effect, so no other method is looked for.
pub fn cancelled_key(cancel: &Message) -> Option<Key> {
    key(cancel, Method::Invite.as_str().as_bytes())
}

/// The client transaction that a response claims to belong to; none when it has no readable Via,
/// branch or CSeq.
pub fn client_key(response: &Message) -> Option<ClientKey<'_>> {
    let branch = response.top_via().ok()?.branch()?;
    let cseq = response.cseq().ok()?;
    Some(ClientKey { branch, method: cseq.method, method_text: cseq.method_text })
}

fn key(request: &Message, method: &[u8]) -> Option<Key> {
    let via = request.top_via().ok()?;
    let mut text = SmallVec::new();
    match via.branch() {
        Some(branch) if has_magic_cookie(branch) => {
            push(&mut text, method);
            push_folded(&mut text, branch);
            push_folded(&mut text, via.host);
            // 5060 and no port are one sent-by (18.1.1), for UDP and TCP at least; a wrong guess
            // would need two elements on one host with one branch.
            push(&mut text, &via.port.unwrap_or(5060).to_be_bytes());
        }
        _ => {
            push(&mut text, RFC_2543);
            push_elder(&mut text, request, method)?;
            push(&mut text, request.text(via.span));
        }
    }
    Some(Key { text })
}

/// The parts that RFC 3261 section 17.2.3 compares when the branch is not of its kind.
fn push_elder(text: &mut SmallVec<[u8; 80]>, request: &Message, method: &[u8]) -> Option<()> {
    let is_invite = method == Method::Invite.as_str().as_bytes();
    push(text, method);
    push(text, request.request_uri());
    push(text, request.call_id());
    push(text, &request.cseq().ok()?.number.to_be_bytes());
    push(text, request.from().ok()?.tag().unwrap_or_default());
    // An ACK carries the To tag of the response, its INVITE does not; a CANCEL carries that of the
    // INVITE. Nothing is lost by leaving it out for these: CSeq and Call-ID tell dialogs apart.
    if !is_invite {
        push(text, request.to().ok()?.tag().unwrap_or_default());
    }
    Some(())
}

/// Parts are told apart by their length, not by a separator that a peer could write.
fn push(text: &mut SmallVec<[u8; 80]>, part: &[u8]) {
    text.extend_from_slice(part);
    text.extend_from_slice(&(part.len() as u32).to_be_bytes());
}

/// Hosts and branches compare without regard to case (RFC 3261 section 7.3.1).
fn push_folded(text: &mut SmallVec<[u8; 80]>, part: &[u8]) {
    let start = text.len();
    push(text, part);
    text[start..start + part.len()].make_ascii_lowercase();
}

/// Not a method, so that no key of RFC 3261 equals one of RFC 2543.
const RFC_2543: &[u8] = b" ";

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sip_message::Limits;

    use super::*;

    struct Sample {
        method: &'static str,
        via: &'static str,
        to: &'static str,
        cseq: &'static str,
        uri: &'static str,
    }

    const INVITE: Sample = Sample {
        method: "INVITE",
        via: "SIP/2.0/UDP host.example.com:5060;branch=z9hG4bK77",
        to: "<sip:b@example.com>",
        cseq: "1 INVITE",
        uri: "sip:b@example.com",
    };

    fn key_of(sample: &Sample) -> Key {
        server_key(&message(sample)).unwrap()
    }

    fn message(sample: &Sample) -> Message {
        let Sample { method, via, to, cseq, uri } = sample;
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: {via}\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: {to}\r\n\
             Call-ID: c\r\nCSeq: {cseq}\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(text), &Limits::default()).unwrap()
    }

    // 17.2.3, with the magic cookie.
    #[test]
    fn a_retransmission_has_the_key_of_its_request() {
        assert_eq!(key_of(&INVITE), key_of(&Sample { ..INVITE }));
    }

    #[test]
    fn an_ack_has_the_key_of_its_invite_whatever_else_differs() {
        let ack = Sample { method: "ACK", cseq: "1 ACK", to: "<sip:b@example.com>;tag=9", uri: "sip:x", ..INVITE };
        assert_eq!(key_of(&INVITE), key_of(&ack));
    }

    #[test]
    fn another_branch_method_or_sent_by_is_another_transaction() {
        for via in [
            "SIP/2.0/UDP host.example.com:5060;branch=z9hG4bK78",
            "SIP/2.0/UDP other.example.com:5060;branch=z9hG4bK77",
            "SIP/2.0/UDP host.example.com:5061;branch=z9hG4bK77",
        ] {
            assert_ne!(key_of(&INVITE), key_of(&Sample { via, ..INVITE }), "{via}");
        }
        assert_ne!(key_of(&INVITE), key_of(&Sample { method: "BYE", cseq: "1 BYE", ..INVITE }));
    }

    #[test]
    fn case_of_host_and_branch_and_the_default_port_do_not_matter() {
        let via = "SIP/2.0/UDP HOST.example.com;branch=Z9HG4BK77";
        assert_eq!(key_of(&INVITE), key_of(&Sample { via, ..INVITE }));
    }

    // 9.2.
    #[test]
    fn a_cancel_leads_to_its_invite_and_has_a_key_of_its_own() {
        let cancel = message(&Sample { method: "CANCEL", cseq: "1 CANCEL", ..INVITE });
        assert_eq!(cancelled_key(&cancel).unwrap(), key_of(&INVITE));
        assert_ne!(server_key(&cancel).unwrap(), key_of(&INVITE));
    }

    const ELDER: Sample = Sample { via: "SIP/2.0/UDP host.example.com:5060;branch=77", ..INVITE };

    // 17.2.3, without the magic cookie.
    #[test]
    fn an_rfc_2543_ack_has_the_key_of_its_invite() {
        let ack = Sample { method: "ACK", cseq: "1 ACK", to: "<sip:b@example.com>;tag=9", ..ELDER };
        assert_eq!(key_of(&ELDER), key_of(&ack));
    }

    #[test]
    fn an_rfc_2543_cancel_leads_to_its_invite() {
        let cancel = message(&Sample { method: "CANCEL", cseq: "1 CANCEL", ..ELDER });
        assert_eq!(cancelled_key(&cancel).unwrap(), key_of(&ELDER));
    }

    #[test]
    fn an_rfc_2543_request_without_branch_has_a_key() {
        let sample = Sample { via: "SIP/2.0/UDP host.example.com", ..INVITE };
        assert_eq!(key_of(&sample), key_of(&Sample { ..sample }));
    }

    #[test]
    fn rfc_2543_requests_differ_by_uri_cseq_tag_and_via() {
        assert_ne!(key_of(&ELDER), key_of(&Sample { uri: "sip:c@example.com", ..ELDER }));
        assert_ne!(key_of(&ELDER), key_of(&Sample { cseq: "2 INVITE", ..ELDER }));
        assert_ne!(key_of(&ELDER), key_of(&Sample { via: "SIP/2.0/UDP host.example.com:5060;branch=78", ..ELDER }));
        let bye = Sample { method: "BYE", cseq: "1 BYE", ..ELDER };
        assert_ne!(key_of(&bye), key_of(&Sample { to: "<sip:b@example.com>;tag=2", ..bye }));
    }

    #[test]
    fn a_response_names_branch_and_method() {
        let text = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nVia: SIP/2.0/UDP i;branch=z9hG4bKy\r\n\
                    CSeq: 3 CANCEL\r\n\r\n";
        let response = Message::parse(Bytes::from_static(text.as_bytes()), &Limits::default()).unwrap();
        let expected = ClientKey { branch: b"z9hG4bKx", method: Method::Cancel, method_text: b"CANCEL" };
        assert_eq!(client_key(&response), Some(expected));
    }

    #[test]
    fn a_key_stays_small() {
        assert!(size_of::<Key>() <= 96);
    }
}
