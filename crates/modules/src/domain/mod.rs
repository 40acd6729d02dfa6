//! The domains that this server is responsible for, in a table that can change while it runs.

mod table;

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Answer, Call, Command, Data, Function, Module, Outcome, Param, ParamKind, Routes, Value};
use sip_message::Uri;

use table::Domains;

/// Domains that this server is responsible for.
pub static MODULE: Module = Module {
    name: "domain",
    doc: "Tells whether a domain is one of those in the database. They are kept in memory and read again every few \
          seconds, so that a domain that is added there counts without a restart.",
    parameters: &table::PARAMETERS,
    functions: &[IS_FROM_LOCAL, IS_URI_HOST_LOCAL, IS_DOMAIN_LOCAL, LOOKUP],
    commands: &[RELOAD, DUMP],
    make: table::make,
    ..Module::EMPTY
};

const IS_FROM_LOCAL: Function = Function {
    name: "is_from_local",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "True when the host of From is one of the domains.",
    example: "if (is_from_local()) route(OUTBOUND);",
    run: |call| {
        let message = Arc::clone(&call.context.message);
        match message.from().ok().and_then(|from| from.parsed_uri().ok()) {
            Some(uri) => call.state::<Domains>().has(uri.host_text).into(),
            None => Outcome::FALSE,
        }
    },
};

const IS_URI_HOST_LOCAL: Function = Function {
    name: "is_uri_host_local",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "True when the host of the Request-URI is one of the domains; in a failure route, that of the first branch.",
    example: "if (is_uri_host_local()) lookup(\"location\");",
    run: |call| {
        let branch = call.context.branches.first().filter(|_| call.context.kind == module_api::RouteKind::Failure);
        let uri = branch.map_or(&call.context.target.uri, |branch| &branch.uri).clone();
        match Uri::parse(&uri) {
            Ok(uri) => call.state::<Domains>().has(uri.host_text).into(),
            Err(_) => Outcome::FALSE,
        }
    },
};

const IS_DOMAIN_LOCAL: Function = Function {
    name: "is_domain_local",
    params: &[Param::required("domain", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when it is one of the domains.",
    example: "if (is_domain_local(\"$td\")) route(LOCAL);",
    run: |call| call.state::<Domains>().has(&call.text(0)).into(),
};

const LOOKUP: Function = Function {
    name: "lookup_domain",
    params: &[Param::required("domain", ParamKind::Format), Param::optional("prefix", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when it is one of the domains. Its identifier goes to $avp(did) and its attributes to the $avp of their \
          names, with the prefix in front of each.",
    example: "if (!lookup_domain(\"$fd\", \"from_\")) exit;",
    run: lookup,
};

fn lookup(call: &mut Call<'_>) -> Outcome {
    let (domain, prefix) = (call.text(0), call.text(1));
    let Some((did, attributes)) = call.state::<Domains>().attributes(&domain) else { return Outcome::FALSE };
    let mut set = |name: &str, value: Value| {
        let name = Bytes::from([&prefix[..], name.as_bytes()].concat());
        call.context.avps.push(name, value)
    };
    let mut is_room = set("did", Value::Str(did));
    for (name, value) in attributes.iter() {
        is_room &= set(name, value.clone());
    }
    if is_room { Outcome::TRUE } else { Outcome::fail("lookup_domain: too many attributes") }
}

const RELOAD: Command = Command {
    name: "domain.reload",
    doc: "Reads the domains again at once.",
    result: "Nothing.",
    example: "domain.reload",
    run: |call| {
        call.state::<Domains>().ask_for_reload();
        Answer::Now(Ok(Data::Null))
    },
    ..Command::EMPTY
};

const DUMP: Command = Command {
    name: "domain.dump",
    doc: "Lists the domains that count now.",
    result: "A list of names.",
    example: "domain.dump",
    run: |call| {
        let names = call.state::<Domains>().names();
        Answer::Now(Ok(Data::List(names.into_iter().map(Data::Str).collect())))
    },
    ..Command::EMPTY
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, Tables, text};

    fn tables() -> Tables {
        let tables = Tables::new();
        tables.sql("INSERT INTO domain (domain, did) VALUES ('Example.com', NULL), ('example.net', 'net')");
        tables.sql(
            "INSERT INTO domain_attrs (did, name, type, value) VALUES ('net', 'gw', 2, 'gw1'), ('net', 'max', 0, '5')",
        );
        tables
    }

    #[test]
    fn hosts_are_compared_with_the_table_without_regard_to_case() {
        let tables = tables();
        let mut bench = Bench::with_state(INVITE, tables.make(&MODULE, &[]));
        assert_eq!(bench.run(&MODULE, "is_from_local", &[]), 1);
        assert_eq!(bench.run(&MODULE, "is_uri_host_local", &[]), 1);
        bench.context.set_uri(Bytes::from_static(b"sip:bob@elsewhere.org"));
        assert_eq!(bench.run(&MODULE, "is_uri_host_local", &[]), -1);
        assert_eq!(bench.run(&MODULE, "is_domain_local", &["EXAMPLE.NET"]), 1);
        assert_eq!(bench.run(&MODULE, "is_domain_local", &["example.ne"]), -1);
    }

    #[test]
    fn a_domain_brings_its_attributes() {
        let tables = tables();
        let mut bench = Bench::with_state(INVITE, tables.make(&MODULE, &[]));
        assert_eq!(bench.run(&MODULE, "lookup_domain", &["example.net", "d_"]), 1);
        assert_eq!(bench.context.avps.first(b"d_did"), Some(&text("net")));
        assert_eq!(bench.context.avps.first(b"d_gw"), Some(&text("gw1")));
        assert_eq!(bench.context.avps.first(b"d_max"), Some(&Value::Int(5)));
        assert_eq!(bench.run(&MODULE, "lookup_domain", &["example.com"]), 1);
        assert_eq!(bench.context.avps.first(b"did"), Some(&text("Example.com")));
        assert_eq!(bench.run(&MODULE, "lookup_domain", &["example.org"]), -1);
    }

    #[test]
    fn a_domain_that_is_added_counts_after_a_reload() {
        let tables = tables();
        let state = tables.make(&MODULE, &[]);
        let mut bench = Bench::with_state(INVITE, Arc::clone(&state));
        assert_eq!(bench.run(&MODULE, "is_domain_local", &["new.example"]), -1);
        tables.sql("INSERT INTO domain (domain) VALUES ('new.example')");
        let domains: Arc<dyn std::any::Any + Send + Sync> = state as _;
        let domains: Arc<Domains> = domains.downcast().expect("it is the module's state");
        domains.ask_for_reload();
        tables.runtime.block_on(async {
            while !domains.has(b"new.example") {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(bench.run(&MODULE, "is_domain_local", &["new.example"]), 1);
    }
}
