//! The headers that every step asks for, decoded at the first question and kept.

use std::sync::OnceLock;

use crate::via::Marks;
use crate::{NameAddr, Params, Span, Transport, Via};

/// Top `Via`, `From` and `To` of one message, as places in its bytes.
///
/// Checking, matching, forwarding and answering one request ask seven times for its top `Via` and as
/// often for its tags; decoding each time was a fifth of all instructions of a call.
#[derive(Clone, Default)]
pub(crate) struct Decoded {
    /// None inside: there is no value at all.
    pub(crate) top_via: OnceLock<Option<Result<ViaPlaces, u32>>>,
    pub(crate) from: OnceLock<Result<AddressPlaces, u32>>,
    pub(crate) to: OnceLock<Result<AddressPlaces, u32>>,
}

/// A [`Via`] without its text.
#[derive(Clone, Copy)]
pub(crate) struct ViaPlaces {
    transport: Option<Transport>,
    port: Option<u16>,
    transport_text: Span,
    host: Span,
    params: Span,
    span: Span,
    sent_by: Span,
    marks: Marks<Span>,
}

/// A [`NameAddr`] without its text.
#[derive(Clone, Copy)]
pub(crate) struct AddressPlaces {
    display: Span,
    uri: Span,
    params: Span,
    span: Span,
    tag: Option<Span>,
}

impl ViaPlaces {
    /// Of a value that lies in `bytes`.
    pub(crate) fn of(via: &Via<'_>, bytes: &[u8]) -> ViaPlaces {
        ViaPlaces {
            transport: via.transport,
            port: via.port,
            transport_text: place(via.transport_text, bytes),
            host: place(via.host, bytes),
            params: via.params.span(),
            span: via.span,
            sent_by: via.sent_by,
            marks: via.marks.map(|text| place(text, bytes)),
        }
    }

    pub(crate) fn read<'a>(&self, bytes: &'a [u8]) -> Via<'a> {
        Via {
            transport: self.transport,
            transport_text: self.transport_text.of(bytes),
            host: self.host.of(bytes),
            port: self.port,
            params: Params::new(self.params.of(bytes), self.params.start),
            span: self.span,
            sent_by: self.sent_by,
            marks: self.marks.map(|span| span.of(bytes)),
        }
    }
}

impl AddressPlaces {
    /// Of a value that lies in `bytes`.
    pub(crate) fn of(address: &NameAddr<'_>, bytes: &[u8]) -> AddressPlaces {
        AddressPlaces {
            display: place(address.display, bytes),
            uri: address.uri_span,
            params: address.params.span(),
            span: address.span,
            tag: address.tag.map(|text| place(text, bytes)),
        }
    }

    pub(crate) fn read<'a>(&self, bytes: &'a [u8]) -> NameAddr<'a> {
        NameAddr {
            display: self.display.of(bytes),
            uri: self.uri.of(bytes),
            params: Params::new(self.params.of(bytes), self.params.start),
            span: self.span,
            uri_span: self.uri,
            tag: self.tag.map(|span| span.of(bytes)),
        }
    }
}

/// Where `part`, a piece of `whole`, lies in it.
fn place(part: &[u8], whole: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    Span::new(start, start + part.len())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::{Limits, Message, NameAddr, Via};

    #[test]
    fn what_is_kept_reads_as_what_was_decoded() {
        let text = "OPTIONS sip:b@c SIP/2.0\r\nv: SIP/2.0/XYZ  [2001:db8::1]:5070 ;branch=z9hG4bK1;rport , SIP/2.0/UDP d\r\n\
                    f: \"A, \\\"B\" <sip:a@b;x=y> ; tag=1\r\nt: sip:b@c;tag=2\r\n\r\n";
        let message = Message::parse(Bytes::from(text), &Limits::default()).expect("a message");
        for _ in 0..2 {
            let via = message.top_via().expect("a Via");
            let value = message.vias().next().expect("a Via").expect("a Via");
            assert_eq!(via, value);
            assert_eq!(Via::parse(message.text(via.span)).expect("the same").branch(), Some(&b"z9hG4bK1"[..]));
            for (kept, name) in [(message.from(), "f"), (message.to(), "t")] {
                let kept = kept.expect("an address");
                let header = message.headers_with_name(name.as_bytes()).next().expect("the header");
                let fresh = NameAddr::parse(header.value).expect("an address");
                assert_eq!(
                    (kept.display, kept.uri, kept.params.text()),
                    (fresh.display, fresh.uri, fresh.params.text())
                );
                assert_eq!((message.text(kept.span), message.text(kept.uri_span)), (header.value, fresh.uri));
                assert_eq!(kept.tag(), fresh.tag());
            }
        }
        assert_eq!((message.from_tag(), message.to_tag()), (Some(&b"1"[..]), Some(&b"2"[..])));
    }

    #[test]
    fn what_is_absent_or_broken_stays_so() {
        let text = "OPTIONS sip:b@c SIP/2.0\r\nVia: SIP/9\r\nTo: <sip:b\r\n\r\n";
        let message = Message::parse(Bytes::from(text), &Limits::default()).expect("a message");
        for _ in 0..2 {
            assert!(message.top_via().is_err() && message.to().is_err() && message.from().is_err());
            assert_eq!(message.top_via().err(), message.vias().next().and_then(Result::err));
        }
    }
}
