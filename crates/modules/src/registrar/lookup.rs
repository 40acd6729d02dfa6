//! `lookup()`: an address-of-record becomes the contacts of its phones.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Dialect, Function, Outcome, Param, ParamKind, Routes, SocketId, Target};

use super::aor::with_table;
use super::settings::Registrar;
use crate::usrloc::{Contact, LocationTable, method_bit};

const TABLE_AND_URI: &[Param] = &[Param::required("table", ParamKind::Str), Param::optional("uri", ParamKind::Format)];

pub(super) const LOOKUP: Function = Function {
    name: "lookup",
    params: TABLE_AND_URI,
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Finds the contacts of the Request-URI's address, or of the given URI's. The best becomes the Request-URI, the \
          others added targets. -1 when there are none, -2 when none of them takes the method (method_filtering), -3 \
          when the address cannot be read.",
    example: "if (!lookup(\"location\")) sl_send_reply(\"404\", \"Not Found\");",
    run: |call| with_table(call, |call, table| lookup(call, &table)),
};

/// As lookup(), without touching the Request-URI.
pub(super) const TO_BRANCHES: Function = Function {
    name: "lookup_to_dset",
    params: TABLE_AND_URI,
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "As lookup(), and every contact becomes an added target: the Request-URI stays.",
    example: "if (lookup_to_dset(\"location\", \"sip:desk@example.com\")) t_relay();",
    run: |call| {
        with_table(call, |call, table| {
            let uri = subject(call);
            match found(call, &table, &uri) {
                Ok(contacts) => {
                    append(call, contacts);
                    Outcome::TRUE
                }
                Err(code) => Outcome::Value(code),
            }
        })
    },
};

/// As lookup(), for every target that is an address still.
pub(super) const BRANCHES: Function = Function {
    name: "lookup_branches",
    params: &[Param::required("table", ParamKind::Str)],
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "As lookup(), for the Request-URI and for each added target that is nothing but its URI; such a target is replaced \
          by its contacts, and stays when it has none. True when any had a contact, else what lookup() says of the \
          Request-URI.",
    example: "append_branch(\"sip:desk@example.com\"); lookup_branches(\"location\");",
    run: |call| with_table(call, |call, table| lookup_branches(call, &table)),
};

fn lookup_branches(call: &mut Call<'_>, table: &Arc<LocationTable>) -> Outcome {
    let before = std::mem::take(&mut call.context.branches);
    let uri = call.context.target.uri.clone();
    let mut code = match found(call, table, &uri) {
        Ok(contacts) => take_first(call, contacts),
        Err(code) => code,
    };
    for branch in before {
        let is_plain =
            branch.destination.is_none() && branch.path.is_none() && branch.flags == 0 && branch.socket.is_none();
        let contacts = match is_plain {
            true => found(call, table, &branch.uri.clone()).unwrap_or_default(),
            false => Vec::new(),
        };
        if contacts.is_empty() {
            crate::core::append(call.context, branch);
        } else {
            code = 1;
            append(call, contacts);
        }
    }
    Outcome::Value(code)
}

fn lookup(call: &mut Call<'_>, table: &Arc<LocationTable>) -> Outcome {
    let uri = subject(call);
    match found(call, table, &uri) {
        Ok(contacts) => Outcome::Value(take_first(call, contacts)),
        Err(code) => Outcome::Value(code),
    }
}

/// The second argument, or the Request-URI.
pub(super) fn subject(call: &Call<'_>) -> Bytes {
    match call.text(1) {
        uri if uri.is_empty() => call.context.target.uri.clone(),
        uri => uri,
    }
}

/// The contacts of a URI that take the request, best first; there is at least one. Else the code to return.
fn found(call: &mut Call<'_>, table: &Arc<LocationTable>, uri: &[u8]) -> Result<Vec<Contact>, i64> {
    let registrar = call.shared_state::<Registrar>();
    let aor = registrar.aor(uri).ok_or(-3)?;
    let mut contacts = table.bindings.contacts(&aor.key, call.host.unix_time().as_secs());
    if contacts.is_empty() {
        return Err(-1);
    }
    if registrar.filters_methods {
        let bit = method_bit(call.context.message.method());
        contacts.retain(|contact| contact.methods & bit == bit);
    }
    sort(&mut contacts, registrar.locations.newest_first);
    if !registrar.appends_branches {
        contacts.truncate(1);
    }
    restore_nat_flag(call, &registrar, &contacts);
    if contacts.is_empty() { Err(-2) } else { Ok(contacts) }
}

/// The best contact becomes the target, the others branches.
fn take_first(call: &mut Call<'_>, mut contacts: Vec<Contact>) -> i64 {
    let others = contacts.split_off(1.min(contacts.len()));
    let Some(best) = contacts.pop() else { return -1 };
    call.context.target = target(best);
    call.context.is_target_fresh = true;
    append(call, others);
    1
}

/// Adds contacts as branches, as many as a request may have.
fn append(call: &mut Call<'_>, contacts: Vec<Contact>) {
    for contact in contacts {
        if !crate::core::append(call.context, target(contact)) {
            break;
        }
    }
}

/// Best preference first, then newest (RFC 3261 section 16.6 leaves the order of equals open).
pub(super) fn sort(contacts: &mut [Contact], newest_first: bool) {
    contacts.sort_by_key(|contact| {
        let q = if newest_first { 0 } else { contact.binding.q.unwrap_or(1000) };
        std::cmp::Reverse((q, contact.modified))
    });
}

/// SER's flag belongs to the message: set when any contact has it.
fn restore_nat_flag(call: &mut Call<'_>, registrar: &Registrar, contacts: &[Contact]) {
    let Some(flag) = registrar.nat_flag.filter(|_| call.dialect() == Dialect::Ser) else { return };
    if contacts.iter().any(|contact| contact.flags & (1 << flag) != 0) {
        call.context.set_flag(flag, true);
    }
}

fn target(contact: Contact) -> Target {
    let filled = |bytes: Bytes| (!bytes.is_empty()).then_some(bytes);
    let path = filled(contact.binding.path);
    Target {
        uri: contact.binding.uri,
        // With a Path the first proxy of it is the next hop (RFC 3327 section 5.2), not the phone.
        destination: filled(contact.received).filter(|_| path.is_none()),
        path,
        q: contact.binding.q,
        flags: contact.branch_flags,
        socket: contact.socket.map(SocketId),
        connection: contact.connection,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, registrar_state};
    use std::sync::Arc;

    fn registered(contacts: &str, settings: &[(&str, i64)]) -> Arc<dyn module_api::State> {
        let state = registrar_state(settings);
        let text = format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1\r\n\
             From: <sip:bob@example.com>;tag=1\r\nTo: <sip:Bob@example.com>\r\nCall-ID: c1\r\n\
             CSeq: 1 REGISTER\r\n{contacts}Content-Length: 0\r\n\r\n"
        );
        let mut bench = Bench::with_state(&text, Arc::clone(&state));
        assert_eq!(bench.run(&MODULE, "save", &["location"]), 1);
        state
    }

    #[test]
    fn the_best_contact_becomes_the_target_and_the_others_branches() {
        let state = registered("Contact: <sip:b@low>;q=0.1, <sip:b@high>;q=0.9\r\n", &[]);
        let mut bench = Bench::with_state(INVITE, state);
        assert_eq!(bench.run(&MODULE, "lookup", &["location"]), 1);
        assert_eq!(bench.uri(), "sip:b@high");
        assert_eq!(bench.context.branches.len(), 1);
        assert_eq!(&bench.context.branches[0].uri[..], b"sip:b@low");
    }

    #[test]
    fn contacts_become_branches_beside_the_request_uri() {
        let state = registered("Contact: <sip:b@low>;q=0.1, <sip:b@high>;q=0.9\r\n", &[]);
        let mut bench = Bench::with_state(INVITE, state);
        assert_eq!(bench.run(&MODULE, "lookup_to_dset", &["location"]), 1);
        assert_eq!(bench.uri(), "sip:bob@example.com");
        let uris: Vec<_> = bench.context.branches.iter().map(|branch| &branch.uri[..]).collect();
        assert_eq!(uris, [&b"sip:b@high"[..], b"sip:b@low"]);
        assert_eq!(bench.run(&MODULE, "lookup_to_dset", &["location", "sip:carol@example.com"]), -1);
    }

    #[test]
    fn every_plain_branch_is_looked_up() {
        let state = registered("Contact: <sip:b@low>;q=0.1, <sip:b@high>;q=0.9\r\n", &[]);
        let mut bench = Bench::with_state(&INVITE.replace("INVITE sip:bob", "INVITE sip:carol"), state);
        let plain = |uri: &'static str| module_api::Target::new(uri.into());
        let routed = module_api::Target { destination: Some("sip:edge".into()), ..plain("sip:bob@example.com") };
        bench.context.branches = vec![plain("sip:bob@example.com"), plain("sip:dave@elsewhere.example"), routed];
        assert_eq!(bench.run(&MODULE, "lookup_branches", &["location"]), 1);
        assert_eq!(bench.uri(), "sip:carol@example.com");
        let uris: Vec<_> = bench.context.branches.iter().map(|branch| &branch.uri[..]).collect();
        let expected: [&[u8]; 4] = [b"sip:b@high", b"sip:b@low", b"sip:dave@elsewhere.example", b"sip:bob@example.com"];
        assert_eq!(uris, expected);
        bench.context.branches.clear();
        assert_eq!(bench.run(&MODULE, "lookup_branches", &["location"]), -1);
    }

    #[test]
    fn an_unknown_address_is_not_found() {
        let state = registered("Contact: <sip:b@h>\r\n", &[]);
        let mut bench = Bench::with_state(INVITE, state);
        assert_eq!(bench.run(&MODULE, "lookup", &["location", "sip:carol@example.com"]), -1);
        assert_eq!(bench.run(&MODULE, "lookup", &["location", "tel:+1"]), -3);
        assert_eq!(bench.uri(), "sip:bob@example.com");
    }

    #[test]
    fn contacts_that_do_not_take_the_method_are_passed_over() {
        let state = registered("Contact: <sip:b@h>\r\nAllow: MESSAGE\r\n", &[("method_filtering", 1)]);
        assert_eq!(Bench::with_state(INVITE, state).run(&MODULE, "lookup", &["location"]), -2);
    }

    #[test]
    fn path_is_the_way_to_the_phone() {
        let headers = "Contact: <sip:b@h>\r\nPath: <sip:edge;lr>\r\nSupported: path\r\n";
        let mut bench = Bench::with_state(INVITE, registered(headers, &[("use_path", 1)]));
        bench.run(&MODULE, "lookup", &["location"]);
        assert_eq!(bench.context.target.path.as_deref(), Some(&b"<sip:edge;lr>"[..]));
    }
}
