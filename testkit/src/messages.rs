//! Messages as user agents write them.

/// A request of the caller, `alice` at 198.51.100.1:5070, for `bob` at 203.0.113.1:5080.
///
/// `to_params` is what stands behind the To address: `;tag=b1` within a dialog. Lines end in a bare
/// LF, which [`crate::Network::send`] makes CRLF.
pub fn request(method: &str, branch: &str, to_params: &str) -> String {
    format!(
        "{method} sip:bob@203.0.113.1:5080 SIP/2.0\n\
         Via: SIP/2.0/UDP 198.51.100.1:5070;branch={branch}\n\
         Max-Forwards: 70\n\
         From: <sip:alice@example.com>;tag=a1\n\
         To: <sip:bob@example.com>{to_params}\n\
         Call-ID: c1@198.51.100.1\n\
         CSeq: 1 {method}\n\
         Contact: <sip:alice@198.51.100.1:5070>\n\
         Content-Length: 0\n\n"
    )
}

/// `message` with a header line more.
pub fn with_line(message: &str, line: &str) -> String {
    message.replacen("Content-Length:", &format!("{line}\nContent-Length:"), 1)
}

/// The reply of a callee to a request that it received, with the tag `b1`.
pub fn answer(request: &str, status: &str) -> String {
    answer_tagged(request, status, "b1")
}

/// The reply of a callee that uses `tag`.
///
/// # Panics
/// When the request has no To.
pub fn answer_tagged(request: &str, status: &str, tag: &str) -> String {
    let copied = ["Via:", "From:", "Call-ID:", "CSeq:", "Record-Route:"];
    let mut reply = format!("SIP/2.0 {status}\n");
    for line in request.lines().filter(|line| copied.iter().any(|name| line.starts_with(name))) {
        reply.push_str(line);
        reply.push('\n');
    }
    let to = line(request, "To:").expect("every request has a To");
    let tag = if to.contains(";tag=") || status.starts_with("100") { String::new() } else { format!(";tag={tag}") };
    reply.push_str(&format!("{to}{tag}\nContact: <sip:bob@203.0.113.1:5080>\nContent-Length: 0\n\n"));
    reply
}

/// The first line of a message that begins with `name`, which includes the colon.
pub fn line<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find(|line| line.starts_with(name))
}
