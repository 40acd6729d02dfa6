//! Further names of users.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{
    Call, Function, Module, Outcome, Param, ParamKind, Parameter, Routes, Setup, SetupError, State, Target, Value,
};
use store::{ColumnName, Condition, Database, Select, TableName};

use crate::database::{self, column};
use crate::setting::{number, text};
use crate::subject::{Subject, escaped};

/// Further names of users.
pub static MODULE: Module = Module {
    name: "alias_db",
    doc: "Replaces a further name of a user by the user's own.",
    parameters: &PARAMETERS,
    functions: &[LOOKUP, FIND],
    make,
    ..Module::EMPTY
};

static PARAMETERS: [Parameter; 8] = [
    text("db_url", "", "The database; by default ser.db in the data directory."),
    text("user_column", "username", "The column of users."),
    text("domain_column", "domain", "The column of users' domains."),
    text("alias_user_column", "alias_username", "The column of aliases."),
    text("alias_domain_column", "alias_domain", "The column of aliases' domains."),
    number("use_domain", "0", "1 tells aliases of different domains apart."),
    number("append_branches", "0", "1 makes further users behind one alias branches."),
    text("domain_prefix", "", "What is taken off the front of an alias' domain."),
];

const LOOKUP: Function = Function {
    name: "alias_db_lookup",
    params: &[Param::required("table", ParamKind::Format), Param::optional("flags", ParamKind::Str)],
    routes: Routes::REQUEST,
    doc: "Looks up the Request-URI among the aliases of a table; when it is one, it becomes the address of the user behind \
          it. Flag d ignores the domain, r looks for the alias of a user instead. False when it is none, or when the \
          database does not answer.",
    example: "alias_db_lookup(\"dbaliases\");",
    run: |call| {
        let (table, flags) = (call.text(0), call.text(1));
        let uri = call.context.target.uri.clone();
        find(call, &table, &uri, &flags, |call, mut uris| {
            let rest = uris.split_off(1);
            call.context.set_uri(uris.remove(0));
            if call.state::<Aliases>().appends {
                call.context.branches.extend(rest.into_iter().map(Target::new));
            }
            Outcome::TRUE
        })
    },
};

const FIND: Function = Function {
    name: "alias_db_find",
    params: &[
        Param::required("table", ParamKind::Format),
        Param::required("alias", ParamKind::Format),
        Param::required("result", ParamKind::Output),
        Param::optional("flags", ParamKind::Str),
    ],
    routes: Routes::ANY,
    doc: "As alias_db_lookup(), with a given URI; the address goes to a variable.",
    example: "alias_db_find(\"dbaliases\", \"$fu\", \"$avp(owner)\");",
    run: |call| {
        let (table, uri, flags) = (call.text(0), call.text(1), call.text(3));
        find(call, &table, &uri, &flags, |call, mut uris| match call.write_output(2, Value::Str(uris.remove(0))) {
            Ok(()) => Outcome::TRUE,
            Err(fault) => Outcome::Fail(fault),
        })
    },
};

/// The state of module alias_db.
struct Aliases {
    database: Database,
    user: ColumnName,
    domain: ColumnName,
    alias_user: ColumnName,
    alias_domain: ColumnName,
    uses_domain: bool,
    appends: bool,
    prefix: String,
}

/// More users than this behind one alias are not looked for.
const MOST: u32 = 60;

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    Ok(Arc::new(Aliases {
        user: column(setup, "user_column")?,
        domain: column(setup, "domain_column")?,
        alias_user: column(setup, "alias_user_column")?,
        alias_domain: column(setup, "alias_domain_column")?,
        uses_domain: setup.int("use_domain") != 0,
        appends: setup.int("append_branches") != 0,
        prefix: setup.text("domain_prefix"),
        database: database::open(setup, "db_url")?,
    }))
}

fn find(
    call: &mut Call<'_>,
    table: &[u8],
    uri: &[u8],
    flags: &[u8],
    then: fn(&mut Call<'_>, Vec<Bytes>) -> Outcome,
) -> Outcome {
    let table = match TableName::new(&String::from_utf8_lossy(table)) {
        Ok(table) => table,
        Err(error) => return Outcome::fail(format!("alias_db: {error}")),
    };
    let Ok(subject) = Subject::of_uri(uri) else { return Outcome::FALSE };
    let aliases = call.state::<Aliases>();
    let own = (&aliases.user, &aliases.domain);
    let other = (&aliases.alias_user, &aliases.alias_domain);
    let (known, wanted) = if flags.contains(&b'r') { (own, other) } else { (other, own) };
    let mut filter = vec![Condition::equal(known.0, subject.user)];
    if aliases.uses_domain && !flags.contains(&b'd') {
        let domain = subject.domain.strip_prefix(aliases.prefix.as_str()).unwrap_or(&subject.domain);
        filter.push(Condition::equal_folded(known.1, domain));
    }
    let columns = vec![wanted.0.clone(), wanted.1.clone()];
    let select = Select { table, columns, filter, order: Vec::new(), limit: MOST };
    let database = aliases.database.clone();
    Outcome::wait(async move { database.select(&select).await }, move |call, found| match found {
        Ok(found) => {
            let uris: Vec<Bytes> = found.rows.iter().map(|row| uri_of(row)).collect();
            if uris.is_empty() { Outcome::FALSE } else { then(call, uris) }
        }
        Err(error) => Outcome::fail(format!("alias_db: {error}")),
    })
}

fn uri_of(row: &[store::Cell]) -> Bytes {
    let text = |cell: &store::Cell| cell.to_text().unwrap_or_default();
    Bytes::from(format!("sip:{}@{}", escaped(&text(&row[0])), text(&row[1])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, Tables};

    fn tables() -> Tables {
        let tables = Tables::new();
        tables.sql(
            "INSERT INTO dbaliases (alias_username, alias_domain, username, domain) VALUES \
             ('sales', 'example.com', 'bob', 'example.com'), ('sales', 'example.com', 'carol', 'example.org'), \
             ('4711', 'example.net', 'dora', 'example.net')",
        );
        tables
    }

    fn lookup(tables: &Tables, settings: &[(&str, i64)], uri: &str, flags: &str) -> (i64, String, usize) {
        let mut bench = Bench::with_state(INVITE, tables.make(&MODULE, settings));
        bench.context.set_uri(Bytes::copy_from_slice(uri.as_bytes()));
        let code = bench.run_waiting(&MODULE, "alias_db_lookup", &["dbaliases", flags], &tables.runtime);
        (code, bench.uri(), bench.context.branches.len())
    }

    #[test]
    fn an_alias_becomes_its_user() {
        let tables = tables();
        let found = |uri: &str, branches| (1, uri.to_owned(), branches);
        assert_eq!(lookup(&tables, &[], "sip:sales@anywhere", ""), found("sip:bob@example.com", 0));
        assert_eq!(lookup(&tables, &[("append_branches", 1)], "sip:sales@x", ""), found("sip:bob@example.com", 1));
        assert_eq!(lookup(&tables, &[("use_domain", 1)], "sip:4711@Example.NET", ""), found("sip:dora@example.net", 0));
        assert_eq!(lookup(&tables, &[("use_domain", 1)], "sip:4711@other", "").0, -1);
        assert_eq!(lookup(&tables, &[("use_domain", 1)], "sip:4711@other", "d").0, 1);
        assert_eq!(lookup(&tables, &[], "sip:dora@example.net", "r"), found("sip:4711@example.net", 0));
        assert_eq!(lookup(&tables, &[], "sip:nobody@example.com", "").0, -1);
        assert_eq!(lookup(&tables, &[], "sip:x'%20OR%20'1'='1@example.com", "").0, -1);
    }
}
