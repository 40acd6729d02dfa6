//! `$hdr(Name)`: any header.

use bytes::Bytes;
use module_api::{Index, KeyRule, Routes, Value, Variable};

pub(super) const HDR: Variable = Variable {
    name: "hdr",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "The value of the first header of that name; with an index the n-th, with [*] all, joined by commas.",
    example: "if ($hdr(Subject) =~ \"urgent\") exit;",
    read: |call, selector| {
        let message = &call.context.message;
        let mut values = message.headers_with_name(selector.key()).map(|header| message.slice(header.value_span));
        match selector.index {
            Index::Default => values.next().into(),
            Index::At(n) => {
                let values: Vec<Bytes> = values.collect();
                nth(values.len(), n).map(|at| values[at].clone()).into()
            }
            Index::All => {
                let values: Vec<Bytes> = values.collect();
                (!values.is_empty()).then(|| Bytes::from(values.join(&b","[..]))).into()
            }
        }
    },
    write: None,
};

pub(super) const HDR_COUNT: Variable = Variable {
    name: "hdrc",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "How many headers of that name there are.",
    example: "if ($hdrc(Via) > 5) exit;",
    read: |call, selector| Value::Int(call.context.message.headers_with_name(selector.key()).count() as i64),
    write: None,
};

pub(super) const LIST: Variable = Variable {
    name: "hfl",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "An address in a header that lists addresses, such as Contact, Route or Via: the first, with an index the n-th, \
          counted over all headers of that name. Of other headers the value, as $hdr has it.",
    example: "xlog(\"$(hfl(Contact)[1])\\n\");",
    read: |call, selector| {
        let message = &call.context.message;
        let headers = message.headers_with_name(selector.key());
        let values: Vec<Bytes> = match is_list(selector.key()) {
            true => headers
                .flat_map(|header| header.values().map(|value| message.slice(value.span)).collect::<Vec<_>>())
                .collect(),
            false => headers.map(|header| message.slice(header.value_span)).collect(),
        };
        match selector.index {
            Index::All if values.is_empty() => Value::Null,
            Index::All => Value::Str(values.join(&b","[..]).into()),
            Index::Default => values.into_iter().next().into(),
            Index::At(n) => nth(values.len(), n).map(|at| values[at].clone()).into(),
        }
    },
    write: None,
};

pub(super) const LIST_COUNT: Variable = Variable {
    name: "hflc",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "How many addresses the headers of that name list; of other headers, how many there are.",
    example: "if ($hflc(Via) > 5) exit;",
    read: |call, selector| {
        let headers = call.context.message.headers_with_name(selector.key());
        Value::Int(match is_list(selector.key()) {
            true => headers.map(|header| header.values().count()).sum::<usize>() as i64,
            false => headers.count() as i64,
        })
    },
    write: None,
};

/// Headers whose values are addresses or hops, taken apart by `$hfl` as Kamailio does.
fn is_list(name: &[u8]) -> bool {
    use sip_message::HeaderName;
    matches!(
        HeaderName::from_token(name),
        HeaderName::Via
            | HeaderName::Contact
            | HeaderName::Route
            | HeaderName::RecordRoute
            | HeaderName::PAssertedIdentity
    ) || [&b"Diversion"[..], b"P-Preferred-Identity"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Index `n` of `len` values; negative counts from the end.
pub(super) fn nth(len: usize, n: i64) -> Option<usize> {
    let at = if n < 0 { i64::try_from(len).ok()?.checked_add(n)? } else { n };
    usize::try_from(at).ok().filter(|at| *at < len)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, text};

    #[test]
    fn headers_are_found_by_any_spelling_of_their_name() {
        let mut bench = Bench::new(&INVITE.replace("Subject: lunch\r\n", "s: lunch\r\nX-Own: a\r\nx-own: b\r\n"));
        assert_eq!(bench.read(&MODULE, "hdr", Some("subject")), text("lunch"));
        assert_eq!(bench.read(&MODULE, "hdr", Some("X-OWN")), text("a"));
        assert_eq!(bench.read(&MODULE, "hdrc", Some("X-Own")), Value::Int(2));
        assert_eq!(bench.read(&MODULE, "hdr", Some("X-None")), Value::Null);
    }

    #[test]
    fn lists_of_addresses_are_taken_apart() {
        let two =
            "Contact: <sip:a@h>, \"b, c\" <sip:b@h>\r\nContact: <sip:c@h>\r\nAllow: INVITE, ACK\r\nAllow: BYE\r\n";
        let mut bench = Bench::new(&INVITE.replace("Contact: <sip:alice@198.51.100.7:5070>\r\n", two));
        assert_eq!(bench.read(&MODULE, "hfl", Some("Contact")), text("<sip:a@h>"));
        assert_eq!(bench.read(&MODULE, "hflc", Some("Contact")), Value::Int(3));
        // As Kamailio 5.6.3: other lists stay whole.
        assert_eq!(bench.read(&MODULE, "hfl", Some("Allow")), text("INVITE, ACK"));
        assert_eq!(bench.read(&MODULE, "hflc", Some("Allow")), Value::Int(2));
    }

    #[test]
    fn a_negative_index_counts_from_the_end() {
        assert_eq!(nth(3, -1), Some(2));
        assert_eq!(nth(3, 3), None);
        assert_eq!(nth(3, -4), None);
        assert_eq!(nth(0, i64::MIN), None);
    }
}
