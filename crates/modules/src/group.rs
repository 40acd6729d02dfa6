//! Groups of users, in a table.

use std::sync::Arc;

use module_api::{Function, Module, Outcome, Param, ParamKind, Parameter, Routes, Setup, SetupError, State, Value};
use regex::Regex;
use store::{ColumnName, Condition, Database, Select, TableName};

use crate::database::{self, column};
use crate::rows::{Row, Source, Wanted};
use crate::setting::{number, text};
use crate::subject::{Subject, escaped};

/// Groups of users, as an operator grants them.
pub static MODULE: Module = Module {
    name: "group",
    doc: "Tells whether a user is in a group of the database: who may call where, for instance.",
    parameters: &PARAMETERS,
    functions: &[IS_USER_IN, IS_IN_GROUP, GET_USER_GROUP],
    make,
    ..Module::EMPTY
};

static PARAMETERS: [Parameter; 10] = [
    text("db_url", "", "The database; by default ser.db in the data directory."),
    text("table", "grp", "The table of groups."),
    text("user_column", "username", "The column of users."),
    text("domain_column", "domain", "The column of domains."),
    text("group_column", "grp", "The column of groups."),
    number("use_domain", "0", "1 tells users of different domains apart."),
    text("re_table", "", "The table of groups by regular expression, for get_user_group(); none when empty."),
    text("re_exp_column", "reg_exp", "The column of regular expressions."),
    text("re_gid_column", "group_id", "The column of group numbers."),
    number("multiple_gid", "1", "1 has get_user_group() give every group that fits, 0 the first."),
];

const IS_USER_IN: Function = Function {
    name: "is_user_in",
    params: &[Param::required("whose", ParamKind::Format), Param::required("group", ParamKind::Format)],
    routes: Routes::REQUESTS,
    doc: "True when a user is in a group. The first argument says who: \"Request-URI\", \"From\", \"To\", \"Credentials\" (those \
          that were verified), or a URI. False, with a line in the log, when the database does not answer.",
    example: "if (!is_user_in(\"From\", \"int\")) sl_send_reply(\"403\", \"No international calls\");",
    run: |call| {
        let (whose, group) = (call.text(0), call.text(1));
        is_in(call, &whose, &group)
    },
};

const IS_IN_GROUP: Function = Function {
    name: "is_in_group",
    params: &[Param::required("group", ParamKind::Format)],
    routes: Routes::REQUESTS,
    doc: "As is_user_in(\"Credentials\", group): SER's older name.",
    example: "if (!is_in_group(\"ld\")) sl_send_reply(\"403\", \"No long distance calls\");",
    run: |call| {
        let group = call.text(0);
        is_in(call, b"Credentials", &group)
    },
};

const GET_USER_GROUP: Function = Function {
    name: "get_user_group",
    params: &[Param::required("whose", ParamKind::Format), Param::required("variable", ParamKind::Output)],
    routes: Routes::REQUESTS,
    doc: "Writes the numbers of the groups whose regular expression fits a user, as sip:USER@DOMAIN, to an attribute, that of \
          the first row on top. Who is meant is said as to is_user_in(). The table, re_table, is read when the server starts. \
          False when none fits.",
    example: "if (get_user_group(\"From\", \"$avp(group)\")) xlog(\"group $avp(group)\\n\");",
    run: user_groups,
};

/// The state of module group.
struct Groups {
    database: Database,
    table: TableName,
    user: ColumnName,
    domain: ColumnName,
    group: ColumnName,
    uses_domain: bool,
    /// Groups by regular expression, in the order of the table.
    patterns: Vec<(Regex, i64)>,
    /// Whether every group counts that fits.
    gives_all: bool,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let groups = Groups {
        table: column(setup, "table")?,
        user: column(setup, "user_column")?,
        domain: column(setup, "domain_column")?,
        group: column(setup, "group_column")?,
        uses_domain: setup.int("use_domain") != 0,
        database: database::open(setup, "db_url")?,
        patterns: patterns(setup)?,
        gives_all: setup.int("multiple_gid") != 0,
    };
    let columns = [groups.user.clone(), groups.domain.clone(), groups.group.clone()];
    database::check_at_start(setup, &groups.database, &groups.table, &columns, &[2])?;
    Ok(Arc::new(groups))
}

/// Reads the table of regular expressions, where one is named.
fn patterns(setup: &Setup<'_>) -> Result<Vec<(Regex, i64)>, SetupError> {
    let (url, table) = (setup.text("db_url"), setup.text("re_table"));
    if table.is_empty() {
        return Ok(Vec::new());
    }
    let columns = [setup.text("re_exp_column"), setup.text("re_gid_column")];
    let columns = [columns[0].as_str(), columns[1].as_str()];
    let wanted =
        Wanted { setting: "re_table", url: &url, table: &table, columns: &columns, order: None, versions: &[1] };
    let rows = Source::at(setup, &wanted)?.read_at_start(setup)?;
    let pattern = |row: &Row| {
        let text = row[0].as_deref().unwrap_or_default();
        let number = row[1].as_deref().and_then(|number| number.trim().parse().ok());
        let number = number.ok_or_else(|| format!("`{text}` has no group number"))?;
        Regex::new(text).map(|regex| (regex, number)).map_err(|error| error.to_string())
    };
    let patterns: Result<_, String> = rows.iter().map(pattern).collect();
    patterns.map_err(|cause| SetupError::Unavailable(format!("table {table}: {cause}")))
}

fn user_groups(call: &mut module_api::Call<'_>) -> Outcome {
    let subject = match Subject::named(call, &call.text(0)) {
        Ok(subject) => subject,
        Err(cause) => return Outcome::fail(format!("get_user_group: {cause}")),
    };
    let groups = call.state::<Groups>();
    let uri = format!("sip:{}@{}", escaped(&subject.user), subject.domain);
    let fitting = groups.patterns.iter().filter(|(regex, _)| regex.is_match(&uri)).map(|(_, number)| *number);
    let found: Vec<i64> = fitting.take(if groups.gives_all { usize::MAX } else { 1 }).collect();
    // An attribute is a stack: what is written last is read first.
    for number in found.iter().rev() {
        if let Err(fault) = call.write_output(1, Value::Int(*number)) {
            return Outcome::Fail(fault);
        }
    }
    (!found.is_empty()).into()
}

fn is_in(call: &mut module_api::Call<'_>, whose: &[u8], group: &[u8]) -> Outcome {
    let subject = match Subject::named(call, whose) {
        Ok(subject) => subject,
        Err(cause) => return Outcome::fail(format!("is_user_in: {cause}")),
    };
    let groups = call.state::<Groups>();
    let mut filter =
        vec![Condition::equal(&groups.user, subject.user), Condition::equal(&groups.group, store::Cell::text(group))];
    if groups.uses_domain {
        filter.push(Condition::equal_folded(&groups.domain, subject.domain));
    }
    let (table, columns) = (groups.table.clone(), vec![groups.user.clone()]);
    let select = Select { table, columns, filter, order: Vec::new(), limit: 1 };
    let database = groups.database.clone();
    Outcome::wait(async move { database.select(&select).await }, |_, found| match found {
        Ok(found) => (!found.rows.is_empty()).into(),
        Err(error) => Outcome::fail(format!("is_user_in: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, Tables};

    fn check(tables: &Tables, settings: &[(&str, i64)], arguments: &[&str], expected: i64) {
        let state = tables.make(&MODULE, settings);
        let mut bench = Bench::with_state(INVITE, state);
        assert_eq!(bench.run_waiting(&MODULE, "is_user_in", arguments, &tables.runtime), expected, "{arguments:?}");
    }

    #[test]
    fn a_user_is_in_the_groups_that_the_table_says() {
        let tables = Tables::new();
        tables.sql(
            "INSERT INTO grp (username, domain, grp) VALUES ('alice', 'example.com', 'int'), ('bob', 'other', 'ln')",
        );
        check(&tables, &[], &["From", "int"], 1);
        check(&tables, &[], &["From", "ln"], -1);
        check(&tables, &[], &["Request-URI", "ln"], 1);
        check(&tables, &[("use_domain", 1)], &["Request-URI", "ln"], -1);
        check(&tables, &[("use_domain", 1)], &["sip:alice@EXAMPLE.com", "int"], 1);
        check(&tables, &[], &["Credentials", "int"], -1);
        check(&tables, &[], &["From", "x' OR '1'='1"], -1);
    }

    #[test]
    fn regular_expressions_say_the_groups_of_a_user() {
        let tables = Tables::new();
        tables.sql(
            "INSERT INTO re_grp (reg_exp, group_id) VALUES ('^sip:a.*@example\\.com$', 7), ('^sip:bob@', 8), ('@example', 9)",
        );
        let groups = |settings: &[(&str, Value)], whose: &str| {
            let table = [("re_table", crate::testing::text("re_grp"))];
            let state = tables.make_with(&MODULE, &[&table[..], settings].concat()).expect("the module starts");
            let mut bench = Bench::with_state(INVITE, state);
            let avp = crate::pv::MODULE.variables.iter().find(|variable| variable.name == "avp");
            let output = module_api::OutputVariable {
                variable: avp.expect("there are attributes"),
                key: Some("g".into()),
                index: module_api::Index::Default,
                state: Arc::new(()),
            };
            let args = [module_api::Arg::Value(crate::testing::text(whose)), module_api::Arg::Variable(output)];
            let code = bench.run_args(&MODULE, "get_user_group", &args);
            (code, bench.context.avps.all(b"g").map(Value::to_int).collect::<Vec<_>>())
        };
        assert_eq!(groups(&[], "From"), (1, vec![7, 9]));
        assert_eq!(groups(&[("multiple_gid", Value::Int(0))], "From"), (1, vec![7]));
        assert_eq!(groups(&[], "sip:bob@elsewhere.example"), (1, vec![8]));
        assert_eq!(groups(&[], "sip:carol@other"), (-1, vec![]));
        tables.sql("INSERT INTO re_grp (reg_exp, group_id) VALUES ('(', 1)");
        let table = [("re_table", crate::testing::text("re_grp"))];
        assert!(tables.make_with(&MODULE, &table).is_err());
    }
}
