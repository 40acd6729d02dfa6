//! The source of a REGISTER, in its Contact on the way to another registrar.

use std::sync::Arc;

use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};
use sip_message::Transport;

use super::address::Place;
use super::{Nat, contact};
use crate::rewrite;

pub(super) const ADD: Function = Function {
    name: "add_rcv_param",
    params: &[Param::optional("in_uri", ParamKind::Int)],
    routes: contact::WHERE,
    doc: "Adds where the message came from to each Contact, as ;received= of the header or, with 1, of its URI. False \
          without a Contact.",
    example: "add_rcv_param();",
    run: |call| {
        let in_uri = call.int(0).unwrap_or(0) != 0;
        let source = call.context.arrival.source;
        let transport = call.context.arrival.transport;
        let message = Arc::clone(&call.context.message);
        let mut count = 0;
        for contact in message.contacts().filter_map(|contact| contact.ok()?.address()) {
            let is_bracketed = message.bytes().get(contact.uri_span.end as usize) == Some(&b'>');
            let (at, param) = match (in_uri && is_bracketed, transport) {
                (true, Transport::Udp) => (contact.uri_span.end, format!(";received=sip:{source}")),
                (true, other) => {
                    (contact.uri_span.end, format!(";received=sip:{source}%3Btransport%3D{}", other.uri_param()))
                }
                (false, Transport::Udp) => {
                    (behind(contact.uri_span.end, is_bracketed), format!(";received=\"sip:{source}\""))
                }
                (false, other) => (
                    behind(contact.uri_span.end, is_bracketed),
                    format!(";received=\"sip:{source};transport={}\"", other.uri_param()),
                ),
            };
            call.context.edits.insert(at, param);
            count += 1;
        }
        (count > 0).into()
    },
};

pub(super) const ALIAS_TO_VARIABLE: Function = Function {
    name: "set_alias_to_pv",
    params: &[Param::required("variable", ParamKind::Output)],
    routes: Routes::ANY,
    doc: "Puts the alias of the Contact, as a SIP URI, into a variable. False when there is none.",
    example: "set_alias_to_pv(\"$avp(back)\");",
    run: |call| match alias(call) {
        Some(uri) => match call.write_output(0, Value::Str(uri.into())) {
            Ok(()) => Outcome::TRUE,
            Err(fault) => Outcome::Fail(fault),
        },
        None => Outcome::FALSE,
    },
};

fn behind(uri_end: u32, is_bracketed: bool) -> u32 {
    uri_end + u32::from(is_bracketed)
}

fn alias(call: &Call<'_>) -> Option<String> {
    let (uri, _) = contact::first(call.context)?;
    let name = &call.state::<Nat>().alias_name;
    let parsed = sip_message::Uri::parse(&uri).ok()?;
    let place = Place::parse(parsed.param(name)??)?;
    let uri = format!("sip:{}", place.address);
    let uri = match place.transport {
        Transport::Udp => uri.into(),
        other => rewrite::with_param(uri.as_bytes(), format!("transport={}", other.uri_param()).as_bytes())?,
    };
    String::from_utf8(uri.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{MODULE, tests::bench};
    use crate::testing::INVITE;
    use sip_message::Transport;

    // The forms over UDP are those of Kamailio 5.6.3.
    #[test]
    fn the_source_is_added_to_header_or_uri() {
        let contact = |args: &[&str], transport| {
            let mut bench = bench(INVITE, "203.0.113.5:41234", transport, &[]);
            assert_eq!(bench.run(&MODULE, "add_rcv_param", args), 1);
            bench.written().split("\r\n").find_map(|line| line.strip_prefix("Contact: ").map(str::to_owned)).unwrap()
        };
        let own = "<sip:alice@198.51.100.7:5070";
        assert_eq!(contact(&[], Transport::Udp), format!("{own}>;received=\"sip:203.0.113.5:41234\""));
        assert_eq!(contact(&["1"], Transport::Udp), format!("{own};received=sip:203.0.113.5:41234>"));
        assert_eq!(contact(&[], Transport::Tcp), format!("{own}>;received=\"sip:203.0.113.5:41234;transport=tcp\""));
    }

    #[test]
    fn an_alias_is_read_as_a_uri() {
        let text = INVITE.replace("198.51.100.7:5070>", "10.0.0.1;alias=203.0.113.5~41234~2>");
        let bench = bench(&text, "203.0.113.5:41234", Transport::Tcp, &[]);
        let mut bench = bench;
        let state = std::sync::Arc::clone(&bench.state);
        let call = module_api::Call::new(&mut bench.context, &mut bench.host, &[], &state, bench.dialect);
        assert_eq!(super::alias(&call).as_deref(), Some("sip:203.0.113.5:41234;transport=tcp"));
    }
}
