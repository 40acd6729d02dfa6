//! Verifying credentials against the table of subscribers.

mod rows;
mod subscribers;

use bytes::Bytes;
use module_api::{Call, Dialect, Function, Module, Outcome, Param, ParamKind, Routes, Value};
use sip_message::{Method, Uri, unescape};
use store::Credentials;

use crate::auth::{Check, Claim, Kind, away, outcome};
use rows::Key;
use subscribers::{Subscribers, with_row};

/// Verifies credentials against the subscribers in the database.
pub static MODULE: Module = Module {
    name: "auth_db",
    doc: "Verifies credentials against the subscribers in the database.",
    parameters: &subscribers::PARAMETERS,
    functions: &[
        WWW,
        crate::also("www_authenticate", WWW),
        crate::also("authorize", WWW),
        PROXY,
        crate::also("proxy_authenticate", PROXY),
        CHECK,
        IS_SUBSCRIBER,
    ],
    make: subscribers::make,
    ..Module::EMPTY
};

const PARAMS: &[Param] = &[
    Param::required("realm", ParamKind::Format),
    Param::required("table", ParamKind::Str),
    Param::optional("method", ParamKind::Format),
];

const WWW: Function = Function {
    name: "www_authorize",
    params: PARAMS,
    routes: Routes::REQUEST,
    doc: "Verifies the Authorization header against table \"subscriber\". An empty realm means the domain of From \
          (REGISTER: of To). True when the password is right. Else -2 for a wrong password or an unknown user (nothing \
          tells which), -4 for an old nonce, -5 without credentials for the realm, -1 when the database does not answer, \
          after which a challenge replies 503; in SER scripts -1, and the last sends a 503 and ends the script. A \
          third argument stands in for the request's method.",
    example: "if (!www_authorize(\"example.com\", \"subscriber\")) { www_challenge(\"example.com\", \"1\"); exit; }",
    run: |call| {
        let method = call.text(2);
        authorize(call, Kind::Www, Demand { method, sender: false })
    },
};

const PROXY: Function = Function {
    name: "proxy_authorize",
    params: PARAMS,
    routes: Routes::REQUEST,
    doc: "As www_authorize(), with the Proxy-Authorization header.",
    example: "if (!proxy_authorize(\"\", \"subscriber\")) { proxy_challenge(\"\", \"1\"); exit; }",
    run: |call| {
        let method = call.text(2);
        authorize(call, Kind::Proxy, Demand { method, sender: false })
    },
};

const CHECK: Function = Function {
    name: "auth_check",
    params: &[
        Param::required("realm", ParamKind::Format),
        Param::required("table", ParamKind::Str),
        Param::required("flags", ParamKind::Str),
    ],
    routes: Routes::REQUEST,
    doc: "As www_authorize() for REGISTER and proxy_authorize() for everything else. With flag 1 the user must be that of \
          From (REGISTER: of To), else -8.",
    example: "if (!auth_check(\"$fd\", \"subscriber\", \"1\")) { auth_challenge(\"$fd\", \"0\"); exit; }",
    run: |call| {
        let kind = Kind::of(&call.context.message);
        let sender = Value::Str(call.text(2)).to_int() & 1 != 0;
        authorize(call, kind, Demand { method: Bytes::new(), sender })
    },
};

const IS_SUBSCRIBER: Function = Function {
    name: "is_subscriber",
    params: &[
        Param::required("uri", ParamKind::Format),
        Param::required("table", ParamKind::Str),
        Param::required("flags", ParamKind::Str),
    ],
    routes: Routes::ANY,
    doc: "True when the URI is that of a subscriber. Without flag 1 its domain does not matter.",
    example: "if (!is_subscriber(\"$ru\", \"subscriber\", \"1\")) send_reply(\"404\", \"Not Found\");",
    run: is_subscriber,
};

/// What must hold besides the password.
struct Demand {
    /// In place of the request's method; empty: none.
    method: Bytes,
    /// Whether the user must be the sender.
    sender: bool,
}

fn authorize(call: &mut Call<'_>, kind: Kind, demand: Demand) -> Outcome {
    // Neither can be challenged (RFC 3261 section 22.1), so both pass as their INVITE did.
    if matches!(call.context.message.method(), Method::Ack | Method::Cancel) {
        return Outcome::TRUE;
    }
    if !is_the_table(&call.text(1)) {
        return no_such_table();
    }
    let subscribers = call.state::<Subscribers>();
    let realm = subscribers.auth.realm(&call.context.message, &call.text(0));
    let claim = Claim::find(&call.context.message, kind, realm.as_bytes());
    let Some((claim, (user, domain))) = claim.and_then(|claim| claim.user().map(|user| (claim, user))) else {
        return answer(call, Check::Missing);
    };
    // eve@elsewhere must not pass for eve of this realm, whatever her password is there.
    if domain.is_some_and(|domain| !domain.eq_ignore_ascii_case(&realm)) {
        return judge(call, &claim, None, &demand);
    }
    let key = Key { user, domain: realm, is_strict: subscribers.uses_domain };
    with_row(call, key, move |call, row| match row {
        Ok(row) => judge(call, &claim, row.as_deref(), &demand),
        Err(error) => away(call, error.to_string()),
    })
}

fn is_subscriber(call: &mut Call<'_>) -> Outcome {
    if !is_the_table(&call.text(1)) {
        return no_such_table();
    }
    let text = call.text(0);
    let Ok(uri) = Uri::parse(&text) else { return Outcome::FALSE };
    let Some(user) = uri.user else { return Outcome::FALSE };
    let key = Key {
        user: String::from_utf8_lossy(&unescape(user)).into_owned(),
        domain: String::from_utf8_lossy(uri.host_text).into_owned(),
        is_strict: Value::Str(call.text(2)).to_int() & 1 != 0,
    };
    with_row(call, key, |_, row| match row {
        Ok(row) => row.is_some().into(),
        Err(error) => Outcome::fail(error.to_string()),
    })
}

fn is_the_table(name: &[u8]) -> bool {
    name == b"subscriber"
}

fn no_such_table() -> Outcome {
    Outcome::fail("subscribers are kept in table \"subscriber\" and no other")
}

fn judge(call: &mut Call<'_>, claim: &Claim, row: Option<&Credentials>, demand: &Demand) -> Outcome {
    let subscribers = call.state::<Subscribers>();
    let ha1 = subscribers.ha1(row, claim);
    let check = claim.judge(call, &subscribers.auth, &demand.method, ha1.as_deref());
    let is_other = check == Check::Accepted && demand.sender && !claim.is_of_sender(&call.context.message);
    answer(call, if is_other { Check::OtherUser } else { check })
}

fn answer(call: &Call<'_>, check: Check) -> Outcome {
    match (call.dialect(), check) {
        (Dialect::Kamailio, check) => outcome(check),
        (Dialect::Ser, check) => (check == Check::Accepted).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use module_api::Setting;
    use store::Store;
    use tokio::runtime::{Builder, Runtime};

    use super::rows::Rows;
    use super::*;
    use crate::auth::Authentication;
    use crate::testing::{Bench, INVITE, make, signed, text};

    const ARGS: [&str; 3] = ["", "subscriber", "1"];

    /// A runtime, and a database that knows Alice.
    struct World {
        runtime: Runtime,
        store: Store,
        auth: Arc<Authentication>,
    }

    impl World {
        fn new() -> World {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let store = runtime.block_on(async {
                let store = Store::open(":memory:").await.unwrap();
                store.add_subscriber("alice", "example.com", "secret").await.unwrap();
                store
            });
            let auth = make(&crate::auth::MODULE, &[], Dialect::Kamailio, &|_| None).unwrap();
            let auth: Arc<dyn std::any::Any + Send + Sync> = auth;
            World { runtime, store, auth: auth.downcast().unwrap() }
        }

        fn subscribers(&self, lifetime: Duration) -> Subscribers {
            Subscribers {
                auth: Arc::clone(&self.auth),
                store: self.store.clone(),
                uses_domain: true,
                prefers_password: false,
                rows: Rows::new(lifetime),
            }
        }

        /// An INVITE that a user signed.
        fn bench(&self, user: &str, password: &str, subscribers: Subscribers) -> Bench {
            let line = signed("Proxy-Authorization", user, password, "INVITE", &self.auth.nonces);
            Bench::with_state(&INVITE.replace("Subject", &format!("{line}Subject")), Arc::new(subscribers))
        }
    }

    fn check(user: &str, password: &str, code: i64) {
        let world = World::new();
        let mut bench = world.bench(user, password, world.subscribers(Duration::from_secs(10)));
        assert_eq!(bench.run_waiting(&MODULE, "auth_check", &ARGS, &world.runtime), code, "{user} {password}");
        // The second time nothing is read.
        assert_eq!(bench.run(&MODULE, "auth_check", &ARGS), code, "{user} {password}");
    }

    #[test]
    fn the_right_password_is_accepted() {
        check("alice", "secret", 1);
        check("alice@example.com", "secret", 1);
        check("alice@elsewhere.org", "secret", -2);
    }

    #[test]
    fn an_unknown_user_and_a_wrong_password_look_the_same() {
        check("alice", "guess", -2);
        check("mallory", "guess", -2);
        check(&"m".repeat(300), "guess", -2);
    }

    #[test]
    fn who_was_known_before_gets_in_while_the_database_is_away() {
        let world = World::new();
        let mut bench = world.bench("alice", "secret", world.subscribers(Duration::ZERO));
        assert_eq!(bench.run_waiting(&MODULE, "auth_check", &ARGS, &world.runtime), 1);
        world.runtime.block_on(world.store.close());
        assert_eq!(bench.run_waiting(&MODULE, "auth_check", &ARGS, &world.runtime), 1);
        assert_eq!(bench.host.logged.len(), 1);
        // Known to be away now: nobody waits for it again so soon.
        assert_eq!(bench.run(&MODULE, "auth_check", &ARGS), 1);
    }

    #[test]
    fn who_was_not_known_is_neither_let_in_nor_told_to_be_wrong() {
        let world = World::new();
        world.runtime.block_on(world.store.close());
        let mut bench = world.bench("alice", "secret", world.subscribers(Duration::ZERO));
        assert_eq!(bench.run_waiting(&MODULE, "auth_check", &ARGS, &world.runtime), -1);
        assert!(bench.context.note::<crate::auth::DatabaseAway>().is_some());
        let mut bench = world.bench("alice", "secret", world.subscribers(Duration::ZERO));
        bench.dialect = Dialect::Ser;
        assert_eq!(bench.run_waiting(&MODULE, "proxy_authorize", &ARGS[..2], &world.runtime), 0);
        assert_eq!(bench.host.done, ["stateless 503 Service Unavailable Retry-After: 10|"]);
    }

    #[test]
    fn without_domains_the_realm_is_preferred_and_any_will_do() {
        let world = World::new();
        world.runtime.block_on(async {
            for domain in ["first.example", "third.example"] {
                world.store.add_subscriber("bob", domain, "secret").await.unwrap();
            }
        });
        let check = |uri: &str, flags: &str, code: i64| {
            let mut bench = world.bench("alice", "secret", world.subscribers(Duration::ZERO));
            let args = [uri, "subscriber", flags];
            assert_eq!(bench.run_waiting(&MODULE, "is_subscriber", &args, &world.runtime), code, "{uri} {flags}");
        };
        check("sip:bob@third.example", "1", 1);
        check("sip:bob@second.example", "1", -1);
        check("sip:bob@second.example", "0", 1);
        check("sip:%62ob@first.example", "1", 1);
        check("sip:carol@first.example", "0", -1);
    }

    #[test]
    fn a_column_that_is_not_read_keeps_the_server_from_starting() {
        let auth = make(&crate::auth::MODULE, &[], Dialect::Kamailio, &|_| None).unwrap();
        let others = |name: &str| (name == "auth").then(|| Arc::clone(&auth));
        let why = |name: &str, value: &str| {
            let settings = [Setting { name: name.into(), value: text(value) }];
            make(&MODULE, &settings, Dialect::Kamailio, &others).err().map(|error| error.to_string())
        };
        assert_eq!(
            why("user_column", "uid").as_deref(),
            Some("parameter \"user_column\": the column is `username`, not `uid`; remove the line")
        );
        assert!(why("password_column", "password").is_some());
        assert!(why("load_credentials", "rpid").is_some());
    }
}
