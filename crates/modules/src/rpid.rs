//! Remote-Party-ID: who calls, as the database or the script says (draft-ietf-sip-privacy-04).

use bytes::Bytes;
use module_api::{Call, Outcome, Parameter, SettingKind, Setup, Value};
use sip_message::{NameAddr, Uri};

use crate::siputils::is_e164;

/// How Remote-Party-ID is written, and from which attribute.
pub(crate) struct RemoteParty {
    attribute: Bytes,
    prefix: Bytes,
    suffix: Bytes,
}

/// What stands before the URI.
pub(crate) const PREFIX: Parameter = Parameter {
    name: "rpid_prefix",
    kind: SettingKind::Str,
    default: "",
    doc: "What append_rpid_hf() writes before the URI, such as a display name.",
};

/// What stands behind the URI.
pub(crate) const SUFFIX: Parameter = Parameter {
    name: "rpid_suffix",
    kind: SettingKind::Str,
    default: ";party=calling;id-type=subscriber;screen=yes",
    doc: "What append_rpid_hf() writes behind the URI.",
};

impl RemoteParty {
    /// Reads the settings of a module that has [`PREFIX`] and [`SUFFIX`]; `attribute` is written `$avp(NAME)` or as
    /// the name alone.
    pub(crate) fn new(setup: &Setup<'_>, attribute: &str) -> RemoteParty {
        let name = attribute.trim().trim_start_matches("$avp(").trim_end_matches(')').trim_start_matches("s:");
        RemoteParty {
            attribute: Bytes::copy_from_slice(name.as_bytes()),
            prefix: setup.text(PREFIX.name).into(),
            suffix: setup.text(SUFFIX.name).into(),
        }
    }

    /// Adds the header, with what the settings say or what the call's two arguments say. A request without the
    /// attribute stays as it is, and that is no failure: not every caller has another name.
    pub(crate) fn append(&self, call: &mut Call<'_>) -> Outcome {
        let Some(uri) = call.context.avps.first(&self.attribute).map(Value::to_bytes) else { return Outcome::TRUE };
        let (prefix, suffix) = match call.arg_count() {
            0 => (self.prefix.clone(), self.suffix.clone()),
            _ => (call.text(0), call.text(1)),
        };
        // The parameters behind a bare URI would be its own (RFC 3261 section 20).
        let is_bare = !uri.contains(&b'<') && !prefix.contains(&b'<');
        let (open, close) = if is_bare { (&b"<"[..], &b">"[..]) } else { (&b""[..], &b""[..]) };
        let value = [&prefix, open, &uri, close, &suffix].concat();
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Outcome::fail("append_rpid_hf: a header is one line");
        }
        call.context.edits.append_header([b"Remote-Party-ID: ", &value[..], b"\r\n"].concat());
        Outcome::TRUE
    }

    /// Whether the user in the attribute is an E.164 number.
    pub(crate) fn is_number(&self, call: &Call<'_>) -> bool {
        let Some(value) = call.context.avps.first(&self.attribute).map(Value::to_bytes) else { return false };
        let name = NameAddr::parse(&value);
        let uri = name.as_ref().map_or(&value[..], |name| name.uri);
        Uri::parse(uri).ok().and_then(|uri| uri.user).is_some_and(is_e164)
    }
}
