//! Messages as simulated user agents write and read them: text, line by line.

/// A SIP message taken apart into lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// The request or status line.
    pub(crate) start: String,
    /// Header lines: name and value.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: String,
}

impl Text {
    /// Takes a message apart. Line ends may be CRLF or LF; folded lines are joined.
    pub(crate) fn parse(message: &str) -> Text {
        let message = message.replace("\r\n", "\n");
        let (head, body) = message.split_once("\n\n").unwrap_or((message.trim_end_matches('\n'), ""));
        let mut lines = head.trim_start_matches('\n').lines();
        let start = lines.next().unwrap_or_default().to_owned();
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            match (line.starts_with([' ', '\t']), headers.last_mut()) {
                (true, Some((_, value))) => {
                    value.push(' ');
                    value.push_str(line.trim());
                }
                _ => {
                    let (name, value) = line.split_once(':').unwrap_or((line, ""));
                    headers.push((name.trim().to_owned(), value.trim().to_owned()));
                }
            }
        }
        Text { start, headers, body: body.to_owned() }
    }

    /// The message on the wire, its Content-Length in order.
    pub(crate) fn to_wire(&self) -> String {
        let body = self.body.replace("\r\n", "\n").replace('\n', "\r\n");
        let mut out = format!("{}\r\n", self.start);
        for (name, value) in self.headers.iter().filter(|(name, _)| !is_same(name, "Content-Length")) {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        out
    }

    /// Whether it is a request.
    pub(crate) fn is_request(&self) -> bool {
        !self.start.starts_with("SIP/2.0 ")
    }

    /// The method of a request; of a reply, that of its CSeq.
    pub(crate) fn method(&self) -> &str {
        if self.is_request() {
            return self.start.split(' ').next().unwrap_or_default();
        }
        self.header("CSeq").and_then(|value| value.split_whitespace().nth(1)).unwrap_or_default()
    }

    /// The Request-URI.
    pub(crate) fn uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The status code of a reply.
    pub(crate) fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.split(' ').next()?.parse().ok()
    }

    /// The first header of a name, long or short.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| is_same(other, name)).map(|(_, value)| value.as_str())
    }

    /// All headers of a name, long or short.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(other, _)| is_same(other, name)).map(|(_, value)| value.as_str())
    }

    /// Puts a header in place of those of its name, or at the end.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let at = self.headers.iter().position(|(other, _)| is_same(other, name));
        self.headers.retain(|(other, _)| !is_same(other, name));
        let at = at.unwrap_or(self.headers.len()).min(self.headers.len());
        self.headers.insert(at, (name.to_owned(), value.to_owned()));
    }

    /// The reply of a user agent to this request.
    pub(crate) fn reply(&self, status: &str, tag: &str, contact: &str) -> Text {
        let copied = ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"];
        let is_copied = |name: &str| copied.iter().any(|other| is_same(name, other));
        let mut headers: Vec<_> = self.headers.iter().filter(|(name, _)| is_copied(name)).cloned().collect();
        for (name, value) in &mut headers {
            if is_same(name, "To") && !value.contains(";tag=") && !status.starts_with("100") {
                value.push_str(&format!(";tag={tag}"));
            }
        }
        headers.push(("Contact".to_owned(), format!("<{contact}>")));
        Text { start: format!("SIP/2.0 {status}"), headers, body: String::new() }
    }

    /// The ACK of a user agent to a failure reply to this INVITE (RFC 3261 section 17.1.1.3).
    pub(crate) fn ack_for(&self, reply: &Text) -> Text {
        let mut ack = self.of_transaction("ACK");
        ack.set("To", reply.header("To").unwrap_or_default());
        ack
    }

    /// The CANCEL of this INVITE (RFC 3261 section 9.1).
    pub(crate) fn cancel(&self) -> Text {
        self.of_transaction("CANCEL")
    }

    fn of_transaction(&self, method: &str) -> Text {
        let copied = ["Via", "From", "To", "Call-ID", "Route"];
        let is_copied = |name: &str| copied.iter().any(|other| is_same(name, other));
        let mut headers: Vec<_> = self.headers.iter().filter(|(name, _)| is_copied(name)).cloned().collect();
        headers.push(("Max-Forwards".to_owned(), "70".to_owned()));
        headers.push(("CSeq".to_owned(), format!("{} {method}", self.cseq())));
        Text { start: format!("{method} {} SIP/2.0", self.uri()), headers, body: String::new() }
    }

    /// The number of its CSeq.
    pub(crate) fn cseq(&self) -> u32 {
        let number = self.header("CSeq").and_then(|value| value.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(1)
    }
}

/// Whether two header names mean the same, in whatever case and whether long or short (RFC 3261 section 7.3.3).
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    long(one).eq_ignore_ascii_case(long(other))
}

fn long(name: &str) -> &str {
    const SHORT: &[(&str, &str)] = &[
        ("i", "Call-ID"),
        ("m", "Contact"),
        ("e", "Content-Encoding"),
        ("l", "Content-Length"),
        ("c", "Content-Type"),
        ("f", "From"),
        ("s", "Subject"),
        ("k", "Supported"),
        ("t", "To"),
        ("v", "Via"),
    ];
    SHORT.iter().find(|(short, _)| short.eq_ignore_ascii_case(name)).map_or(name, |(_, long)| long)
}

/// The URI of a name-addr, without brackets, display name and header parameters.
pub(crate) fn uri_of(value: &str) -> &str {
    match (value.find('<'), value.find('>')) {
        (Some(start), Some(end)) if start < end => &value[start + 1..end],
        _ => value.split(';').next().unwrap_or(value).trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nf: <sip:a@h>;tag=1\n\
                          To: <sip:bob@example.com>\nCall-ID: c\nCSeq: 7 INVITE\nSubject: a\n b\n\nbody\n";

    #[test]
    fn a_message_is_taken_apart_and_put_together() {
        let text = Text::parse(INVITE);
        assert_eq!((text.method(), text.uri(), text.cseq()), ("INVITE", "sip:bob@example.com", 7));
        assert_eq!(text.header("From"), Some("<sip:a@h>;tag=1"));
        assert_eq!(text.header("subject"), Some("a b"));
        assert!(text.to_wire().ends_with("Content-Length: 6\r\n\r\nbody\r\n"));
    }

    #[test]
    fn a_reply_copies_what_rfc_3261_section_8_2_6_2_names() {
        let reply = Text::parse(INVITE).reply("180 Ringing", "x", "sip:bob@h");
        assert_eq!(reply.status(), Some(180));
        assert_eq!(reply.header("To"), Some("<sip:bob@example.com>;tag=x"));
        assert_eq!(reply.header("CSeq"), Some("7 INVITE"));
        assert_eq!(reply.header("Subject"), None);
    }

    #[test]
    fn the_ack_of_a_failure_has_the_via_of_its_invite_and_the_to_of_the_reply() {
        let invite = Text::parse(INVITE);
        let ack = invite.ack_for(&invite.reply("486 Busy Here", "x", "sip:bob@h"));
        assert_eq!(ack.start, "ACK sip:bob@example.com SIP/2.0");
        assert_eq!(ack.header("Via"), Some("SIP/2.0/UDP h;branch=z9hG4bK1"));
        assert_eq!(ack.header("To"), Some("<sip:bob@example.com>;tag=x"));
        assert_eq!(ack.header("CSeq"), Some("7 ACK"));
    }
}
