//! `lookup()`: an address-of-record becomes the contacts of its phones.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Dialect, Flow, Function, Outcome, Param, ParamKind, Reply, Routes, SocketId, Target};
use sip_message::{NameAddr, Transport, Uri};

use super::aor::with_table;
use super::gruu::Subject;
use super::settings::Registrar;
use crate::usrloc::{Contact, LocationTable, method_bit};

const TABLE_AND_URI: &[Param] = &[Param::required("table", ParamKind::Str), Param::optional("uri", ParamKind::Format)];

pub(super) const LOOKUP: Function = Function {
    name: "lookup",
    params: TABLE_AND_URI,
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Finds the contacts of the Request-URI's address, or of the given URI's. The best becomes the Request-URI, the \
          others added targets. -1 when there are none, -2 when none of them takes the method (method_filtering), -3 \
          when the address cannot be read. A GRUU finds the one device that it names (RFC 5627); of several flows of a \
          device one is used, and the next where that one fails (RFC 5626 section 7).",
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

/// Noted where lookup() has found nothing: what the sender is to be told.
struct NotFound(u16, &'static str);

pub(super) const SEND_REPLY: Function = Function {
    name: "lookup_send_reply",
    params: &[],
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Replies to a request for which lookup() has found nothing: 404, or 405 where no contact takes the method, or 480 \
          where the request is for one device by its public GRUU and that one is not there (RFC 5627 section 6.1). False \
          when lookup() has found something.",
    example: "if (!lookup(\"location\")) { lookup_send_reply(); exit; }",
    run: |call| {
        let Some(NotFound(code, reason)) = call.context.take_note::<NotFound>() else { return Outcome::FALSE };
        super::reply::send(call, &Reply::new(code, reason.as_bytes()));
        Outcome::TRUE
    },
};

/// A contact, and the further flows of the same instance.
type Group = (Contact, Vec<Contact>);

/// The contacts of a URI that take the request, best first; there is at least one. Else the code to return.
fn found(call: &mut Call<'_>, table: &LocationTable, uri: &[u8]) -> Result<Vec<Group>, i64> {
    let registrar = call.shared_state::<Registrar>();
    match find(call, &registrar, table, uri) {
        Ok(contacts) => {
            call.context.take_note::<NotFound>();
            Ok(contacts)
        }
        Err((code, reply)) => {
            call.context.set_note(reply);
            Err(code)
        }
    }
}

const UNKNOWN: NotFound = NotFound(404, "Not Found");

fn find(
    call: &mut Call<'_>,
    registrar: &Registrar,
    table: &LocationTable,
    uri: &[u8],
) -> Result<Vec<Group>, (i64, NotFound)> {
    let subject = registrar.subject(uri).ok_or((-3, UNKNOWN))?;
    let now = call.host.unix_time().as_secs();
    let mut contacts = subject.key().map(|key| table.bindings.contacts(key, now)).unwrap_or_default();
    registrar.narrow(&subject, &mut contacts);
    contacts.retain(|contact| !is_lost_flow(contact));
    if contacts.is_empty() {
        // RFC 5627 section 6.1. A temporary GRUU ends with its registration, a public one never does.
        let is_away = matches!(subject, Subject::Instance(..));
        return Err((-1, if is_away { NotFound(480, "Temporarily Unavailable") } else { UNKNOWN }));
    }
    // A request within a dialog goes to the phone that has it, whatever methods it once named.
    if registrar.filters_methods && call.context.message.to_tag().is_none() {
        let bit = method_bit(call.context.message.method());
        contacts.retain(|contact| contact.methods & bit == bit);
    }
    sort(&mut contacts, registrar.locations.newest_first);
    if registrar.skips_own_path {
        contacts.iter_mut().for_each(|contact| skip_own_path(call, contact));
    }
    let mut groups = group(contacts);
    if !registrar.appends_branches {
        groups.truncate(1);
    }
    if groups.is_empty() {
        return Err((-2, NotFound(405, "Method Not Allowed")));
    }
    let best: Vec<Contact> = groups.iter().map(|(best, _)| best.clone()).collect();
    restore_nat_flag(call, registrar, &best);
    super::record::show(call, registrar, &best);
    Ok(groups)
}

/// Whether a contact is a flow: of an instance with a number, reached by a proxy's Path or by where it came from
/// (RFC 5626 section 6).
fn is_flow(contact: &Contact) -> bool {
    let binding = &contact.binding;
    let is_numbered = binding.reg_id != 0 && !binding.instance.is_empty();
    is_numbered && (!binding.path.is_empty() || !contact.received.is_empty())
}

/// A connection of before a restart is gone, and nobody but the phone can open it again.
fn is_lost_flow(contact: &Contact) -> bool {
    let is_direct = is_flow(contact) && contact.binding.path.is_empty();
    let is_stream = || {
        let transport = Uri::parse(&contact.received).ok().and_then(|uri| uri.transport());
        transport.is_some_and(|transport| transport != Transport::Udp)
    };
    is_direct && contact.connection.is_none() && is_stream()
}

/// Of several flows of an instance one at a time is used (RFC 5626 section 7): the first, and the others behind it.
fn group(contacts: Vec<Contact>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(contacts.len());
    for contact in contacts {
        let same = |(first, _): &&mut Group| is_flow(first) && first.binding.instance == contact.binding.instance;
        match groups.iter_mut().find(same) {
            Some((_, flows)) if is_flow(&contact) => flows.push(contact),
            _ => groups.push((contact, Vec::new())),
        }
    }
    groups
}

/// Takes the topmost Path away where it names this server: servers that share a database save their own address there.
fn skip_own_path(call: &Call<'_>, contact: &mut Contact) {
    let path = &contact.binding.path;
    let end = path.windows(2).position(|pair| pair == b">,");
    let Ok(first) = NameAddr::parse(end.map_or(&path[..], |end| &path[..=end])) else { return };
    let is_own = first.parsed_uri().is_ok_and(|uri| call.host.is_myself(uri.host_text, uri.port, uri.transport()));
    if is_own {
        contact.binding.path = end.map_or_else(Bytes::new, |end| path.slice(end + 2..));
    }
}

/// The best contact becomes the target, the others branches.
fn take_first(call: &mut Call<'_>, mut contacts: Vec<Group>) -> i64 {
    let others = contacts.split_off(1.min(contacts.len()));
    let Some(best) = contacts.pop() else { return -1 };
    call.context.target = target(best);
    call.context.is_target_fresh = true;
    append(call, others);
    1
}

/// Adds contacts as branches, as many as a request may have.
fn append(call: &mut Call<'_>, contacts: Vec<Group>) {
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

fn target((contact, flows): Group) -> Target {
    let flows = flows.into_iter().map(|flow| target((flow, Vec::new()))).collect();
    let flow = is_flow(&contact).then_some(Flow::Registered);
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
        flow,
        flows,
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
