//! `save()`: a REGISTER becomes bindings (RFC 3261 section 10.3).

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};
use sip_message::{HeaderName, Message, Method, Transport};
use sip_proto::registrar::{self, Binding, Change, Refusal};
use smallvec::SmallVec;
use store::Written;

use super::aor::{Aor, with_table};
use super::gruu::GruuParams;
use super::reply::{answer, confirm, refuse, refused_code};
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
          memory only, 2 no reply, 4 no other contact stays, 8 lifetimes are not spread, 16 no reply, and what the 200 would \
          say goes into the reply that the script makes. 1 when a contact was added, 2 changed, 3 removed, 4 for a \
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
    run: super::reply::send_later,
};

const MEMORY_ONLY: i64 = 1;
pub(super) const NO_REPLY: i64 = 2;
const ONLY_CONTACT: i64 = 4;
const EXACT_LIFETIME: i64 = 8;
pub(super) const HEADERS_ONLY: i64 = 16;

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
pub(super) struct Decided {
    /// The return code.
    pub(super) code: i64,
    /// What the 200 lists, as its Contact header.
    pub(super) contacts: Vec<u8>,
    /// Whether the REGISTER has set up a flow (RFC 5626).
    pub(super) is_outbound: bool,
    /// The contacts that the REGISTER was about, where the script is shown them.
    pub(super) touched: Vec<Contact>,
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
    if registrar.gruus.is_some() && super::gruu::claims_own(call) {
        return refuse(call, Refusal::OwnGruu, flags);
    }
    let subject = Subject { aor, uri };
    let registration = Registration::new(call, registrar, table, flags, subject);
    let decided = table.bindings.update(&registration.aor.key, |before| registration.decide(before));
    match decided {
        Err(refusal) => refuse(call, refusal, flags),
        Ok(mut decided) => match decided.written.take() {
            None => confirm(call, decided, flags),
            Some(written) => Outcome::wait(written, move |call, outcome| match outcome {
                Ok(()) => confirm(call, decided, flags),
                // The contacts are usable at once, but the phone must not rely on them: it will come again.
                Err(error) => {
                    let pause = Some(call.state::<Registrar>().retry_after).filter(|pause| *pause > 0).unwrap_or(10);
                    let headers = format!("Retry-After: {pause}\r\n");
                    answer(call, 503, "Service Unavailable", headers.as_bytes(), flags);
                    Outcome::Fail(module_api::Fault { code: refused_code(call, -1), cause: error.to_string().into() })
                }
            }),
        },
    }
}

/// The address-of-record, and the URI that names it.
struct Subject {
    aor: Aor,
    uri: Bytes,
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
    policy: registrar::Policy,
    /// Whether it sets up a flow (RFC 5626); an error where `decide` refuses it.
    is_outbound: bool,
    gruus: GruuParams,
}

impl Registration {
    fn new(
        call: &mut Call<'_>,
        registrar: Arc<Registrar>,
        table: &Arc<LocationTable>,
        flags: i64,
        subject: Subject,
    ) -> Registration {
        let now = call.host.unix_time();
        let message = NewContact::message_to_save(call.context).unwrap_or_else(|| Arc::clone(&call.context.message));
        let mut policy = super::record::policy(call, &registrar);
        if flags & EXACT_LIFETIME == 0 {
            super::record::spread(call, &registrar, &mut policy);
        }
        let is_outbound = registrar::uses_outbound(&message, &policy).unwrap_or(false);
        let gruus = GruuParams::new(call, &registrar, &message, &subject.uri);
        let socket_id = super::record::socket(call, &registrar);
        let context = &*call.context;
        let nat_flag = registrar.nat_flag.filter(|flag| context.has_flag(*flag));
        let user_agent = context.message.header(HeaderName::UserAgent);
        let is_written = flags & MEMORY_ONLY == 0 && table.is_written();
        let socket = call.host.sockets().get(usize::from(socket_id.0)).filter(|_| is_written);
        let by_path = registrar.uses_path_received.then(|| path_received(&message)).flatten();
        let nat_branch_flag = registrar.locations.nat_branch_flag.filter(|flag| by_path.is_some() && *flag < 32);
        let model = Contact {
            binding: empty_binding(),
            received: by_path.unwrap_or_else(|| received(call, &registrar, is_outbound)),
            user_agent: user_agent.map(|header| context.message.slice(header.value_span)).unwrap_or_default(),
            ruid: Bytes::new(),
            modified: now.as_secs(),
            flags: nat_flag.map_or(0, |flag| 1 << flag),
            branch_flags: context.target.flags | nat_branch_flag.map_or(0, |flag| 1 << flag),
            methods: methods(&context.message),
            socket: Some(socket_id.0),
            connection: context.arrival.connection,
        };
        Registration {
            table: Arc::clone(table),
            is_written,
            message,
            now,
            flags,
            aor: subject.aor,
            model,
            socket: socket.map(ToString::to_string),
            registrar,
            policy,
            is_outbound,
            gruus,
        }
    }

    fn decide(&self, before: Vec<Contact>) -> (Option<Vec<Contact>>, Result<Decided, Refusal>) {
        match registrar::apply(&self.message, &before, &self.policy, self.now) {
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
        let touched = if self.registrar.shown.is_some() { before.to_vec() } else { Vec::new() };
        // A repetition must wait for the disk like the first: an empty change comes after it in the queue. So must
        // a request that memory has nothing to do for because an earlier one did it, whose change is not on the disk.
        let waits = self.is_repetition(before) || self.table.is_behind();
        let written = waits.then(|| self.submit(Vec::new())).flatten();
        Decided { code: 4, contacts, is_outbound: self.is_outbound, touched, written }
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
        let shown = if self.registrar.shown.is_some() { after.clone() } else { Vec::new() };
        Ok((after, Decided { code, contacts, is_outbound: self.is_outbound, touched: shown, written }))
    }

    /// Step 8: the live contacts, best first.
    fn listed(&self, contacts: &[Contact]) -> Vec<u8> {
        let live = contacts.iter().filter(|contact| contact.binding.expires > self.now.as_secs());
        let mut live: SmallVec<[&Contact; 8]> = live.collect();
        live.sort_by_key(|contact| std::cmp::Reverse(contact.binding.q.unwrap_or(1000)));
        let mut order = live.iter();
        registrar::contact_header(live.iter().map(|contact| &contact.binding), self.now, |binding, out| {
            self.gruus.push(binding, &self.aor.key, out);
            let received = order.next().map(|contact| &contact.received).filter(|received| !received.is_empty());
            if let Some(received) = received.filter(|_| !self.registrar.received_param.is_empty()) {
                let name = self.registrar.received_param.as_bytes();
                out.extend_from_slice(&[b";", name, b"=\"", &received[..], b"\""].concat());
            }
        })
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
/// What set up a flow without a proxy in between is reached over that flow (RFC 5626 section 6).
fn received(call: &Call<'_>, registrar: &Registrar, is_outbound: bool) -> Bytes {
    let context = &*call.context;
    if let Some(value) = registrar.received.as_ref().and_then(|name| context.avps.first(name)) {
        return value.to_bytes();
    }
    let arrival = &context.arrival;
    let is_web = matches!(arrival.transport, Transport::Ws | Transport::Wss);
    let has_flag = registrar.nat_flag.is_some_and(|flag| context.has_flag(flag));
    let branch_flag = registrar.locations.nat_branch_flag;
    let has_branch_flag = branch_flag.is_some_and(|flag| flag < 32 && context.target.flags & (1 << flag) != 0);
    let is_flow = is_outbound && context.message.values_of(HeaderName::Via).nth(1).is_none();
    if !(is_web || has_flag || has_branch_flag || is_flow) {
        return Bytes::new();
    }
    let transport = match arrival.transport {
        Transport::Udp => String::new(),
        transport => format!(";transport={}", transport.uri_param()),
    };
    format!("sip:{}{transport}", arrival.source).into()
}

/// The `received` of the topmost Path: where the first proxy of several saw the phone.
fn path_received(message: &Message) -> Option<Bytes> {
    let path = message.values_of(HeaderName::Path).next()?;
    let address = sip_message::NameAddr::parse(path.text).ok()?;
    let uri = sip_message::Uri::parse(address.uri).ok()?;
    let received = sip_message::unescape(uri.params.value("received")?).into_owned();
    let is_uri = sip_message::Uri::parse(&received).is_ok_and(|uri| uri.is_sip());
    is_uri.then(|| received.into())
}

/// Methods of Allow as bits; all when it is absent.
fn methods(message: &Message) -> u32 {
    if !message.has(HeaderName::Allow) {
        return u32::MAX;
    }
    message.tokens(HeaderName::Allow).fold(0, |bits, token| bits | method_bit(Method::from_token(token)))
}

pub(super) fn path_values(message: &Message) -> Bytes {
    let values: Vec<Vec<u8>> = message
        .values_of(HeaderName::Path)
        .filter(|value| sip_message::NameAddr::parse(value.text).is_ok())
        .map(|value| sip_message::unfold(value.text).into_owned())
        .collect();
    values.join(&b", "[..]).into()
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
