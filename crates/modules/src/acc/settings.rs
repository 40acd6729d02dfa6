//! What can be set, and the start of the module.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex};

use module_api::{Context, Dialect, Level, Parameter, SettingKind, Setup, SetupError, State};
use store::{ColumnName, Database, Spool, TableName};

use super::cdr;
use super::rules::{self, Elsewhere, Rules};
use super::table::{Columns, KAMAILIO_COLUMNS, SER_COLUMNS};
use crate::database::{column, named, unfit};
use crate::named_variable::{self, NamedVariable};

pub(super) static PARAMETERS: [Parameter; 79] = [
    flag("log_flag", "The flag of requests that get a line in the log. In SER scripts 0 means none."),
    flag("log_missed_flag", "The flag of INVITEs that get a line in the log when they reach nobody."),
    flag("db_flag", "The flag of requests that get a row in the database. In SER scripts 0 means none."),
    flag("db_missed_flag", "The flag of INVITEs that get a row in the database when they reach nobody."),
    rules::PARAMETERS[0],
    rules::PARAMETERS[1],
    rules::PARAMETERS[2],
    rules::PARAMETERS[3],
    rules::PARAMETERS[4],
    rules::PARAMETERS[5],
    int("log_level", "1", "How loud the lines in the log are, on the scale of debug."),
    text(
        "log_fmt",
        "miocfs",
        "What a line in the log says in SER scripts: c Call-ID, d To tag, f From, i Request-URI as it came, m method, o Request-URI as sent on, r From tag, s status, t To, u user, p user of From.",
    ),
    text("log_extra", "", "More for the log: name=$variable;name=$variable."),
    text("db_extra", "", "More columns for the database: column=$variable;column=$variable."),
    text(
        "db_url",
        "",
        "The database of accounting. Without it ser.db in the data directory is used where db_flag or db_missed_flag is set, and made where it is missing.",
    ),
    text("db_table_acc", "acc", "The table of what happened."),
    text("db_table_missed_calls", "missed_calls", "The table of calls that reached nobody."),
    int("db_version_check", "1", "0 uses tables of any version."),
    int(
        "time_mode",
        "0",
        "1 writes seconds and microseconds to columns of their own, 2 seconds with a fraction to the first of them.",
    ),
    text("time_attr", "time_attr", "The column of seconds, where time_mode is not 0."),
    text("time_exten", "time_exten", "The column of microseconds, where time_mode is 1."),
    text(
        "json_file",
        "",
        "A file that gets a line of JSON for each record that a flag asks for or the script requests.",
    ),
    int(
        "spool_size",
        "4096",
        "How much may wait on the disk for a database that is away, in MB. Beyond it records go to the log.",
    ),
    text("acc_method_column", "method", COLUMN),
    text("acc_from_tag_column", "from_tag", COLUMN),
    text("acc_to_tag_column", "to_tag", COLUMN),
    text("acc_callid_column", "callid", COLUMN),
    text("acc_sip_code_column", "sip_code", COLUMN),
    text("acc_sip_reason_column", "sip_reason", COLUMN),
    text("acc_time_column", "time", COLUMN),
    text("acc_sip_from_column", "sip_from", COLUMN),
    text("acc_sip_to_column", "sip_to", COLUMN),
    text("acc_sip_status_column", "sip_status", COLUMN),
    text("acc_sip_method_column", "sip_method", COLUMN),
    text("acc_i_uri_column", "i_uri", COLUMN),
    text("acc_o_uri_column", "o_uri", COLUMN),
    text("acc_sip_callid_column", "sip_callid", COLUMN),
    text("acc_user_column", "username", COLUMN),
    text("acc_from_uri_column", "from_uri", COLUMN),
    text("acc_to_uri_column", "to_uri", COLUMN),
    text("acc_totag_column", "totag", COLUMN),
    text("acc_fromtag_column", "fromtag", COLUMN),
    text("acc_domain_column", "domain", COLUMN),
    int("acc_flag", "-1", "SER's older name of log_flag."),
    int("missed_flag", "-1", "SER's older name of log_missed_flag."),
    ignored("diameter_client_host", "Has no effect: nothing is accounted by DIAMETER."),
    ignored("diameter_client_port", "Has no effect: nothing is accounted by DIAMETER."),
    ignored("cdr_extra_size", "Has no effect: a record has as many fields as cdr_extra names."),
    ignored("acc_prepare_flag", "Has no effect: whether a transaction is accounted is decided at its end."),
    ignored("acc_prepare_always", "Has no effect: whether a transaction is accounted is decided at its end."),
    ignored("reason_from_hf", "Has no effect: the reason phrase is written."),
    ignored("acc_extra_nullable", "Has no effect: what is undefined is written as an empty text."),
    ignored("acc_extra_size", "Has no effect: there is no such bound."),
    ignored("clone_msg", "Has no effect: nothing is copied."),
    ignored("db_insert_mode", "Has no effect: rows are written from a spool, many at a time."),
    ignored("log_facility", "Has no effect: the server's log has one facility."),
    ignored("multi_leg_info", "Has no effect: a record has one leg."),
    ignored("failed_filter", "Has no effect."),
    ignored("time_format", "Has no effect."),
    ignored("radius_flag", "Has no effect here: load module acc_radius, whose setting it is."),
    ignored("radius_missed_flag", "Has no effect here: load module acc_radius, whose setting it is."),
    ignored("radius_config", "Has no effect here: load module acc_radius, whose setting it is."),
    ignored("service_type", "Has no effect here: load module acc_radius, whose setting it is."),
    ignored("diameter_flag", "Has no effect: there is no Diameter here."),
    ignored("diameter_missed_flag", "Has no effect: there is no Diameter here."),
    cdr::PARAMETERS[0],
    cdr::PARAMETERS[1],
    cdr::PARAMETERS[2],
    cdr::PARAMETERS[3],
    cdr::PARAMETERS[4],
    cdr::PARAMETERS[5],
    cdr::PARAMETERS[6],
    cdr::PARAMETERS[7],
    cdr::PARAMETERS[8],
    cdr::PARAMETERS[9],
    cdr::PARAMETERS[10],
    cdr::PARAMETERS[11],
    cdr::PARAMETERS[12],
    cdr::PARAMETERS[13],
];

const COLUMN: &str = "The name of a column.";

const fn flag(name: &'static str, doc: &'static str) -> Parameter {
    int(name, "-1", doc)
}

const fn int(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Int, default, doc }
}

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Str, default, doc }
}

const fn ignored(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc }
}

/// The state of module acc.
pub(super) struct Accounting {
    log_flag: Option<u32>,
    db_flag: Option<u32>,
    pub(super) log_missed_flag: Option<u32>,
    pub(super) db_missed_flag: Option<u32>,
    pub(super) rules: Rules,
    pub(super) log_level: Level,
    /// SER's letters; none: Kamailio's line.
    pub(super) log_format: Option<String>,
    pub(super) log_extra: Vec<(String, NamedVariable)>,
    pub(super) db_extra: Vec<(String, NamedVariable)>,
    pub(super) extra_columns: Vec<ColumnName>,
    pub(super) columns: Columns,
    pub(super) acc_table: TableName,
    pub(super) missed_table: TableName,
    pub(super) time_mode: i64,
    pub(super) time_columns: Option<[ColumnName; 2]>,
    pub(super) spool: Option<Spool>,
    pub(super) json: Option<Mutex<File>>,
    /// Records of whole calls.
    pub(super) calls: Option<cdr::Records>,
    pub(super) elsewhere: Elsewhere,
}

/// Where a record goes besides the file of JSON lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sinks {
    pub(super) log: bool,
    pub(super) database: bool,
}

impl Sinks {
    pub(super) fn is_empty(self) -> bool {
        !self.log && !self.database
    }
}

impl Accounting {
    /// What the request's flags ask for.
    pub(super) fn wanted(&self, context: &Context) -> Sinks {
        sinks(context, self.log_flag, self.db_flag)
    }

    /// What the request's flags ask for when it reaches nobody.
    pub(super) fn wanted_missed(&self, context: &Context) -> Sinks {
        sinks(context, self.log_missed_flag, self.db_missed_flag)
    }
}

fn sinks(context: &Context, log: Option<u32>, database: Option<u32>) -> Sinks {
    let is_set = |flag: Option<u32>| flag.is_some_and(|flag| context.has_flag(flag));
    Sinks { log: is_set(log), database: is_set(database) }
}

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let older = |name: &'static str, older: &'static str| {
        flag_of(setup, if setup.is_set(older) && !setup.is_set(name) { older } else { name })
    };
    let extra = |name: &'static str| {
        named_variable::pairs(&setup.text(name), setup).map_err(|cause| SetupError::Setting { name, cause })
    };
    let (log_extra, db_extra) = (extra("log_extra")?, extra("db_extra")?);
    let extra_columns = db_extra.iter().map(|(name, _)| named("db_extra", name)).collect::<Result<_, _>>()?;
    let time_mode = setup.int("time_mode");
    if !(0..=2).contains(&time_mode) {
        return Err(SetupError::Setting { name: "time_mode", cause: "must be 0, 1 or 2".into() });
    }
    let time_columns = [column(setup, "time_attr")?, column(setup, "time_exten")?];
    let mut state = Accounting {
        log_flag: older("log_flag", "acc_flag")?,
        db_flag: flag_of(setup, "db_flag")?,
        log_missed_flag: older("log_missed_flag", "missed_flag")?,
        db_missed_flag: flag_of(setup, "db_missed_flag")?,
        rules: Rules::read(setup, None)?,
        log_level: crate::log_level::of_number(setup.int("log_level"), Dialect::Kamailio),
        log_format: log_format(setup)?,
        log_extra,
        db_extra,
        extra_columns,
        columns: columns(setup)?,
        acc_table: column(setup, "db_table_acc")?,
        missed_table: column(setup, "db_table_missed_calls")?,
        time_mode,
        time_columns: (time_mode > 0).then_some(time_columns),
        spool: None,
        json: json_file(setup)?,
        calls: cdr::Records::read(setup)?,
        elsewhere: Elsewhere::default(),
    };
    let has_database = setup.is_set("db_url")
        || state.db_flag.is_some()
        || state.db_missed_flag.is_some()
        || state.calls.as_ref().is_some_and(|calls| calls.table.is_some());
    if has_database {
        state.spool = Some(open_spool(setup, &state)?);
    }
    let state = Arc::new(state);
    cdr::watch(setup, &state)?;
    Ok(state)
}

pub(super) fn flag_of(setup: &Setup<'_>, name: &'static str) -> Result<Option<u32>, SetupError> {
    let number = setup.int(name);
    let none = if setup.dialect == Dialect::Ser { 0 } else { -1 };
    if number <= none {
        return Ok(None);
    }
    let flag = u32::try_from(number).ok().filter(|flag| *flag < module_api::FLAG_COUNT);
    flag.map(Some).ok_or(SetupError::Setting { name, cause: "flags go from 0 to 31".into() })
}

fn log_format(setup: &Setup<'_>) -> Result<Option<String>, SetupError> {
    let letters = setup.text("log_fmt");
    if let Some(letter) = letters.chars().find(|letter| !"cdfimorstup".contains(*letter)) {
        let cause = format!("`{letter}` is none of c d f i m o r s t u p");
        return Err(SetupError::Setting { name: "log_fmt", cause });
    }
    Ok((setup.dialect == Dialect::Ser || setup.is_set("log_fmt")).then_some(letters))
}

fn columns(setup: &Setup<'_>) -> Result<Columns, SetupError> {
    let names_ser_columns = SER_COLUMNS.iter().any(|name| *name != "acc_time_column" && setup.is_set(name));
    let all = |names: &[&'static str]| names.iter().map(|name| column(setup, name)).collect::<Result<Vec<_>, _>>();
    let is_ser = setup.dialect == Dialect::Ser || names_ser_columns;
    if is_ser {
        let columns = all(&SER_COLUMNS)?.try_into().expect("as many as there are names");
        return Ok(Columns::Ser(Box::new(columns)));
    }
    let columns = all(&KAMAILIO_COLUMNS)?.try_into().expect("as many as there are names");
    Ok(Columns::Kamailio(Box::new(columns)))
}

fn json_file(setup: &Setup<'_>) -> Result<Option<Mutex<File>>, SetupError> {
    let path = setup.text("json_file");
    if path.is_empty() {
        return Ok(None);
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&path);
    let file = file.map_err(|error| SetupError::Setting { name: "json_file", cause: format!("{path}: {error}") })?;
    Ok(Some(Mutex::new(file)))
}

/// Opens the database as far as it is there, makes the spool, and sets both spools of the past and this one to drain.
fn open_spool(setup: &Setup<'_>, state: &Accounting) -> Result<Spool, SetupError> {
    let database = crate::database::open(setup, "db_url")?;
    let checked = prepare(setup, &database, state);
    match checked {
        Err(error) if error.is_unavailable() => {
            let text = format!("accounting: {error}; records wait on the disk for database {}", database.address());
            (setup.log)(Level::Warning, &text);
        }
        checked => checked.map_err(|error| SetupError::Unavailable(unfit(&database, &error)))?,
    }
    let root = setup.data_dir.join("acc");
    let cannot = |error: std::io::Error| SetupError::Unavailable(format!("the spool {}: {error}", root.display()));
    let store::Orphans { drains, strangers } = store::orphans(&root, database.address()).map_err(cannot)?;
    for (directory, whose) in strangers {
        let text =
            format!("accounting: {} holds records for database {whose}, which is not this one", directory.display());
        (setup.log)(Level::Warning, &text);
    }
    let limit = u64::try_from(setup.int("spool_size")).unwrap_or(0).max(1) << 20;
    let (spool, drain) = Spool::create(&root, database.address(), limit).map_err(cannot)?;
    for drain in drains.into_iter().chain([drain]) {
        let calls = state.calls.as_ref().and_then(|calls| calls.table.clone());
        let waits = [&state.acc_table, &state.missed_table].into_iter().cloned().chain(calls).collect();
        let log = Arc::clone(setup.log);
        let report = Arc::new(move |line: &str| log(Level::Error, &format!("accounting: {line}")));
        (setup.spawn)(Box::pin(drain.run(database.clone(), waits, report)));
    }
    Ok(spool)
}

fn prepare(setup: &Setup<'_>, database: &Database, state: &Accounting) -> Result<(), store::Error> {
    let mut columns: Vec<ColumnName> = state.columns.all().to_vec();
    columns.extend(state.extra_columns.iter().cloned());
    let own_time = state.time_columns.iter().flatten().take(if state.time_mode == 1 { 2 } else { 1 });
    columns.extend(own_time.cloned());
    let version = (setup.int("db_version_check") != 0).then_some([5, 4]);
    let mut outcome = Ok(());
    (setup.block_on)(Box::pin(async {
        for table in [&state.acc_table, &state.missed_table] {
            outcome = crate::database::ensure_table(database, table, &columns, version.as_ref().map(|v| &v[..])).await;
            if outcome.is_err() {
                return;
            }
        }
        if let Some((calls, table)) = state.calls.as_ref().and_then(|calls| Some((calls, calls.table.as_ref()?))) {
            let version = version.map(|_| [2]);
            let columns = calls.columns();
            outcome = crate::database::ensure_table(database, table, &columns, version.as_ref().map(|v| &v[..])).await;
        }
    }));
    outcome
}
