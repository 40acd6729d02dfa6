//! `ul.*`: looking at the location tables and changing them from outside.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Answer, ArgumentKind, Command, CommandCall, CommandError, CommandParam, Data};
use sip_message::Uri;
use sip_proto::registrar::Binding;
use store::Change;

use super::binding::Contact;
use super::{LocationTable, Locations};

const TABLE: CommandParam =
    CommandParam::required("table", ArgumentKind::Str, "The location table, `location` mostly.");
const AOR: CommandParam = CommandParam::required("aor", ArgumentKind::Str, "The user: NAME, NAME@DOMAIN or a SIP URI.");
const CONTACT: CommandParam = CommandParam::required("contact", ArgumentKind::Str, "The URI of the contact.");
const EXPIRES: CommandParam =
    CommandParam::required("expires", ArgumentKind::Int, "Seconds that it lasts; 0 for ever.");
const Q: CommandParam = CommandParam::optional("q", ArgumentKind::Float, "Preference from 0 to 1.");

pub(super) static COMMANDS: &[Command] = &[
    Command {
        name: "ul.dump",
        aliases: &["ul_dump"],
        params: &[CommandParam::optional(
            "brief",
            ArgumentKind::Str,
            "`brief` shows the users without their contacts.",
        )],
        doc: "Shows all location tables. At most 10,000 users of each are shown; `Left-Out` counts the others.",
        result: "`Domains`: for each table its name, its users with their contacts, and figures.",
        example: "ul.dump",
        run: dump,
    },
    Command {
        name: "ul.lookup",
        params: &[TABLE, AOR],
        doc: "Shows where a user is registered.",
        result: "`AoR` and its `Contacts`; error 404 when there are none.",
        example: "ul.lookup location alice",
        run: |call| {
            Answer::Now(found(call).map(|found| {
                Data::of([("AoR", Data::text(&found.aor.key)), ("Contacts", contacts(call, &found.contacts))])
            }))
        },
        ..Command::EMPTY
    },
    Command {
        name: "ul_show_contact",
        aliases: &["ul_show"],
        params: &[TABLE, AOR],
        doc: "Shows where a user is registered, as SER does: what a Contact header field would hold.",
        result: "a line `<URI>;q=Q;expires=SECONDS` for each contact; error 404 when there are none.",
        example: "ul_show_contact location alice",
        run: |call| {
            let line = |contact: &Contact| {
                let q = f64::from(contact.binding.q.unwrap_or(0)) / 1000.0;
                let uri = String::from_utf8_lossy(&contact.binding.uri);
                format!("<{uri}>;q={q:.2};expires={}", seconds_left(call, contact).to_text())
            };
            Answer::Now(found(call).map(|found| found.contacts.iter().map(line).collect()))
        },
    },
    Command {
        name: "ul.add",
        params: &[
            TABLE,
            AOR,
            CONTACT,
            EXPIRES,
            Q,
            CommandParam::optional(
                "path",
                ArgumentKind::Str,
                "Proxies on the way to it (RFC 3327); `.` or `0` for none.",
            ),
            CommandParam::optional("flags", ArgumentKind::Int, "Message flags to keep with it."),
            CommandParam::optional("cflags", ArgumentKind::Int, "Branch flags to keep with it."),
            CommandParam::optional("methods", ArgumentKind::Int, "Methods that it takes, as bits; 0 or less for all."),
        ],
        doc: "Registers a contact, replacing one of the same URI. A contact that never ends is a permanent one.",
        result: "nothing.",
        example: "ul.add location alice sip:alice@192.0.2.7 3600 0.5",
        run: add,
        ..Command::EMPTY
    },
    Command {
        name: "ul_add",
        params: &[
            TABLE,
            AOR,
            CONTACT,
            EXPIRES,
            Q,
            CommandParam::optional("replicate", ArgumentKind::Str, "Has no effect."),
        ],
        doc: "Registers a contact, in SER's order of arguments.",
        result: "nothing.",
        example: "ul_add location alice sip:alice@192.0.2.7 3600 0.5",
        run: add,
        ..Command::EMPTY
    },
    Command {
        name: "ul.rm",
        aliases: &["ul_rm"],
        params: &[TABLE, AOR],
        doc: "Removes every contact of a user.",
        result: "nothing; error 404 when there are none.",
        example: "ul.rm location alice",
        run: |call| remove(call, None, "AOR not found"),
    },
    Command {
        name: "ul.rm_contact",
        aliases: &["ul_rm_contact"],
        params: &[TABLE, AOR, CONTACT],
        doc: "Removes one contact of a user.",
        result: "nothing; error 404 when it is not there.",
        example: "ul.rm_contact location alice sip:alice@192.0.2.7",
        run: |call| remove(call, call.text(2), "Contact not found"),
    },
    Command {
        name: "ul.flush",
        aliases: &["ul_flush"],
        doc: "Waits until every change is in the database. Changes are written at once, so there is nothing else to do.",
        result: "nothing.",
        example: "ul.flush",
        run: |call| {
            let locations = call.shared_state::<Locations>();
            // An empty change comes after all others in the queue of its table.
            let tables: Vec<_> = locations.names().iter().filter_map(|name| locations.table(name)).collect();
            let written: Vec<_> = tables.iter().filter_map(|table| table.submit(Vec::new())).collect();
            Answer::later(async move {
                for write in written {
                    write.await.map_err(|error| CommandError::new(500, error.to_string()))?;
                }
                Ok(Data::Null)
            })
        },
        ..Command::EMPTY
    },
    Command {
        name: "ul.db_users",
        params: &[TABLE],
        doc: "Counts the users who are registered.",
        result: "a number.",
        example: "ul.db_users location",
        run: |call| Answer::Now(table(call).map(|table| table.bindings.counts().0.into())),
        ..Command::EMPTY
    },
    Command {
        name: "ul.db_contacts",
        params: &[TABLE],
        doc: "Counts the contacts that are registered.",
        result: "a number.",
        example: "ul.db_contacts location",
        run: |call| Answer::Now(table(call).map(|table| table.bindings.counts().1.into())),
        ..Command::EMPTY
    },
    Command {
        name: "ul_stats",
        doc: "Counts users and contacts of each table, as SER does.",
        result: "a line of table, users and contacts for each, under a line that names the columns.",
        example: "ul_stats",
        run: |call| {
            let line = |(name, table): (String, Arc<LocationTable>)| {
                let (users, contacts) = table.bindings.counts();
                format!("'{name}'\t{users}\t{contacts}")
            };
            ["Domain\tRegistered\tContacts".to_owned()]
                .into_iter()
                .chain(tables(call).into_iter().map(line))
                .collect::<Data>()
                .into()
        },
        ..Command::EMPTY
    },
];

/// How many users of a table are shown at once: a million of them would be a gigabyte of text.
const SHOWN: usize = 10_000;

/// A user as a command names one.
struct Aor {
    key: Bytes,
    user: Bytes,
    domain: Option<Bytes>,
}

struct Found {
    aor: Aor,
    contacts: Vec<Contact>,
}

fn tables(call: &CommandCall<'_>) -> Vec<(String, Arc<LocationTable>)> {
    let locations = call.state::<Locations>();
    let mut names = locations.names();
    names.sort_unstable();
    names.into_iter().filter_map(|name| locations.table(&name).map(|table| (name, table))).collect()
}

fn table(call: &CommandCall<'_>) -> Result<Arc<LocationTable>, CommandError> {
    let locations = call.state::<Locations>();
    let table = call.text(0).and_then(|name| locations.table(name));
    table.ok_or_else(|| {
        let mut names = locations.names();
        names.sort_unstable();
        CommandError::new(404, format!("Domain table not found; there are: {}", names.join(", ")))
    })
}

/// Names are kept in lower case, as the registrar writes them.
fn aor(call: &CommandCall<'_>) -> Aor {
    let text = call.text(1).unwrap_or_default();
    let uri = Uri::parse(text.as_bytes()).ok().filter(Uri::is_sip);
    let (user, domain) = match &uri {
        Some(uri) => (uri.user.unwrap_or(uri.host_text), uri.host_text),
        None => match text.split_once('@') {
            Some((user, domain)) => (user.as_bytes(), domain.as_bytes()),
            None => (text.as_bytes(), &b""[..]),
        },
    };
    let user = String::from_utf8_lossy(user).to_lowercase();
    let domain = String::from_utf8_lossy(domain).to_lowercase();
    let locations = call.state::<Locations>();
    let user = Bytes::from(user);
    let key = locations.aor(&user, domain.as_bytes());
    Aor { key, user, domain: locations.uses_domain.then(|| domain.into()) }
}

fn found(call: &CommandCall<'_>) -> Result<Found, CommandError> {
    let (table, aor) = (table(call)?, aor(call));
    let contacts = table.bindings.contacts(&aor.key, call.unix_time.as_secs());
    if contacts.is_empty() {
        let text = format!("AOR not found in {} table", call.text(0).unwrap_or_default());
        return Err(CommandError::new(404, text));
    }
    Ok(Found { aor, contacts })
}

fn dump(call: &CommandCall<'_>) -> Answer {
    let is_brief = call.text(0) == Some("brief");
    let now = call.unix_time.as_secs();
    let shown = tables(call).into_iter().map(|(name, table)| {
        // The table is free again while the answer is made.
        let (some, count) = table.bindings.some(SHOWN, now);
        let info = |(aor, live): (Vec<u8>, Vec<Contact>)| {
            let aor = ("AoR", Data::text(&aor));
            match is_brief {
                true => Data::of([aor]),
                false => Data::of([("Info", Data::of([aor, ("Contacts", contacts(call, &live))]))]),
            }
        };
        let aors: Vec<Data> = some.into_iter().map(info).collect();
        let stats = Data::of([("Records", count.into()), ("Left-Out", (count - aors.len()).into())]);
        let table = [("Domain", name.into()), ("Size", count.into()), ("AoRs", Data::List(aors)), ("Stats", stats)];
        Data::of([("Domain", Data::of(table))])
    });
    Data::of([("Domains", shown.collect())]).into()
}

fn contacts(call: &CommandCall<'_>, contacts: &[Contact]) -> Data {
    contacts.iter().map(|contact| Data::of([("Contact", shown(call, contact))])).collect()
}

/// Names and their order are Kamailio's; what it keeps and this server does not is left out.
fn shown(call: &CommandCall<'_>, contact: &Contact) -> Data {
    let binding = &contact.binding;
    let or_unset = |text: &Bytes| if text.is_empty() { "[not set]".into() } else { Data::text(text) };
    let socket = contact.socket.and_then(|socket| call.sockets.get(usize::from(socket))).map(ToString::to_string);
    Data::of([
        ("Address", Data::text(&binding.uri)),
        ("Expires", seconds_left(call, contact)),
        ("Q", binding.q.map_or((-1).into(), |q| (f64::from(q) / 1000.0).into())),
        ("Call-ID", Data::text(&binding.call_id)),
        ("CSeq", binding.cseq.into()),
        ("User-Agent", Data::text(&contact.user_agent)),
        ("Received", or_unset(&contact.received)),
        ("Path", or_unset(&binding.path)),
        ("Flags", contact.flags.into()),
        ("CFlags", contact.branch_flags.into()),
        ("Socket", socket.unwrap_or_else(|| "[not set]".into()).into()),
        ("Methods", contact.methods.into()),
        ("Ruid", Data::text(&contact.ruid)),
        ("Instance", or_unset(&binding.instance)),
        ("Reg-Id", binding.reg_id.into()),
        ("Tcpconn-Id", contact.connection.map_or((-1).into(), Data::from)),
        ("Last-Modified", contact.modified.into()),
    ])
}

fn seconds_left(call: &CommandCall<'_>, contact: &Contact) -> Data {
    match contact.binding.expires {
        FOR_EVER.. => "permanent".into(),
        expires => expires.saturating_sub(call.unix_time.as_secs()).into(),
    }
}

/// The last second that a table can hold stands for "never".
const FOR_EVER: u64 = u32::MAX as u64;

fn add(call: &CommandCall<'_>) -> Answer {
    let now = call.unix_time.as_secs();
    let (table, aor) = match table(call) {
        Ok(table) => (table, aor(call)),
        Err(error) => return Answer::Now(Err(error)),
    };
    let contact = match contact(call, now) {
        Ok(contact) => contact,
        Err(error) => return Answer::Now(Err(error)),
    };
    let written = table.bindings.update(&aor.key, |before| {
        let mut after = before;
        let same = after.iter_mut().find(|other| other.binding.uri == contact.binding.uri);
        let ruid = same.as_ref().map_or_else(|| contact.ruid.clone(), |other| other.ruid.clone());
        let contact = Contact { ruid, ..contact };
        let row = contact.to_row(&aor.user, aor.domain.as_ref(), None);
        match same {
            Some(other) => *other = contact,
            None => after.push(contact),
        }
        (Some(after), table.submit(vec![Change::Put(Box::new(row))]))
    });
    durable(written)
}

fn contact(call: &CommandCall<'_>, now: u64) -> Result<Contact, CommandError> {
    let refuse = |what: &str| Err(CommandError::new(400, what.to_owned()));
    let uri = call.text(2).unwrap_or_default();
    if !Uri::parse(uri.as_bytes()).is_ok_and(|uri| uri.is_sip()) {
        return refuse("argument `contact` must be a SIP URI, such as sip:alice@192.0.2.7");
    }
    let expires = match call.int(3) {
        Some(0) => FOR_EVER,
        Some(seconds @ 1..) => now.saturating_add(seconds as u64).min(FOR_EVER - 1),
        _ => return refuse("argument `expires` must be 0 or more seconds"),
    };
    let q = match call.float(4) {
        None => None,
        Some(q) if (0.0..=1.0).contains(&q) => Some((q * 1000.0).round() as u16),
        Some(_) => return refuse("argument `q` must be from 0 to 1"),
    };
    let path = call.text(5).filter(|path| path.contains("sip")).unwrap_or_default();
    let bits = |n: usize| call.int(n).and_then(|bits| u32::try_from(bits).ok());
    let contact = Contact {
        binding: Binding {
            uri: Bytes::copy_from_slice(uri.as_bytes()),
            expires,
            q,
            call_id: Bytes::from_static(b"command@this-server"),
            cseq: 1,
            path: Bytes::copy_from_slice(path.as_bytes()),
            instance: Bytes::new(),
            reg_id: 0,
            params: Bytes::new(),
        },
        received: Bytes::new(),
        user_agent: Bytes::from_static(b"SER control"),
        ruid: call.state::<Locations>().new_ruid(),
        modified: now,
        flags: bits(6).unwrap_or(0),
        branch_flags: bits(7).unwrap_or(0),
        methods: bits(8).filter(|methods| *methods > 0).unwrap_or(u32::MAX),
        socket: None,
        connection: None,
    };
    if contact.fits() { Ok(contact) } else { refuse("the contact is longer than a binding may be") }
}

/// Removes the contacts of a user, or the one with this URI.
fn remove(call: &CommandCall<'_>, uri: Option<&str>, absent: &'static str) -> Answer {
    let (table, aor) = match table(call) {
        Ok(table) => (table, aor(call)),
        Err(error) => return Answer::Now(Err(error)),
    };
    let is_gone = |contact: &Contact| uri.is_none_or(|uri| contact.binding.uri == uri.as_bytes());
    let removed = table.bindings.update(&aor.key, |before| {
        let (gone, left): (Vec<Contact>, Vec<Contact>) = before.iter().cloned().partition(is_gone);
        if gone.is_empty() {
            return (None, None);
        }
        let delete = |contact: &Contact| Change::Delete { ruid: String::from_utf8_lossy(&contact.ruid).into_owned() };
        (Some(left), Some(table.submit(gone.iter().map(delete).collect())))
    });
    match removed {
        Some(written) => durable(written),
        None => Answer::error(404, absent),
    }
}

/// Answers once the change is on disk, where the table is kept there.
fn durable(written: Option<store::Written>) -> Answer {
    match written {
        None => Data::Null.into(),
        Some(written) => Answer::later(async move {
            written.await.map_err(|error| CommandError::new(500, format!("the database did not take it: {error}")))?;
            Ok(Data::Null)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::super::binding::tests::contact as binding;
    use super::*;
    use crate::testing::{CommandBench, make};
    use module_api::Dialect;

    fn bench() -> CommandBench {
        let state = make(&MODULE, &[], Dialect::Kamailio, &|_| None).expect("usrloc starts");
        CommandBench::new(state)
    }

    fn run(bench: &CommandBench, line: &str) -> Result<Data, CommandError> {
        bench.run(COMMANDS, line)
    }

    #[test]
    fn a_contact_that_is_added_is_found_until_it_is_removed() {
        let bench = bench();
        run(&bench, "ul.add location Alice@example.com sip:alice@192.0.2.7 3600 0.5").expect("it is added");
        run(&bench, "ul_add location alice sip:alice@192.0.2.8 60").expect("it is added");
        let found = run(&bench, "ul.lookup location sip:alice@example.com").expect("it is there");
        assert_eq!(found.field("AoR"), Some(&"alice".into()));
        let Some(Data::List(list)) = found.field("Contacts") else { panic!("{found:?}") };
        let first = list[0].field("Contact").expect("a contact");
        assert_eq!(first.field("Address"), Some(&"sip:alice@192.0.2.7".into()));
        assert_eq!((first.field("Expires"), first.field("Q")), (Some(&3600.into()), Some(&0.5.into())));
        let shown = run(&bench, "ul_show_contact location alice").expect("it is there");
        let lines = ["<sip:alice@192.0.2.7>;q=0.50;expires=3600", "<sip:alice@192.0.2.8>;q=0.00;expires=60"];
        assert_eq!(shown, lines.into_iter().collect());

        run(&bench, "ul.rm_contact location alice sip:alice@192.0.2.7").expect("it is removed");
        assert_eq!(run(&bench, "ul.db_contacts location"), Ok(1.into()));
        run(&bench, "ul_rm location alice").expect("it is removed");
        let error = run(&bench, "ul.lookup location alice").expect_err("it is gone");
        assert_eq!(error.to_string(), "404 AOR not found in location table");
        assert_eq!(run(&bench, "ul.rm location alice").expect_err("it is gone").code, 404);
    }

    #[test]
    fn a_contact_added_again_is_the_same_one_with_a_new_end() {
        let bench = bench();
        for seconds in ["60", "0"] {
            run(&bench, &format!("ul.add location a sip:a@192.0.2.7 {seconds}")).expect("it is added");
        }
        let shown = run(&bench, "ul_show_contact location a").expect("it is there");
        assert_eq!(shown, ["<sip:a@192.0.2.7>;q=0.00;expires=permanent"].into_iter().collect::<Data>());
    }

    #[test]
    fn everything_is_dumped_and_what_has_run_out_is_not() {
        let bench = bench();
        let locations = bench.state::<Locations>();
        let table = locations.table("location").expect("it is open");
        table.bindings.update(b"old", |_| (Some(vec![binding("sip:old@h", "r1", 1)]), ()));
        run(&bench, "ul.add location a sip:a@192.0.2.7 60").expect("it is added");
        let dump = run(&bench, "ul.dump brief").expect("a dump");
        assert_eq!(
            dump.to_text(),
            "{Domains: [{Domain: {Domain: aliases, Size: 0, AoRs: [], Stats: {Records: 0, Left-Out: 0}}}, \
             {Domain: {Domain: location, Size: 1, AoRs: [{AoR: a}], Stats: {Records: 1, Left-Out: 0}}}]}"
        );
    }

    #[test]
    fn mistakes_are_named() {
        let bench = bench();
        for (line, expected) in [
            ("ul.lookup nowhere a", "404 Domain table not found; there are: aliases, location"),
            ("ul.add location a mailto:x 60", "400 argument `contact` must be a SIP URI, such as sip:alice@192.0.2.7"),
            ("ul.add location a sip:a@h -1", "400 argument `expires` must be 0 or more seconds"),
            ("ul.add location a sip:a@h 60 7", "400 argument `q` must be from 0 to 1"),
        ] {
            assert_eq!(run(&bench, line).expect_err("a mistake").to_string(), expected);
        }
        let long = format!("ul.add location a sip:{}@h 60", "x".repeat(70_000));
        assert_eq!(run(&bench, &long).expect_err("too long").code, 400);
    }
}
