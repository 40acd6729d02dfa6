//! A Contact kept in a parameter of another: what hides where a phone is without keeping state.

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes};
use sip_message::Uri;

use crate::contact_code::change_contacts;
use crate::nathelper::alias_of;
use crate::rewrite;

const NAME: &[Param] = &[Param::required("name", ParamKind::Format)];
const NAME_AND_URI: &[Param] = &[Param::required("name", ParamKind::Format), Param::required("uri", ParamKind::Format)];

pub(super) const ENCODE: Function = Function {
    name: "contact_param_encode",
    params: NAME_AND_URI,
    routes: Routes::ANY,
    doc: "Puts a URI in place of that of each Contact, which it keeps in the named parameter, in the base64 of URLs. Later \
          requests of the dialog come here and carry it, for contact_param_decode_ruri().",
    example: "contact_param_encode(\"was\", \"sip:192.0.2.1:5060\");",
    run: |call| encode(call, None),
};

pub(super) const ENCODE_ALIAS: Function = Function {
    name: "contact_param_encode_alias",
    params: NAME_AND_URI,
    routes: Routes::ANY,
    doc: "As contact_param_encode(), and what is kept says where the message came from, as ;alias=IP~PORT~TRANSPORT, for \
          handle_ruri_alias() behind contact_param_decode_ruri().",
    example: "contact_param_encode_alias(\"was\", \"sip:192.0.2.1:5060\");",
    run: |call| {
        let alias = alias_of(&call.context.arrival);
        encode(call, Some(format!("alias={alias}").into()))
    },
};

pub(super) const DECODE: Function = Function {
    name: "contact_param_decode",
    params: NAME,
    routes: Routes::ANY,
    doc: "Makes each Contact what the named parameter has kept of it. False when none has.",
    example: "contact_param_decode(\"was\");",
    run: |call| {
        let name = call.text(0);
        change_contacts(call, |uri| decoded(uri, &name))
    },
};

pub(super) const DECODE_RURI: Function = Function {
    name: "contact_param_decode_ruri",
    params: NAME,
    routes: Routes::REQUESTS,
    doc: "Makes the Request-URI what its named parameter has kept. False when it has nothing that can be read.",
    example: "if (contact_param_decode_ruri(\"was\")) handle_ruri_alias();",
    run: |call| match decoded(&call.context.target.uri, &call.text(0)) {
        Some(uri) => {
            call.context.set_uri(uri);
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    },
};

pub(super) const REMOVE: Function = Function {
    name: "contact_param_rm",
    params: NAME,
    routes: Routes::ANY,
    doc: "Takes the named parameter off the URI of each Contact. False when none has it.",
    example: "contact_param_rm(\"was\");",
    run: |call| {
        let name = call.text(0);
        let Ok(name) = std::str::from_utf8(&name) else { return Outcome::FALSE };
        change_contacts(call, |uri| {
            Uri::parse(uri).ok().filter(|parsed| parsed.params.has(name))?;
            rewrite::without_param(uri, name)
        })
    },
};

pub(super) const CHECK: Function = Function {
    name: "contact_param_check",
    params: NAME,
    routes: Routes::ANY,
    doc: "True when the URI of a Contact has the named parameter.",
    example: "if (contact_param_check(\"was\")) contact_param_decode(\"was\");",
    run: |call| {
        let name = call.text(0);
        let Ok(name) = std::str::from_utf8(&name) else { return Outcome::FALSE };
        let mut contacts = call.context.message.contacts().filter_map(|contact| contact.ok()?.address());
        contacts.any(|contact| Uri::parse(contact.uri).is_ok_and(|uri| uri.params.has(name))).into()
    },
};

fn encode(call: &mut Call<'_>, more: Option<Bytes>) -> Outcome {
    let (name, uri) = (call.text(0), call.text(1));
    if !sip_message::is_token(&name) || !Uri::parse(&uri).is_ok_and(|uri| uri.is_sip()) {
        return Outcome::fail("contact_param_encode: not the name of a parameter and a SIP URI");
    }
    change_contacts(call, |contact| {
        let contact = match &more {
            Some(param) => rewrite::with_param(contact, param)?,
            None => Bytes::copy_from_slice(contact),
        };
        rewrite::with_param(&uri, &[&name[..], b"=", &to_base64(&contact)].concat())
    })
}

/// The URI in the parameter. Whoever sends the message may have written it, so it must be a SIP URI as a whole.
fn decoded(uri: &[u8], name: &[u8]) -> Option<Bytes> {
    let uri = Uri::parse(uri).ok()?;
    let kept = of_base64(uri.params.value(std::str::from_utf8(name).ok()?)?)?;
    let is_good = rewrite::is_clean(&kept) && Uri::parse(&kept).is_ok_and(|uri| uri.is_sip());
    is_good.then(|| kept.into())
}

/// RFC 4648 section 5. Without padding: `=` has a meaning of its own in a parameter.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn to_base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 4 / 3 + 3);
    for chunk in text.chunks(3) {
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        out.extend((0..=chunk.len()).map(|n| ALPHABET[(bits >> (18 - 6 * n) & 63) as usize]));
    }
    out
}

fn of_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.chunks(4) {
        let mut bits = 0_u32;
        for byte in chunk {
            let value = ALPHABET.iter().position(|letter| letter == byte)?;
            bits = bits << 6 | value as u32;
        }
        let bytes = (bits << (6 * (4 - chunk.len()))).to_be_bytes();
        // One digit alone holds no byte.
        out.extend_from_slice(&bytes[1..chunk.len()]);
        if chunk.len() == 1 {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::{of_base64, to_base64};
    use crate::testing::{Bench, INVITE};

    fn contact(bench: &Bench) -> String {
        let written = bench.written();
        written.lines().find_map(|line| line.strip_prefix("Contact: ")).unwrap_or_default().to_owned()
    }

    // As another implementation of RFC 4648 writes it.
    const KEPT: &str = "c2lwOmFsaWNlQDE5OC41MS4xMDAuNzo1MDcw";

    #[test]
    fn a_contact_is_kept_in_a_parameter_and_comes_back() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "contact_param_encode", &["was", "sip:192.0.2.1:5060"]), 1);
        assert_eq!(contact(&bench), format!("<sip:192.0.2.1:5060;was={KEPT}>"));
        let uri = format!("sip:192.0.2.1:5060;was={KEPT}");
        let mut back = Bench::new(&INVITE.replacen("sip:bob@example.com", &uri, 1));
        assert_eq!(back.run(&MODULE, "contact_param_decode_ruri", &["was"]), 1);
        assert_eq!(back.uri(), "sip:alice@198.51.100.7:5070");
        assert_eq!(back.run(&MODULE, "contact_param_decode_ruri", &["was"]), -1);
    }

    #[test]
    fn the_alias_says_where_the_message_came_from() {
        let mut bench = Bench::invite();
        bench.context.arrival.source = "203.0.113.5:41234".parse().unwrap();
        assert_eq!(bench.run(&MODULE, "contact_param_encode_alias", &["was", "sip:192.0.2.1"]), 1);
        let kept = contact(&bench);
        let kept = kept.trim_start_matches("<sip:192.0.2.1;was=").trim_end_matches('>');
        let uri = of_base64(kept.as_bytes()).unwrap();
        assert_eq!(uri, b"sip:alice@198.51.100.7:5070;alias=203.0.113.5~41234~1");
    }

    #[test]
    fn the_parameter_of_a_contact_is_found_decoded_and_removed() {
        let with = |param: &str| {
            Bench::new(&INVITE.replace("198.51.100.7:5070>\r\nSubject", &format!("h;{param}>\r\nSubject")))
        };
        let mut bench = with(&format!("was={KEPT};x"));
        assert_eq!(bench.run(&MODULE, "contact_param_check", &["was"]), 1);
        assert_eq!(bench.run(&MODULE, "contact_param_check", &["other"]), -1);
        assert_eq!(bench.run(&MODULE, "contact_param_rm", &["was"]), 1);
        assert_eq!(contact(&bench), "<sip:alice@h;x>");
        assert_eq!(bench.run(&MODULE, "contact_param_rm", &["other"]), -1);
        let mut bench = with(&format!("was={KEPT}"));
        assert_eq!(bench.run(&MODULE, "contact_param_decode", &["was"]), 1);
        assert_eq!(contact(&bench), "<sip:alice@198.51.100.7:5070>");
    }

    #[test]
    fn what_a_stranger_wrote_into_the_parameter_gets_no_further() {
        let hostile = String::from_utf8(to_base64(b"sip:a@h>\r\nX-Evil: 1")).unwrap();
        for kept in ["A", "!!!!", "bm9uc2Vuc2U", hostile.as_str(), ""] {
            let uri = format!("sip:192.0.2.1;was={kept}");
            let mut bench = Bench::new(&INVITE.replacen("sip:bob@example.com", &uri, 1));
            assert_eq!(bench.run(&MODULE, "contact_param_decode_ruri", &["was"]), -1, "{kept}");
        }
        assert_eq!(Bench::invite().run(&MODULE, "contact_param_encode", &["a b", "sip:h"]), -1);
        assert_eq!(Bench::invite().run(&MODULE, "contact_param_encode", &["was", "tel:+1"]), -1);
    }

    #[test]
    fn every_length_survives_base64() {
        for length in 0..20 {
            let text: Vec<u8> = (0..length).map(|n| (n * 13) ^ 200).collect();
            assert_eq!(of_base64(&to_base64(&text)).as_deref(), Some(&text[..]));
        }
    }
}
