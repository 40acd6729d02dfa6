//! Whether users are who they say, and whether they exist.

use std::sync::Arc;

use module_api::{Call, Function, Module, Outcome, Param, ParamKind, Parameter, Routes, Setup, SetupError, State};
use store::{Cell, ColumnName, Condition, Database, Select, TableName};

use crate::database::{self, column};
use crate::setting::{number, text};
use crate::subject::Subject;

/// Checks of identity and existence, under Kamailio's name.
pub static MODULE: Module = Module {
    name: "uri_db",
    doc: "Tells whether From and To are of the user whose credentials were verified, and whether users exist.",
    parameters: &KAMAILIO,
    functions: &[CHECK_TO, CHECK_FROM, CHECK_URI, DOES_URI_EXIST],
    make: make_kamailio,
    ..Module::EMPTY
};

/// The same under SER's name.
pub static URI: Module = Module {
    name: "uri",
    doc: "Tells whether From and To are of the user whose credentials were verified, and whether users exist.",
    parameters: &SER,
    functions: &[CHECK_TO, CHECK_FROM, DOES_URI_EXIST, IS_USER],
    make: make_ser,
    ..Module::EMPTY
};

static KAMAILIO: [Parameter; 7] = [
    text("db_url", "", DB_URL),
    text("db_table", "subscriber", "The table: of subscribers, or with use_uri_table of who may use which user name."),
    text("user_column", "username", "The column of users."),
    text("domain_column", "domain", "The column of domains."),
    text("uriuser_column", "uri_user", "The column of user names that the user may use."),
    number("use_uri_table", "0", "1 lets users use the names that the table gives them."),
    number("use_domain", "0", "1 tells users of different domains apart."),
];

static SER: [Parameter; 10] = [
    text("db_url", "", DB_URL),
    text("uri_table", "uri", "The table of who may use which user name."),
    text("uri_user_column", "username", "Its column of users."),
    text("uri_domain_column", "domain", "Its column of domains."),
    text("uri_uriuser_column", "uri_user", "Its column of user names that the user may use."),
    text("subscriber_table", "subscriber", "The table of subscribers."),
    text("subscriber_user_column", "username", "Its column of users."),
    text("subscriber_domain_column", "domain", "Its column of domains."),
    number("use_uri_table", "0", "1 lets users use the names that the table of names gives them."),
    number("use_domain", "0", "1 tells users of different domains apart."),
];

const DB_URL: &str = "The database; by default ser.db in the data directory.";

const CHECK_TO: Function = Function {
    name: "check_to",
    params: &[],
    routes: Routes::REQUEST,
    doc: "True when the user of To is the one whose credentials were verified, or one whose name that user may use.",
    example: "if (!check_to()) sl_send_reply(\"403\", \"Register yourself only\");",
    run: |call| check(call, b"To"),
};

const CHECK_FROM: Function = Function {
    name: "check_from",
    params: &[],
    routes: Routes::REQUEST,
    doc: "As check_to(), with the user of From.",
    example: "if (!check_from()) sl_send_reply(\"403\", \"Use your own name\");",
    run: |call| check(call, b"From"),
};

const CHECK_URI: Function = Function {
    name: "check_uri",
    params: &[Param::required("uri", ParamKind::Format)],
    routes: Routes::REQUEST,
    doc: "As check_to(), with the user of a URI.",
    example: "if (!check_uri(\"$ai\")) exit;",
    run: |call| {
        let uri = call.text(0);
        check(call, &uri)
    },
};

const DOES_URI_EXIST: Function = Function {
    name: "does_uri_exist",
    params: &[],
    routes: Routes::REQUEST,
    doc: "True when the user of the Request-URI exists. False also when the database does not answer.",
    example: "if (!does_uri_exist()) sl_send_reply(\"404\", \"Not Found\");",
    run: exists,
};

const IS_USER: Function = Function {
    name: "is_user",
    params: &[Param::required("user", ParamKind::Format)],
    routes: Routes::REQUEST,
    doc: "True when the credentials that were verified are of this user.",
    example: "if (is_user(\"operator\")) setflag(5);",
    run: |call| {
        let user = call.text(0);
        Subject::verified(call.context).is_some_and(|subject| subject.user.as_bytes() == &user[..]).into()
    },
};

/// The state of both modules.
struct Identities {
    database: Database,
    /// Who may use which name; none: everybody the own name alone.
    names: Option<Names>,
    subscribers: Subscribers,
    uses_domain: bool,
}

struct Names {
    table: TableName,
    user: ColumnName,
    domain: ColumnName,
    name: ColumnName,
}

struct Subscribers {
    table: TableName,
    user: ColumnName,
    domain: ColumnName,
}

fn make_kamailio(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let (table, user, domain) =
        (column(setup, "db_table")?, column(setup, "user_column")?, column(setup, "domain_column")?);
    let names = Names {
        table: table.clone(),
        user: user.clone(),
        domain: domain.clone(),
        name: column(setup, "uriuser_column")?,
    };
    make(setup, names, Subscribers { table, user, domain })
}

fn make_ser(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let names = Names {
        table: column(setup, "uri_table")?,
        user: column(setup, "uri_user_column")?,
        domain: column(setup, "uri_domain_column")?,
        name: column(setup, "uri_uriuser_column")?,
    };
    let subscribers = Subscribers {
        table: column(setup, "subscriber_table")?,
        user: column(setup, "subscriber_user_column")?,
        domain: column(setup, "subscriber_domain_column")?,
    };
    make(setup, names, subscribers)
}

fn make(setup: &Setup<'_>, names: Names, subscribers: Subscribers) -> Result<Arc<dyn State>, SetupError> {
    Ok(Arc::new(Identities {
        names: (setup.int("use_uri_table") != 0).then_some(names),
        subscribers,
        uses_domain: setup.int("use_domain") != 0,
        database: database::open(setup, "db_url")?,
    }))
}

/// Whether the verified user may be called as `whose` says.
fn check(call: &mut Call<'_>, whose: &[u8]) -> Outcome {
    let Some(own) = Subject::verified(call.context) else {
        return Outcome::fail("no credentials have been verified; call www_authorize() or proxy_authorize() before");
    };
    let Ok(called) = Subject::named(call, whose) else { return Outcome::FALSE };
    let state = call.state::<Identities>();
    let Some(names) = &state.names else {
        let is_domain = !state.uses_domain || own.domain.eq_ignore_ascii_case(&called.domain);
        return (is_domain && own.user == called.user).into();
    };
    let mut filter = vec![Condition::equal(&names.user, own.user), Condition::equal(&names.name, called.user)];
    if state.uses_domain {
        filter.push(Condition::equal_folded(&names.domain, own.domain));
    }
    ask(state, names.table.clone(), names.user.clone(), filter)
}

fn exists(call: &mut Call<'_>) -> Outcome {
    let Ok(called) = Subject::named(call, b"Request-URI") else { return Outcome::FALSE };
    let state = call.state::<Identities>();
    let (table, user, domain) = match &state.names {
        Some(names) => (&names.table, &names.name, &names.domain),
        None => (&state.subscribers.table, &state.subscribers.user, &state.subscribers.domain),
    };
    let mut filter = vec![Condition::equal(user, Cell::Text(called.user))];
    if state.uses_domain {
        filter.push(Condition::equal_folded(domain, called.domain));
    }
    ask(state, table.clone(), user.clone(), filter)
}

/// True when there is such a row.
fn ask(state: &Identities, table: TableName, column: ColumnName, filter: Vec<Condition>) -> Outcome {
    let select = Select { table, columns: vec![column], filter, order: Vec::new(), limit: 1 };
    let database = state.database.clone();
    Outcome::wait(async move { database.select(&select).await }, |_, found| match found {
        Ok(found) => (!found.rows.is_empty()).into(),
        Err(error) => Outcome::fail(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, Tables};

    fn exists(tables: &Tables, settings: &[(&str, i64)], uri: &'static str) -> i64 {
        let mut bench = Bench::with_state(INVITE, tables.make(&MODULE, settings));
        bench.context.set_uri(bytes::Bytes::from_static(uri.as_bytes()));
        bench.run_waiting(&MODULE, "does_uri_exist", &[], &tables.runtime)
    }

    #[test]
    fn a_user_exists_that_is_a_subscriber() {
        let tables = Tables::new();
        tables.sql("INSERT INTO subscriber (username, domain) VALUES ('bob', 'example.com')");
        assert_eq!(exists(&tables, &[], "sip:bob@anywhere"), 1);
        assert_eq!(exists(&tables, &[("use_domain", 1)], "sip:bob@anywhere"), -1);
        assert_eq!(exists(&tables, &[("use_domain", 1)], "sip:bob@EXAMPLE.com"), 1);
        assert_eq!(exists(&tables, &[], "sip:nobody@example.com"), -1);
        assert_eq!(exists(&tables, &[], "sip:x'%20OR%20'1'='1@example.com"), -1);
    }

    #[test]
    fn nobody_is_who_they_say_before_credentials_are_verified() {
        let tables = Tables::new();
        let mut bench = Bench::with_state(INVITE, tables.make(&MODULE, &[]));
        assert_eq!(bench.run(&MODULE, "check_from", &[]), -1);
        assert_eq!(bench.run(&URI, "is_user", &["alice"]), -1);
    }
}
