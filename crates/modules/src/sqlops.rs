//! SQL of the script's own.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use module_api::{
    Call, Function, Index, KeyRule, Module, Outcome, Param, ParamKind, Parameter, Record, RecordKind, Records, Routes,
    Setup, SetupError, State, Value, Variable,
};
use store::{Cell, Database, Rows};

use crate::database;
use crate::setting::{ignored, list};
use crate::text_variable::TextVariable;

/// SQL of the script's own.
pub static MODULE: Module = Module {
    name: "sqlops",
    doc: "Runs SQL that the script says, and gives it the rows.",
    parameters: &PARAMETERS,
    functions: &[QUERY, QUERY_AWAY, QUERY_ASYNC, FREE, QUERY_RECORDS, QUERY_VARIABLES],
    variables: &[DBR, SQLROWS],
    make,
    ..Module::EMPTY
};

static PARAMETERS: [Parameter; 6] = [
    list(
        "sqlcon",
        "A connection: NAME=>ADDRESS, the address as db_url has it; an empty one is ser.db in the data directory.",
    ),
    ignored("sqlres", "Has no effect: a result is there once a query has brought it."),
    ignored("tr_buf_size", "Has no effect: there is no such bound."),
    ignored("log_buf_size", "Has no effect: there is no such bound."),
    ignored("connect_mode", "Has no effect: a database that is away keeps nobody from starting."),
    ignored("results_maxsize", "Has no effect: a request holds at most 32 results."),
];

const CONNECTION: Param = Param::required("connection", ParamKind::Str);
const STATEMENT: Param = Param::required("query", ParamKind::Format);

const QUERY: Function = Function {
    name: "sql_query",
    params: &[CONNECTION, STATEMENT, Param::required("result", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Runs a query and keeps its rows as $dbr(result=>...): 1 with rows, 2 without, 3 when there are more than 10,000 \
          rows and the rest is left out, -1 when it failed. Variables are pasted as they are: a value that came from a \
          message must be written $(var{sql.val.str}), which brings its own quotes, or '$(var{s.escape.common})', or its sender \
          writes SQL of their own. Both are safe in every kind of database: \\' in a text means a quote in all of them.",
    example: "sql_query(\"ca\", \"select rate from rates where prefix=$(rU{sql.val.str})\", \"ra\");",
    run: |call| query(call, true),
};

const QUERY_AWAY: Function = Function {
    name: "sql_query",
    params: &[CONNECTION, STATEMENT],
    routes: Routes::ANY,
    doc: "As sql_query() with a result, where no rows are expected.",
    example: "sql_query(\"ca\", \"delete from seen where callid='$(ci{s.escape.common})'\");",
    run: |call| query(call, false),
};

const QUERY_ASYNC: Function = Function {
    name: "sql_query_async",
    params: &[CONNECTION, STATEMENT],
    routes: Routes::ANY,
    doc: "Runs a query beside the workers; the script goes on at once, and a failure is told in the log alone. False when \
          too many are on their way.",
    example: "sql_query_async(\"ca\", \"update counters set n = n + 1 where name = 'calls'\");",
    run: query_async,
};

const QUERY_RECORDS: Function = Function {
    name: "sql_xquery",
    params: &[CONNECTION, STATEMENT, Param::required("name", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "As sql_query(), with each row a record of $xavp: the first row is the newest, $xavp(name=>column), the second \
          $xavp(name[1]=>column). 3 when there are more rows than a request keeps records, and the rest is left out.",
    example: "if (sql_xquery(\"ca\", \"select id, rate from rates\", \"ra\") == 1) xlog(\"$xavp(ra=>rate)\\n\");",
    run: |call| {
        let name = call.text(2);
        ask(call, "sql_xquery", move |call, connection, found| into_records(call, connection, &name, found))
    },
};

const QUERY_VARIABLES: Function = Function {
    name: "sql_pvquery",
    params: &[CONNECTION, STATEMENT, Param::required("variables", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "As sql_query(), with each column into a variable of a list separated by semicolons; a column for which the list has \
          none is left out. An $avp takes every row, so that the first is its newest; other variables keep the first row. \
          NULL leaves an $avp as it is and another variable undefined. False when the list has more variables than the rows \
          have columns.",
    example: "sql_pvquery(\"ca\", \"select id, rate from rates where name='x'\", \"$var(id);$avp(rate)\");",
    run: |call| {
        let list = String::from_utf8_lossy(&call.text(2)).into_owned();
        let names = list.split([';', ',']).map(str::trim).filter(|name| !name.is_empty());
        match names.map(TextVariable::parse).collect::<Result<Vec<_>, _>>() {
            Ok(variables) if variables.iter().all(TextVariable::is_writable) => {
                ask(call, "sql_pvquery", move |call, connection, found| {
                    into_variables(call, connection, &variables, found)
                })
            }
            Ok(_) => Outcome::fail(format!("sql_pvquery: a variable of `{list}` is read-only")),
            Err(cause) => Outcome::fail(format!("sql_pvquery: {cause}")),
        }
    },
};

const FREE: Function = Function {
    name: "sql_result_free",
    params: &[Param::required("result", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Gives a result back. At the end of the request it goes by itself.",
    example: "sql_result_free(\"ra\");",
    run: |call| {
        let name = call.text(0);
        let mut results = call.context.take_note::<Results>().unwrap_or_default();
        let was_there = results.0.remove(&name).is_some();
        call.context.set_note(results);
        was_there.into()
    },
};

const DBR: Variable = Variable {
    name: "dbr",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A result of sql_query(): $dbr(name=>rows) and $dbr(name=>cols) are its size, $dbr(name=>[row,column]) is a value, \
          $dbr(name=>colname[column]) is the name of a column; rows and columns count from 0.",
    example: "xlog(\"$dbr(ra=>[0,0])\\n\");",
    read: |call, selector| read(call, selector.key(), selector.index),
    write: None,
};

const SQLROWS: Variable = Variable {
    name: "sqlrows",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "How many rows the latest sql_query() of this request on a connection has changed.",
    example: "xlog(\"$sqlrows(ca)\\n\");",
    read: |call, selector| {
        let affected = call.context.note::<Affected>().and_then(|affected| affected.0.get(selector.key()));
        affected.map_or(Value::Null, |count| Value::Int(*count as i64))
    },
    write: None,
};

/// The state of module sqlops.
struct Connections {
    by_name: HashMap<String, Database>,
    asynchronous: tokio::sync::mpsc::Sender<(Database, String)>,
}

/// Results of one request, by name.
#[derive(Default)]
struct Results(HashMap<Bytes, Rows>);

/// Rows that were changed, by connection.
#[derive(Default)]
struct Affected(HashMap<Vec<u8>, u64>);

const MOST_RESULTS: usize = 32;
const MOST_ROWS: usize = 10_000;
/// Queries that nobody waits for and that may be on their way.
const QUEUE: usize = 4096;

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let mut by_name = HashMap::new();
    for line in setup.list("sqlcon") {
        let text = String::from_utf8_lossy(&line).into_owned();
        let (name, address) = text
            .split_once("=>")
            .ok_or_else(|| SetupError::Setting { name: "sqlcon", cause: format!("`{text}` is not NAME=>ADDRESS") })?;
        by_name.insert(name.trim().to_owned(), database::open_at(setup, "sqlcon", address.trim())?);
    }
    let (asynchronous, mut queue) = tokio::sync::mpsc::channel::<(Database, String)>(QUEUE);
    let log = Arc::clone(setup.log);
    (setup.spawn)(Box::pin(async move {
        while let Some((database, statement)) = queue.recv().await {
            if let Err(error) = database.query(&statement).await {
                log(module_api::Level::Error, &format!("sql_query_async: {error}"));
            }
        }
    }));
    Ok(Arc::new(Connections { by_name, asynchronous }))
}

/// The connection and the statement of a call.
fn target(call: &Call<'_>) -> Result<(String, Database, String), String> {
    let name = String::from_utf8_lossy(&call.text(0)).into_owned();
    let statement = String::from_utf8(call.text(1).to_vec()).map_err(|_| "the query is not UTF-8".to_owned())?;
    match call.state::<Connections>().by_name.get(&name) {
        Some(database) => {
            let statement = database::portable(database.kind(), &statement).into_owned();
            Ok((name, database.clone(), statement))
        }
        None => Err(format!(
            "there is no connection \"{name}\"; modparam(\"sqlops\", \"sqlcon\", \"{name}=>...\") makes it"
        )),
    }
}

/// Runs the query of a call, then `then` with the name of the connection and the rows.
fn ask(
    call: &Call<'_>,
    function: &'static str,
    then: impl FnOnce(&mut Call<'_>, &str, Rows) -> Outcome + Send + 'static,
) -> Outcome {
    let (connection, database, statement) = match target(call) {
        Ok(target) => target,
        Err(cause) => return Outcome::fail(format!("{function}: {cause}")),
    };
    Outcome::wait(async move { database.query(&statement).await }, move |call, found| match found {
        Ok(found) => then(call, &connection, found),
        Err(error) => Outcome::fail(format!("{function}: {error}")),
    })
}

fn query(call: &mut Call<'_>, keeps: bool) -> Outcome {
    let result = call.text(2);
    ask(call, "sql_query", move |call, connection, found| keep(call, connection, keeps.then_some(result), found))
}

/// 1 with rows, 2 without, 3 when some were left out.
fn code(is_cut: bool, is_empty: bool) -> Outcome {
    Outcome::Value(match (is_cut, is_empty) {
        (true, _) => 3,
        (false, true) => 2,
        (false, false) => 1,
    })
}

fn into_records(call: &mut Call<'_>, connection: &str, name: &Bytes, found: Rows) -> Outcome {
    note_affected(call, connection, found.affected);
    let records = &mut call.context.records;
    let room = Records::LIMIT.saturating_sub(records.iter(RecordKind::Stacked).count());
    let is_cut = found.rows.len() > room;
    // From the end, so that the first row is the newest record and read first.
    for row in found.rows.iter().take(room).rev() {
        let mut record = Record::empty(name.clone());
        for (column, cell) in found.columns.iter().zip(row) {
            record.fields_mut().replace(Bytes::from(column.clone()), value(cell));
        }
        records.push(RecordKind::Stacked, record);
    }
    code(is_cut, found.rows.is_empty())
}

fn into_variables(call: &mut Call<'_>, connection: &str, variables: &[TextVariable], mut found: Rows) -> Outcome {
    note_affected(call, connection, found.affected);
    if found.rows.first().is_some_and(|row| row.len() < variables.len()) {
        return Outcome::fail("sql_pvquery: there are more variables than columns");
    }
    let is_cut = found.rows.len() > MOST_ROWS;
    found.rows.truncate(MOST_ROWS);
    // From the end, so that what is written last is the first row.
    for row in found.rows.iter().rev() {
        for (variable, cell) in variables.iter().zip(row) {
            // Written to an $avp, nothing would take the rows away that are there.
            if variable.is_stack() && matches!(cell, Cell::Null) {
                continue;
            }
            if let Err(fault) = variable.write(call, value(cell)) {
                return Outcome::Fail(fault);
            }
        }
    }
    code(is_cut, found.rows.is_empty())
}

fn note_affected(call: &mut Call<'_>, connection: &str, count: u64) {
    let mut affected = call.context.take_note::<Affected>().unwrap_or_default();
    affected.0.insert(connection.as_bytes().to_vec(), count);
    call.context.set_note(affected);
}

fn keep(call: &mut Call<'_>, connection: &str, result: Option<Bytes>, mut rows: Rows) -> Outcome {
    note_affected(call, connection, rows.affected);
    let is_cut = rows.rows.len() > MOST_ROWS;
    rows.rows.truncate(MOST_ROWS);
    let is_empty = rows.rows.is_empty();
    if let Some(name) = result {
        let mut results = call.context.take_note::<Results>().unwrap_or_default();
        if results.0.len() >= MOST_RESULTS && !results.0.contains_key(&name) {
            call.context.set_note(results);
            return Outcome::fail("sql_query: a request holds at most 32 results; sql_result_free() gives one back");
        }
        results.0.insert(name, rows);
        call.context.set_note(results);
    }
    code(is_cut, is_empty)
}

fn query_async(call: &mut Call<'_>) -> Outcome {
    match target(call) {
        Ok((_, database, statement)) => {
            call.state::<Connections>().asynchronous.try_send((database, statement)).is_ok().into()
        }
        Err(cause) => Outcome::fail(format!("sql_query_async: {cause}")),
    }
}

/// `name=>rows`, `name=>cols`, `name=>[row,column]`, `name=>colname[column]`.
fn read(call: &Call<'_>, key: &[u8], index: Index) -> Value {
    let Ok(key) = std::str::from_utf8(key) else { return Value::Null };
    let Some((name, what)) = key.split_once("=>") else { return Value::Null };
    let rows = call.context.note::<Results>().and_then(|results| results.0.get(name.trim().as_bytes()));
    let Some(rows) = rows else { return Value::Null };
    let what = what.trim();
    if let Some(place) = what.strip_prefix('[').and_then(|place| place.strip_suffix(']')) {
        let Some((row, column)) = place.split_once(',') else { return Value::Null };
        let place = |text: &str| text.trim().parse::<usize>().ok();
        let cell =
            place(row).and_then(|row| rows.rows.get(row)).zip(place(column)).and_then(|(row, column)| row.get(column));
        return cell.map_or(Value::Null, value);
    }
    match what {
        "rows" => Value::Int(rows.rows.len() as i64),
        "cols" => Value::Int(rows.columns.len() as i64),
        _ => {
            let inner = what.strip_prefix("colname").and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'));
            let column = match (inner, index) {
                (Some(text), _) => text.trim().parse().ok(),
                (None, Index::At(at)) if what == "colname" => usize::try_from(at).ok(),
                _ => None,
            };
            column
                .and_then(|column: usize| rows.columns.get(column))
                .map_or(Value::Null, |name| Value::Str(Bytes::from(name.clone())))
        }
    }
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Int(number) | Cell::Time(number) => Value::Int(*number),
        Cell::Real(number) => Value::Str(Bytes::from(number.to_string())),
        Cell::Text(text) => Value::Str(Bytes::from(text.clone())),
        Cell::Bytes(octets) => Value::Str(Bytes::from(octets.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, Tables, text};

    fn bench(tables: &Tables) -> Bench {
        let connection = text(&format!("ca=>sqlite://{}", tables.address()));
        Bench::with_state(INVITE, tables.make_with(&MODULE, &[("sqlcon", connection)]).expect("the module starts"))
    }

    #[test]
    fn rows_and_their_shape_can_be_read() {
        let tables = Tables::new();
        tables.sql("INSERT INTO mtree (tprefix, tvalue) VALUES ('49', 'de'), ('33', 'fr')");
        let mut bench = bench(&tables);
        let query = "select tprefix, tvalue, NULL as gone, 7 as seven from mtree order by id";
        assert_eq!(bench.run_waiting(&MODULE, "sql_query", &["ca", query, "ra"], &tables.runtime), 1);
        for (key, expected) in [
            ("ra=>rows", Value::Int(2)),
            ("ra=>cols", Value::Int(4)),
            ("ra=>[0,0]", text("49")),
            ("ra=>[1,1]", text("fr")),
            ("ra=>[0,2]", Value::Null),
            ("ra=>[0,3]", Value::Int(7)),
            ("ra=>[2,0]", Value::Null),
            ("ra=>colname[1]", text("tvalue")),
            ("rb=>rows", Value::Null),
        ] {
            assert_eq!(bench.read(&MODULE, "dbr", Some(key)), expected, "{key}");
        }
        assert_eq!(bench.run(&MODULE, "sql_result_free", &["ra"]), 1);
        assert_eq!(bench.read(&MODULE, "dbr", Some("ra=>rows")), Value::Null);
    }

    #[test]
    fn rows_become_records() {
        let tables = Tables::new();
        tables.sql("INSERT INTO mtree (tprefix, tvalue) VALUES ('49', 'de'), ('33', 'fr')");
        let mut bench = bench(&tables);
        let query = "select tprefix, tvalue, NULL as gone from mtree order by id";
        assert_eq!(bench.run_waiting(&MODULE, "sql_xquery", &["ca", query, "ra"], &tables.runtime), 1);
        let all: Vec<_> = bench.context.records.all(RecordKind::Stacked, b"ra").collect();
        let field = |at: usize, name: &str| all[at].field(name.as_bytes()).cloned();
        assert_eq!((field(0, "tprefix"), field(0, "tvalue")), (Some(text("49")), Some(text("de"))));
        assert_eq!((field(1, "tvalue"), field(1, "gone")), (Some(text("fr")), Some(Value::Null)));
        let none = "select tprefix from mtree where tprefix = '0'";
        assert_eq!(bench.run_waiting(&MODULE, "sql_xquery", &["ca", none, "rb"], &tables.runtime), 2);
        let many = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) select i from n";
        assert_eq!(bench.run_waiting(&MODULE, "sql_xquery", &["ca", many, "rc"], &tables.runtime), 3);
        let first = bench.context.records.all(RecordKind::Stacked, b"rc").next().and_then(|record| record.field(b"i"));
        assert_eq!(first, Some(&Value::Int(1)));
    }

    #[test]
    fn rows_are_written_to_variables() {
        let tables = Tables::new();
        tables.sql("INSERT INTO mtree (tprefix, tvalue) VALUES ('49', 'de'), ('33', 'fr')");
        let mut bench = bench(&tables);
        let query = "select tprefix, tvalue from mtree order by id";
        let mut ask = |query: &str, list: &str| {
            let code = bench.run_waiting(&MODULE, "sql_pvquery", &["ca", query, list], &tables.runtime);
            let avps: Vec<Value> = bench.context.avps.all(b"v").cloned().collect();
            (code, bench.context.vars.first(b"p").cloned(), avps)
        };
        let both = vec![text("de"), text("fr")];
        assert_eq!(ask(query, "$var(p);$avp(v)"), (1, Some(text("49")), both.clone()));
        assert_eq!(ask("select NULL, NULL", "$var(p); $avp(s:v)").2, both);
        assert_eq!(ask("select tprefix from mtree where tprefix = '0'", "$var(p)").0, 2);
        assert_eq!(ask(query, "$var(a);$var(b);$var(c)").0, -1);
        assert_eq!(ask(query, "$ci").0, -1);
        assert_eq!(ask(query, "$nonsense").0, -1);
        assert_eq!(ask("no sql", "$var(p)").0, -1);
    }

    #[test]
    fn changes_are_counted_and_failures_are_false() {
        let tables = Tables::new();
        let mut bench = bench(&tables);
        let insert = "insert into mtree (tprefix, tvalue) values ('1', 'us'), ('44', 'uk')";
        assert_eq!(bench.run_waiting(&MODULE, "sql_query", &["ca", insert], &tables.runtime), 2);
        assert_eq!(bench.read(&MODULE, "sqlrows", Some("ca")), Value::Int(2));
        assert_eq!(bench.run_waiting(&MODULE, "sql_query", &["ca", "no sql"], &tables.runtime), -1);
        assert_eq!(bench.run(&MODULE, "sql_query", &["cb", "select 1", "ra"]), -1);
    }

    #[test]
    fn a_query_that_nobody_waits_for_is_run() {
        let tables = Tables::new();
        let mut bench = bench(&tables);
        let insert = "insert into mtree (tprefix, tvalue) values ('7', 'ru')";
        assert_eq!(bench.run(&MODULE, "sql_query_async", &["ca", insert]), 1);
        while tables.sql("select tvalue from mtree").is_empty() {}
        assert_eq!(tables.sql("select tvalue from mtree"), ["ru"]);
    }

    #[test]
    fn an_escaped_value_is_a_value_whatever_it_holds() {
        let tables = Tables::new();
        let mut bench = bench(&tables);
        tables.sql("insert into mtree (tprefix, tvalue) values ('1', 'us')");
        for hostile in ["'; DROP TABLE mtree; --", "x' OR '1'='1", "a\\", "\\' OR 1=1 --", "\""] {
            let common = hostile.replace('\\', "\\\\").replace('\'', "\\'").replace('"', "\\\"");
            let insert = format!("insert into mtree (tprefix, tvalue) values ('{common}', 'x')");
            assert_eq!(bench.run_waiting(&MODULE, "sql_query", &["ca", &insert], &tables.runtime), 2, "{hostile}");
            assert_eq!(tables.sql("select tprefix from mtree where tvalue = 'x'"), [hostile]);
            let delete = format!("delete from mtree where tprefix = '{common}'");
            assert_eq!(bench.run_waiting(&MODULE, "sql_query", &["ca", &delete], &tables.runtime), 2, "{hostile}");
            assert_eq!(tables.sql("select tprefix from mtree"), ["1"], "{hostile}");
        }
    }
}
