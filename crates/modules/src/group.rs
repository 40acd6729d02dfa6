//! Groups of users, in a table.

use std::sync::Arc;

use module_api::{Function, Module, Outcome, Param, ParamKind, Parameter, Routes, Setup, SetupError, State};
use store::{ColumnName, Condition, Database, Select, TableName};

use crate::database::{self, column};
use crate::setting::{ignored, number, text};
use crate::subject::Subject;

/// Groups of users, as an operator grants them.
pub static MODULE: Module = Module {
    name: "group",
    doc: "Tells whether a user is in a group of the database: who may call where, for instance.",
    parameters: &PARAMETERS,
    functions: &[IS_USER_IN, IS_IN_GROUP],
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
    ignored("re_table", "Has no effect: groups are listed user by user."),
    ignored("re_exp_column", "Has no effect: groups are listed user by user."),
    ignored("re_gid_column", "Has no effect: groups are listed user by user."),
    ignored("multiple_gid", "Has no effect: groups are listed user by user."),
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

/// The state of module group.
struct Groups {
    database: Database,
    table: TableName,
    user: ColumnName,
    domain: ColumnName,
    group: ColumnName,
    uses_domain: bool,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let groups = Groups {
        table: column(setup, "table")?,
        user: column(setup, "user_column")?,
        domain: column(setup, "domain_column")?,
        group: column(setup, "group_column")?,
        uses_domain: setup.int("use_domain") != 0,
        database: database::open(setup, "db_url")?,
    };
    let columns = [groups.user.clone(), groups.domain.clone(), groups.group.clone()];
    database::check_at_start(setup, &groups.database, &groups.table, &columns, &[2])?;
    Ok(Arc::new(groups))
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
}
