//! Dialogs in a database, so that a restart does not forget the calls that are up.
//!
//! Written are calls that have been answered; what still rings ends with the process that relays it. The rows are
//! those of Kamailio's tables `dialog` and `dialog_vars`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use module_api::{Attributes, Host, Level, LogLine, Setup, SetupError, SocketId, Value};
use store::{Cell, ColumnName, Condition, Database, Select, TableName, Write};
use tokio::sync::Notify;

use super::Dialogs;
use super::call::{Dialog, Facts, Leg, Stage};
use super::table::LIMIT;
use super::track::{uri_of, watch_time};
use crate::database::{self, column};

/// When changes go to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// So long after they were made.
    After(Duration),
    /// When the server ends.
    AtEnd,
}

/// A dialog of before the start, and the names of the sockets of its two sides.
type Restored = (Arc<Dialog>, [String; 2]);

/// Where dialogs are kept beside memory.
pub(super) struct Stored {
    database: Database,
    dialogs: TableName,
    vars: TableName,
    pace: Pace,
    /// Those that have changed since they were written; no more than [`LIMIT`].
    changed: Mutex<HashMap<(u32, u32), Arc<Dialog>>>,
    wake: Arc<Notify>,
    /// The listening sockets as text, known once the server runs.
    sockets: OnceLock<Vec<String>>,
    log: LogLine,
}

const DIALOG: [&str; 22] = [
    "hash_entry",
    "hash_id",
    "callid",
    "from_uri",
    "from_tag",
    "to_uri",
    "to_tag",
    "caller_cseq",
    "callee_cseq",
    "caller_route_set",
    "callee_route_set",
    "caller_contact",
    "callee_contact",
    "caller_sock",
    "callee_sock",
    "state",
    "start_time",
    "timeout",
    "sflags",
    "iflags",
    "req_uri",
    "xdata",
];
const VARS: [&str; 4] = ["hash_entry", "hash_id", "dialog_key", "dialog_value"];

/// In `iflags`: both sides get a BYE when the time is up.
const ENDS_WITH_BYE: i64 = 1;
/// Dialogs of one transaction of the database.
const BATCH: usize = 256;
/// Changes that come together go together.
const MOMENT: Duration = Duration::from_millis(50);
/// How long a database that is away is left alone.
const AWAY: Duration = Duration::from_secs(2);

impl Stored {
    /// What `db_mode` asks for: 0 nothing, 1 changes at once, 2 after `db_update_period`, 3 when the server ends.
    pub(super) fn named(setup: &Setup<'_>) -> Result<Option<Arc<Stored>>, SetupError> {
        let wrong = |name, cause: &str| SetupError::Setting { name, cause: cause.into() };
        let pace = match setup.int("db_mode") {
            0 => return Ok(None),
            1 => Pace::After(MOMENT),
            2 => {
                let period = u64::try_from(setup.int("db_update_period")).ok().filter(|period| *period > 0);
                Pace::After(Duration::from_secs(period.ok_or(wrong("db_update_period", "must be above 0"))?))
            }
            3 => Pace::AtEnd,
            _ => return Err(wrong("db_mode", "is 0, 1, 2 or 3")),
        };
        let stored = Stored {
            database: database::open(setup, "db_url")?,
            dialogs: column(setup, "table_name")?,
            vars: column(setup, "vars_table_name")?,
            pace,
            changed: Mutex::default(),
            wake: Arc::default(),
            sockets: OnceLock::new(),
            log: Arc::clone(setup.log),
        };
        database::check_at_start(setup, &stored.database, &stored.dialogs, &names(&DIALOG), &[7])?;
        database::check_at_start(setup, &stored.database, &stored.vars, &names(&VARS), &[1])?;
        Ok(Some(Arc::new(stored)))
    }

    /// Notes that a dialog is not what its row says.
    pub(super) fn touch(&self, dialog: &Arc<Dialog>) {
        if self.pace == Pace::AtEnd {
            return;
        }
        {
            let mut changed = self.changed();
            // With the database away for so long, rows of calls that have ended stay until their time is up.
            if changed.len() >= LIMIT {
                return;
            }
            changed.insert((dialog.entry, dialog.id), Arc::clone(dialog));
        }
        self.wake.notify_one();
    }

    fn changed(&self) -> std::sync::MutexGuard<'_, HashMap<(u32, u32), Arc<Dialog>>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what has changed; false when the database is away, and then nothing is forgotten.
    pub(super) async fn flush(&self) -> bool {
        loop {
            let batch: Vec<Arc<Dialog>> = {
                let mut changed = self.changed();
                let keys: Vec<_> = changed.keys().take(BATCH).copied().collect();
                keys.iter().filter_map(|key| changed.remove(key)).collect()
            };
            if batch.is_empty() {
                return true;
            }
            if !self.write(&batch).await {
                let mut changed = self.changed();
                for dialog in batch {
                    changed.entry((dialog.entry, dialog.id)).or_insert(dialog);
                }
                return false;
            }
        }
    }

    /// Writes some dialogs; false when the database is away.
    async fn write(&self, batch: &[Arc<Dialog>]) -> bool {
        let writes: Vec<Write> = batch.iter().flat_map(|dialog| self.rows_of(dialog)).collect();
        if writes.is_empty() {
            return true;
        }
        let Err(error) = self.database.write(&writes).await else { return true };
        if error.is_unavailable() {
            return false;
        }
        // One row that the database will not take, a name too long for its column, must not keep the others out.
        for dialog in batch {
            match self.database.write(&self.rows_of(dialog)).await {
                Err(error) if error.is_unavailable() => return false,
                Err(error) => {
                    let call_id = String::from_utf8_lossy(&dialog.call_id);
                    (self.log)(Level::Error, &format!("dialog {call_id} is not stored: {error}"));
                }
                Ok(_) => {}
            }
        }
        true
    }

    /// The rows of a dialog in place of those that are there; none of one that is over, nothing of one that rings.
    fn rows_of(&self, dialog: &Dialog) -> Vec<Write> {
        let numbers = [i64::from(dialog.entry), i64::from(dialog.id)];
        let filter = || -> Vec<Condition> {
            let keys = names(&DIALOG[..2]);
            keys.iter().zip(numbers).map(|(name, number)| Condition::equal(name, number)).collect()
        };
        let mut writes = vec![
            Write::Delete { table: self.dialogs.clone(), filter: filter() },
            Write::Delete { table: self.vars.clone(), filter: filter() },
        ];
        let facts = dialog.facts();
        match facts.stage {
            Stage::Unconfirmed | Stage::Early => return Vec::new(),
            Stage::Ended => return writes,
            Stage::Answered | Stage::Confirmed => {}
        }
        let row = names(&DIALOG).into_iter().zip(self.cells(dialog, &facts, numbers)).collect();
        writes.push(Write::Insert { table: self.dialogs.clone(), row });
        writes.extend(facts.vars.iter().map(|(name, value)| {
            let cells = [numbers[0].into(), numbers[1].into(), Cell::text(name), Cell::text(&value.to_bytes())];
            Write::Insert { table: self.vars.clone(), row: names(&VARS).into_iter().zip(cells).collect() }
        }));
        writes
    }

    fn cells(&self, dialog: &Dialog, facts: &Facts, [entry, id]: [i64; 2]) -> [Cell; 22] {
        let socket = |leg: &Leg| {
            let known = self.sockets.get().zip(leg.socket).and_then(|(all, n)| all.get(usize::from(n.0)));
            Cell::Text(known.cloned().unwrap_or_default())
        };
        let routes = |leg: &Leg| Cell::text(&leg.routes.join(&b", "[..]));
        let seconds = |time: Duration| Cell::Int(i64::try_from(time.as_secs()).unwrap_or(i64::MAX).min(UNTIL));
        let profiles: Vec<[String; 2]> = facts
            .profiles
            .iter()
            .map(|(name, value)| [name, value].map(|text| String::from_utf8_lossy(text).into_owned()))
            .collect();
        [
            entry.into(),
            id.into(),
            Cell::text(&dialog.call_id),
            Cell::text(&uri_of(&facts.from)),
            Cell::text(&dialog.from_tag),
            Cell::text(&uri_of(&facts.to)),
            Cell::text(&facts.to_tag),
            Cell::Text(facts.caller.cseq.to_string()),
            Cell::Text(facts.callee.cseq.to_string()),
            routes(&facts.caller),
            routes(&facts.callee),
            Cell::text(&facts.caller.contact),
            Cell::text(&facts.callee.contact),
            socket(&facts.caller),
            socket(&facts.callee),
            Cell::Int(facts.stage as i64),
            seconds(facts.started),
            seconds(facts.expires),
            // The column holds 31 bits and a sign.
            Cell::Int((facts.flags as i32).into()),
            Cell::Int(if facts.ends_with_bye { ENDS_WITH_BYE } else { 0 }),
            Cell::text(&facts.request_uri),
            Cell::Text(serde_json::json!({ "profiles": profiles }).to_string()),
        ]
    }

    /// Reads every dialog into memory, while the module starts.
    pub(super) fn load(&self, setup: &Setup<'_>, dialogs: &Dialogs) -> Result<Vec<Restored>, SetupError> {
        let mut read = Err("the runtime is not there".to_owned());
        (setup.block_on)(Box::pin(async { read = self.rows().await.map_err(|error| error.to_string()) }));
        let (rows, vars) = match read {
            Ok(read) => read,
            // As with other tables: a database that is away must not keep the server from starting.
            Err(cause) => {
                (self.log)(Level::Error, &format!("dialogs of before the start are not known: {cause}"));
                return Ok(Vec::new());
            }
        };
        let mut by_dialog: HashMap<(i64, i64), Attributes> = HashMap::new();
        for row in &vars {
            let [Some(entry), Some(id)] = [0, 1].map(|n| row[n].to_int()) else { continue };
            let text = |n: usize| Bytes::from(row[n].to_text().unwrap_or_default());
            by_dialog.entry((entry, id)).or_default().push(text(2), Value::Str(text(3)));
        }
        let mut restored = Vec::new();
        for row in &rows {
            let numbers = [0, 1].map(|n| row[n].to_int().unwrap_or(-1));
            let vars = by_dialog.remove(&(numbers[0], numbers[1])).unwrap_or_default();
            // A row that cannot be read is of no use; it stays for whoever wants to look at it.
            let Some((dialog, sockets)) = restore(row, vars, dialogs) else { continue };
            if dialogs.table.restore(&dialog) {
                restored.push((dialog, sockets));
            }
        }
        Ok(restored)
    }

    async fn rows(&self) -> Result<(Vec<Vec<Cell>>, Vec<Vec<Cell>>), store::Error> {
        let all = |table: &TableName, columns: &[&str]| Select {
            table: table.clone(),
            columns: names(columns),
            filter: Vec::new(),
            order: Vec::new(),
            limit: u32::MAX >> 1,
        };
        let dialogs = self.database.select(&all(&self.dialogs, &DIALOG)).await?.rows;
        Ok((dialogs, self.database.select(&all(&self.vars, &VARS)).await?.rows))
    }

    /// Notes the sockets of the server, and which of them each restored dialog uses.
    fn settle(&self, host: &dyn Host, restored: &[Restored]) {
        let sockets: Vec<String> = host.sockets().iter().map(ToString::to_string).collect();
        let place = |name: &String| {
            let at = sockets.iter().position(|socket| socket == name);
            at.and_then(|at| u16::try_from(at).ok()).map(SocketId)
        };
        for (dialog, [caller, callee]) in restored {
            let mut facts = dialog.facts();
            facts.caller.socket = place(caller);
            facts.callee.socket = place(callee);
        }
        // Set once: a second start of the same state would bring the same sockets.
        let _ = self.sockets.set(sockets);
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        // Whoever writes learns that nothing more comes.
        self.wake.notify_one();
    }
}

/// Latest time that is written; a call without end has this one.
const UNTIL: i64 = i32::MAX as i64;

/// Reads what is there, and begins to write what changes.
pub(super) fn start(setup: &Setup<'_>, dialogs: &Arc<Dialogs>) -> Result<(), SetupError> {
    let Some(stored) = dialogs.stored.as_ref() else { return Ok(()) };
    let restored = stored.load(setup, dialogs)?;
    let state = Arc::downgrade(dialogs);
    let job = move |host: &mut dyn Host| {
        let Some(dialogs) = state.upgrade() else { return };
        if let Some(stored) = &dialogs.stored {
            stored.settle(host, &restored);
        }
        for (dialog, _) in &restored {
            watch_time(&dialogs, dialog, host);
        }
    };
    // A server that takes no work at its start runs no calls either.
    let _ = setup.server.post(b"dialog", Box::new(job));
    if let Pace::After(pace) = stored.pace {
        (setup.spawn)(Box::pin(keep_writing(Arc::downgrade(stored), Arc::clone(&stored.wake), pace)));
    }
    Ok(())
}

async fn keep_writing(stored: Weak<Stored>, wake: Arc<Notify>, pace: Duration) {
    loop {
        wake.notified().await;
        tokio::time::sleep(pace).await;
        let Some(stored) = stored.upgrade() else { return };
        if !stored.flush().await {
            drop(stored);
            tokio::time::sleep(AWAY).await;
            wake.notify_one();
        }
    }
}

/// Writes what has not been written, when the server ends.
pub(super) async fn save(dialogs: &Dialogs) {
    let Some(stored) = &dialogs.stored else { return };
    if stored.pace == Pace::AtEnd {
        // Rows of calls that have ended since the start go with all others.
        let clear = [&stored.dialogs, &stored.vars].map(|table| Write::Delete { table: table.clone(), filter: vec![] });
        if let Err(error) = stored.database.write(&clear).await {
            (stored.log)(Level::Error, &format!("dialogs are not stored: {error}"));
            return;
        }
        stored.changed().extend(dialogs.table.all().into_iter().map(|dialog| ((dialog.entry, dialog.id), dialog)));
    }
    if !stored.flush().await {
        (stored.log)(Level::Error, "dialogs are not stored: the database is away");
    }
}

fn names(columns: &[&str]) -> Vec<ColumnName> {
    columns.iter().map(|name| ColumnName::new(name).expect("names of this file are names of columns")).collect()
}

/// A dialog out of its row; none when the row cannot be one.
fn restore(row: &[Cell], vars: Attributes, dialogs: &Dialogs) -> Option<Restored> {
    let text = |n: usize| row[n].to_text().unwrap_or_default();
    let bytes = |n: usize| Bytes::from(text(n));
    let number = |n: usize| row[n].to_int().and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    let leg = |cseq: usize, routes: usize, contact: usize| Leg {
        contact: bytes(contact),
        routes: split_routes(&text(routes)),
        cseq: text(cseq).trim().parse().unwrap_or(0),
        socket: None,
    };
    let party = |uri: usize, tag: usize| Bytes::from(format!("<{}>;tag={}", text(uri), text(tag)));
    let stage = if number(15) == Stage::Answered as u64 { Stage::Answered } else { Stage::Confirmed };
    let expires = if number(17) >= UNTIL as u64 { Duration::MAX } else { Duration::from_secs(number(17)) };
    let caller = leg(7, 9, 11);
    let started = Duration::from_secs(number(16));
    let facts = Facts {
        stage,
        from: party(3, 4),
        to: party(5, 6),
        to_tag: bytes(6),
        request_uri: bytes(20),
        callee: leg(8, 10, 12),
        created: started,
        rang: Duration::ZERO,
        identity: Bytes::new(),
        started,
        // Before the ACK what is left is the time to wait for it.
        lifetime: match stage {
            Stage::Confirmed => expires.saturating_sub(started),
            _ => dialogs.settings.lifetime,
        },
        expires,
        looked_at: Duration::ZERO,
        ends_with_bye: number(19) & ENDS_WITH_BYE as u64 != 0,
        flags: row[18].to_int().unwrap_or(0) as u32,
        vars,
        profiles: dialogs.profiles.restored(&text(21)),
        caller,
    };
    let (entry, id) = (u32::try_from(row[0].to_int()?).ok()?, u32::try_from(row[1].to_int()?).ok()?);
    let (call_id, from_tag) = (bytes(2), bytes(4));
    if call_id.is_empty() || from_tag.is_empty() {
        return None;
    }
    let dialog = Dialog::restored((entry, id), call_id, from_tag, facts);
    Some((Arc::new(dialog), [text(13), text(14)]))
}

/// The values of a route set, between commas that stand in no angle brackets.
fn split_routes(text: &str) -> Vec<Bytes> {
    let mut depth = 0_i32;
    let parts = text.split(move |c: char| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        c == ',' && depth <= 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).map(|part| Bytes::copy_from_slice(part.as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, Tables, text};
    use module_api::{Arg, State};

    fn dialogs(tables: &Tables, mode: i64) -> Arc<dyn State> {
        let settings = [("profiles_with_value", text("caller")), ("db_mode", Value::Int(mode))];
        tables.make_with(&MODULE, &settings).expect("the module starts")
    }

    fn of(state: &Arc<dyn State>) -> Arc<Dialogs> {
        Bench::with_state(INVITE, Arc::clone(state)).state_of()
    }

    /// A call that is up, with a variable, in a profile.
    fn call(state: &Arc<dyn State>) {
        let mut bench = Bench::with_state(INVITE, Arc::clone(state));
        assert_eq!(bench.run(&MODULE, "dlg_manage", &[]), 1);
        bench.write(&MODULE, "dlg_var", Some("paid"), text("yes"));
        assert_eq!(bench.run(&MODULE, "set_dlg_profile", &["caller", "alice"]), 1);
        let ok = INVITE
            .replacen("INVITE sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK", 1)
            .replacen(
                "To: Bob <sip:bob@example.com>",
                "Record-Route: <sip:b.example;lr>, <sip:192.0.2.1;lr>\r\nTo: <sip:bob@example.com>;tag=b1",
                1,
            )
            .replacen("<sip:alice@198.51.100.7:5070>", "<sip:bob@phone>", 1);
        let mut reply = Bench::with_state(&ok, Arc::clone(state));
        assert_eq!(reply.run(&MODULE, "dlg_update_state", &[]), 1);
        assert_eq!(bench.run_args(&MODULE, "dlg_set_state", &[Arg::Value(Value::Int(4))]), 1);
    }

    fn flush(tables: &Tables, state: &Arc<dyn State>) {
        let dialogs = of(state);
        assert!(tables.runtime.block_on(dialogs.stored.as_ref().expect("it has a database").flush()));
    }

    #[test]
    fn a_call_that_is_up_is_known_after_a_restart() {
        let tables = Tables::new();
        let before = dialogs(&tables, 1);
        call(&before);
        flush(&tables, &before);
        drop(before);
        let after = dialogs(&tables, 1);
        let known = of(&after);
        let dialog = known.table.find(b"3848276298220188511@198.51.100.7", b"9fxced76sl", b"b1").expect("it is known");
        {
            let facts = dialog.facts();
            assert_eq!(facts.stage, Stage::Confirmed);
            assert_eq!(facts.callee.contact, "sip:bob@phone");
            assert_eq!(facts.callee.routes, ["<sip:b.example;lr>"]);
            assert_eq!((&facts.from[..], facts.caller.cseq), (&b"<sip:alice@example.com>;tag=9fxced76sl"[..], 1));
            assert_eq!(facts.lifetime, Duration::from_secs(43_200));
            assert_eq!(facts.vars.first(b"paid"), Some(&text("yes")));
        }
        assert_eq!(known.profiles.size(b"caller", Some(b"alice")), 1);
        // The next call gets another number.
        let message = &Bench::new(&INVITE.replace("3848276298220188511", "2")).context.message.clone();
        assert_ne!(known.table.begin(message, SocketId(0)).expect("there is room").id, dialog.id);
    }

    #[test]
    fn a_call_that_is_over_or_rings_is_not_in_the_database() {
        let tables = Tables::new();
        let state = dialogs(&tables, 1);
        let mut bench = Bench::with_state(INVITE, Arc::clone(&state));
        bench.run(&MODULE, "dlg_manage", &[]);
        bench.write(&MODULE, "dlg_var", Some("a"), text("b"));
        flush(&tables, &state);
        assert!(tables.sql("SELECT callid FROM dialog").is_empty());
        bench.run_args(&MODULE, "dlg_set_state", &[Arg::Value(Value::Int(4))]);
        flush(&tables, &state);
        assert_eq!(tables.sql("SELECT dialog_value FROM dialog_vars"), ["b"]);
        bench.run_args(&MODULE, "dlg_set_state", &[Arg::Value(Value::Int(5))]);
        flush(&tables, &state);
        assert!(tables.sql("SELECT callid FROM dialog").is_empty());
        assert!(tables.sql("SELECT dialog_value FROM dialog_vars").is_empty());
    }

    #[test]
    fn what_is_written_at_the_end_is_what_is_up_then() {
        let tables = Tables::new();
        let state = dialogs(&tables, 3);
        call(&state);
        flush(&tables, &state);
        assert!(tables.sql("SELECT callid FROM dialog").is_empty());
        tables.runtime.block_on(save(&of(&state)));
        assert_eq!(tables.sql("SELECT state FROM dialog"), ["4"]);
        let again = dialogs(&tables, 3);
        assert_eq!(of(&again).table.len(), 1);
    }

    #[test]
    fn sockets_are_known_again_by_their_names() {
        let tables = Tables::new();
        let state = dialogs(&tables, 1);
        let host = crate::testing::FakeHost::default();
        of(&state).stored.as_ref().unwrap().settle(&host, &[]);
        call(&state);
        flush(&tables, &state);
        assert_eq!(tables.sql("SELECT caller_sock FROM dialog"), ["udp:192.0.2.1:5060"]);
        let again = of(&dialogs(&tables, 1));
        let dialog = again.table.all().remove(0);
        assert_eq!(dialog.facts().caller.socket, None);
        let names = ["tcp:192.0.2.1:5060".to_owned(), String::new()];
        again.stored.as_ref().unwrap().settle(&host, &[(Arc::clone(&dialog), names)]);
        assert_eq!(dialog.facts().caller.socket, Some(SocketId(1)));
    }

    #[test]
    fn a_row_that_makes_no_sense_keeps_nobody_out() {
        let tables = Tables::new();
        let state = dialogs(&tables, 1);
        call(&state);
        flush(&tables, &state);
        tables.sql(
            "INSERT INTO dialog (hash_entry, hash_id, callid, from_uri, from_tag, to_uri, to_tag, caller_cseq, callee_cseq, \
             caller_contact, callee_contact, caller_sock, callee_sock, state, start_time, timeout, sflags, iflags, req_uri, xdata) \
             VALUES (9999, -4, 'x', '', '', '', '', 'x', '', '', '', '', '', 77, 0, 0, -1, 0, '', '{')",
        );
        assert_eq!(of(&dialogs(&tables, 1)).table.len(), 1);
    }

    #[test]
    fn routes_are_split_where_one_ends() {
        assert_eq!(split_routes("<sip:a;lr;x=1,2>, <sip:b;lr>"), ["<sip:a;lr;x=1,2>", "<sip:b;lr>"]);
        assert_eq!(split_routes(""), Vec::<Bytes>::new());
    }

    #[test]
    fn modes_that_are_none_are_refused() {
        let tables = Tables::new();
        for settings in [
            [("db_mode", Value::Int(4)), ("db_update_period", Value::Int(60))],
            [("db_mode", Value::Int(2)), ("db_update_period", Value::Int(0))],
        ] {
            assert!(tables.make_with(&MODULE, &settings).is_err());
        }
    }
}
