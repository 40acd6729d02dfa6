//! Registrations of this server with others: trunks, providers, other domains (RFC 3261 section 10.2).

mod command;
mod function;
mod record;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use module_api::{Host, OwnAnswer, OwnRequest, Parameter, Setup, SetupError, SocketId, every};

use crate::rows::{Row, Source, Wanted};
use crate::setting::{ignored, number, text};
pub(super) use command::COMMANDS;
pub(super) use function::{
    DISABLE, ENABLE, LOOKUP, LOOKUP_URI, REFRESH, REQUEST_TO, SEND_REGISTER, SEND_UNREGISTER, STATUS,
};
use record::{COLUMNS, Pace, Plan, Record};

pub(super) const PARAMETERS: [Parameter; 12] = [
    text(
        "reg_db_url",
        "",
        "The database of registrations with other servers, or a directory of text files: text:///path. Without it there are none.",
    ),
    text("reg_db_table", "uacreg", "The table of registrations with other servers."),
    text("reg_contact_addr", "", "Host and port of the Contact that is registered, such as 192.0.2.1:5060."),
    number("reg_timer_interval", "90", "How long before its end a registration is refreshed, in seconds."),
    number(
        "reg_retry_interval",
        "0",
        "How long after a failure a registration is tried again, in seconds; twice as long after each further failure, an \
         hour at most. 0: as reg_timer_interval.",
    ),
    number("reg_random_delay", "0", "Within how many seconds after the start registrations begin, spread at random."),
    number("reg_active", "1", "0 sends no registrations until uac.reg_active says otherwise."),
    number("reg_use_domain", "0", "1: uac_reg_lookup_uri() looks at the domain as well."),
    ignored("reg_keep_callid", "Has no effect: registrations keep their Call-ID, as RFC 3261 section 10.2.4 has it."),
    ignored("reg_gc_interval", "Has no effect."),
    ignored("reg_hash_size", "Has no effect."),
    ignored("reload_delta", "Has no effect."),
];

/// The registrations.
pub(super) struct Registrations {
    source: Source,
    contact: String,
    pace: Pace,
    random_delay: u64,
    uses_domain: bool,
    is_active: AtomicBool,
    /// Distinguishes the Call-IDs of this life of the server from others.
    serial: u64,
    records: RwLock<Arc<Records>>,
}

/// Records by their uuid.
type Records = HashMap<String, Arc<Record>>;

/// Most registrations.
const MOST: usize = 100_000;
/// Registrations that one tick sends, so that a thousand trunks do not all begin at once.
const MOST_AT_ONCE: usize = 20;
/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(250);

/// The registrations that the settings ask for.
pub(super) fn make(setup: &Setup<'_>) -> Result<Option<Arc<Registrations>>, SetupError> {
    let (url, table, contact) = (setup.text("reg_db_url"), setup.text("reg_db_table"), setup.text("reg_contact_addr"));
    if url.is_empty() {
        return Ok(None);
    }
    if contact.is_empty() || contact.contains(|c: char| c.is_whitespace() || "<>\"@".contains(c)) {
        let cause = "must say where the server is reached, such as 192.0.2.1:5060".into();
        return Err(SetupError::Setting { name: "reg_contact_addr", cause });
    }
    let wanted =
        Wanted { setting: "reg_db_url", url: &url, table: &table, columns: &COLUMNS, order: None, versions: &[5] };
    let source = Source::at(setup, &wanted)?;
    let seconds = |name: &str| Duration::from_secs(u64::try_from(setup.int(name)).unwrap_or(0));
    let interval = seconds("reg_timer_interval").max(Duration::from_secs(1));
    let retry = Some(seconds("reg_retry_interval")).filter(|retry| !retry.is_zero()).unwrap_or(interval);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let rows = source.read_at_start(setup)?;
    let records = records_of(&rows, &Records::new(), now).map_err(SetupError::Unavailable)?;
    let registrations = Arc::new(Registrations {
        source,
        contact,
        pace: Pace { ahead: interval, retry },
        random_delay: seconds("reg_random_delay").as_secs(),
        uses_domain: setup.int("reg_use_domain") != 0,
        is_active: AtomicBool::new(setup.int("reg_active") != 0),
        serial: now.as_nanos() as u64,
        records: RwLock::new(Arc::new(records)),
    });
    let weak = Arc::downgrade(&registrations);
    every(setup.server.as_ref(), "uac_reg", TICK, Arc::new(move |host| tick(&weak, host)));
    Ok(Some(registrations))
}

/// The records of a table; those that are known keep their standing.
fn records_of(rows: &[Row], known: &Records, now: Duration) -> Result<Records, String> {
    if rows.len() > MOST {
        return Err(format!("there are more than {MOST} registrations"));
    }
    let mut records = Records::new();
    for (at, row) in rows.iter().enumerate() {
        let plan = Plan::from_row(row).map_err(|cause| format!("registration {}: {cause}", at + 1))?;
        let uuid = plan.uuid.clone();
        let record = match known.get(&uuid) {
            Some(same) if same.plan == plan => Arc::clone(same),
            Some(other) => {
                // What has changed is told to the peer at once.
                let standing = record::Standing { due: now, failures: 0, ..other.standing().clone() };
                Arc::new(Record::with_standing(plan, standing))
            }
            None => Arc::new(Record::new(plan, now)),
        };
        if records.insert(uuid.clone(), record).is_some() {
            return Err(format!("registration {}: l_uuid {uuid} is there twice", at + 1));
        }
    }
    Ok(records)
}

impl Registrations {
    fn all(&self) -> Arc<Records> {
        Arc::clone(&self.records.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, uuid: &str) -> Option<Arc<Record>> {
        self.all().get(uuid).cloned()
    }

    /// The first record whose column has that value.
    fn by_column(&self, column: &str, value: &str) -> Option<Arc<Record>> {
        if column == "l_uuid" {
            return self.find(value);
        }
        self.all().values().find(|record| record.plan.column(column) == Some(value)).cloned()
    }

    /// Reads the table again. What is gone from it is taken back from the peers by [`Registrations::take_back`].
    async fn reload(&self, now: Duration) -> Result<Vec<Arc<Record>>, String> {
        let rows = self.source.read().await?;
        let before = self.all();
        let records = records_of(&rows, &before, now)?;
        let gone = before.values().filter(|record| !records.contains_key(&record.plan.uuid)).cloned().collect();
        self.replace(records);
        Ok(gone)
    }

    fn replace(&self, records: Records) {
        *self.records.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(records);
    }

    /// Takes a record in, in place of the one of that name.
    fn put(&self, record: Arc<Record>) -> bool {
        let mut records = Records::clone(&self.all());
        let has_room = records.len() < MOST;
        if has_room {
            records.insert(record.plan.uuid.clone(), record);
            self.replace(records);
        }
        has_room
    }

    fn remove(&self, uuid: &str) -> Option<Arc<Record>> {
        let mut records = Records::clone(&self.all());
        let gone = records.remove(uuid);
        self.replace(records);
        gone
    }
}

/// Sends what is due; false when the module is gone.
fn tick(registrations: &Weak<Registrations>, host: &mut dyn Host) -> bool {
    let Some(registrations) = registrations.upgrade() else { return false };
    if !registrations.is_active.load(Ordering::Relaxed) {
        return true;
    }
    let now = host.unix_time();
    let all = registrations.all();
    let is_due = |record: &&Arc<Record>| {
        let standing = record.standing();
        !standing.is_disabled && !standing.is_ongoing && standing.due <= now
    };
    let due: Vec<Arc<Record>> = all.values().filter(is_due).take(MOST_AT_ONCE).cloned().collect();
    for record in due {
        if postpone(&registrations, &record, host, now) {
            continue;
        }
        let wanted = wanted(&record);
        send(&registrations, &record, host, wanted);
    }
    true
}

/// Spreads the first registrations over the time that the setting says.
fn postpone(registrations: &Registrations, record: &Record, host: &mut dyn Host, now: Duration) -> bool {
    let mut standing = record.standing();
    let is_first = standing.cseq == 0 && standing.failures == 0 && standing.code == 0;
    if !is_first || registrations.random_delay == 0 {
        return false;
    }
    // 100 stands for one that has been given its time.
    standing.code = 100;
    standing.due = now + Duration::from_secs(host.random() % (registrations.random_delay + 1));
    true
}

fn wanted(record: &Record) -> u32 {
    let asked = if record.plan.expires == 0 { 3600 } else { record.plan.expires };
    asked.max(record.standing().at_least)
}

/// Sends a REGISTER; 0 seconds take the registration back.
fn send(registrations: &Arc<Registrations>, record: &Arc<Record>, host: &mut dyn Host, expires: u32) {
    let socket = socket(host, &record.plan.socket);
    record.standing().is_ongoing = true;
    let request = record.request(&registrations.contact, expires, socket, registrations.serial);
    dispatch(&Arc::downgrade(registrations), record, host, Attempt { request, expires, has_answered: false });
}

/// The socket that the table names; none: whichever leads there.
fn socket(host: &dyn Host, name: &str) -> Option<SocketId> {
    if name.is_empty() {
        return None;
    }
    let (_, address) = name.split_once(':')?;
    let at =
        host.sockets().iter().position(|socket| socket.to_string() == name || socket.address.to_string() == address);
    at.and_then(|at| u16::try_from(at).ok()).map(SocketId)
}

struct Attempt {
    request: OwnRequest,
    expires: u32,
    /// Whether a challenge has been answered already.
    has_answered: bool,
}

fn dispatch(registrations: &Weak<Registrations>, record: &Arc<Record>, host: &mut dyn Host, attempt: Attempt) {
    let (weak, record) = (Weak::clone(registrations), Arc::clone(record));
    let sent = attempt.request.clone();
    let on_answer = move |host: &mut dyn Host, answer: OwnAnswer| {
        let Some(registrations) = weak.upgrade() else { return };
        if matches!(answer.status, 401 | 407) && !attempt.has_answered {
            let random = host.random();
            if let Some(request) = record.with_credentials(&attempt.request, &answer, random) {
                let again = Attempt { request, expires: attempt.expires, has_answered: true };
                return dispatch(&weak, &record, host, again);
            }
        }
        let was_online = record.standing().is_online(host.unix_time());
        let again = record.note(&answer, attempt.expires, registrations.pace, host.unix_time());
        if again {
            let wanted = wanted(&record);
            return send(&registrations, &record, host, wanted);
        }
        tell(&record, host, was_online);
    };
    host.request(sent, Box::new(on_answer));
}

/// One line when a registration comes about or fails, and none while it stays as it is.
fn tell(record: &Record, host: &mut dyn Host, was_online: bool) {
    let (now, standing) = (host.unix_time(), record.standing().clone());
    let aor = record.plan.remote_uri();
    if !(200..300).contains(&standing.code) {
        if standing.failures == 1 {
            let line = format!("uac: {aor} is not registered: {}", standing.code);
            host.log(module_api::Level::Warning, line.as_bytes());
        }
    } else if !was_online && standing.is_online(now) {
        host.log(module_api::Level::Info, format!("uac: {aor} is registered").as_bytes());
    }
}

fn text_of(text: &Bytes) -> String {
    String::from_utf8_lossy(text).into_owned()
}
