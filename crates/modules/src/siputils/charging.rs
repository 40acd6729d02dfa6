//! P-Charging-Vector: one name for the charges of a call among all who carry it (RFC 7315 section 4.6).

use std::fmt::Write as _;

use bytes::Bytes;
use module_api::{Call, Function, KeyRule, Outcome, Param, ParamKind, Routes, Value, Variable};
use sip_message::Span;

pub(super) const VECTOR: Function = Function {
    name: "sip_p_charging_vector",
    params: &[Param::required("flags", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Manages the P-Charging-Vector: r removes it, g makes one where the request came without, f puts a new one in place \
          of what came. One that was made here stays. 1 when the message changes, 2 when it stays as it is.",
    example: "sip_p_charging_vector(\"g\");",
    run: manage,
};

pub(super) const PCV: Variable = Variable {
    name: "pcv",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A part of the P-Charging-Vector, as it came or as sip_p_charging_vector() made it: all, value (icid-value), \
          genaddr (icid-generated-at), orig (orig-ioi), term (term-ioi).",
    example: "xlog(\"$pcv(value)\\n\");",
    read,
    write: None,
};

const NAME: &[u8] = b"P-Charging-Vector";

/// The value of the header that was made here; a note of the request. Empty when it was removed.
struct Made(Bytes);

fn manage(call: &mut Call<'_>) -> Outcome {
    let flags = call.text(0);
    let has = |letter: u8| flags.iter().any(|flag| flag.eq_ignore_ascii_case(&letter));
    if flags.is_empty() || !flags.iter().all(|flag| b"rgfRGF".contains(flag)) {
        return Outcome::fail("sip_p_charging_vector: the flags are r, g and f");
    }
    let made = call.context.note::<Made>().map(|made| !made.0.is_empty());
    if made == Some(true) {
        return Outcome::Value(2);
    }
    let message = std::sync::Arc::clone(&call.context.message);
    let there: Vec<Span> = match made {
        Some(false) => Vec::new(),
        _ => message.headers_with_name(NAME).map(|header| header.field).collect(),
    };
    let removes = (has(b'r') || has(b'f')) && !there.is_empty();
    let adds = has(b'f') || (has(b'g') && (there.is_empty() || removes));
    if removes {
        there.iter().for_each(|span| call.context.edits.remove(*span));
        call.context.set_note(Made(Bytes::new()));
    }
    if adds {
        let value = made_here(call);
        call.context.edits.append_header([NAME, b": ", &value, b"\r\n"].concat());
        call.context.set_note(Made(value));
    }
    Outcome::Value(if removes || adds { 1 } else { 2 })
}

/// RFC 7315 section 4.6.1: icid-value is unique in the world for three months at least; 128 random bits are.
fn made_here(call: &mut Call<'_>) -> Bytes {
    let (high, low) = (call.host.random(), call.host.random());
    let address = call.context.arrival.local.ip();
    let mut value = format!("icid-value=\"{high:016x}{low:016x}\";icid-generated-at=");
    let _ = match address.is_ipv4() {
        true => write!(value, "{address}"),
        false => write!(value, "\"[{address}]\""),
    };
    value.into()
}

fn read(call: &mut Call<'_>, selector: &module_api::Selector<'_>) -> Value {
    let message = &call.context.message;
    let value = match call.context.note::<Made>() {
        Some(made) if made.0.is_empty() => return Value::Null,
        Some(made) => made.0.clone(),
        None => match message.headers_with_name(NAME).next() {
            Some(header) => Bytes::from(header.unfolded().into_owned()),
            None => return Value::Null,
        },
    };
    let name: &[u8] = match selector.key() {
        b"all" => return Value::Str(value),
        b"value" => b"icid-value",
        b"genaddr" => b"icid-generated-at",
        b"orig" => b"orig-ioi",
        b"term" => b"term-ioi",
        _ => return Value::Null,
    };
    // The header is nothing but parameters, of which the first has no semicolon before it.
    let params = [b";", &value[..]].concat();
    let params = sip_message::Params::parse(&params);
    let found = params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).and_then(|(_, value)| value);
    found.map_or(Value::Null, |text| Value::Str(Bytes::copy_from_slice(unquoted(text))))
}

fn unquoted(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, text};
    use module_api::Value;

    const CAME: &str =
        "P-Charging-Vector: icid-value=\"a;b\"; icid-generated-at=192.0.2.9;orig-ioi=home.example\r\nSubject";

    #[test]
    fn a_vector_is_made_where_there_is_none_and_only_once() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "sip_p_charging_vector", &["g"]), 1);
        let value = "00000000000000010000000000000002";
        let line = format!("P-Charging-Vector: icid-value=\"{value}\";icid-generated-at=192.0.2.1\r\n");
        assert!(bench.written().contains(&line), "{}", bench.written());
        assert_eq!(bench.read(&MODULE, "pcv", Some("value")), text(value));
        assert_eq!(bench.run(&MODULE, "sip_p_charging_vector", &["f"]), 2);
        assert_eq!(bench.written().matches("P-Charging-Vector").count(), 1);
    }

    #[test]
    fn a_vector_that_came_is_read_kept_removed_or_replaced() {
        let came = INVITE.replace("Subject", CAME);
        let mut bench = Bench::new(&came);
        for (part, value) in [("value", "a;b"), ("genaddr", "192.0.2.9"), ("orig", "home.example")] {
            assert_eq!(bench.read(&MODULE, "pcv", Some(part)), text(value), "{part}");
        }
        assert_eq!(bench.read(&MODULE, "pcv", Some("term")), Value::Null);
        assert_eq!(bench.run(&MODULE, "sip_p_charging_vector", &["g"]), 2);
        assert!(bench.context.edits.is_empty());
        assert_eq!(bench.run(&MODULE, "sip_p_charging_vector", &["r"]), 1);
        assert!(!bench.written().contains("P-Charging-Vector"));
        assert_eq!(bench.read(&MODULE, "pcv", Some("all")), Value::Null);
        let mut bench = Bench::new(&came);
        assert_eq!(bench.run(&MODULE, "sip_p_charging_vector", &["f"]), 1);
        assert_eq!(bench.written().matches("P-Charging-Vector").count(), 1);
        assert!(!bench.written().contains("a;b"));
        assert_eq!(bench.run(&MODULE, "sip_p_charging_vector", &["x"]), -1);
    }
}
