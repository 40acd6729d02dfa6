//! `save()`: a REGISTER becomes bindings (RFC 3261 section 10.3).

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Data, Dialect, EventKind, Function, Outcome, Param, ParamKind, Reply, Routes, Value};
use sip_message::{HeaderName, Message, Method, Transport};
use sip_proto::registrar::{self, Binding, Change, Refusal};
use smallvec::SmallVec;
use store::Written;

use super::aor::{Aor, with_table};
use super::settings::{PathUse, Registrar};
use crate::nathelper::NewContact;
use crate::usrloc::{Contact, LocationTable, method_bit};

pub(super) const SAVE: Function = Function {
    name: "save",
    params: &[
        Param::required("table", ParamKind::Str),
        Param::optional("flags", ParamKind::Str),
        Param::optional("uri", ParamKind::Format),
    ],
    routes: Routes::REQUEST,
    doc: "Does what a REGISTER asks for and replies to it. The address is that of To, or the given URI. Flags add up: 1 \
          memory only, 2 no reply, 4 no other contact stays. 1 when a contact was added, 2 changed, 3 removed, 4 for a \
          query; after a refusal -1, -2 for too many contacts, and in SER scripts the end of the script. With a database \
          the 200 goes out when the contacts are on disk.",
    example: "if (!save(\"location\")) exit;",
    run: |call| save(call, Value::Str(call.text(1)).to_int()),
};

pub(super) const SAVE_NOREPLY: Function = Function {
    name: "save_noreply",
    params: &[Param::required("table", ParamKind::Str)],
    routes: Routes::REQUEST,
    doc: "As save(), without a reply.",
    example: "save_noreply(\"location\");",
    run: |call| save(call, NO_REPLY),
};

pub(super) const SEND_REPLY: Function = Function {
    name: "reg_send_reply",
    params: &[],
    routes: Routes::REQUEST,
    doc: "Sends the reply that save() had ready when its flags told it to send none. False when there is none.",
    example: "if (save(\"location\", \"0x02\")) reg_send_reply();",
    run: send_later,
};

const MEMORY_ONLY: i64 = 1;
const NO_REPLY: i64 = 2;
const ONLY_CONTACT: i64 = 4;

/// How long a REGISTER that comes again is answered again, in seconds. Its transaction is forgotten
/// after 32 s at most, and phones repeat a request that long (RFC 3261 section 17.1.2).
const REPETITION: u64 = 32;

fn save(call: &mut Call<'_>, flags: i64) -> Outcome {
    if call.context.message.method() != Method::Register {
        return Outcome::fail("save: not a REGISTER");
    }
    with_table(call, move |call, table| register(call, &table, flags))
}

/// What came of a REGISTER, before it is on disk.
struct Decided {
    /// The return code.
    code: i64,
    /// What the 200 lists, as its Contact header.
    contacts: Vec<u8>,
    written: Option<Written>,
}

fn register(call: &mut Call<'_>, table: &Arc<LocationTable>, flags: i64) -> Outcome {
    let registrar = call.shared_state::<Registrar>();
    let uri = match call.text(2) {
        uri if uri.is_empty() => {
            let message = &call.context.message;
            message.to().map(|to| message.slice(to.uri_span)).unwrap_or_default()
        }
        uri => uri,
    };
    let Some(aor) = registrar.aor(&uri) else { return refuse(call, Refusal::BadRequest, flags) };
    let registration = Registration::new(call, registrar, table, flags, aor);
    let decided = table.bindings.update(&registration.aor.key, |before| registration.decide(before));
    match decided {
        Err(refusal) => refuse(call, refusal, flags),
        Ok(Decided { code, contacts, written: None }) => confirm(call, code, contacts, flags),
        Ok(Decided { code, contacts, written: Some(written) }) => {
            Outcome::wait(written, move |call, outcome| match outcome {
                Ok(()) => confirm(call, code, contacts, flags),
                // The contacts are usable at once, but the phone must not rely on them: it will come again.
                Err(error) => {
                    answer(call, 503, "Service Unavailable", b"Retry-After: 10\r\n", flags);
                    Outcome::Fail(module_api::Fault { code: refused_code(call, -1), cause: error.to_string().into() })
                }
            })
        }
    }
}

/// A REGISTER with all that a decision needs: what is decided under the table's lock must not wait.
struct Registration {
    registrar: Arc<Registrar>,
    table: Arc<LocationTable>,
    /// Whether the change goes to a database too.
    is_written: bool,
    message: Arc<Message>,
    now: std::time::Duration,
    flags: i64,
    aor: Aor,
    /// What goes into every new binding beside what `registrar` decides.
    model: Contact,
    socket: Option<String>,
}

impl Registration {
    fn new(
        call: &Call<'_>,
        registrar: Arc<Registrar>,
        table: &Arc<LocationTable>,
        flags: i64,
        aor: Aor,
    ) -> Registration {
        let context = &*call.context;
        let now = call.host.unix_time();
        let nat_flag = registrar.nat_flag.filter(|flag| context.has_flag(*flag));
        let user_agent = context.message.header(HeaderName::UserAgent);
        let is_written = flags & MEMORY_ONLY == 0 && table.is_written();
        let socket = call.host.sockets().get(usize::from(context.arrival.socket.0)).filter(|_| is_written);
        let model = Contact {
            binding: empty_binding(),
            received: received(call, &registrar),
            user_agent: user_agent.map(|header| context.message.slice(header.value_span)).unwrap_or_default(),
            ruid: Bytes::new(),
            modified: now.as_secs(),
            flags: nat_flag.map_or(0, |flag| 1 << flag),
            branch_flags: context.target.flags,
            methods: methods(&context.message),
            socket: Some(context.arrival.socket.0),
            connection: context.arrival.connection,
        };
        Registration {
            table: Arc::clone(table),
            is_written,
            message: NewContact::message_to_save(context).unwrap_or_else(|| Arc::clone(&context.message)),
            now,
            flags,
            aor,
            model,
            socket: socket.map(ToString::to_string),
            registrar,
        }
    }

    fn decide(&self, before: Vec<Contact>) -> (Option<Vec<Contact>>, Result<Decided, Refusal>) {
        match registrar::apply(&self.message, &before, &self.registrar.policy, self.now) {
            Err(Refusal::OutOfOrder) if self.is_repetition(&before) => (None, Ok(self.unchanged(&before))),
            Err(refusal) => (None, Err(refusal)),
            Ok(changes) if changes.is_empty() => (None, Ok(self.unchanged(&before))),
            Ok(changes) => match self.changed(before, changes) {
                Ok((after, decided)) => (Some(after), Ok(decided)),
                Err(refusal) => (None, Err(refusal)),
            },
        }
    }

    /// Whether this very REGISTER was done a moment ago, and its 200 has been lost.
    ///
    /// Section 10.3 step 7 would have it fail; a phone whose 200 was lost would then take its own
    /// registration for refused. Its transaction absorbs this only where the script made one.
    fn is_repetition(&self, before: &[Contact]) -> bool {
        let Ok(cseq) = self.message.cseq() else { return false };
        before.iter().any(|contact| {
            contact.binding.cseq == cseq.number
                && contact.binding.call_id == self.message.call_id()
                && self.now.as_secs().saturating_sub(contact.modified) <= REPETITION
        })
    }

    fn unchanged(&self, before: &[Contact]) -> Decided {
        let contacts = self.listed(before);
        // A repetition must wait for the disk like the first: an empty change comes after it in the queue. So must
        // a request that memory has nothing to do for because an earlier one did it, whose change is not on the disk.
        let waits = self.is_repetition(before) || self.table.is_behind();
        let written = waits.then(|| self.submit(Vec::new())).flatten();
        Decided { code: 4, contacts, written }
    }

    fn changed(&self, before: Vec<Contact>, changes: Vec<Change>) -> Result<(Vec<Contact>, Decided), Refusal> {
        let count = before.len();
        let mut after: Vec<Option<Contact>> = before.into_iter().map(Some).collect();
        let mut rows = Vec::new();
        let mut touched = SmallVec::<[bool; 8]>::from_elem(false, count);
        let mut code = 3;
        for change in changes {
            match change {
                Change::Add(binding) => {
                    code = 1;
                    let contact = self.contact(binding, self.registrar.locations.new_ruid());
                    self.put(&contact, &mut rows);
                    after.push(Some(contact));
                }
                Change::Replace(number, binding) => {
                    code = code.min(2);
                    touched[number] = true;
                    let ruid = after[number].take().map(|known| known.ruid).unwrap_or_default();
                    let contact = self.contact(binding, ruid);
                    self.put(&contact, &mut rows);
                    after[number] = Some(contact);
                }
                Change::Remove(number) => {
                    touched[number] = true;
                    self.delete(after[number].take(), &mut rows);
                }
            }
        }
        if self.flags & ONLY_CONTACT != 0 {
            for number in (0..count).filter(|number| !touched[*number]) {
                self.delete(after[number].take(), &mut rows);
            }
        }
        let now = self.now.as_secs();
        let after: Vec<Contact> = after.into_iter().flatten().filter(|contact| contact.binding.expires > now).collect();
        if !after.iter().all(Contact::fits) {
            return Err(Refusal::BadContact);
        }
        let contacts = self.listed(&after);
        let written = self.submit(rows);
        Ok((after, Decided { code, contacts, written }))
    }

    /// Step 8: the live contacts, best first.
    fn listed(&self, contacts: &[Contact]) -> Vec<u8> {
        let live = contacts.iter().map(|contact| &contact.binding);
        let mut live: SmallVec<[&Binding; 8]> = live.filter(|binding| binding.expires > self.now.as_secs()).collect();
        live.sort_by_key(|binding| std::cmp::Reverse(binding.q.unwrap_or(1000)));
        registrar::contact_header(live, self.now)
    }

    fn submit(&self, rows: Vec<store::Change>) -> Option<Written> {
        if self.is_written { self.table.submit(rows) } else { None }
    }

    fn contact(&self, mut binding: Binding, ruid: Bytes) -> Contact {
        if matches!(self.registrar.path, PathUse::Kept | PathUse::Confirmed) {
            binding.path = path_values(&self.message);
        }
        Contact { binding, ruid, ..self.model.clone() }
    }

    fn put(&self, contact: &Contact, rows: &mut Vec<store::Change>) {
        if self.is_written {
            let row = contact.to_row(&self.aor.user, self.aor.domain.as_ref(), self.socket.clone());
            rows.push(store::Change::Put(Box::new(row)));
        }
    }

    fn delete(&self, contact: Option<Contact>, rows: &mut Vec<store::Change>) {
        if let Some(contact) = contact.filter(|_| self.is_written) {
            rows.push(store::Change::Delete { ruid: String::from_utf8_lossy(&contact.ruid).into_owned() });
        }
    }
}

fn empty_binding() -> Binding {
    Binding {
        uri: Bytes::new(),
        expires: 0,
        q: None,
        call_id: Bytes::new(),
        cseq: 0,
        path: Bytes::new(),
        instance: Bytes::new(),
        reg_id: 0,
        params: Bytes::new(),
    }
}

/// Where to reach a phone whose Contact cannot be reached: the script says so by attribute or flag.
///
/// A WebSocket client never can: its Contact names no host at all (RFC 7118 section 5.2).
fn received(call: &Call<'_>, registrar: &Registrar) -> Bytes {
    let context = &*call.context;
    if let Some(value) = registrar.received.as_ref().and_then(|name| context.avps.first(name)) {
        return value.to_bytes();
    }
    let arrival = &context.arrival;
    let is_web = matches!(arrival.transport, Transport::Ws | Transport::Wss);
    let has_flag = registrar.nat_flag.is_some_and(|flag| context.has_flag(flag));
    let branch_flag = registrar.locations.nat_branch_flag;
    let has_branch_flag = branch_flag.is_some_and(|flag| flag < 32 && context.target.flags & (1 << flag) != 0);
    if !(is_web || has_flag || has_branch_flag) {
        return Bytes::new();
    }
    let transport = match arrival.transport {
        Transport::Udp => String::new(),
        transport => format!(";transport={}", transport.uri_param()),
    };
    format!("sip:{}{transport}", arrival.source).into()
}

/// Methods of Allow as bits; all when it is absent.
fn methods(message: &Message) -> u32 {
    if !message.has(HeaderName::Allow) {
        return u32::MAX;
    }
    message.tokens(HeaderName::Allow).fold(0, |bits, token| bits | method_bit(Method::from_token(token)))
}

fn path_values(message: &Message) -> Bytes {
    let values: Vec<Vec<u8>> = message
        .values_of(HeaderName::Path)
        .filter(|value| sip_message::NameAddr::parse(value.text).is_ok())
        .map(|value| sip_message::unfold(value.text).into_owned())
        .collect();
    values.join(&b", "[..]).into()
}

/// Step 8: 200 with all contacts as they are now.
fn confirm(call: &mut Call<'_>, code: i64, contacts: Vec<u8>, flags: i64) -> Outcome {
    call.state::<Registrar>().accepted.increment();
    tell(call, code, &contacts);
    let mut headers = contacts;
    let message = &call.context.message;
    let path = call.state::<Registrar>().path;
    let knows_path = message.has_token(HeaderName::Supported, "path");
    // RFC 3327 section 5.3: the phone is shown the Path that was kept.
    if matches!(path, PathUse::Confirmed | PathUse::Demanded) && knows_path && message.has(HeaderName::Path) {
        headers.extend_from_slice(&[b"Path: ", &path_values(message)[..], b"\r\n"].concat());
    }
    answer(call, 200, "OK", &headers, flags);
    Outcome::Value(code)
}

/// Tells the outside world what a REGISTER has changed; a query has changed nothing.
fn tell(call: &Call<'_>, code: i64, contacts: &[u8]) {
    let kind = match code {
        1 | 2 => EventKind::RegistrationSave,
        3 => EventKind::RegistrationRemove,
        _ => return,
    };
    let context = &*call.context;
    call.state::<Registrar>().events.tell(kind, call.host.unix_time(), || {
        let text = |bytes: &[u8]| Data::from(String::from_utf8_lossy(bytes).into_owned());
        let message = &context.message;
        let listed = String::from_utf8_lossy(contacts);
        let listed = listed.trim().strip_prefix("Contact: ").unwrap_or_default().to_owned();
        let user_agent = message.header(HeaderName::UserAgent).map_or(Data::Null, |header| text(header.value));
        vec![
            ("aor", message.to().map_or(Data::Null, |to| text(to.uri))),
            ("contacts", listed.into()),
            ("source", context.arrival.source.to_string().into()),
            ("transport", context.arrival.transport.uri_param().into()),
            ("user_agent", user_agent),
            ("call_id", text(message.call_id())),
        ]
    });
}

fn refuse(call: &mut Call<'_>, refusal: Refusal, flags: i64) -> Outcome {
    call.state::<Registrar>().rejected.increment();
    let headers = match refusal {
        Refusal::TooBrief { min_expires } => format!("Min-Expires: {min_expires}\r\n"),
        Refusal::PathUnsupported => "Require: path\r\n".to_owned(),
        _ => String::new(),
    };
    let (code, reason) = refusal.status();
    answer(call, code, reason, headers.as_bytes(), flags);
    let own = if refusal == Refusal::TooManyContacts { -2 } else { -1 };
    Outcome::Value(refused_code(call, own))
}

/// SER's save() ends the script when it has refused.
fn refused_code(call: &Call<'_>, own: i64) -> i64 {
    if call.dialect() == Dialect::Ser { 0 } else { own }
}

fn answer(call: &mut Call<'_>, code: u16, reason: &str, headers: &[u8], flags: i64) {
    if flags & NO_REPLY != 0 {
        let headers = Bytes::copy_from_slice(headers);
        call.context.set_note(Unsent { code, reason: Bytes::copy_from_slice(reason.as_bytes()), headers });
        return;
    }
    send(call, &Reply { code, reason: reason.as_bytes(), headers });
}

/// A reply that save() was told to leave to reg_send_reply().
struct Unsent {
    code: u16,
    reason: Bytes,
    headers: Bytes,
}

fn send_later(call: &mut Call<'_>) -> Outcome {
    let Some(unsent) = call.context.take_note::<Unsent>() else { return Outcome::FALSE };
    send(call, &Reply { code: unsent.code, reason: &unsent.reason, headers: &unsent.headers });
    Outcome::TRUE
}

fn send(call: &mut Call<'_>, reply: &Reply<'_>) {
    // What fails here is that the phone named no address to reply to; there is nobody to tell.
    let _ = match call.context.transaction {
        Some(_) => call.host.reply(call.context, reply),
        None => call.host.reply_stateless(call.context, reply),
    };
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, registrar_state};
    use module_api::Dialect;

    fn register(cseq: u32, contact: &str) -> String {
        format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bK{cseq}\r\n\
             From: <sip:alice@example.com>;tag=1\r\nTo: <sip:Alice@example.com>\r\nCall-ID: c1\r\n\
             CSeq: {cseq} REGISTER\r\n{contact}Content-Length: 0\r\n\r\n"
        )
    }

    fn check(state: &std::sync::Arc<dyn module_api::State>, text: &str, code: i64, reply: &str) {
        let mut bench = Bench::with_state(text, std::sync::Arc::clone(state));
        assert_eq!(bench.run(&MODULE, "save", &["location"]), code, "{text}");
        assert_eq!(bench.host.done, [reply], "{text}");
    }

    #[test]
    fn a_contact_is_added_changed_listed_and_removed() {
        let state = registrar_state(&[]);
        let added = "stateless 200 OK Contact: <sip:a@198.51.100.7>;expires=3600|";
        check(&state, &register(1, "Contact: <sip:a@198.51.100.7>\r\n"), 1, added);
        let changed = "stateless 200 OK Contact: <sip:a@198.51.100.7>;expires=60|";
        check(&state, &register(2, "Contact: <sip:a@198.51.100.7>;expires=60\r\n"), 2, changed);
        check(&state, &register(3, ""), 4, changed);
        check(&state, &register(4, "Contact: *\r\nExpires: 0\r\n"), 3, "stateless 200 OK");
    }

    #[test]
    fn a_repeated_register_is_answered_again_and_an_older_one_refused() {
        let state = registrar_state(&[]);
        let first = register(5, "Contact: <sip:a@198.51.100.7>\r\n");
        let listed = "stateless 200 OK Contact: <sip:a@198.51.100.7>;expires=3600|";
        check(&state, &first, 1, listed);
        check(&state, &first, 4, listed);
        let older = register(4, "Contact: <sip:a@198.51.100.7>\r\n");
        check(&state, &older, -1, "stateless 500 Request Out of Order");
    }

    #[test]
    fn too_short_a_life_is_refused_with_the_shortest() {
        let state = registrar_state(&[("min_expires", 120)]);
        let text = register(1, "Contact: <sip:a@h>;expires=60\r\n");
        check(&state, &text, -1, "stateless 423 Interval Too Brief Min-Expires: 120|");
        let mut bench = Bench::with_state(&text, state);
        bench.dialect = Dialect::Ser;
        assert_eq!(bench.run(&MODULE, "save", &["location"]), 0);
    }

    #[test]
    fn flags_put_the_reply_off_and_clear_other_contacts() {
        let state = registrar_state(&[]);
        let text = register(1, "Contact: <sip:a@one>, <sip:a@two>\r\n");
        let mut bench = Bench::with_state(&text, std::sync::Arc::clone(&state));
        assert_eq!(bench.run(&MODULE, "save", &["location", "0x02"]), 1);
        assert!(bench.host.done.is_empty());
        assert_eq!(bench.run(&MODULE, "reg_send_reply", &[]), 1);
        let listed = "Contact: <sip:a@one>;expires=3600, <sip:a@two>;expires=3600|";
        assert_eq!(bench.host.done, [format!("stateless 200 OK {listed}")]);
        assert_eq!(bench.run(&MODULE, "reg_send_reply", &[]), -1);
        let mut bench = Bench::with_state(&register(2, "Contact: <sip:a@three>\r\n"), state);
        bench.run(&MODULE, "save", &["location", "4"]);
        assert_eq!(bench.host.done, ["stateless 200 OK Contact: <sip:a@three>;expires=3600|"]);
    }

    #[test]
    fn a_contact_that_the_script_has_changed_is_kept_as_changed() {
        let mut bench =
            Bench::with_state(&register(1, "Contact: <sip:a@10.0.0.1>;expires=60\r\n"), registrar_state(&[]));
        assert_eq!(bench.run(&crate::nathelper::MODULE, "fix_nated_contact", &[]), 1);
        assert_eq!(bench.run(&MODULE, "save", &["location"]), 1);
        assert_eq!(bench.host.done, ["stateless 200 OK Contact: <sip:a@198.51.100.7:5070>;expires=60|"]);
    }

    #[test]
    fn only_a_register_can_be_saved() {
        let mut bench = Bench::with_state(crate::testing::INVITE, registrar_state(&[]));
        assert_eq!(bench.run(&MODULE, "save", &["location"]), -1);
    }
}
