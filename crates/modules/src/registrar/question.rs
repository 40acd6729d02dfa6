//! Questions about registrations, and taking one back.

use module_api::{Arrival, Call, Function, Outcome, Param, ParamKind, Routes};
use sip_message::{Scheme, Transport, Uri};
use store::Change;

use super::aor::with_table;
use super::lookup::subject;
use super::settings::Registrar;
use crate::usrloc::Contact;

pub(super) const REGISTERED: Function = Function {
    name: "registered",
    params: &[
        Param::required("table", ParamKind::Str),
        Param::optional("uri", ParamKind::Format),
        Param::optional("match", ParamKind::Int),
        Param::optional("action", ParamKind::Int),
    ],
    routes: Routes::ANY,
    doc: "True when the Request-URI's address, or the given URI's, has a contact. With match only contacts count that agree \
          with the record of xavp_cfg: 1 its Call-ID with match_callid, 2 where it came from with match_received, 4 its URI \
          with match_contact; the numbers add up. The contact is shown in the record of xavp_rcd, unless action has 2.",
    example: "if (registered(\"location\", \"$fu\")) xlog(\"a phone of ours\\n\");",
    run: |call| with_table(call, |call, table| registered(call, &table)),
};

fn registered(call: &mut Call<'_>, table: &crate::usrloc::LocationTable) -> Outcome {
    let uri = subject(call);
    let registrar = call.shared_state::<Registrar>();
    let Some(aor) = registrar.aor(&uri) else { return Outcome::FALSE };
    let mut contacts = table.bindings.contacts(&aor.key, call.host.unix_time().as_secs());
    let wanted = call.int(2).unwrap_or(0);
    for (bit, field) in [(1, "match_callid"), (2, "match_received"), (4, "match_contact")] {
        if wanted & bit == 0 {
            continue;
        }
        let Some(value) = super::record::limit(call, &registrar, field.as_bytes()) else { return Outcome::FALSE };
        let value = value.to_bytes();
        contacts.retain(|contact| {
            value
                == match bit {
                    1 => &contact.binding.call_id,
                    2 => &contact.received,
                    _ => &contact.binding.uri,
                }
        });
    }
    contacts.truncate(1);
    if call.int(3).unwrap_or(0) & 2 == 0 && !contacts.is_empty() {
        super::record::show(call, &registrar, &contacts);
    }
    (!contacts.is_empty()).into()
}

pub(super) const UNREGISTER: Function = Function {
    name: "unregister",
    params: &[
        Param::required("table", ParamKind::Str),
        Param::required("uri", ParamKind::Format),
        Param::optional("ruid", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "Removes the contacts of an address, or the one with the given id. False when there was none.",
    example: "unregister(\"location\", \"$fu\");",
    run: |call| with_table(call, |call, table| unregister(call, &table)),
};

pub(super) const FROM_USER: Function = Function {
    name: "reg_from_user",
    params: &[
        Param::required("table", ParamKind::Str),
        Param::required("uri", ParamKind::Format),
        Param::required("mode", ParamKind::Int),
    ],
    routes: Routes::ANY,
    doc: "True when the message came from where a contact of the address is: from the place that its REGISTER came from, \
          where that was kept, else from the address that the contact names. Mode 0 compares address, port and transport, 1 \
          the address alone.",
    example: "if (!reg_from_user(\"location\", \"$fu\", 0)) sl_send_reply(\"403\", \"Register first\");",
    run: |call| {
        with_table(call, |call, table| {
            let Some(aor) = call.state::<Registrar>().aor(&call.text(1)) else { return Outcome::FALSE };
            let contacts = table.bindings.contacts(&aor.key, call.host.unix_time().as_secs());
            let (arrival, address_alone) = (call.context.arrival, call.int(2).is_some_and(|mode| mode != 0));
            contacts.iter().any(|contact| is_from(contact, &arrival, address_alone)).into()
        })
    },
};

fn is_from(contact: &Contact, arrival: &Arrival, address_alone: bool) -> bool {
    let uri = if contact.received.is_empty() { &contact.binding.uri } else { &contact.received };
    let Ok(uri) = Uri::parse(uri) else { return false };
    if uri.host.address() != Some(arrival.source.ip()) {
        return false;
    }
    let transport = uri.transport().unwrap_or(if uri.scheme == Scheme::Sips { Transport::Tls } else { Transport::Udp });
    let port = uri.port.unwrap_or(transport.default_port());
    address_alone || (port == arrival.source.port() && transport == arrival.transport)
}

pub(super) const ADD_SOCK_HDR: Function = Function {
    name: "add_sock_hdr",
    params: &[Param::required("name", ParamKind::Header)],
    routes: Routes::REQUEST,
    doc: "Adds a header that says at which socket the request arrived, as proto:address:port.",
    example: "add_sock_hdr(\"X-Socket\");",
    run: |call| {
        let name = call.text(0);
        if name.is_empty() || !crate::rewrite::is_clean(&name) || name.contains(&b':') {
            return Outcome::FALSE;
        }
        let arrival = call.context.arrival;
        let line =
            format!("{}: {}:{}\r\n", String::from_utf8_lossy(&name), arrival.transport.uri_param(), arrival.local);
        call.context.edits.append_header(line);
        Outcome::TRUE
    },
};

fn unregister(call: &mut Call<'_>, table: &crate::usrloc::LocationTable) -> Outcome {
    let Some(aor) = call.state::<Registrar>().aor(&call.text(1)) else { return Outcome::FALSE };
    let ruid = call.text(2);
    let (count, written) = table.bindings.update(&aor.key, |before| {
        let (gone, stay): (Vec<_>, Vec<_>) =
            before.into_iter().partition(|contact| ruid.is_empty() || contact.ruid == ruid);
        let rows = gone.iter().map(|contact| Change::Delete { ruid: String::from_utf8_lossy(&contact.ruid).into() });
        let written = if gone.is_empty() { None } else { table.submit(rows.collect()) };
        (Some(stay), (gone.len(), written))
    });
    match written {
        None => (count > 0).into(),
        Some(written) => Outcome::wait(written, |_, outcome| match outcome {
            Ok(()) => Outcome::TRUE,
            Err(error) => Outcome::fail(error.to_string()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, registrar_state};
    use sip_message::Transport;
    use std::sync::Arc;

    #[test]
    fn a_registration_can_be_asked_for_and_taken_back() {
        let state = registrar_state(&[]);
        let text = INVITE.replace("INVITE", "REGISTER");
        let mut bench = Bench::with_state(&text, Arc::clone(&state));
        assert_eq!(bench.run(&MODULE, "registered", &["location"]), -1);
        bench.run(&MODULE, "save", &["location"]);
        assert_eq!(bench.run(&MODULE, "registered", &["location"]), 1);
        assert_eq!(bench.run(&MODULE, "unregister", &["location", "sip:bob@example.com"]), 1);
        assert_eq!(bench.run(&MODULE, "unregister", &["location", "sip:bob@example.com"]), -1);
    }

    #[test]
    fn who_sends_from_where_he_registered_is_recognized() {
        let state = registrar_state(&[]);
        let text = INVITE.replace("INVITE", "REGISTER");
        assert_eq!(Bench::with_state(&text, Arc::clone(&state)).run(&MODULE, "save", &["location"]), 1);
        let bob = "sip:bob@example.com";
        let check = |source: &str, transport, mode: &str, code| {
            let mut bench = Bench::with_state(INVITE, Arc::clone(&state));
            (bench.context.arrival.source, bench.context.arrival.transport) = (source.parse().unwrap(), transport);
            assert_eq!(bench.run(&MODULE, "reg_from_user", &["location", bob, mode]), code, "{source} {mode}");
        };
        check("198.51.100.7:5070", Transport::Udp, "0", 1);
        check("198.51.100.7:5071", Transport::Udp, "0", -1);
        check("198.51.100.7:5070", Transport::Tcp, "0", -1);
        check("198.51.100.7:5071", Transport::Tcp, "1", 1);
        check("198.51.100.8:5070", Transport::Udp, "1", -1);
    }

    #[test]
    fn the_socket_can_be_told_in_a_header() {
        let mut bench = Bench::with_state(INVITE, registrar_state(&[]));
        assert_eq!(bench.run(&MODULE, "add_sock_hdr", &["X-Socket"]), 1);
        assert!(bench.written().contains("X-Socket: udp:192.0.2.1:5060\r\n"));
        assert_eq!(bench.run(&MODULE, "add_sock_hdr", &["X: y"]), -1);
    }
}
