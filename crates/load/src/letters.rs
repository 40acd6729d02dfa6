//! What the generator writes: requests, and a phone's replies.

use std::fmt::Write;

use bytes::Bytes;
use sip_message::{Builder, HeaderName, Message, Method};
use sip_proto::digest::{self, Algorithm, Credentials};

/// What both sides of a call offer.
pub(crate) const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                                m=audio 40000 RTP/AVP 0 8\r\na=sendrecv\r\n";

/// A request, to be written.
pub(crate) struct Letter<'a> {
    pub(crate) method: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) via: &'a str,
    pub(crate) branch: &'a str,
    pub(crate) from: &'a str,
    /// With its tag, where it has one.
    pub(crate) to: &'a str,
    pub(crate) call: &'a str,
    pub(crate) cseq: u32,
    /// Whole lines.
    pub(crate) lines: &'a str,
    pub(crate) body: (&'a str, &'a str),
}

impl Letter<'_> {
    pub(crate) fn text(&self) -> String {
        let Letter { method, uri, via, branch, from, to, call, cseq, lines, body: (kind, body) } = self;
        let mut text = String::with_capacity(700);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
             From: {from}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n{lines}User-Agent: ser bench\r\n"
        );
        if !kind.is_empty() {
            let _ = write!(text, "Content-Type: {kind}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
        text
    }
}

/// A phone's replies to a request: it rings and answers at once, and agrees to everything else.
pub(crate) fn answers(request: &Message, contact: &str) -> Vec<Bytes> {
    let reply = |code, reason: &str, body: &str| {
        let mut builder = Builder::response(request, code, reason);
        // A callee copies the way of what follows (RFC 3261 section 12.1.1).
        builder.copy(request, HeaderName::RecordRoute);
        builder.to_tag("callee").raw_line(format!("Contact: <{contact}>"));
        if !body.is_empty() {
            builder.body("application/sdp", body.as_bytes());
        }
        builder.finish()
    };
    match request.method() {
        Method::Ack => Vec::new(),
        Method::Invite => vec![reply(180, "Ringing", ""), reply(200, "OK", OFFER)],
        _ => vec![reply(200, "OK", "")],
    }
}

/// The header line that answers a challenge (RFC 7616 section 3.4), for MD5 with or without `qop=auth`.
pub(crate) fn credentials(challenge: &Message, user: &str, password: &str, method: &str, uri: &str) -> Option<String> {
    let is_proxy = challenge.status() == Some(407);
    let (asks, answers) =
        if is_proxy { ("Proxy-Authenticate", "Proxy-Authorization") } else { ("WWW-Authenticate", "Authorization") };
    let values =
        challenge.headers_with_name(asks.as_bytes()).map(|header| String::from_utf8_lossy(header.value).into_owned());
    let value = values
        .into_iter()
        .find(|value| parameter(value, "algorithm").is_none_or(|algorithm| algorithm.eq_ignore_ascii_case("MD5")))?;
    let (realm, nonce) = (parameter(&value, "realm")?, parameter(&value, "nonce")?);
    let qop = parameter(&value, "qop").map_or("", |_| ", qop=auth, nc=00000001, cnonce=\"ser-bench\"");
    let opaque = parameter(&value, "opaque").map(|opaque| format!(", opaque=\"{opaque}\"")).unwrap_or_default();
    let open = format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", algorithm=MD5{qop}{opaque}, response=\""
    );
    let unsigned = format!("{open}0\"");
    let read = Credentials::parse(unsigned.as_bytes())?;
    let ha1 = digest::ha1(Algorithm::Md5, user.as_bytes(), realm.as_bytes(), password.as_bytes());
    let response = digest::response(&read, Algorithm::Md5, method.as_bytes(), ha1.as_str());
    Some(format!("{answers}: {open}{}\"\r\n", response.as_str()))
}

fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let begins = |at: &usize| {
        let before = value[..*at].bytes().last();
        value[*at..].get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name))
            && matches!(before, Some(b' ' | b',' | b'\t'))
            && value[*at + name.len()..].trim_start().starts_with('=')
    };
    let at = value.char_indices().map(|(at, _)| at).find(begins)?;
    let rest = value[at + name.len()..].trim_start().strip_prefix('=')?.trim_start();
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split([',', ' ']).next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Limits;

    // RFC 2617 section 3.5's user, realm, nonce and URI are kept; the method is ours.
    #[test]
    fn a_challenge_is_answered_as_the_server_verifies_it() {
        let text = "SIP/2.0 407 Proxy Authentication Required\r\nVia: SIP/2.0/UDP a\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n\
                    Call-ID: 1\r\nCSeq: 1 INVITE\r\nProxy-Authenticate: Digest realm=\"home, sweet\", nonce=\"abc\", opaque=\"o\", qop=\"auth\"\r\n\r\n";
        let challenge = Message::parse(text.as_bytes().to_vec().into(), &Limits::default()).unwrap();
        let line = credentials(&challenge, "u1", "secret", "INVITE", "sip:b").unwrap();
        let value = line.strip_prefix("Proxy-Authorization: ").unwrap().trim();
        let read = Credentials::parse(value.as_bytes()).unwrap();
        assert_eq!((read.realm, read.nonce, read.username), (&b"home, sweet"[..], &b"abc"[..], &b"u1"[..]));
        let ha1 = digest::ha1(Algorithm::Md5, b"u1", b"home, sweet", b"secret");
        let expected = digest::response(&read, Algorithm::Md5, b"INVITE", ha1.as_str());
        assert_eq!(read.response, expected.as_bytes());
        assert!(value.contains("opaque=\"o\""));
    }
}
