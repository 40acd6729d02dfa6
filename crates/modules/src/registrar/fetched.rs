//! Contacts shown to the script: `$ulc` and records.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{
    Attributes, Call, Content, Function, Index, KeyRule, Outcome, Param, ParamKind, Record, RecordKind, Routes, Value,
    Variable,
};

use super::aor::{Aor, with_table};
use super::lookup::sort;
use super::settings::Registrar;
use crate::usrloc::{Contact, LocationTable};

/// What reg_fetch_contacts() found, by the name that the script gave it; a note of the request.
#[derive(Default)]
struct Fetched(Vec<(Bytes, Profile)>);

/// The contacts of one address.
struct Profile {
    table: Bytes,
    aor: Bytes,
    contacts: Vec<Contact>,
    /// The socket of each contact as the language names it, where it is known.
    sockets: Vec<Value>,
}

/// Most profiles of one request.
const MOST: usize = 32;

pub(super) const FETCH: Function = Function {
    name: "reg_fetch_contacts",
    params: &[
        Param::required("table", ParamKind::Str),
        Param::required("uri", ParamKind::Format),
        Param::required("profile", ParamKind::Str),
    ],
    routes: Routes::ANY,
    doc: "Keeps the contacts of an address for $ulc(PROFILE=>...), in the order in which lookup() would use them. False when \
          there are none, and for more than 32 profiles of one request.",
    example: "if (reg_fetch_contacts(\"location\", \"$fu\", \"caller\")) xlog(\"$(ulc(caller=>count)) phones\\n\");",
    run: |call| {
        with_table(call, |call, table| {
            let name = call.text(2);
            let mut fetched = call.context.take_note::<Fetched>().unwrap_or_default();
            // What an earlier call found under the name must not be taken for the contacts of this address.
            fetched.0.retain(|(known, _)| *known != name);
            let profile = profile(call, &table).filter(|_| fetched.0.len() < MOST);
            let is_found = profile.is_some();
            fetched.0.extend(profile.map(|profile| (name, profile)));
            call.context.set_note(fetched);
            is_found.into()
        })
    },
};

pub(super) const FREE: Function = Function {
    name: "reg_free_contacts",
    params: &[Param::required("profile", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Forgets what reg_fetch_contacts() kept under that name. It is forgotten with the request anyway.",
    example: "reg_free_contacts(\"caller\");",
    run: |call| {
        let name = call.text(0);
        if let Some(mut fetched) = call.context.take_note::<Fetched>() {
            fetched.0.retain(|(known, _)| *known != name);
            call.context.set_note(fetched);
        }
        Outcome::TRUE
    },
};

pub(super) const LOOKUP_XAVP: Function = Function {
    name: "lookup_xavp",
    params: &[
        Param::required("table", ParamKind::Str),
        Param::required("uri", ParamKind::Format),
        Param::required("address", ParamKind::Str),
        Param::required("contacts", ParamKind::Str),
    ],
    routes: Routes::ANY,
    doc: "Writes what is known of an address to records in place of targets: $xavp(ADDRESS=>aor), domain, aorhash and count, \
          and for each contact, the best in $xavp(CONTACTS[0]=>...), the names of $ulc. False when there are none.",
    example: "if (lookup_xavp(\"location\", \"$ru\", \"rx\", \"cx\")) $ru = $xavp(cx=>addr);",
    run: |call| with_table(call, |call, table| to_records(call, &table)),
};

pub(super) const ULC: Variable = Variable {
    name: "ulc",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A contact that reg_fetch_contacts() found: $(ulc(PROFILE=>NAME)[N]), without an index the first. Of all: aor, domain \
          (the table), aorhash, count. Of one: addr, path, received, expires (seconds to live), callid, q (0 to 1000), cseq, flags, cflags, \
          user_agent, socket, modified, methods, ruid, regid, instance, conid, server_id.",
    example: "xlog(\"$(ulc(caller=>addr)[0])\\n\");",
    read: |call, selector| {
        let Some((name, attribute)) = split(selector.key()) else { return Value::Null };
        let now = call.host.unix_time().as_secs();
        let Some(fetched) = call.context.note::<Fetched>() else { return Value::Null };
        let Some((_, profile)) = fetched.0.iter().find(|(known, _)| &known[..] == name) else { return Value::Null };
        if let Some(value) = profile.of_all(attribute) {
            return value;
        }
        let n = match selector.index {
            Index::At(n) if n < 0 => n + profile.contacts.len() as i64,
            Index::At(n) => n,
            _ => 0,
        };
        usize::try_from(n).map_or(Value::Null, |n| profile.of_one(n, attribute, now))
    },
    write: None,
};

/// `PROFILE=>NAME` in its parts.
fn split(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = key.windows(2).position(|pair| pair == b"=>")?;
    Some((key[..at].trim_ascii(), key[at + 2..].trim_ascii()))
}

fn profile(call: &mut Call<'_>, table: &Arc<LocationTable>) -> Option<Profile> {
    let registrar = call.shared_state::<Registrar>();
    let Aor { key, .. } = registrar.aor(&call.text(1))?;
    let mut contacts = table.bindings.contacts(&key, call.host.unix_time().as_secs());
    sort(&mut contacts, registrar.locations.newest_first);
    let socket = |contact: &Contact| {
        let socket = contact.socket.and_then(|n| call.host.sockets().get(usize::from(n)));
        socket.map_or(Value::Null, |socket| Value::Str(socket.to_string().into()))
    };
    let sockets = contacts.iter().map(socket).collect();
    (!contacts.is_empty()).then(|| Profile { table: call.text(0), aor: key, contacts, sockets })
}

fn to_records(call: &mut Call<'_>, table: &Arc<LocationTable>) -> Outcome {
    let Some(profile) = profile(call, table) else { return Outcome::FALSE };
    let now = call.host.unix_time().as_secs();
    let mut push = |name: usize, names: &[&'static str], value: &dyn Fn(&[u8]) -> Value| {
        let mut fields = Attributes::default();
        for name in names {
            match value(name.as_bytes()) {
                Value::Null => {}
                value => _ = fields.push(Bytes::from_static(name.as_bytes()), value),
            }
        }
        let record = Record { name: call.text(name), content: Content::Fields(fields) };
        call.context.records.push(RecordKind::Stacked, record)
    };
    // The newest record is read first, so the best contact goes in last.
    let mut contacts = (0..profile.contacts.len()).rev();
    let has_room = push(2, &OF_ALL, &|name| profile.of_all(name).unwrap_or_default())
        && contacts.all(|n| push(3, &OF_ONE, &|name| profile.of_one(n, name, now)));
    has_room.into()
}

const OF_ALL: [&str; 4] = ["aor", "domain", "aorhash", "count"];
const OF_ONE: [&str; 17] = [
    "addr",
    "path",
    "received",
    "expires",
    "callid",
    "q",
    "cseq",
    "flags",
    "cflags",
    "user_agent",
    "socket",
    "modified",
    "methods",
    "ruid",
    "regid",
    "instance",
    "conid",
];

impl Profile {
    /// What all contacts have in common.
    fn of_all(&self, attribute: &[u8]) -> Option<Value> {
        Some(match attribute {
            b"aor" => Value::Str(self.aor.clone()),
            b"domain" => Value::Str(self.table.clone()),
            b"aorhash" => Value::Int(hash(&self.aor).into()),
            b"count" => Value::Int(self.contacts.len() as i64),
            _ => return None,
        })
    }

    /// What is told of the `n`-th contact.
    fn of_one(&self, n: usize, attribute: &[u8], now: u64) -> Value {
        let Some(contact) = self.contacts.get(n) else { return Value::Null };
        let binding = &contact.binding;
        let filled = |text: &Bytes| Value::from(Some(text.clone()).filter(|text| !text.is_empty()));
        let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        match attribute {
            b"addr" => Value::Str(binding.uri.clone()),
            b"path" => filled(&binding.path),
            b"received" => filled(&contact.received),
            b"expires" => number(binding.expires.saturating_sub(now)),
            b"callid" => Value::Str(binding.call_id.clone()),
            // -1 stands for a contact that gave none, as both families write it.
            b"q" => Value::Int(binding.q.map_or(-1, i64::from)),
            b"cseq" => Value::Int(binding.cseq.into()),
            b"flags" => Value::Int(contact.flags.into()),
            b"cflags" => Value::Int(contact.branch_flags.into()),
            b"user_agent" => filled(&contact.user_agent),
            b"socket" => self.sockets.get(n).cloned().unwrap_or_default(),
            b"modified" => number(contact.modified),
            b"methods" => Value::Int(contact.methods.into()),
            b"ruid" => Value::Str(contact.ruid.clone()),
            b"regid" => Value::Int(binding.reg_id.into()),
            b"instance" => filled(&binding.instance),
            b"conid" => contact.connection.map_or(Value::Null, number),
            b"server_id" => Value::Int(0),
            _ => Value::Null,
        }
    }
}

/// A number that stays the same for an address through restarts (FNV-1a, 32 bits).
fn hash(text: &[u8]) -> u32 {
    text.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, registrar_state};
    use module_api::{RecordKind, Value};
    use std::sync::Arc;

    fn registered() -> Bench {
        let state = registrar_state(&[]);
        let contacts = "Contact: <sip:b@low>;q=0.1;expires=60, <sip:b@high>;q=0.9\r\nUser-Agent: desk\r\nSubject";
        let text =
            INVITE.replace("INVITE", "REGISTER").replace("Contact: <sip:alice@198.51.100.7:5070>\r\nSubject", contacts);
        assert_eq!(Bench::with_state(&text, Arc::clone(&state)).run(&MODULE, "save", &["location"]), 1);
        Bench::with_state(INVITE, state)
    }

    fn at(bench: &mut Bench, key: &str, n: i64) -> String {
        let key = bytes::Bytes::copy_from_slice(key.as_bytes());
        let selector = module_api::Selector { key: Some(&key), index: module_api::Index::At(n) };
        let mut call = module_api::Call::new(&mut bench.context, &mut bench.host, &[], &bench.state, bench.dialect);
        let mut out = Vec::new();
        (super::ULC.read)(&mut call, &selector).show(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fetched_contacts_are_shown_best_first_until_they_are_freed() {
        let mut bench = registered();
        assert_eq!(bench.run(&MODULE, "reg_fetch_contacts", &["location", "sip:bob@example.com", "callee"]), 1);
        for (key, n, value) in [
            ("callee=>aor", 0, "bob"),
            ("callee=>domain", 0, "location"),
            ("callee=>count", 7, "2"),
            ("callee=>addr", 0, "sip:b@high"),
            ("callee=>addr", 1, "sip:b@low"),
            ("callee=>addr", -1, "sip:b@low"),
            ("callee=>addr", 2, "<null>"),
            ("callee=>q", 1, "100"),
            ("callee=>expires", 1, "60"),
            ("callee=>user_agent", 0, "desk"),
            ("callee=>socket", 0, "udp:192.0.2.1:5060"),
            ("callee=>received", 0, "<null>"),
            ("other=>addr", 0, "<null>"),
            ("callee", 0, "<null>"),
        ] {
            assert_eq!(at(&mut bench, key, n), value, "{key} {n}");
        }
        assert_eq!(bench.run(&MODULE, "reg_free_contacts", &["callee"]), 1);
        assert_eq!(at(&mut bench, "callee=>count", 0), "<null>");
    }

    #[test]
    fn a_profile_never_shows_the_contacts_of_an_earlier_address() {
        let mut bench = registered();
        assert_eq!(bench.run(&MODULE, "reg_fetch_contacts", &["location", "sip:bob@example.com", "who"]), 1);
        assert_eq!(bench.run(&MODULE, "reg_fetch_contacts", &["location", "sip:carol@example.com", "who"]), -1);
        assert_eq!(at(&mut bench, "who=>addr", 0), "<null>");
    }

    #[test]
    fn the_number_of_profiles_has_a_bound() {
        let mut bench = registered();
        let mut fetch = |n: usize| bench.run(&MODULE, "reg_fetch_contacts", &["location", "sip:bob@h", &n.to_string()]);
        assert_eq!((0..40).filter(|n| fetch(*n) == 1).count(), super::MOST);
    }

    #[test]
    fn contacts_are_written_to_records() {
        let mut bench = registered();
        assert_eq!(bench.run(&MODULE, "lookup_xavp", &["location", "sip:bob@example.com", "rx", "cx"]), 1);
        let records = &bench.context.records;
        let field = |name: &str, n, field: &str| {
            let record = records.all(RecordKind::Stacked, name.as_bytes()).nth(n)?;
            record.field(field.as_bytes()).map(Value::to_bytes)
        };
        assert_eq!(field("rx", 0, "count").as_deref(), Some(&b"2"[..]));
        assert_eq!(field("cx", 0, "addr").as_deref(), Some(&b"sip:b@high"[..]));
        assert_eq!(field("cx", 1, "addr").as_deref(), Some(&b"sip:b@low"[..]));
        assert_eq!(field("cx", 0, "path"), None);
        assert_eq!(bench.run(&MODULE, "lookup_xavp", &["location", "sip:carol@example.com", "rx", "cx"]), -1);
    }
}
