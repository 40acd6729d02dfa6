//! Accounting by itself; with transactions it is tested over the simulated network and over real ones.

use std::sync::Arc;

use module_api::{Dialect, Happening, Replied, Setting, State, Value};

use super::MODULE;
use crate::testing::{Bench, INVITE, make, text};
use bytes::Bytes;
use module_api::{Call, Level};

fn state(settings: &[(&str, Value)], dialect: Dialect) -> Arc<dyn State> {
    let settings: Vec<Setting> =
        settings.iter().map(|(name, value)| Setting { name: (*name).into(), value: value.clone() }).collect();
    let pv = make(&crate::pv::MODULE, &[], dialect, &|_| None).expect("pv starts");
    let others = |name: &str| (name == "pv").then(|| Arc::clone(&pv));
    make(&MODULE, &settings, dialect, &others).expect("acc starts")
}

fn bench(settings: &[(&str, Value)], dialect: Dialect) -> Bench {
    let mut bench = Bench::with_state(INVITE, state(settings, dialect));
    bench.dialect = dialect;
    bench
}

fn happens(bench: &mut Bench, happening: &Happening<'_>) {
    let observe = MODULE.observe.expect("it watches");
    let (state, dialect) = (Arc::clone(&bench.state), bench.dialect);
    observe(&mut Call::new(&mut bench.context, &mut bench.host, &[], &state, dialect), happening);
}

fn replied(bench: &mut Bench, code: u16, reason: &str) {
    let to_tag = Bytes::from_static(b"callee");
    happens(bench, &Happening::Replied(Replied { code, reason: reason.as_bytes(), to_tag: &to_tag, reply: None }));
}

fn lines(bench: &Bench) -> Vec<&str> {
    bench.host.logged.iter().map(|(_, line)| line.as_str()).collect()
}

#[test]
fn an_answered_request_with_the_flag_gets_kamailios_line() {
    let settings = [("log_flag", Value::Int(1)), ("log_extra", text("src_user=$fU;ua=$ua"))];
    let mut bench = bench(&settings, Dialect::Kamailio);
    replied(&mut bench, 200, "OK");
    assert!(bench.host.logged.is_empty(), "it has no flag");
    bench.context.set_flag(1, true);
    replied(&mut bench, 180, "Ringing");
    replied(&mut bench, 200, "OK");
    let expected = "ACC: transaction answered: timestamp=1700000000;method=INVITE;from_tag=9fxced76sl;to_tag=callee;\
                    call_id=3848276298220188511@198.51.100.7;code=200;reason=OK;src_user=alice;ua=";
    assert_eq!(bench.host.logged, [(Level::Notice, expected.to_owned())]);
}

#[test]
fn sers_line_says_what_log_fmt_names() {
    let mut bench = bench(&[("log_flag", Value::Int(1)), ("log_fmt", text("mscip"))], Dialect::Ser);
    bench.context.set_flag(1, true);
    replied(&mut bench, 200, "OK");
    let expected = "ACC: transaction answered: method=INVITE, code=200, call_id=3848276298220188511@198.51.100.7, \
                    i-uri=sip:bob@example.com, user_part=alice";
    assert_eq!(lines(&bench), [expected]);
}

#[test]
fn failures_are_accounted_where_they_are_asked_for() {
    let mut bench =
        bench(&[("log_flag", Value::Int(1)), ("failed_transaction_flag", Value::Int(3))], Dialect::Kamailio);
    bench.context.set_flag(1, true);
    replied(&mut bench, 486, "Busy Here");
    assert!(bench.host.logged.is_empty());
    bench.context.set_flag(3, true);
    replied(&mut bench, 486, "Busy Here");
    assert!(lines(&bench)[0].contains("code=486;reason=Busy Here"));
}

#[test]
fn a_call_is_missed_once_for_each_time_that_the_flag_was_set() {
    let mut bench = bench(&[("log_missed_flag", Value::Int(2))], Dialect::Kamailio);
    bench.context.set_flag(2, true);
    let failed = Happening::Failed { code: 408, reply: None };
    happens(&mut bench, &failed);
    happens(&mut bench, &failed);
    assert_eq!(lines(&bench).len(), 1);
    assert!(lines(&bench)[0].starts_with("ACC: call missed: "), "{}", lines(&bench)[0]);
    bench.context.set_flag(2, true);
    happens(&mut bench, &failed);
    assert_eq!(lines(&bench).len(), 2);
}

// RFC 3326 section 2.
#[test]
fn a_call_that_was_answered_elsewhere_is_not_missed() {
    let mut bench = bench(&[("log_missed_flag", Value::Int(2))], Dialect::Kamailio);
    let invite = bench.context.message.clone();
    let cancel = |reason: &str| {
        let text = crate::testing::INVITE
            .replacen("INVITE sip", "CANCEL sip", 1)
            .replacen("314159 INVITE", "314159 CANCEL", 1)
            .replacen("Subject", &format!("Reason: {reason}\r\nSubject"), 1);
        Bench::new(&text).context.message.clone()
    };
    for (reason, count) in [("SIP;cause=200;text=\"Call completed elsewhere\"", 0), ("SIP ;cause=487", 1)] {
        bench.host.logged.clear();
        bench.context.message = cancel(reason);
        replied(&mut bench, 200, "canceling");
        bench.context.message = invite.clone();
        bench.context.set_flag(2, true);
        happens(&mut bench, &Happening::Failed { code: 487, reply: None });
        assert_eq!(bench.host.logged.len(), count, "{reason}");
    }
}

#[test]
fn flag_0_means_none_in_ser_and_flag_0_in_kamailio() {
    for (dialect, count) in [(Dialect::Ser, 0), (Dialect::Kamailio, 1)] {
        let mut bench = bench(&[("log_flag", Value::Int(0))], dialect);
        bench.context.set_flag(0, true);
        replied(&mut bench, 200, "OK");
        assert_eq!(bench.host.logged.len(), count);
    }
}

#[test]
fn a_value_cannot_begin_a_line_of_its_own() {
    let mut bench = bench(&[("log_flag", Value::Int(1))], Dialect::Kamailio);
    bench.context.set_flag(1, true);
    replied(&mut bench, 200, "OK\r\nACC: transaction answered: forged");
    assert!(!lines(&bench)[0].contains(['\r', '\n']));
}

#[test]
fn the_script_asks_for_a_record_with_a_comment() {
    let mut bench = bench(&[], Dialect::Kamailio);
    assert_eq!(bench.run(&MODULE, "acc_log_request", &["403 Not allowed"]), 1);
    assert!(lines(&bench)[0].starts_with("ACC: request accounted: "), "{}", lines(&bench)[0]);
    assert!(lines(&bench)[0].ends_with("code=403;reason=Not allowed"), "{}", lines(&bench)[0]);
    assert_eq!(bench.run(&MODULE, "acc_db_request", &["403 Not allowed", "acc"]), -1, "there is no database");
}

#[test]
fn a_setting_that_names_no_variable_is_refused_with_the_reason() {
    let bad = [("log_extra", "x=$nothing"), ("log_extra", "x"), ("log_fmt", "mz"), ("db_extra", "a b=$fu")];
    for (name, value) in bad {
        let pv = make(&crate::pv::MODULE, &[], Dialect::Kamailio, &|_| None).expect("pv starts");
        let others = |name: &str| (name == "pv").then(|| Arc::clone(&pv));
        let setting = Setting { name: name.into(), value: text(value) };
        assert!(make(&MODULE, &[setting], Dialect::Kamailio, &others).is_err(), "{name}={value}");
    }
}
