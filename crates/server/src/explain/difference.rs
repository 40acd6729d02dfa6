//! What a message that left differs in from the one that came: the edits made, by script and server.

use crate::simulate::message::Text;

/// Lines that were taken away (`-`) and added (`+`), the start line and the body included.
pub(crate) fn between(before: &Text, after: &Text) -> Vec<String> {
    let mut lines = Vec::new();
    if before.start != after.start {
        lines.push(format!("- {}", before.start));
        lines.push(format!("+ {}", after.start));
    }
    let shown = |text: &Text| {
        let headers = text.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("Content-Length"));
        headers.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
    };
    let (mut gone, kept) = (Vec::new(), shown(after));
    let mut left = kept.clone();
    for line in shown(before) {
        match left.iter().position(|other| *other == line) {
            Some(at) => drop(left.remove(at)),
            None => gone.push(line),
        }
    }
    lines.extend(gone.iter().map(|line| format!("- {line}")));
    lines.extend(left.iter().map(|line| format!("+ {line}")));
    if before.body != after.body {
        lines.push(format!("- body of {} bytes", before.body.len()));
        lines.push(format!("+ body of {} bytes", after.body.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_shown_and_a_second_via_is_an_addition() {
        let before = Text::parse("INVITE sip:b@h SIP/2.0\nVia: one\nMax-Forwards: 70\nTo: <sip:b@h>\n\n");
        let after = Text::parse("INVITE sip:b@i SIP/2.0\nVia: two\nVia: one\nMax-Forwards: 69\nTo: <sip:b@h>\n\n");
        let expected = [
            "- INVITE sip:b@h SIP/2.0",
            "+ INVITE sip:b@i SIP/2.0",
            "- Max-Forwards: 70",
            "+ Via: two",
            "+ Max-Forwards: 69",
        ];
        assert_eq!(between(&before, &after), expected);
    }
}
