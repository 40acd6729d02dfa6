//! Asking for credentials.

use bytes::Bytes;
use module_api::{Call, Dialect, Function, Outcome, Param, ParamKind, Reply, Routes, Value};
use sip_message::Method;
use sip_proto::digest::{Algorithm, Challenge};

use super::credentials::{Kind, WasStale, realm_or_domain};
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
          of To). Flags add up: 1 offers qop=auth, 16 says that only the nonce was old. Ends a SER script; in Kamailio's \
          it is true and the script must end itself.",
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
        let lines = lines(call, Kind::Www, Bytes::new());
        match call.write_output(2, Value::Str(lines.into())) {
            Ok(()) => Outcome::TRUE,
            Err(fault) => Outcome::Fail(fault),
        }
    },
};

const OFFERS_QOP: i64 = 1;
const IS_STALE: i64 = 16;

fn challenge(call: &mut Call<'_>, kind: Kind) -> Outcome {
    // An ACK gets no reply and a CANCEL cannot be sent again with credentials (RFC 3261 section 22.1).
    if matches!(call.context.message.method(), Method::Ack | Method::Cancel) {
        return Outcome::FALSE;
    }
    let named = call.text(2);
    let lines = lines(call, kind, named);
    let (code, reason) = kind.refusal();
    let reply = Reply { code, reason: reason.as_bytes(), headers: lines.as_bytes() };
    let sent = match call.context.transaction {
        Some(_) => call.host.reply(call.context, &reply),
        None => call.host.reply_stateless(call.context, &reply),
    };
    match (sent, call.dialect()) {
        (_, Dialect::Ser) => Outcome::Value(0),
        (sent, Dialect::Kamailio) => sent.is_ok().into(),
    }
}

/// One header line per algorithm (RFC 8760 section 2.4).
fn lines(call: &mut Call<'_>, kind: Kind, named: Bytes) -> String {
    let auth = call.shared_state::<Authentication>();
    let realm = realm_or_domain(call, &call.text(0));
    let flags = Value::Str(call.text(1)).to_int();
    let named = if named.is_empty() { None } else { algorithms(&named) };
    let algorithms: &[Algorithm] = named.as_deref().unwrap_or(&auth.algorithms);
    let is_stale = flags & IS_STALE != 0 || call.context.note::<WasStale>().is_some();
    let mut lines = String::new();
    for algorithm in algorithms {
        let random = call.host.random();
        let nonce = auth.nonces.issue(&realm, call.host.unix_time(), random);
        let offers_qop = flags & OFFERS_QOP != 0 || *algorithm != Algorithm::Md5;
        let challenge = Challenge { realm: &realm, nonce: &nonce, algorithm: *algorithm, is_stale, offers_qop };
        lines.push_str(&format!("{}: {}\r\n", kind.challenge_header(), challenge.to_value()));
    }
    lines
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
}
