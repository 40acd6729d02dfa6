//! Verifying against a password that the script has.

use module_api::{Call, Function, Param, ParamKind, Routes, Value};
use sip_message::Method;

use super::credentials::{Check, Claim, Kind, outcome};
use super::settings::Authentication;

const PARAMS: &[Param] = &[
    Param::required("realm", ParamKind::Format),
    Param::required("password", ParamKind::Format),
    Param::required("flags", ParamKind::Str),
    Param::optional("method", ParamKind::Format),
];

pub(super) const WWW: Function = Function {
    name: "pv_www_authenticate",
    params: PARAMS,
    routes: Routes::REQUEST,
    doc: "Verifies the Authorization header against a password; with flag 1 the password is an HA1. 1 when it is right, \
          -2 wrong, -4 right with an old nonce, -5 not there. A fourth argument stands in for the request's method.",
    example: "if (!pv_www_authenticate(\"example.com\", \"$var(password)\", \"0\")) www_challenge(\"example.com\", \"1\");",
    run: |call| {
        let method = call.text(3);
        outcome(check(call, Kind::Www, &method))
    },
};

pub(super) const PROXY: Function = Function {
    name: "pv_proxy_authenticate",
    params: PARAMS,
    routes: Routes::REQUEST,
    doc: "As pv_www_authenticate(), with the Proxy-Authorization header.",
    example: "if (!pv_proxy_authenticate(\"example.com\", \"$var(password)\", \"0\")) proxy_challenge(\"example.com\", \"1\");",
    run: |call| {
        let method = call.text(3);
        outcome(check(call, Kind::Proxy, &method))
    },
};

pub(super) const CHECK: Function = Function {
    name: "pv_auth_check",
    params: &[
        Param::required("realm", ParamKind::Format),
        Param::required("password", ParamKind::Format),
        Param::required("flags", ParamKind::Str),
        Param::required("checks", ParamKind::Str),
    ],
    routes: Routes::REQUEST,
    doc: "As pv_www_authenticate() for REGISTER and pv_proxy_authenticate() for everything else. With check 1 the user \
          must be that of From (REGISTER: of To), else -8.",
    example: "if (!pv_auth_check(\"$fd\", \"$var(password)\", \"0\", \"1\")) auth_challenge(\"$fd\", \"1\");",
    run: |call| {
        let kind = Kind::of(&call.context.message);
        let check = check(call, kind, b"");
        let wants_sender = Value::Str(call.text(3)).to_int() & 1 != 0;
        if check == Check::Accepted && wants_sender && !is_of_sender(call, kind) {
            return outcome(Check::OtherUser);
        }
        outcome(check)
    },
};

const IS_HA1: i64 = 1;

fn check(call: &mut Call<'_>, kind: Kind, method: &[u8]) -> Check {
    if matches!(call.context.message.method(), Method::Ack | Method::Cancel) {
        return Check::Accepted;
    }
    let Some(claim) = claim(call, kind) else { return Check::Missing };
    let password = String::from_utf8_lossy(&call.text(1)).into_owned();
    let is_ha1 = Value::Str(call.text(2)).to_int() & IS_HA1 != 0;
    let ha1 = if is_ha1 { Some(password) } else { claim.ha1_of(&password) };
    let auth = call.state::<Authentication>();
    claim.judge(call, auth, method, ha1.as_deref())
}

fn claim(call: &Call<'_>, kind: Kind) -> Option<Claim> {
    let realm = call.state::<Authentication>().realm(&call.context.message, &call.text(0));
    Claim::find(&call.context.message, kind, realm.as_bytes())
}

fn is_of_sender(call: &Call<'_>, kind: Kind) -> bool {
    // An ACK or CANCEL brings none and was let through.
    claim(call, kind).is_none_or(|claim| claim.is_of_sender(&call.context.message))
}

#[cfg(test)]
mod tests {
    use super::super::{Authentication, MODULE};
    use crate::testing::{Bench, INVITE, make, signed};
    use module_api::{Dialect, Setting, State, Value};
    use std::sync::Arc;

    fn state() -> Arc<dyn State> {
        make(&MODULE, &[], Dialect::Kamailio, &|_| None).unwrap()
    }

    fn bench(user: &str, password: &str, state: &Arc<dyn State>) -> Bench {
        let any: Arc<dyn std::any::Any + Send + Sync> = state.clone();
        let nonces = &any.downcast_ref::<Authentication>().unwrap().nonces;
        let line = signed("Proxy-Authorization", user, password, "INVITE", nonces);
        Bench::with_state(&INVITE.replace("Subject", &format!("{line}Subject")), state.clone())
    }

    #[test]
    fn a_password_is_right_or_wrong() {
        let state = state();
        let args = ["example.com", "secret", "0"];
        assert_eq!(bench("alice", "secret", &state).run(&MODULE, "pv_proxy_authenticate", &args), 1);
        assert_eq!(bench("alice", "guess", &state).run(&MODULE, "pv_proxy_authenticate", &args), -2);
        assert_eq!(bench("alice", "secret", &state).run(&MODULE, "pv_www_authenticate", &args), -5);
    }

    #[test]
    fn the_user_must_be_the_sender_where_that_is_asked() {
        let state = state();
        let args = ["", "secret", "0", "1"];
        assert_eq!(bench("alice", "secret", &state).run(&MODULE, "pv_auth_check", &args), 1);
        assert_eq!(bench("eve", "secret", &state).run(&MODULE, "pv_auth_check", &args), -8);
    }

    #[test]
    fn a_nonce_that_is_good_once_is_stale_for_the_next_request_and_not_for_the_next_question() {
        let settings = [Setting { name: "one_time_nonce".into(), value: Value::Int(1) }];
        let state = make(&MODULE, &settings, Dialect::Kamailio, &|_| None).unwrap();
        let args = ["example.com", "secret", "0"];
        let mut first = bench("alice", "secret", &state);
        assert_eq!(first.run(&MODULE, "pv_proxy_authenticate", &args), 1);
        assert_eq!(first.run(&MODULE, "pv_proxy_authenticate", &args), 1);
        assert_eq!(bench("alice", "secret", &state).run(&MODULE, "pv_proxy_authenticate", &args), -4);
        assert_eq!(bench("alice", "guess", &state).run(&MODULE, "pv_proxy_authenticate", &args), -2);
    }

    #[test]
    fn verified_credentials_can_be_taken_off() {
        let state = state();
        let mut bench = bench("alice", "secret", &state);
        assert_eq!(bench.run(&MODULE, "consume_credentials", &[]), -1);
        bench.run(&MODULE, "pv_proxy_authenticate", &["example.com", "secret", "0"]);
        assert_eq!(bench.run(&MODULE, "consume_credentials", &[]), 1);
        assert!(!bench.written().contains("Proxy-Authorization"));
    }

    #[test]
    fn whoever_was_verified_is_who_the_script_is_told() {
        let state = state();
        let mut bench = bench("eve", "secret", &state);
        // Credentials that nobody verifies, of somebody else and in front; the second is two things to two parsers.
        let decoys = "Authorization: Digest username=\"alice\", realm=\"other.example\", nonce=\"n\", uri=\"u\", response=\"r\"\r\n\
             Proxy-Authorization: Digest x=a\", y=\", username=alice, z=\"";
        let text = String::from_utf8_lossy(bench.context.message.bytes()).into_owned();
        let text = text.replace("Proxy-Authorization: Digest username", &format!("{decoys}, username"));
        bench = Bench::with_state(&text, state);
        assert_eq!(bench.read(&crate::pv::MODULE, "au", None), crate::testing::text("alice"));
        assert_eq!(bench.run(&MODULE, "pv_proxy_authenticate", &["example.com", "secret", "0"]), 1);
        assert_eq!(bench.read(&crate::pv::MODULE, "au", None), crate::testing::text("eve"));
        assert_eq!(bench.read(&crate::pv::MODULE, "ar", None), crate::testing::text("example.com"));
    }
}
