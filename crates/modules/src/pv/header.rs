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
    fn a_negative_index_counts_from_the_end() {
        assert_eq!(nth(3, -1), Some(2));
        assert_eq!(nth(3, 3), None);
        assert_eq!(nth(3, -4), None);
        assert_eq!(nth(0, i64::MIN), None);
    }
}
