//! Asking for credentials.

use module_api::{Call, Dialect, Function, Outcome, Param, ParamKind, Reply, Routes, Value};
use sip_message::Method;
use sip_proto::digest::{Algorithm, Challenge};

use super::credentials::{DatabaseAway, Kind, WasStale, respond};
use super::settings::{Authentication, algorithms};

const PARAMS: &[Param] = &[
    Param::required("realm", ParamKind::Format),
    Param::required("flags", ParamKind::Str),
    Param::optional("algorithms", ParamKind::Str),
];
const WHERE: Routes = Routes::REQUEST.or(Routes::FAILURE);

pub(super) const WWW: Function = Function {
    name: "www_challenge",
    params: PARAMS,
    routes: WHERE,
    doc: "Replies 401 with a digest challenge, as a registrar does. An empty realm means the domain of From (REGISTER: \
          of To). Flags add up: 1 and 2 offer qop=auth, 16 says that only the nonce was old. Ends a SER script; in \
          Kamailio's it is true and the script must end itself. After the database could not be asked it replies 503 \
          (with flag 4: is false), so that no phone takes its password for wrong.",
    example: "if (!www_authorize(\"example.com\", \"subscriber\")) { www_challenge(\"example.com\", \"1\"); exit; }",
    run: |call| challenge(call, Kind::Www),
};

pub(super) const PROXY: Function = Function {
    name: "proxy_challenge",
    params: PARAMS,
    routes: WHERE,
    doc: "As www_challenge(), with 407, as a proxy does.",
    example: "if (!proxy_authorize(\"example.com\", \"subscriber\")) { proxy_challenge(\"example.com\", \"1\"); exit; }",
    run: |call| challenge(call, Kind::Proxy),
};

pub(super) const AUTO: Function = Function {
    name: "auth_challenge",
    params: PARAMS,
    routes: WHERE,
    doc: "As www_challenge() for REGISTER, as proxy_challenge() for everything else.",
    example: "if (!auth_check(\"$fd\", \"subscriber\", \"1\")) { auth_challenge(\"$fd\", \"0\"); exit; }",
    run: |call| {
        let kind = Kind::of(&call.context.message);
        challenge(call, kind)
    },
};

pub(super) const HEADER: Function = Function {
    name: "auth_get_www_authenticate",
    params: &[
        Param::required("realm", ParamKind::Format),
        Param::required("flags", ParamKind::Str),
        Param::required("variable", ParamKind::Output),
    ],
    routes: WHERE,
    doc: "Puts the header that www_challenge() would send into a variable.",
    example: "auth_get_www_authenticate(\"$fd\", \"1\", \"$var(header)\");",
    run: |call| {
        let Some(lines) = lines(call, Kind::Www, b"") else { return Outcome::FALSE };
        match call.write_output(2, Value::Str(lines.into())) {
            Ok(()) => Outcome::TRUE,
            Err(fault) => Outcome::Fail(fault),
        }
    },
};

pub(super) const ALGORITHM: Function = Function {
    name: "auth_algorithm",
    params: &[Param::required("algorithms", ParamKind::Format)],
    routes: WHERE,
    doc: "Sets the algorithms of this request's challenges, most preferred first. False when one is unknown.",
    example: "auth_algorithm(\"SHA-256\");",
    run: |call| match algorithms(&call.text(0)) {
        Some(named) => {
            call.context.set_note(Named(named));
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    },
};

/// The algorithms that `auth_algorithm()` named.
struct Named(Vec<Algorithm>);

/// `auth` or `auth-int`: what is offered is `auth`, which every client that knows the other knows too.
const OFFERS_QOP: i64 = 1 | 2;
const IS_SILENT_ON_ERROR: i64 = 4;
const IS_STALE: i64 = 16;

fn challenge(call: &mut Call<'_>, kind: Kind) -> Outcome {
    // An ACK gets no reply and a CANCEL cannot be sent again with credentials (RFC 3261 section 22.1).
    if matches!(call.context.message.method(), Method::Ack | Method::Cancel) {
        return Outcome::FALSE;
    }
    let flags = Value::Str(call.text(1)).to_int();
    let is_away = call.context.note::<DatabaseAway>().is_some();
    let sent = match (is_away, flags & IS_SILENT_ON_ERROR != 0) {
        (true, true) => Outcome::FALSE,
        (true, false) => DatabaseAway::reply(call),
        (false, _) => {
            let named = call.text(2);
            let Some(lines) = lines(call, kind, &named) else {
                return Outcome::fail("the algorithm is none of MD5, SHA-256 and SHA-512-256");
            };
            let (code, reason) = kind.refusal();
            respond(call, &Reply { code, reason: reason.as_bytes(), headers: lines.as_bytes() })
        }
    };
    if call.dialect() == Dialect::Ser { Outcome::Value(0) } else { sent }
}

/// One header line per algorithm (RFC 8760 section 2.4). None when `named` has one that is unknown.
fn lines(call: &mut Call<'_>, kind: Kind, named: &[u8]) -> Option<String> {
    let auth = call.state::<Authentication>();
    let realm = auth.realm(&call.context.message, &call.text(0));
    let flags = Value::Str(call.text(1)).to_int();
    let algorithms = match (named.is_empty(), call.context.note::<Named>()) {
        (false, _) => algorithms(named)?,
        (true, Some(Named(noted))) => noted.clone(),
        (true, None) => auth.algorithms.clone(),
    };
    let is_stale = flags & IS_STALE != 0 || call.context.note::<WasStale>().is_some();
    let mut lines = String::new();
    for algorithm in algorithms {
        let random = call.host.random();
        let nonce = auth.nonces.issue(&realm, call.host.unix_time(), random);
        let offers_qop = flags & OFFERS_QOP != 0 || algorithm != Algorithm::Md5;
        let challenge = Challenge { realm: &realm, nonce: &nonce, algorithm, is_stale, offers_qop };
        lines.push_str(&format!("{}: {}\r\n", kind.challenge_header(), challenge.to_value()));
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, make, text};
    use module_api::{Dialect, Setting};

    fn bench(text_of: &str, settings: &[Setting]) -> Bench {
        Bench::with_state(text_of, make(&MODULE, settings, Dialect::Kamailio, &|_| None).unwrap())
    }

    #[test]
    fn a_challenge_names_realm_nonce_and_algorithm() {
        let mut bench = bench(INVITE, &[]);
        assert_eq!(bench.run(&MODULE, "proxy_challenge", &["", "1"]), 1);
        let sent = &bench.host.done[0];
        assert!(
            sent.starts_with(
                "stateless 407 Proxy Authentication Required Proxy-Authenticate: Digest realm=\"example.com\", nonce=\""
            ),
            "{sent}"
        );
        assert!(sent.ends_with("qop=\"auth\", algorithm=MD5|"), "{sent}");
    }

    #[test]
    fn each_algorithm_has_a_header_of_its_own() {
        let setting = Setting { name: "algorithm".into(), value: text("SHA-256, MD5") };
        let mut bench = bench(INVITE, &[setting]);
        bench.run(&MODULE, "www_challenge", &["r", "0"]);
        let sent = &bench.host.done[0];
        assert_eq!(sent.matches("WWW-Authenticate").count(), 2, "{sent}");
        assert!(sent.find("SHA-256").unwrap() < sent.find("MD5").unwrap(), "{sent}");
    }

    #[test]
    fn a_ser_script_ends_and_an_ack_is_not_challenged() {
        let mut one = bench(INVITE, &[]);
        one.dialect = Dialect::Ser;
        assert_eq!(one.run(&MODULE, "www_challenge", &["r", "0"]), 0);
        let mut one = bench(&INVITE.replace("INVITE", "ACK"), &[]);
        assert_eq!(one.run(&MODULE, "www_challenge", &["r", "0"]), -1);
        assert!(one.host.done.is_empty());
    }

    #[test]
    fn the_kind_follows_the_method() {
        let mut one = bench(&INVITE.replace("INVITE", "REGISTER"), &[]);
        one.run(&MODULE, "auth_challenge", &["r", "0"]);
        assert!(one.host.done[0].contains(" 401 "));
    }

    #[test]
    fn an_algorithm_can_be_named_for_one_request() {
        let mut one = bench(INVITE, &[]);
        assert_eq!(one.run(&MODULE, "auth_algorithm", &["SHA-256"]), 1);
        assert_eq!(one.run(&MODULE, "auth_algorithm", &["ROT13"]), -1);
        one.run(&MODULE, "www_challenge", &["r", "0"]);
        assert!(one.host.done[0].contains("algorithm=SHA-256"), "{}", one.host.done[0]);
        assert_eq!(one.run(&MODULE, "www_challenge", &["r", "0", "ROT13"]), -1);
        assert_eq!(one.host.done.len(), 1);
    }

    #[test]
    fn a_prefix_is_taken_off_the_realm() {
        let setting = Setting { name: "realm_prefix".into(), value: text("sip.") };
        let mut one = bench(&INVITE.replace("sip:alice@example.com", "sip:alice@SIP.example.com"), &[setting]);
        one.run(&MODULE, "www_challenge", &["", "1"]);
        assert!(one.host.done[0].contains("realm=\"example.com\""), "{}", one.host.done[0]);
    }

    #[test]
    fn after_the_database_could_not_be_asked_nobody_is_challenged() {
        let mut one = bench(INVITE, &[]);
        one.context.set_note(super::DatabaseAway);
        assert_eq!(one.run(&MODULE, "www_challenge", &["r", "4"]), -1);
        assert_eq!(one.run(&MODULE, "www_challenge", &["r", "1"]), 1);
        assert_eq!(one.host.done, ["stateless 503 Service Unavailable Retry-After: 10|"]);
    }
}
