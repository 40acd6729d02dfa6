//! Other names in From and To, and the old ones back where their owners look.

use bytes::Bytes;
use module_api::{Call, Context, Function, Outcome, Param, ParamKind, Restore, RouteKind, Routes};
use sip_message::{HeaderName, NameAddr, Params, Uri};

use super::Settings;

const WHERE: Routes = Routes::REQUEST.or(Routes::FAILURE).or(Routes::of(RouteKind::Branch));
const DISPLAY_AND_URI: &[Param] =
    &[Param::required("display", ParamKind::Format), Param::required("uri", ParamKind::Format)];
const URI: &[Param] = &[Param::required("uri", ParamKind::Format)];

pub(super) const FROM: Function = Function {
    name: "uac_replace_from",
    params: DISPLAY_AND_URI,
    routes: WHERE,
    doc: "Changes display name and URI of From; an empty text leaves that part as it is. Replies and later requests of \
          the dialog get the old From back where the caller sees them; that needs record_route() for later requests.",
    example: "uac_replace_from(\"Alice\", \"sip:100@gateway.example.com\");",
    run: |call| {
        let (display, uri) = (call.text(0), call.text(1));
        replace(call, HeaderName::From, Some(display), uri)
    },
};

pub(super) const FROM_URI: Function = Function {
    name: "uac_replace_from",
    params: URI,
    routes: WHERE,
    doc: "Changes the URI of From alone.",
    example: "uac_replace_from(\"sip:100@gateway.example.com\");",
    run: |call| {
        let uri = call.text(0);
        replace(call, HeaderName::From, None, uri)
    },
};

pub(super) const TO: Function = Function {
    name: "uac_replace_to",
    params: DISPLAY_AND_URI,
    routes: WHERE,
    doc: "Changes display name and URI of To, as uac_replace_from() does with From.",
    example: "uac_replace_to(\"Bob\", \"sip:bob@gateway.example.com\");",
    run: |call| {
        let (display, uri) = (call.text(0), call.text(1));
        replace(call, HeaderName::To, Some(display), uri)
    },
};

pub(super) const TO_URI: Function = Function {
    name: "uac_replace_to",
    params: URI,
    routes: WHERE,
    doc: "Changes the URI of To alone.",
    example: "uac_replace_to(\"sip:bob@gateway.example.com\");",
    run: |call| {
        let uri = call.text(0);
        replace(call, HeaderName::To, None, uri)
    },
};

pub(super) const RESTORE_FROM: Function = restore("uac_restore_from", "uac_restore_from();", true);
pub(super) const RESTORE_TO: Function = restore("uac_restore_to", "uac_restore_to();", false);

const fn restore(name: &'static str, example: &'static str, _is_from: bool) -> Function {
    Function {
        name,
        params: &[],
        routes: Routes::REQUEST,
        doc: "True, and nothing more: loose_route() restores what the Record-Route remembers. Stays for old scripts.",
        example,
        run: |_| Outcome::TRUE,
    }
}

/// The parameters of our Record-Route that remember a change.
const FROM_PARAMETER: &str = "vsf";
const TO_PARAMETER: &str = "vst";

fn replace(call: &mut Call<'_>, header: HeaderName, display: Option<Bytes>, uri: Bytes) -> Outcome {
    if !uri.is_empty() && (Uri::parse(&uri).is_err() || !crate::rewrite::is_clean(&uri)) {
        return Outcome::fail("the new URI cannot be read");
    }
    let settings = call.shared_state::<Settings>();
    let Some(old) = address(call.context, header) else { return Outcome::fail("the header cannot be read") };
    let uri = if uri.is_empty() { old.uri.clone() } else { uri };
    let display = display.filter(|display| !display.is_empty()).map_or(old.display.clone(), |display| quoted(&display));
    let new = written(&display, &uri);
    change(call.context, header, &old, &new);
    if !settings.restores {
        return Outcome::TRUE;
    }
    call.context.restores.push(Restore { header, address: old.text.clone() });
    if call.context.message.to_tag().is_none() && uri != old.uri {
        let parameter = if header == HeaderName::From { FROM_PARAMETER } else { TO_PARAMETER };
        let difference = format!(";{parameter}={}", hex(&difference(&old.uri, &uri)));
        crate::rr::add_parameters(call.context, difference.as_bytes());
    }
    Outcome::TRUE
}

/// For a request within a dialog, after its Route of ours was taken away: gives From and To the names that the
/// receiving side knows. `parameters` are those of our Route URI.
pub(crate) fn restore_within(context: &mut Context, parameters: &Params<'_>) {
    let began = parameters.value("ftag");
    let is_downstream = began.is_none_or(|began| Some(began) == context.message.from_tag());
    for (name, downstream, upstream) in
        [(FROM_PARAMETER, HeaderName::From, HeaderName::To), (TO_PARAMETER, HeaderName::To, HeaderName::From)]
    {
        let Some(remembered) = parameters.value(name).and_then(unhex) else { continue };
        let header = if is_downstream { downstream } else { upstream };
        let Some(old) = address(context, header) else { continue };
        // What the one side knows, with the difference, is what the other side knows.
        let uri = other(&remembered, &old.uri);
        if Uri::parse(&uri).is_err() || !crate::rewrite::is_clean(&uri) {
            continue;
        }
        let new = written(&old.display, &uri);
        change(context, header, &old, &new);
        context.restores.push(Restore { header, address: old.text });
    }
}

/// Display name and URI of a From or To.
struct Address {
    /// Both as they stand, without the parameters behind.
    text: Bytes,
    display: Vec<u8>,
    uri: Bytes,
}

fn address(context: &Context, header: HeaderName) -> Option<Address> {
    let found = context.message.header(header)?;
    let value = context.message.slice(found.value_span);
    let name = NameAddr::parse(&value).ok()?;
    let uri = value.slice_ref(name.uri);
    let at = uri.as_ptr() as usize - value.as_ptr() as usize;
    let before = &value[..at];
    let (display, end) = match before.last() {
        Some(b'<') => (before[..at - 1].trim_ascii().to_vec(), at + uri.len() + 1),
        _ => (Vec::new(), at + uri.len()),
    };
    Some(Address { text: value.slice(..end.min(value.len())), display, uri })
}

fn change(context: &mut Context, header: HeaderName, old: &Address, new: &[u8]) {
    let Some(found) = context.message.header(header) else { return };
    let start = found.value_span.start;
    let span = sip_message::Span { start, end: start + old.text.len() as u32 };
    context.edits.replace(span, new.to_vec());
}

fn written(display: &[u8], uri: &[u8]) -> Vec<u8> {
    let blank: &[u8] = if display.is_empty() { b"" } else { b" " };
    [display, blank, b"<", uri, b">"].concat()
}

/// A display name in quotes, unless the script has put them.
fn quoted(display: &[u8]) -> Vec<u8> {
    if display.starts_with(b"\"") {
        return display.iter().copied().filter(|byte| !byte.is_ascii_control()).collect();
    }
    let mut out = vec![b'"'];
    for byte in display.iter().filter(|byte| !byte.is_ascii_control()) {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
    out
}

/// What makes one text of the other, whichever of the two one has: the shorter counts as filled with zero bytes.
fn difference(one: &[u8], other: &[u8]) -> Vec<u8> {
    let byte = |text: &[u8], n: usize| text.get(n).copied().unwrap_or(0);
    (0..one.len().max(other.len())).map(|n| byte(one, n) ^ byte(other, n)).collect()
}

fn other(remembered: &[u8], known: &[u8]) -> Vec<u8> {
    let mut text = difference(remembered, known);
    while text.last() == Some(&0) {
        text.pop();
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii() && text.len() % 2 == 0)?;
    (0..text.len()).step_by(2).map(|n| u8::from_str_radix(&text[n..n + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_name_gives_the_other() {
        for (one, two) in [("sip:alice@example.com", "sip:100@gw"), ("sip:a@b", "sip:much.longer@example.org")] {
            let remembered = unhex(hex(&difference(one.as_bytes(), two.as_bytes())).as_bytes()).expect("hexadecimal");
            assert_eq!(other(&remembered, one.as_bytes()), two.as_bytes());
            assert_eq!(other(&remembered, two.as_bytes()), one.as_bytes());
        }
    }

    #[test]
    fn a_name_is_quoted_once() {
        assert_eq!(quoted(b"Al \"X\""), b"\"Al \\\"X\\\"\"");
        assert_eq!(quoted(b"\"Alice\""), b"\"Alice\"");
    }
}
