//! Functions about registrations with other servers.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};
use sip_message::Uri;

use super::super::Settings;
use super::record::Record;
use super::{Registrations, send, text_of, wanted};

const UUID: &[Param] = &[Param::required("uuid", ParamKind::Format)];
const BY_COLUMN: &[Param] =
    &[Param::required("column", ParamKind::Format), Param::required("value", ParamKind::Format)];

pub(in super::super) const LOOKUP: Function = Function {
    name: "uac_reg_lookup",
    params: &[Param::required("uuid", ParamKind::Format), Param::required("variable", ParamKind::Output)],
    routes: Routes::ANY,
    doc: "Puts the local address of a registration into a variable: who is meant by a request to its Contact. False when there is \
          no such registration.",
    example: "if (uac_reg_lookup(\"$rU\", \"$ru\")) lookup(\"location\");",
    run: |call| {
        let uuid = text_of(&call.text(0));
        found(call, |registrations| registrations.find(&uuid))
    },
};

pub(in super::super) const LOOKUP_URI: Function = Function {
    name: "uac_reg_lookup_uri",
    params: &[Param::required("uri", ParamKind::Format), Param::required("variable", ParamKind::Output)],
    routes: Routes::ANY,
    doc: "As uac_reg_lookup(), for a URI of the remote user, with its domain where reg_use_domain is 1.",
    example: "if (uac_reg_lookup_uri(\"$tu\", \"$ru\")) lookup(\"location\");",
    run: |call| {
        let text = call.text(0);
        let Ok(uri) = Uri::parse(&text) else { return Outcome::FALSE };
        let (user, host) = (uri.user.unwrap_or_default(), uri.host_text);
        found(call, |registrations| {
            let fits = |record: &&Arc<Record>| {
                record.plan.remote_user.as_bytes() == user
                    && (!registrations.uses_domain || record.plan.remote_domain.as_bytes().eq_ignore_ascii_case(host))
            };
            registrations.all().values().find(fits).cloned()
        })
    },
};

fn found(call: &mut Call<'_>, find: impl Fn(&Registrations) -> Option<Arc<Record>>) -> Outcome {
    let record = match registrations(call) {
        Ok(registrations) => find(&registrations),
        Err(outcome) => return outcome,
    };
    let Some(record) = record else { return Outcome::FALSE };
    match call.write_output(1, Value::Str(Bytes::from(record.plan.local_uri()))) {
        Ok(()) => Outcome::TRUE,
        Err(fault) => Outcome::Fail(fault),
    }
}

pub(in super::super) const STATUS: Function = Function {
    name: "uac_reg_status",
    params: UUID,
    routes: Routes::ANY,
    doc: "How a registration stands: 1 when the peer knows us, -1 when there is no such registration, -2 while it is on its way, \
          -3 when it is disabled, -99 when it has failed.",
    example: "if (uac_reg_status(\"trunk1\") > 0) xlog(\"trunk1 is up\\n\");",
    run: |call| {
        let uuid = text_of(&call.text(0));
        let record = match registrations(call) {
            Ok(registrations) => registrations.find(&uuid),
            Err(outcome) => return outcome,
        };
        let Some(record) = record else { return Outcome::FALSE };
        let standing = record.standing();
        Outcome::Value(match () {
            () if standing.is_disabled => -3,
            () if standing.is_online(call.host.unix_time()) => 1,
            () if standing.is_ongoing || standing.failures == 0 => -2,
            () => -99,
        })
    },
};

pub(in super::super) const REQUEST_TO: Function = Function {
    name: "uac_reg_request_to",
    params: &[Param::required("user", ParamKind::Format), Param::required("mode", ParamKind::Int)],
    routes: Routes::REQUESTS,
    doc: "Sends the request to the peer of a registration: sets the Request-URI, the next hop, and the attributes that \
          uac_auth() takes credentials from. Mode 0 looks for the uuid, 1 for the local user; 2 more: the password is HA1.",
    example: "if (uac_reg_request_to(\"$fU\", 1)) { t_on_failure(\"TRUNK\"); t_relay(); }",
    run: request_to,
};

fn request_to(call: &mut Call<'_>) -> Outcome {
    let (user, mode) = (text_of(&call.text(0)), call.int(1).unwrap_or(0));
    let column = if mode & 1 == 0 { "l_uuid" } else { "l_username" };
    let record = match registrations(call) {
        Ok(registrations) => registrations.by_column(column, &user),
        Err(outcome) => return outcome,
    };
    let Some(record) = record else { return Outcome::FALSE };
    let settings = call.shared_state::<Settings>();
    let attributes = [&settings.user_attribute, &settings.realm_attribute, &settings.password_attribute];
    if attributes.iter().any(|name| name.is_empty()) {
        return Outcome::fail("uac_reg_request_to needs auth_username_avp, auth_realm_avp and auth_password_avp");
    }
    let plan = &record.plan;
    let called = Uri::parse(&call.context.target.uri).ok().and_then(|uri| uri.user.map(Bytes::copy_from_slice));
    let called = called.unwrap_or_else(|| Bytes::from(plan.remote_user.clone()));
    let uri = [b"sip:", &called[..], b"@", plan.remote_domain.as_bytes()].concat();
    call.context.set_uri(uri.into());
    call.context.set_destination((!plan.proxy.is_empty()).then(|| plan.proxy.clone().into()));
    let user = if plan.auth_user.is_empty() { &plan.remote_user } else { &plan.auth_user };
    let secret = if mode & 2 != 0 { &plan.ha1 } else { &plan.password };
    for (name, value) in attributes.into_iter().zip([user, &plan.realm, secret]) {
        call.context.avps.replace(name.clone(), Value::Str(Bytes::from(value.clone())));
    }
    Outcome::TRUE
}

pub(in super::super) const ENABLE: Function = Function {
    name: "uac_reg_enable",
    params: BY_COLUMN,
    routes: Routes::ANY,
    doc: "Lets a registration be made again: the one whose column (l_uuid, l_username, r_username or auth_username) has a value.",
    example: "uac_reg_enable(\"l_uuid\", \"trunk1\");",
    run: |call| by_column(call, |_, record, call| enable(record, call.host.unix_time())),
};

pub(in super::super) const DISABLE: Function = Function {
    name: "uac_reg_disable",
    params: BY_COLUMN,
    routes: Routes::ANY,
    doc: "Takes a registration back and makes it no more until uac_reg_enable().",
    example: "uac_reg_disable(\"l_uuid\", \"trunk1\");",
    run: |call| {
        by_column(call, |registrations, record, call| {
            record.standing().is_disabled = true;
            send(registrations, record, call.host, 0);
        })
    },
};

pub(in super::super) const SEND_REGISTER: Function = Function {
    name: "uac_reg_send_register",
    params: BY_COLUMN,
    routes: Routes::ANY,
    doc: "Registers now, whenever it is due.",
    example: "uac_reg_send_register(\"l_uuid\", \"trunk1\");",
    run: |call| {
        by_column(call, |registrations, record, call| {
            let wanted = wanted(record);
            send(registrations, record, call.host, wanted);
        })
    },
};

pub(in super::super) const SEND_UNREGISTER: Function = Function {
    name: "uac_reg_send_unregister",
    params: BY_COLUMN,
    routes: Routes::ANY,
    doc: "Takes a registration back from the peer; it is made again by uac_reg_send_register() or uac_reg_enable().",
    example: "uac_reg_send_unregister(\"l_uuid\", \"trunk1\");",
    run: |call| by_column(call, |registrations, record, call| send(registrations, record, call.host, 0)),
};

pub(in super::super) const REFRESH: Function = Function {
    name: "uac_reg_refresh",
    params: UUID,
    routes: Routes::ANY,
    doc: "Reads registrations from the database again and makes that one now. False when it is not there.",
    example: "uac_reg_refresh(\"trunk1\");",
    run: |call| {
        let registrations = match registrations(call) {
            Ok(registrations) => registrations,
            Err(outcome) => return outcome,
        };
        let (uuid, now) = (text_of(&call.text(0)), call.host.unix_time());
        let work = async move { registrations.reload(now).await.map(|_| registrations) };
        Outcome::wait(work, move |call, done| match done {
            Ok(registrations) => {
                let Some(record) = registrations.find(&uuid) else { return Outcome::FALSE };
                enable(&record, call.host.unix_time());
                Outcome::TRUE
            }
            Err(cause) => Outcome::fail(format!("uac_reg_refresh: {cause}")),
        })
    },
};

/// Has a registration made at the next look.
pub(super) fn enable(record: &Record, now: std::time::Duration) {
    let mut standing = record.standing();
    standing.is_disabled = false;
    standing.failures = 0;
    standing.due = now;
}

fn by_column(call: &mut Call<'_>, act: impl Fn(&Arc<Registrations>, &Arc<Record>, &mut Call<'_>)) -> Outcome {
    let registrations = match registrations(call) {
        Ok(registrations) => registrations,
        Err(outcome) => return outcome,
    };
    let (column, value) = (text_of(&call.text(0)), text_of(&call.text(1)));
    let Some(record) = registrations.by_column(&column, &value) else { return Outcome::FALSE };
    act(&registrations, &record, call);
    Outcome::TRUE
}

fn registrations(call: &Call<'_>) -> Result<Arc<Registrations>, Outcome> {
    let registrations = call.state::<Settings>().registrations.clone();
    registrations.ok_or_else(|| Outcome::fail("there are no registrations; set reg_db_url of module uac"))
}

#[cfg(test)]
mod tests {
    use super::super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, CommandBench, INVITE, Tables, text};

    const SETTINGS: [(&str, &str); 5] = [
        ("reg_contact_addr", "192.0.2.1:5060"),
        ("auth_username_avp", "$avp(au)"),
        ("auth_realm_avp", "$avp(ar)"),
        ("auth_password_avp", "$avp(ap)"),
        ("reg_retry_interval", "30"),
    ];

    fn world() -> (Tables, Bench) {
        let tables = Tables::new();
        tables.sql(
            "INSERT INTO uacreg (l_uuid, l_username, l_domain, r_username, r_domain, auth_username, auth_password, auth_proxy, \
             expires) VALUES ('t1', 'bob', 'here.example', '4930', 'peer.example', 'me', 'secret', 'sip:192.0.2.9', 600)",
        );
        let mut settings: Vec<(&str, Value)> = SETTINGS.iter().map(|(name, value)| (*name, text(value))).collect();
        settings.push(("reg_db_url", text(&tables.address())));
        let state = tables.make_with(&MODULE, &settings).expect("it starts");
        (tables, Bench::with_state(INVITE, state))
    }

    #[test]
    fn a_registration_leads_to_its_user_and_back() {
        let (_tables, mut bench) = world();
        bench.context.set_uri("sip:t1@192.0.2.1".into());
        let registrations = bench.state_of::<Settings>().registrations.clone().expect("there are some");
        assert_eq!(registrations.find("t1").expect("it is there").plan.local_uri(), "sip:bob@here.example");
        assert_eq!(bench.run(&MODULE, "uac_reg_status", &["t1"]), -2);
        assert_eq!(bench.run(&MODULE, "uac_reg_status", &["t2"]), -1);
        bench.context.set_uri("sip:0123@here".into());
        assert_eq!(bench.run(&MODULE, "uac_reg_request_to", &["bob", "1"]), 1);
        assert_eq!(bench.uri(), "sip:0123@peer.example");
        assert_eq!(bench.context.target.destination.as_deref(), Some(&b"sip:192.0.2.9"[..]));
        assert_eq!(bench.context.avps.first(b"ap"), Some(&text("secret")));
        assert_eq!(bench.run(&MODULE, "uac_reg_request_to", &["eve", "1"]), -1);
    }

    #[test]
    fn registrations_are_sent_and_taken_back() {
        let (_tables, mut bench) = world();
        assert_eq!(bench.run(&MODULE, "uac_reg_send_register", &["l_uuid", "t1"]), 1);
        assert_eq!(bench.host.done, ["request REGISTER sip:peer.example via sip:192.0.2.9"]);
        assert_eq!(bench.run(&MODULE, "uac_reg_status", &["t1"]), 1);
        assert_eq!(bench.run(&MODULE, "uac_reg_disable", &["r_username", "4930"]), 1);
        assert_eq!(bench.run(&MODULE, "uac_reg_status", &["t1"]), -3);
        assert_eq!(bench.run(&MODULE, "uac_reg_enable", &["l_uuid", "t1"]), 1);
        assert_eq!(bench.run(&MODULE, "uac_reg_enable", &["l_uuid", "t9"]), -1);
    }

    #[test]
    fn a_reload_keeps_what_is_known_of_registrations_that_stay() {
        let (tables, mut bench) = world();
        assert_eq!(bench.run(&MODULE, "uac_reg_send_register", &["l_uuid", "t1"]), 1);
        let commands = CommandBench::new(Arc::clone(&bench.state));
        tables.sql("INSERT INTO uacreg (l_uuid, r_username, r_domain) VALUES ('t2', 'x', 'y.example')");
        commands.run(MODULE.commands, "uac.reg_reload").expect("it can be read");
        assert_eq!(bench.run(&MODULE, "uac_reg_status", &["t1"]), 1);
        assert_eq!(bench.run(&MODULE, "uac_reg_status", &["t2"]), -2);
        tables.sql("UPDATE uacreg SET r_domain = '' WHERE l_uuid = 't2'");
        let error = commands.run(MODULE.commands, "uac.reg_reload").expect_err("a row is wrong");
        assert!(error.to_string().contains("r_domain is missing"), "{error}");
        assert_eq!(bench.run(&MODULE, "uac_reg_status", &["t2"]), -2);
        let shown = commands.run(MODULE.commands, "uac.reg_dump").expect("it is shown").to_text();
        assert!(shown.contains("t1") && shown.contains("t2") && !shown.contains("secret"), "{shown}");
    }
}
