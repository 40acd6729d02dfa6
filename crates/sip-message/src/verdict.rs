//! What a message deserves: accepted, answered with an error, or dropped.

use crate::{HeaderName, Message, Method, Reject, Scheme};

/// What becomes of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// A request that is answered with the reject's status.
    Answer(Reject),
    /// A response or an ACK that is wrong: nobody is answered (RFC 3261 sections 8.2.7, 17.1.1.3 and 18.3).
    Drop(Reject),
}

/// Who is asked to take a request, since some answers depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element<'a> {
    /// A proxy that knows these extensions: `Proxy-Require` binds it (RFC 3261 section 16.3).
    Proxy(&'a [&'a str]),
    /// A user agent, registrar or other final server: `Require` binds it (section 8.2.2.3).
    Server(&'a [&'a str]),
}

/// Headers that may stand only once. A reader that takes the first and one that takes the last
/// would see two different messages.
const SINGLE: [HeaderName; 8] = [
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::MaxForwards,
    HeaderName::ContentLength,
    HeaderName::ContentType,
    HeaderName::Expires,
];

const MANDATORY: [HeaderName; 5] =
    [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];

impl Message {
    /// The checks that every message must pass before it is routed, in a verdict.
    pub fn verdict(&self) -> Verdict {
        self.judge(self.validate())
    }

    /// [`Message::verdict`] and then what this element must refuse: schemes it cannot route (416)
    /// and extensions it does not know (420).
    pub fn verdict_at(&self, element: Element<'_>) -> Verdict {
        self.judge(self.validate().and_then(|()| self.accepts(element)))
    }

    fn judge(&self, checked: Result<(), Reject>) -> Verdict {
        match checked {
            Ok(()) => Verdict::Accept,
            Err(reject) if !self.is_request() || self.method() == Method::Ack => Verdict::Drop(reject),
            Err(reject) if reject.status().is_none() => Verdict::Drop(reject),
            Err(reject) => Verdict::Answer(reject),
        }
    }

    /// What RFC 3261 demands of every message: the grammar of its lines, the headers of section
    /// 8.1.1 each in its form, nothing twice that stands once, a `CSeq` that agrees.
    ///
    /// `Max-Forwards` may be absent: RFC 2543 had none, and a proxy adds it (section 16.6 step 3).
    ///
    /// # Errors
    /// The first fault.
    pub fn validate(&self) -> Result<(), Reject> {
        if let Some(defect) = &self.defect {
            return Err(defect.clone());
        }
        if let Some(&name) = MANDATORY.iter().find(|&&name| !self.has(name)) {
            return Err(Reject::Missing(name));
        }
        self.check_single()?;
        self.top_via()?;
        self.check_tag(HeaderName::From)?;
        self.check_tag(HeaderName::To)?;
        let cseq = self.cseq()?;
        if self.call_id().is_empty() {
            let offset = self.offset_of(HeaderName::CallId);
            return Err(Reject::Header { name: HeaderName::CallId, offset });
        }
        if !self.is_request() {
            return self.check_return_path();
        }
        if cseq.method_text != self.method_text() {
            return Err(Reject::CSeqMethod { offset: self.offset_of(HeaderName::CSeq) });
        }
        self.max_forwards()?;
        // Headers may not stand in a Request-URI (table of section 19.1.1).
        match self.parsed_request_uri()?.headers {
            Some(_) => Err(Reject::Uri { offset: self.request_uri_span().start as usize }),
            None => Ok(()),
        }
    }

    /// A response that would next go to the broadcast address is a weapon, not a response
    /// (RFC 4475 section 3.3.10).
    fn check_return_path(&self) -> Result<(), Reject> {
        const BROADCAST: &[u8] = b"255.255.255.255";
        // Nearly no message names it, and looking for it costs less than taking a Via apart.
        let mut lines = self.headers_named(HeaderName::Via);
        if !lines.any(|line| memchr::memmem::find(line.value, BROADCAST).is_some()) {
            return Ok(());
        }
        let Some(Ok(next)) = self.vias().nth(1) else { return Ok(()) };
        let hosts = [Some(next.host), next.received(), next.maddr()];
        if hosts.contains(&Some(BROADCAST)) {
            return Err(Reject::Header { name: HeaderName::Via, offset: next.sent_by.start as usize });
        }
        Ok(())
    }

    /// The address of `From` or `To`, and that a tag has a value: one without could be matched to
    /// no dialog, and could not be given one either.
    fn check_tag(&self, name: HeaderName) -> Result<(), Reject> {
        let address = self.address(name)?;
        // No tag at all is for others to judge.
        if address.tag().is_none() && address.params.has("tag") {
            return Err(Reject::Header { name, offset: address.params.span().start as usize });
        }
        Ok(())
    }

    /// The first second one is named, in the order of the message.
    fn check_single(&self) -> Result<(), Reject> {
        let repeated = SINGLE.into_iter().filter(|name| self.is_repeated(*name));
        let seconds = repeated.filter_map(|name| self.headers_named(name).nth(1));
        match seconds.min_by_key(|header| header.field.start) {
            Some(header) => Err(Reject::Duplicate { name: header.name, offset: header.field.start as usize }),
            None => Ok(()),
        }
    }

    fn accepts(&self, element: Element<'_>) -> Result<(), Reject> {
        if !self.is_request() {
            return Ok(());
        }
        if let Scheme::Other(_) = self.parsed_request_uri()?.scheme {
            return Err(Reject::Scheme { offset: self.request_uri_span().start as usize });
        }
        let (name, known) = match element {
            Element::Proxy(known) => (HeaderName::ProxyRequire, known),
            Element::Server(known) => {
                self.check_registration()?;
                (HeaderName::Require, known)
            }
        };
        // CANCEL and ACK must be handled whatever they require (section 8.2.2.3).
        if matches!(self.method(), Method::Ack | Method::Cancel) {
            return Ok(());
        }
        match self.unknown_extensions(name, known).next() {
            Some(tag) => Err(Reject::Extension { name, offset: tag.span.start as usize }),
            None => Ok(()),
        }
    }

    /// What a registrar reads of a REGISTER: each `Contact`, and a `To` that is a SIP or SIPS URI
    /// (RFC 3261 section 10.3 step 5, RFC 4475 sections 3.1.2.13 and 3.3.4).
    fn check_registration(&self) -> Result<(), Reject> {
        if self.method() != Method::Register {
            return Ok(());
        }
        let to = self.to()?;
        let malformed = Reject::Header { name: HeaderName::To, offset: to.uri_span.start as usize };
        if !to.parsed_uri().is_ok_and(|uri| uri.is_sip()) {
            return Err(malformed);
        }
        self.contacts().try_for_each(|contact| contact.map(|_| ()))
    }

    /// The option tags of `Require` or `Proxy-Require` that are not in `known`: what the
    /// `Unsupported` of a 420 lists.
    pub fn unknown_extensions<'a>(
        &'a self,
        name: HeaderName,
        known: &'a [&'a str],
    ) -> impl Iterator<Item = crate::Value<'a>> {
        self.values_of(name).filter(move |value| {
            !value.text.is_empty() && !known.iter().any(|tag| value.text.eq_ignore_ascii_case(tag.as_bytes()))
        })
    }

    fn offset_of(&self, name: HeaderName) -> usize {
        self.header(name).map_or(0, |header| header.value_span.start as usize)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Limits;

    const LINES: [&str; 7] = [
        "OPTIONS sip:b@example.com SIP/2.0",
        "Via: SIP/2.0/UDP h;branch=z9hG4bK1",
        "From: <sip:a@example.com>;tag=1",
        "To: <sip:b@example.com>",
        "Call-ID: c",
        "CSeq: 1 OPTIONS",
        "Max-Forwards: 70",
    ];

    fn verdict(lines: &[&str]) -> Verdict {
        let text = format!("{}\r\n\r\n", lines.join("\r\n"));
        Message::parse(Bytes::from(text), &Limits::default()).expect("a message").verdict()
    }

    /// The verdict of the sound request with `line` in place of, or after, the others.
    fn with(line: &str, replaces: Option<usize>) -> Verdict {
        let mut lines = LINES.to_vec();
        match replaces {
            Some(at) => lines[at] = line,
            None => lines.push(line),
        }
        verdict(&lines)
    }

    #[test]
    fn a_sound_request_is_accepted_without_max_forwards_too() {
        assert_eq!(verdict(&LINES), Verdict::Accept);
        assert_eq!(verdict(&LINES[..6]), Verdict::Accept);
    }

    #[test]
    fn each_mandatory_header_is_missed() {
        for (at, name) in [(1, "Via"), (2, "From"), (3, "To"), (4, "Call-ID"), (5, "CSeq")] {
            let mut lines = LINES.to_vec();
            lines.remove(at);
            assert_eq!(verdict(&lines), Verdict::Answer(Reject::Missing(HeaderName::from_token(name.as_bytes()))));
        }
    }

    #[test]
    fn what_stands_once_may_not_stand_twice_not_even_equal_or_compact() {
        for line in
            ["f: <sip:a@example.com>;tag=1", "TO: <sip:b@example.com>", "i: c", "cseq: 1 OPTIONS", "Max-Forwards : 70"]
        {
            assert!(matches!(with(line, None), Verdict::Answer(Reject::Duplicate { .. })), "{line}");
        }
        for line in ["Content-Length: 0", "Content-Type: a/b", "Expires: 1"] {
            let doubled = format!("{line}\r\n{line}");
            assert!(matches!(with(&doubled, None), Verdict::Answer(Reject::Duplicate { .. })), "{line}");
        }
    }

    #[test]
    fn values_out_of_form_or_range_are_answered_with_400() {
        for (line, at) in [
            ("CSeq: 2147483648 OPTIONS", 5),
            ("CSeq: 1 INVITE", 5),
            ("CSeq: 1", 5),
            ("Max-Forwards: 256", 6),
            ("Max-Forwards: -1", 6),
            ("To: <sip:b@example.com>;tag", 3),
            ("Call-ID:", 4),
            ("OPTIONS sip:b@[::1 SIP/2.0", 0),
            ("OPTIONS sip:b SIP/2.0 ", 0),
        ] {
            match with(line, Some(at)) {
                Verdict::Answer(reject) => assert_eq!(reject.status(), Some(400), "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_ack_or_a_response_that_is_wrong_is_dropped() {
        let ack = ["ACK sip:b@example.com SIP/2.0", LINES[1], LINES[2], LINES[3], LINES[4], "CSeq: 2 INVITE"];
        assert!(matches!(verdict(&ack), Verdict::Drop(Reject::CSeqMethod { .. })));
        let response = ["SIP/2.0 200 OK", LINES[1], LINES[2], LINES[3], LINES[4]];
        assert_eq!(verdict(&response), Verdict::Drop(Reject::Missing(HeaderName::CSeq)));
    }

    #[test]
    fn cancel_and_ack_are_taken_whatever_they_require() {
        let lines = [
            "CANCEL sip:b@example.com SIP/2.0",
            LINES[1],
            LINES[2],
            LINES[3],
            LINES[4],
            "CSeq: 1 CANCEL",
            "Require: x",
        ];
        let text = format!("{}\r\n\r\n", lines.join("\r\n"));
        let message = Message::parse(Bytes::from(text), &Limits::default()).expect("a message");
        assert_eq!(message.verdict_at(Element::Server(&[])), Verdict::Accept);
    }
}
