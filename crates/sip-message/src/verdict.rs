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
        self.from()?;
        self.to()?;
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
        let Some(Ok(next)) = self.vias().nth(1) else { return Ok(()) };
        let hosts = [Some(next.host), next.received(), next.maddr()];
        if hosts.contains(&Some(b"255.255.255.255")) {
            return Err(Reject::Header { name: HeaderName::Via, offset: next.sent_by.start as usize });
        }
        Ok(())
    }

    fn check_single(&self) -> Result<(), Reject> {
        let mut seen = 0u32;
        for header in self.headers() {
            let Some(position) = SINGLE.iter().position(|&name| name == header.name) else {
                continue;
            };
            if seen & (1 << position) != 0 {
                return Err(Reject::Duplicate { name: header.name, offset: header.field.start as usize });
            }
            seen |= 1 << position;
        }
        Ok(())
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
