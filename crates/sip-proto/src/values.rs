//! Taking single values out of headers that list several.

use sip_message::{Edits, HeaderName, Message, Span};

/// Removes the values of `name` that `is_removed` picks by their place among all of them, with the
/// commas that go with them; a line that loses all its values goes as a whole.
pub(crate) fn remove(message: &Message, name: HeaderName, edits: &mut Edits, is_removed: impl Fn(usize) -> bool) {
    let mut place = 0;
    for header in message.headers_named(name) {
        let spans: Vec<(Span, bool)> = header
            .values()
            .map(|value| {
                place += 1;
                (value.span, is_removed(place - 1))
            })
            .collect();
        if !spans.is_empty() && spans.iter().all(|(_, is_removed)| *is_removed) {
            edits.remove(header.field);
            continue;
        }
        remove_some(&spans, edits);
    }
}

/// Each removed value takes along what lies up to the next value; those at the end, what lies
/// between them and the last kept value.
fn remove_some(spans: &[(Span, bool)], edits: &mut Edits) {
    let last_kept = spans.iter().rposition(|(_, is_removed)| !is_removed);
    let Some(last_kept) = last_kept else { return };
    for pair in spans[..=last_kept].windows(2) {
        if pair[0].1 {
            edits.remove(Span { start: pair[0].0.start, end: pair[1].0.start });
        }
    }
    if let Some((last, true)) = spans.last() {
        edits.remove(Span { start: spans[last_kept].0.end, end: last.end });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sip_message::{Limits, write};

    use super::*;

    fn check(lines: &'static str, removed: &[usize], expected: &str) {
        let text = format!("OPTIONS sip:a SIP/2.0\r\n{lines}Call-ID: x\r\n\r\n");
        let message = Message::parse(Bytes::from(text), &Limits::default()).unwrap();
        let mut edits = Edits::new();
        remove(&message, HeaderName::Route, &mut edits, |place| removed.contains(&place));
        let mut out = Vec::new();
        write(&message, &[&edits], &mut out);
        let expected = format!("OPTIONS sip:a SIP/2.0\r\n{expected}Call-ID: x\r\n\r\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{removed:?}");
    }

    const LINES: &str = "Route: <sip:a>, <sip:b> , <sip:c>\r\nRoute: <sip:d>\r\n";

    #[test]
    fn values_go_with_their_commas() {
        check(LINES, &[], LINES);
        check(LINES, &[0], "Route: <sip:b> , <sip:c>\r\nRoute: <sip:d>\r\n");
        check(LINES, &[1], "Route: <sip:a>, <sip:c>\r\nRoute: <sip:d>\r\n");
        check(LINES, &[2], "Route: <sip:a>, <sip:b>\r\nRoute: <sip:d>\r\n");
        check(LINES, &[0, 1], "Route: <sip:c>\r\nRoute: <sip:d>\r\n");
        check(LINES, &[1, 2], "Route: <sip:a>\r\nRoute: <sip:d>\r\n");
    }

    #[test]
    fn a_line_without_values_left_goes_as_a_whole() {
        check(LINES, &[0, 1, 2], "Route: <sip:d>\r\n");
        check(LINES, &[3], "Route: <sip:a>, <sip:b> , <sip:c>\r\n");
        check(LINES, &[0, 1, 2, 3], "");
    }
}
