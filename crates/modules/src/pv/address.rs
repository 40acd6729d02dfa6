//! `$fu`, `$tu` and their parts: From, To, Contact, P-Asserted-Identity.
//!
//! Writing them lists edits; what is read afterwards is still what was received.

use bytes::Bytes;
use module_api::{Call, Fault, KeyRule, Routes, Selector, Value, Variable};
use sip_message::{HeaderName, Message, NameAddr, Span, Uri};

use super::target::part;
use super::{copied, plain};
use crate::rewrite;

pub(super) const FU: Variable = side(
    "fu",
    "The URI of From.",
    "xlog(\"from $fu\\n\");",
    |call, _| uri(call, FROM),
    |call, _, value| set_uri(call, FROM, |_| Some(value.to_bytes())),
);
pub(super) const F_USER: Variable = side(
    "fU",
    "The user in the URI of From.",
    "if ($fU == \"alice\") exit;",
    |call, _| user(call, FROM),
    |call, _, value| set_uri(call, FROM, |old| rewrite::with_user(old, Some(&value.to_bytes()))),
);
pub(super) const F_HOST: Variable = side(
    "fd",
    "The host in the URI of From.",
    "if ($fd == \"example.com\") exit;",
    |call, _| host(call, FROM),
    |call, _, value| set_uri(call, FROM, |old| rewrite::with_host(old, &value.to_bytes())),
);
pub(super) const F_NAME: Variable = side(
    "fn",
    "The display name of From, as written.",
    "xlog(\"$fn\\n\");",
    |call, _| display(call, FROM),
    |call, _, value| set_display(call, FROM, &value),
);
pub(super) const F_TAG: Variable =
    plain("ft", "The tag of From.", "xlog(\"$ft\\n\");", |call, _| copied(call.context.message.from_tag()));

pub(super) const TU: Variable = side(
    "tu",
    "The URI of To.",
    "xlog(\"to $tu\\n\");",
    |call, _| uri(call, TO),
    |call, _, value| set_uri(call, TO, |_| Some(value.to_bytes())),
);
pub(super) const T_USER: Variable = side(
    "tU",
    "The user in the URI of To.",
    "if ($tU == \"bob\") exit;",
    |call, _| user(call, TO),
    |call, _, value| set_uri(call, TO, |old| rewrite::with_user(old, Some(&value.to_bytes()))),
);
pub(super) const T_HOST: Variable = side(
    "td",
    "The host in the URI of To.",
    "if ($td == \"example.com\") exit;",
    |call, _| host(call, TO),
    |call, _, value| set_uri(call, TO, |old| rewrite::with_host(old, &value.to_bytes())),
);
pub(super) const T_NAME: Variable = side(
    "tn",
    "The display name of To, as written.",
    "xlog(\"$tn\\n\");",
    |call, _| display(call, TO),
    |call, _, value| set_display(call, TO, &value),
);
pub(super) const T_TAG: Variable =
    plain("tt", "The tag of To; undefined outside of a dialog.", "xlog(\"$tt\\n\");", |call, _| {
        copied(call.context.message.to_tag())
    });

pub(super) const F_USER_LENGTH: Variable =
    plain("fUl", "The length of the user in the URI of From.", "if ($fUl > 20) exit;", |call, _| {
        length(user(call, FROM))
    });
pub(super) const T_USER_LENGTH: Variable =
    plain("tUl", "The length of the user in the URI of To.", "if ($tUl > 20) exit;", |call, _| length(user(call, TO)));
pub(super) const F_URI_LENGTH: Variable =
    plain("ful", "The length of the URI of From.", "if ($ful > 200) exit;", |call, _| length(uri(call, FROM)));
pub(super) const T_URI_LENGTH: Variable =
    plain("tul", "The length of the URI of To.", "if ($tul > 200) exit;", |call, _| length(uri(call, TO)));

pub(super) const CT: Variable =
    plain("ct", "The value of the first Contact header.", "xlog(\"$ct\\n\");", |call, _| {
        copied(call.context.message.header(HeaderName::Contact).map(|header| header.value))
    });
pub(super) const CT_URI: Variable = plain("ctu", "The URI of the first contact.", "xlog(\"$ctu\\n\");", |call, _| {
    let message = &call.context.message;
    let contact = message.contacts().next().and_then(Result::ok).and_then(|contact| contact.address());
    copied(contact.map(|contact| contact.uri))
});
pub(super) const AI: Variable = plain("ai", "The URI of P-Asserted-Identity.", "xlog(\"$ai\\n\");", |call, _| {
    copied(call.context.message.address(HeaderName::PAssertedIdentity).ok().map(|address| address.uri))
});

const FROM: HeaderName = HeaderName::From;
const TO: HeaderName = HeaderName::To;

type Write = fn(&mut Call<'_>, &Selector<'_>, Value) -> Result<(), Fault>;

const fn side(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    read: super::Read,
    write: Write,
) -> Variable {
    Variable { name, key: KeyRule::None, routes: Routes::ANY, doc, example, read, write: Some(write) }
}

fn length(value: Value) -> Value {
    Value::Int(value.to_bytes().len() as i64)
}

fn address(message: &Message, name: HeaderName) -> Option<NameAddr<'_>> {
    message.address(name).ok()
}

fn uri(call: &Call<'_>, name: HeaderName) -> Value {
    let message = &call.context.message;
    address(message, name).map(|address| message.slice(address.uri_span)).into()
}

fn user(call: &Call<'_>, name: HeaderName) -> Value {
    address(&call.context.message, name).map_or(Value::Null, |address| part(address.uri, |uri| uri.user))
}

fn host(call: &Call<'_>, name: HeaderName) -> Value {
    address(&call.context.message, name).map_or(Value::Null, |address| part(address.uri, |uri| Some(uri.host_text)))
}

fn display(call: &Call<'_>, name: HeaderName) -> Value {
    let message = &call.context.message;
    copied(address(message, name).map(|address| address.display).filter(|display| !display.is_empty()))
}

fn set_uri(call: &mut Call<'_>, name: HeaderName, change: impl FnOnce(&[u8]) -> Option<Bytes>) -> Result<(), Fault> {
    let message = std::sync::Arc::clone(&call.context.message);
    let address = address(&message, name).ok_or(fault("the header cannot be read"))?;
    let new =
        change(address.uri).filter(|uri| Uri::parse(uri).is_ok()).ok_or(fault("the result would not be a URI"))?;
    let is_bracketed = address.uri_span.start > 0 && message.bytes()[address.uri_span.start as usize - 1] == b'<';
    // Without brackets a parameter of the new URI would become one of the header (RFC 3261 section 20).
    let new = if is_bracketed { new } else { [b"<", &new[..], b">"].concat().into() };
    call.context.edits.replace(address.uri_span, new);
    Ok(())
}

fn set_display(call: &mut Call<'_>, name: HeaderName, value: &Value) -> Result<(), Fault> {
    let message = std::sync::Arc::clone(&call.context.message);
    let address = address(&message, name).ok_or(fault("the header cannot be read"))?;
    let display = value.to_bytes();
    if display.iter().any(|byte| matches!(byte, 0..=0x1f | 0x7f | b'<' | b'>')) {
        return Err(fault("a display name holds neither line ends nor brackets"));
    }
    let is_bracketed = address.uri_span.start > 0 && message.bytes()[address.uri_span.start as usize - 1] == b'<';
    if !is_bracketed {
        return Err(fault("the address has no brackets, so no display name can be set"));
    }
    let span = Span { start: address.span.start, end: address.uri_span.start - 1 };
    let text = if display.is_empty() { display } else { [&display[..], b" "].concat().into() };
    match span.is_empty() {
        true => call.context.edits.insert(span.start, text),
        false => call.context.edits.replace(span, text),
    }
    Ok(())
}

fn fault(cause: &'static str) -> Fault {
    Fault { code: -1, cause: cause.into() }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, text};

    #[test]
    fn both_sides_are_read() {
        let mut bench = Bench::invite();
        let expected = [
            ("fu", text("sip:alice@example.com")),
            ("fU", text("alice")),
            ("fn", text("\"Alice\"")),
            ("ft", text("9fxced76sl")),
            ("td", text("example.com")),
            ("tt", Value::Null),
            ("ctu", text("sip:alice@198.51.100.7:5070")),
            ("ai", Value::Null),
        ];
        for (name, value) in expected {
            assert_eq!(bench.read(&MODULE, name, None), value, "{name}");
        }
    }

    #[test]
    fn a_written_side_leaves_changed_and_reads_as_received() {
        let mut bench = Bench::invite();
        bench.write(&MODULE, "fU", None, text("anonymous"));
        bench.write(&MODULE, "fn", None, text("\"Nobody\""));
        assert_eq!(bench.read(&MODULE, "fU", None), text("alice"));
        assert!(bench.written().contains("From: \"Nobody\" <sip:anonymous@example.com>;tag=9fxced76sl\r\n"));
    }

    #[test]
    fn an_address_without_brackets_gets_them_with_its_new_uri() {
        let mut bench = Bench::new(&INVITE.replace("Bob <sip:bob@example.com>", "sip:bob@example.com"));
        bench.write(&MODULE, "tu", None, text("sip:x@y;lr"));
        assert!(bench.written().contains("To: <sip:x@y;lr>\r\n"), "{}", bench.written());
    }
}
