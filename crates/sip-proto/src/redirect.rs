//! Redirection (RFC 3261 section 8.3): the Contact header of a 3xx.

use bytes::Bytes;

/// A Contact header line, with its line end, that offers `targets` in the order given. A target's
/// `q` is in thousandths; none says nothing.
///
/// Equal targets are offered once, and what is no URI is left out: nothing that came from a peer
/// may add a header or a contact of its own.
pub fn contact_header(targets: &[(Bytes, Option<u16>)]) -> Bytes {
    let mut line = Vec::new();
    for (place, (uri, q)) in targets.iter().enumerate() {
        let is_repeated = targets[..place].iter().any(|(earlier, _)| earlier == uri);
        if is_repeated || sip_message::Uri::parse(uri).is_err() {
            continue;
        }
        line.extend_from_slice(if line.is_empty() { b"Contact: <" } else { b", <" });
        line.extend_from_slice(uri);
        line.push(b'>');
        if let Some(q) = q {
            line.extend_from_slice(format!(";q={}", q_text(*q)).as_bytes());
        }
    }
    if !line.is_empty() {
        line.extend_from_slice(b"\r\n");
    }
    line.into()
}

/// A `qvalue` (RFC 3261 section 25.1) of thousandths; more than 1000 counts as that.
pub fn q_text(q: u16) -> String {
    match q {
        1000.. => "1".to_owned(),
        0 => "0".to_owned(),
        _ => format!("0.{q:03}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(targets: &[(&'static str, Option<u16>)], expected: &str) {
        let targets: Vec<_> = targets.iter().map(|(uri, q)| (Bytes::from_static(uri.as_bytes()), *q)).collect();
        assert_eq!(contact_header(&targets), expected);
    }

    #[test]
    fn targets_are_offered_with_their_preference() {
        check(
            &[("sip:a@h", Some(700)), ("sip:b@[2001:db8::1]", None)],
            "Contact: <sip:a@h>;q=0.7, <sip:b@[2001:db8::1]>\r\n",
        );
    }

    #[test]
    fn a_target_is_offered_once() {
        check(&[("sip:a@h", None), ("sip:a@h", None)], "Contact: <sip:a@h>\r\n");
    }

    #[test]
    fn what_is_no_uri_is_left_out() {
        check(&[("sip:a@h>\r\nX: y", None)], "");
        check(&[], "");
    }

    #[test]
    fn q_has_up_to_three_decimals() {
        let texts = [0, 5, 50, 500, 725, 1000, 2000].map(q_text);
        assert_eq!(texts, ["0", "0.005", "0.05", "0.5", "0.725", "1", "1"]);
    }
}
