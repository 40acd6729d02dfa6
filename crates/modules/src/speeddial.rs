//! Short numbers that users have given to long ones.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, Module, Outcome, Param, ParamKind, Parameter, Routes, Setup, SetupError, State};
use store::{ColumnName, Condition, Database, Select, TableName};

use crate::database::{self, column};
use crate::setting::{number, text};
use crate::subject::Subject;

/// Short numbers of users.
pub static MODULE: Module = Module {
    name: "speeddial",
    doc: "Replaces a short number by the address that its owner has given it.",
    parameters: &PARAMETERS,
    functions: &[LOOKUP],
    make,
    ..Module::EMPTY
};

static PARAMETERS: [Parameter; 8] = [
    text("db_url", "", "The database; by default ser.db in the data directory."),
    text("user_column", "username", "The column of owners."),
    text("domain_column", "domain", "The column of the owners' domains."),
    text("sd_user_column", "sd_username", "The column of short numbers."),
    text("sd_domain_column", "sd_domain", "The column of the domains that short numbers are dialled in."),
    text("new_uri_column", "new_uri", "The column of addresses."),
    number("use_domain", "0", "1 tells owners and numbers of different domains apart."),
    text("domain_prefix", "", "What is taken off the front of domains."),
];

const LOOKUP: Function = Function {
    name: "sd_lookup",
    params: &[Param::required("table", ParamKind::Format), Param::optional("owner", ParamKind::Format)],
    routes: Routes::REQUEST,
    doc: "Looks up the user of the Request-URI among the short numbers of From, or of the owner that is given as a URI. \
          When it is one of them, the Request-URI becomes its address. False otherwise, also when the database does not \
          answer.",
    example: "if ($rU =~ \"^[0-9]{2}$\") sd_lookup(\"speed_dial\");",
    run: lookup,
};

/// The state of module speeddial.
struct Numbers {
    database: Database,
    user: ColumnName,
    domain: ColumnName,
    short_user: ColumnName,
    short_domain: ColumnName,
    address: ColumnName,
    uses_domain: bool,
    prefix: String,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    Ok(Arc::new(Numbers {
        user: column(setup, "user_column")?,
        domain: column(setup, "domain_column")?,
        short_user: column(setup, "sd_user_column")?,
        short_domain: column(setup, "sd_domain_column")?,
        address: column(setup, "new_uri_column")?,
        uses_domain: setup.int("use_domain") != 0,
        prefix: setup.text("domain_prefix"),
        database: database::open(setup, "db_url")?,
    }))
}

fn lookup(call: &mut Call<'_>) -> Outcome {
    let table = match TableName::new(&String::from_utf8_lossy(&call.text(0))) {
        Ok(table) => table,
        Err(error) => return Outcome::fail(format!("sd_lookup: {error}")),
    };
    let owner = match call.arg_count() {
        2 => Subject::of_uri(&call.text(1)),
        _ => Subject::named(call, b"From"),
    };
    let (owner, dialled) = match (owner, Subject::named(call, b"Request-URI")) {
        (Ok(owner), Ok(dialled)) => (owner, dialled),
        (Err(cause), _) | (_, Err(cause)) => return Outcome::fail(format!("sd_lookup: {cause}")),
    };
    let numbers = call.state::<Numbers>();
    let mut filter =
        vec![Condition::equal(&numbers.user, owner.user), Condition::equal(&numbers.short_user, dialled.user)];
    if numbers.uses_domain {
        let bare = |domain: &str| domain.strip_prefix(numbers.prefix.as_str()).unwrap_or(domain).to_owned();
        filter.push(Condition::equal_folded(&numbers.domain, bare(&owner.domain)));
        filter.push(Condition::equal_folded(&numbers.short_domain, bare(&dialled.domain)));
    }
    let select = Select { table, columns: vec![numbers.address.clone()], filter, order: Vec::new(), limit: 1 };
    let database = numbers.database.clone();
    Outcome::wait(async move { database.select(&select).await }, |call, found| match found {
        Ok(found) => match found.rows.first().and_then(|row| row[0].to_text()) {
            Some(address) if !address.is_empty() => {
                call.context.set_uri(Bytes::from(address));
                Outcome::TRUE
            }
            _ => Outcome::FALSE,
        },
        Err(error) => Outcome::fail(format!("sd_lookup: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, Tables};

    fn check(tables: &Tables, settings: &[(&str, i64)], arguments: &[&str], expected: (i64, &str)) {
        let mut bench = Bench::with_state(INVITE, tables.make(&MODULE, settings));
        bench.context.set_uri(Bytes::from_static(b"sip:22@example.com"));
        let code = bench.run_waiting(&MODULE, "sd_lookup", arguments, &tables.runtime);
        assert_eq!((code, bench.uri().as_str()), expected, "{arguments:?}");
    }

    #[test]
    fn a_short_number_becomes_the_address_that_its_owner_gave_it() {
        let tables = Tables::new();
        tables.sql(
            "INSERT INTO speed_dial (username, domain, sd_username, sd_domain, new_uri) VALUES \
             ('alice', 'example.com', '22', 'example.com', 'sip:+49301234@gw.example.com'), \
             ('carol', 'example.org', '22', 'example.com', 'sip:dora@example.org')",
        );
        check(&tables, &[], &["speed_dial"], (1, "sip:+49301234@gw.example.com"));
        check(&tables, &[("use_domain", 1)], &["speed_dial"], (1, "sip:+49301234@gw.example.com"));
        check(&tables, &[], &["speed_dial", "sip:carol@example.org"], (1, "sip:dora@example.org"));
        check(&tables, &[("use_domain", 1)], &["speed_dial", "sip:carol@example.com"], (-1, "sip:22@example.com"));
        check(&tables, &[], &["speed_dial; DROP TABLE speed_dial"], (-1, "sip:22@example.com"));
        check(&tables, &[], &["no_such_table"], (-1, "sip:22@example.com"));
    }
}
