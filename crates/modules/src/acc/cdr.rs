//! Call detail records: one for each call, when it is over.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use module_api::{Call, Level, Parameter, Setup, SetupError, State, Value};
use store::{Cell, ColumnName, TableName};

use super::facts::values;
use super::journal::push_clean;
use super::settings::Accounting;
use super::table::cell;
use crate::database::named;
use crate::dialog::{Dialogs, Over};
use crate::named_variable::{self, NamedVariable};
use crate::setting::{ignored, number, text};

pub(super) const PARAMETERS: [Parameter; 14] = [
    number("cdr_enable", "0", "1 writes a record for each call that module dialog tracks, when it is over."),
    number("cdr_log_enable", "1", "0 leaves these records out of the log."),
    number("cdr_start_on_confirmed", "0", "1: a call begins when it is answered; 0: with its INVITE."),
    number("cdr_on_failed", "1", "0 writes no record of calls that nobody answers."),
    number("cdr_expired_dlg_enable", "0", "1 writes records of calls whose time was up, too."),
    text(
        "cdr_extra",
        "",
        "More for these records, as variables at the end of the call: name=$dlg_var(x);name=$variable.",
    ),
    text("cdr_skip", "", "A call with a $dlg_var of this name gets no such record."),
    text("cdrs_table", "", "The table of these records, such as acc_cdrs; without it they reach no database."),
    text("cdr_start_id", "start_time", "The name and column of the begin."),
    text("cdr_end_id", "end_time", "The name and column of the end."),
    text("cdr_duration_id", "duration", "The name and column of the duration, in seconds with milliseconds."),
    ignored("cdr_facility", "Has no effect: the server's log has one facility."),
    ignored("cdr_duration_mode", "Has no effect: a duration is in seconds with milliseconds."),
    ignored("cdr_extra_nullable", "Has no effect: what is undefined is written as an empty text."),
];

/// How calls are written down.
pub(super) struct Records {
    logs: bool,
    begins_with_answer: bool,
    of_failed: bool,
    of_expired: bool,
    skip: Bytes,
    extra: Vec<(String, NamedVariable)>,
    pub(super) table: Option<TableName>,
    /// Begin, end, duration.
    names: [ColumnName; 3],
    extra_columns: Vec<ColumnName>,
}

impl Records {
    /// None where they are not wanted.
    pub(super) fn read(setup: &Setup<'_>) -> Result<Option<Records>, SetupError> {
        if setup.int("cdr_enable") == 0 {
            return Ok(None);
        }
        let extra = named_variable::pairs(&setup.text("cdr_extra"), setup)
            .map_err(|cause| SetupError::Setting { name: "cdr_extra", cause })?;
        let column = |name: &'static str| named(name, &setup.text(name));
        let table = setup.text("cdrs_table");
        Ok(Some(Records {
            logs: setup.int("cdr_log_enable") != 0,
            begins_with_answer: setup.int("cdr_start_on_confirmed") != 0,
            of_failed: setup.int("cdr_on_failed") != 0,
            of_expired: setup.int("cdr_expired_dlg_enable") != 0,
            skip: setup.text("cdr_skip").into(),
            extra_columns: extra.iter().map(|(name, _)| named("cdr_extra", name)).collect::<Result<_, _>>()?,
            extra,
            table: if table.is_empty() { None } else { Some(named("cdrs_table", &table)?) },
            names: [column("cdr_start_id")?, column("cdr_end_id")?, column("cdr_duration_id")?],
        }))
    }

    /// The columns of the table.
    pub(super) fn columns(&self) -> Vec<ColumnName> {
        self.names.iter().chain(&self.extra_columns).cloned().collect()
    }

    fn is_wanted(&self, over: &Over) -> bool {
        let is_skipped = !self.skip.is_empty() && over.vars.contains(&self.skip);
        let is_failed = over.answered.is_zero();
        let is_expired = over.ending == crate::dialog::Ending::Timeout;
        !is_skipped && (!is_failed || self.of_failed) && (!is_expired || self.of_expired)
    }

    fn begin(&self, over: &Over) -> Duration {
        match self.begins_with_answer && !over.answered.is_zero() {
            true => over.answered,
            false => over.created,
        }
    }
}

/// Has module dialog tell of calls that are over.
pub(super) fn watch(setup: &Setup<'_>, state: &Arc<Accounting>) -> Result<(), SetupError> {
    if state.calls.is_some() {
        let state: Arc<dyn State> = Arc::clone(state) as _;
        setup.module::<Dialogs>("dialog")?.watch(&state, write);
    }
    Ok(())
}

fn write(call: &mut Call<'_>, over: &Over) {
    let state = call.state::<Accounting>();
    let Some(records) = state.calls.as_ref().filter(|records| records.is_wanted(over)) else { return };
    let extra = values(call, &records.extra);
    let begin = records.begin(over);
    // The clock may have been set back meanwhile.
    let duration = over.ended.saturating_sub(begin);
    let line = log_line(records, over, &extra, duration);
    if records.logs {
        call.host.log(state.log_level, &line);
    }
    if let (Some(table), Some(spool)) = (&records.table, &state.spool) {
        let own = [
            Cell::Time(begin.as_secs() as i64),
            Cell::Time(over.ended.as_secs() as i64),
            Cell::Real(seconds(duration)),
        ];
        let mut row: Vec<_> = records.names.iter().cloned().zip(own).collect();
        row.extend(records.extra_columns.iter().cloned().zip(extra.iter().cloned().map(cell)));
        if spool.append(table, &row).is_err() {
            call.host.log(Level::Critical, &[b"the spool of the accounting database is full; ", &line[..]].concat());
        }
    }
    if let Some(file) = &state.json {
        let line = json_line(records, over, &extra, begin);
        if let Err(error) = append(file, &line) {
            call.host.log(Level::Critical, format!("the file of accounting records: {error}; {line}").as_bytes());
        }
    }
}

fn append(file: &Mutex<std::fs::File>, line: &str) -> std::io::Result<()> {
    file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
}

/// Seconds with milliseconds.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

fn log_line(records: &Records, over: &Over, extra: &[Value], duration: Duration) -> Vec<u8> {
    let [start, end, length] = &records.names;
    let (begin, ended, duration) = (seconds(records.begin(over)), seconds(over.ended), seconds(duration));
    let mut line = format!("ACC: call ended: {start}={begin:.3};{end}={ended:.3};{length}={duration:.3}").into_bytes();
    let own: [(&str, &[u8]); 3] =
        [("call_id", &over.call_id), ("ended_by", over.ending.word().as_bytes()), ("user", &over.identity)];
    let more = records.extra.iter().zip(extra).map(|((name, _), value)| (name.as_str(), value.to_bytes()));
    let own = own.into_iter().map(|(name, value)| (name, Bytes::copy_from_slice(value)));
    for (name, value) in own.chain(more) {
        line.extend_from_slice(format!(";{name}=").as_bytes());
        push_clean(&mut line, &value);
    }
    line
}

fn json_line(records: &Records, over: &Over, extra: &[Value], begin: Duration) -> String {
    use serde_json::Value as Json;
    let text = |octets: &[u8]| Json::String(String::from_utf8_lossy(octets).into_owned());
    let time = |time: Duration| if time.is_zero() { Json::Null } else { seconds(time).into() };
    let mut object = serde_json::Map::new();
    for (name, value) in [
        ("event", Json::from("call")),
        ("setup", time(over.created)),
        ("ringing", time(over.rang)),
        ("answered", time(over.answered)),
        ("ended", time(over.ended)),
        ("duration", seconds(over.ended.saturating_sub(begin)).into()),
        ("ended_by", over.ending.word().into()),
        ("code", over.code.into()),
        ("call_id", text(&over.call_id)),
        ("from_tag", text(&over.from_tag)),
        ("to_tag", text(&over.to_tag)),
        ("from", text(&over.from)),
        ("to", text(&over.to)),
        ("uri", text(&over.request_uri)),
        ("authenticated", if over.identity.is_empty() { Json::Null } else { text(&over.identity) }),
    ] {
        object.insert(name.to_owned(), value);
    }
    for ((name, _), value) in records.extra.iter().zip(extra) {
        let value = match value {
            Value::Null => Json::Null,
            Value::Int(number) => (*number).into(),
            Value::Str(octets) => text(octets),
        };
        object.insert(name.clone(), value);
    }
    Json::Object(object).to_string() + "\n"
}
