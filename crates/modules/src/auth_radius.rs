//! Verifying credentials by RADIUS servers.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{
    Call, Dialect, Function, Module, Outcome, Param, ParamKind, Parameter, Routes, Setup, SetupError, State,
};
use module_api::{Statistic, Value};
use radius::attribute::{TooLong, USER_NAME};
use radius::{AttributeId, Attributes, Code, Error, Packet, Service};
use sip_message::{Method, Uri, unescape};

use crate::auth::{Authentication, Check, Claim, Kind, away, outcome};
use crate::named_variable::NamedVariable;
use crate::radius_servers::{self, Servers, bad, take_attributes};
use crate::setting::{ignored, number, text};

/// Digest credentials verified by RADIUS servers.
pub static MODULE: Module = Module {
    name: "auth_radius",
    doc: "Has RADIUS servers verify digest credentials, so that no password is kept here.",
    parameters: &PARAMETERS,
    functions: &[WWW, WWW_USER, PROXY, PROXY_USER],
    statistics: &STATISTICS,
    make,
    ..Module::EMPTY
};

static STATISTICS: [Statistic; 8] = radius_servers::statistics("auth_radius");

static PARAMETERS: [Parameter; 15] = {
    let common = radius_servers::PARAMETERS;
    [
        common[0],
        common[1],
        common[2],
        common[3],
        common[4],
        common[5],
        common[6],
        common[7],
        common[8],
        number(
            "service_type",
            "-1",
            "The Service-Type of questions; by default what the dictionary calls Sip-Session: 15.",
        ),
        text(
            "digest_attributes",
            "sterman",
            "How credentials are told: `sterman` as draft-sterman-aaa-sip has it and SER and FreeRADIUS do (Digest-Response \
             206, Digest-Attributes 207), `rfc5090` as RFC 5090 has it.",
        ),
        number("append_realm_to_username", "1", "1 appends @ and the realm to a user name that has no domain."),
        number("use_ruri_flag", "-1", "The flag of requests whose Sip-Uri-User is the user of the Request-URI."),
        text("auth_extra", "", "More attributes of questions: Attribute-Name=$variable;Attribute-Name=$variable."),
        ignored("radius_avps_mode", "Has no effect: every SIP-AVP of the answer becomes an attribute."),
    ]
};

const WHERE: Routes = Routes::REQUEST;
const REALM: Param = Param::required("realm", ParamKind::Format);

const WWW: Function = Function {
    name: "radius_www_authorize",
    params: &[REALM],
    routes: WHERE,
    doc: "Has a RADIUS server verify the Authorization header. An empty realm means the domain of From (REGISTER: of To). \
          True when the server accepts; each SIP-AVP of its answer is an attribute then. Else -2 when it rejects, -4 for an \
          old nonce (no server is asked), -5 without credentials for the realm, -1 when no server answers, after which a \
          challenge replies 503; in SER scripts -1, and the last sends a 503 and ends the script.",
    example: "if (!radius_www_authorize(\"example.com\")) { www_challenge(\"example.com\", \"1\"); exit; }",
    run: |call| authorize(call, Kind::Www, b""),
};

const WWW_USER: Function = Function {
    name: "radius_www_authorize",
    params: &[REALM, Param::required("user", ParamKind::Format)],
    routes: WHERE,
    doc: "As with one argument, the second being the Sip-Uri-User that the server is told.",
    example: "if (!radius_www_authorize(\"example.com\", \"$rU\")) { www_challenge(\"example.com\", \"1\"); exit; }",
    run: |call| {
        let user = call.text(1);
        authorize(call, Kind::Www, &user)
    },
};

const PROXY: Function = Function {
    name: "radius_proxy_authorize",
    params: &[REALM],
    routes: WHERE,
    doc: "As radius_www_authorize(), with the Proxy-Authorization header.",
    example: "if (!radius_proxy_authorize(\"\")) { proxy_challenge(\"\", \"1\"); exit; }",
    run: |call| authorize(call, Kind::Proxy, b""),
};

const PROXY_USER: Function = Function {
    name: "radius_proxy_authorize",
    params: &[REALM, Param::required("user", ParamKind::Format)],
    routes: WHERE,
    doc: "As with one argument, the second being the Sip-Uri-User that the server is told.",
    example: "if (!radius_proxy_authorize(\"\", \"$fU\")) { proxy_challenge(\"\", \"1\"); exit; }",
    run: |call| {
        let user = call.text(1);
        authorize(call, Kind::Proxy, &user)
    },
};

/// The state of module auth_radius.
struct Verifier {
    auth: Arc<Authentication>,
    servers: Servers,
    service_type: u32,
    form: Form,
    appends_realm: bool,
    ruri_flag: Option<u32>,
    extra: Vec<(String, NamedVariable)>,
}

/// How credentials are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// draft-sterman-aaa-sip-00.
    Sterman,
    /// RFC 5090.
    Rfc5090,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let auth = setup.module::<Authentication>("auth")?;
    let servers = Servers::open(setup, Service::Access)?;
    let form = match setup.text("digest_attributes").as_str() {
        "sterman" => Form::Sterman,
        "rfc5090" => Form::Rfc5090,
        other => return Err(bad("digest_attributes", &format!("must be sterman or rfc5090, not `{other}`"))),
    };
    let state = Arc::new(Verifier {
        auth,
        service_type: servers.service_type(setup, "service_type", "Sip-Session")?,
        form,
        appends_realm: setup.int("append_realm_to_username") != 0,
        ruri_flag: u32::try_from(setup.int("use_ruri_flag")).ok().filter(|flag| *flag < module_api::FLAG_COUNT),
        extra: servers.extra(setup, "auth_extra")?,
        servers,
    });
    radius_servers::show(setup, &state, radius_servers::figures!());
    Ok(state)
}

fn authorize(call: &mut Call<'_>, kind: Kind, uri_user: &[u8]) -> Outcome {
    // Neither can be challenged (RFC 3261 section 22.1), so both pass as their INVITE did.
    if matches!(call.context.message.method(), Method::Ack | Method::Cancel) {
        return Outcome::TRUE;
    }
    let verifier = call.state::<Verifier>();
    let realm = verifier.auth.realm(&call.context.message, &call.text(0));
    let Some(claim) = Claim::find(&call.context.message, kind, realm.as_bytes()) else {
        return answer(call, Check::Missing);
    };
    // eve@elsewhere must not pass for eve of this realm, whatever the server knows of elsewhere.
    let domain = claim.user().and_then(|(_, domain)| domain);
    if domain.is_some_and(|domain| !domain.eq_ignore_ascii_case(&realm)) {
        return answer(call, Check::Refused);
    }
    // A client that made its answer of an old nonce makes another; no server is asked before.
    if !claim.is_fresh(call, &verifier.auth) {
        let check = claim.stale(call);
        return answer(call, check);
    }
    let Some(attributes) = question(call, verifier, &claim, uri_user) else {
        return answer(call, Check::Refused);
    };
    Outcome::wait(verifier.servers.ask(attributes), move |call, answered| judge(call, &claim, answered))
}

fn judge(call: &mut Call<'_>, claim: &Claim, answered: Result<Packet, Error>) -> Outcome {
    let verifier = call.state::<Verifier>();
    let check = match answered {
        Ok(packet) if packet.code == Code::AccessAccept => {
            let check = claim.accept(call, &verifier.auth);
            if check == Check::Accepted {
                take_attributes(call, &packet, &verifier.servers.dictionary);
                take_rpid(call, &packet, verifier);
            }
            check
        }
        // RFC 5090 section 2.2.3: the server does not take the nonce.
        Ok(packet) if packet.code == Code::AccessChallenge => claim.stale(call),
        // A question that no packet can hold was made so by the client.
        Ok(_) | Err(Error::TooLong(_)) => Check::Refused,
        Err(error) => return away(call, error.to_string()),
    };
    answer(call, check)
}

/// SER's name for the identity that a gateway is told.
fn take_rpid(call: &mut Call<'_>, packet: &Packet, verifier: &Verifier) {
    let id = verifier.servers.dictionary.attribute("Sip-Rpid").map(|(id, _)| id);
    if let Some(rpid) = id.and_then(|id| packet.attributes.first(id)) {
        let value = Value::Str(Bytes::copy_from_slice(rpid));
        call.context.avps.replace(Bytes::from_static(b"rpid"), value);
    }
}

fn answer(call: &Call<'_>, check: Check) -> Outcome {
    match call.dialect() {
        Dialect::Kamailio => outcome(check),
        Dialect::Ser => (check == Check::Accepted).into(),
    }
}

/// None when something in it is longer than an attribute can be: no such user exists at any server.
fn question(call: &mut Call<'_>, verifier: &Verifier, claim: &Claim, uri_user: &[u8]) -> Option<Attributes> {
    let mut attributes = verifier.servers.question(call, verifier.service_type);
    let method = Bytes::copy_from_slice(call.context.message.method_text());
    claim.with(|credentials| {
        let mut name = credentials.username.to_vec();
        if verifier.appends_realm && !name.contains(&b'@') {
            name.push(b'@');
            name.extend_from_slice(credentials.realm);
        }
        let algorithm = credentials.algorithm?;
        let (nonce_count, cnonce) = credentials.qop.unzip();
        let values = [
            Some(credentials.realm),
            Some(credentials.nonce),
            Some(&method[..]),
            Some(credentials.uri),
            credentials.qop.map(|_| &b"auth"[..]),
            Some(algorithm.as_str().as_bytes()),
            cnonce,
            nonce_count,
            Some(credentials.username),
        ];
        attributes.push(USER_NAME, &name).ok()?;
        match verifier.form {
            Form::Sterman => push_sterman(&mut attributes, credentials.response, values),
            Form::Rfc5090 => push_rfc5090(&mut attributes, credentials.response, values),
        }
        .ok()
    })?;
    let uri_user = match uri_user {
        b"" => user_of(call, verifier),
        given => Some(Bytes::copy_from_slice(given)),
    };
    match (verifier.form, uri_user) {
        (Form::Sterman, Some(user)) => attributes.push(SIP_URI_USER, &user).ok()?,
        // RFC 5090 section 3.20: whose account it is.
        (Form::Rfc5090, _) => {
            let message = &call.context.message;
            let side = if message.method() == Method::Register { message.to() } else { message.from() };
            if let Ok(side) = side {
                attributes.push(SIP_AOR, side.uri).ok()?;
            }
        }
        (Form::Sterman, None) => {}
    }
    verifier.servers.add_extra(call, &verifier.extra, &mut attributes);
    Some(attributes)
}

/// The user who must be allowed to use these credentials: of From, of To for REGISTER, or of the Request-URI.
fn user_of(call: &Call<'_>, verifier: &Verifier) -> Option<Bytes> {
    let context = &call.context;
    let message = &context.message;
    let uri = if verifier.ruri_flag.is_some_and(|flag| context.has_flag(flag)) {
        &context.target.uri[..]
    } else if message.method() == Method::Register {
        message.to().ok()?.uri
    } else {
        message.from().ok()?.uri
    };
    Some(Bytes::copy_from_slice(&unescape(Uri::parse(uri).ok()?.user?)))
}

/// Realm, nonce, method, URI, qop, algorithm, client nonce, nonce count and user name.
type Parts<'a> = [Option<&'a [u8]>; 9];

/// Each part is an attribute within an attribute (draft-sterman-aaa-sip-00 section 3).
fn push_sterman(attributes: &mut Attributes, response: &[u8], parts: Parts<'_>) -> Result<(), TooLong> {
    attributes.push(AttributeId::standard(206), response)?;
    for (number, value) in [1, 2, 3, 4, 5, 6, 8, 9, 10].into_iter().zip(parts) {
        let Some(value) = value else { continue };
        let length = u8::try_from(value.len() + 2).map_err(|_| TooLong(DIGEST_ATTRIBUTES))?;
        attributes.push(DIGEST_ATTRIBUTES, &[&[number, length], value].concat())?;
    }
    Ok(())
}

/// Each part is an attribute (RFC 5090 section 3).
fn push_rfc5090(attributes: &mut Attributes, response: &[u8], parts: Parts<'_>) -> Result<(), TooLong> {
    attributes.push(AttributeId::standard(103), response)?;
    for (number, value) in [104, 105, 108, 109, 110, 111, 113, 114, 115].into_iter().zip(parts) {
        if let Some(value) = value {
            attributes.push(AttributeId::standard(number), value)?;
        }
    }
    Ok(())
}

const DIGEST_ATTRIBUTES: AttributeId = AttributeId::standard(207);
const SIP_URI_USER: AttributeId = AttributeId::standard(208);
const SIP_AOR: AttributeId = AttributeId::standard(122);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius_testing::{SECRET, World, server_setting};
    use crate::testing::{Bench, INVITE, make, signed, text};
    use module_api::Setting;

    struct Fixture {
        world: World,
        auth: Arc<dyn State>,
        state: Arc<dyn State>,
    }

    fn fixture(settings: &[(&str, &str)]) -> Fixture {
        let world = World::new(|request| match request.attributes.first(USER_NAME) {
            Some(b"alice@example.com" | b"alice") => Some((Code::AccessAccept, vec![(225, b"credit#5".to_vec())])),
            Some(b"silent@example.com") => None,
            _ => Some((Code::AccessReject, vec![])),
        });
        let auth = make(&crate::auth::MODULE, &[], Dialect::Kamailio, &|_| None).expect("auth starts");
        let mut all = vec![("server", server_setting(world.port)), ("timeout", "4000".into())];
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let all: Vec<_> =
            all.iter().map(|(name, value)| Setting { name: (*name).into(), value: text(value) }).collect();
        let others = |name: &str| (name == "auth").then(|| Arc::clone(&auth));
        let state = crate::testing::make(&MODULE, &all, Dialect::Kamailio, &others).expect("it starts");
        Fixture { world, auth: Arc::clone(&auth), state }
    }

    impl Fixture {
        fn bench(&self, user: &str) -> Bench {
            let any: Arc<dyn std::any::Any + Send + Sync> = Arc::clone(&self.auth) as _;
            let nonces = &any.downcast_ref::<Authentication>().expect("it is auth's").nonces;
            let line = signed("Proxy-Authorization", user, "secret", "INVITE", nonces);
            Bench::with_state(&INVITE.replace("Subject", &format!("{line}Subject")), Arc::clone(&self.state))
        }

        fn ask(&self, bench: &mut Bench) -> i64 {
            bench.run_waiting(&MODULE, "radius_proxy_authorize", &[""], &self.world.runtime)
        }
    }

    #[test]
    fn the_server_says_who_is_let_in_and_what_the_script_shall_know() {
        let fixture = fixture(&[]);
        let mut bench = fixture.bench("alice");
        assert_eq!(fixture.ask(&mut bench), 1);
        assert_eq!(bench.context.avps.first(b"credit"), Some(&Value::Int(5)));
        assert!(crate::auth::verified(&bench.context).is_some_and(|verified| verified.username == b"alice"));
        let mut bench = fixture.bench("eve");
        assert_eq!(fixture.ask(&mut bench), -2);
        assert!(crate::auth::verified(&bench.context).is_none());
        let mut bench = Bench::with_state(INVITE, Arc::clone(&fixture.state));
        assert_eq!(fixture.ask(&mut bench), -5);
    }

    // draft-sterman-aaa-sip-00 section 3.
    #[test]
    fn sterman_attributes_lie_in_digest_attributes() {
        let fixture = fixture(&[]);
        fixture.ask(&mut fixture.bench("alice"));
        let asked = fixture.world.asked();
        let parts: Vec<_> = asked[0].attributes.all(DIGEST_ATTRIBUTES).collect();
        assert_eq!(parts[0], b"\x01\x0dexample.com");
        assert_eq!(parts[2], b"\x03\x08INVITE");
        assert_eq!(parts[5], b"\x0a\x07alice");
        assert_eq!(asked[0].attributes.first(AttributeId::standard(206)).map(<[u8]>::len), Some(32));
        assert_eq!(asked[0].attributes.first(SIP_URI_USER), Some(&b"alice"[..]));
        assert_eq!(asked[0].attributes.first(radius::attribute::SERVICE_TYPE), Some(&[0, 0, 0, 15][..]));
    }

    // RFC 5090 section 3.
    #[test]
    fn the_standards_attributes_stand_by_themselves() {
        let fixture = fixture(&[("digest_attributes", "rfc5090"), ("append_realm_to_username", "0")]);
        assert_eq!(fixture.ask(&mut fixture.bench("alice")), 1);
        let asked = fixture.world.asked();
        for (number, value) in [
            (104, "example.com"),
            (108, "INVITE"),
            (109, "sip:example.com"),
            (111, "MD5"),
            (115, "alice"),
            (1, "alice"),
        ] {
            assert_eq!(asked[0].attributes.first(AttributeId::standard(number)), Some(value.as_bytes()), "{number}");
        }
        assert_eq!(asked[0].attributes.first(SIP_AOR), Some(&b"sip:alice@example.com"[..]));
        assert_eq!(asked[0].attributes.first(AttributeId::standard(207)), None);
    }

    #[test]
    fn where_no_server_answers_nobody_is_let_in_and_nobody_is_told_that_the_password_is_wrong() {
        let fixture = fixture(&[("timeout", "20")]);
        let mut bench = fixture.bench("silent");
        assert_eq!(fixture.ask(&mut bench), -1);
        bench.state = Arc::clone(&fixture.auth);
        assert_eq!(bench.run(&crate::auth::MODULE, "proxy_challenge", &["", "1"]), 1);
        assert_eq!(bench.host.done, ["stateless 503 Service Unavailable Retry-After: 10|"]);
        let mut bench = fixture.bench("silent");
        bench.dialect = Dialect::Ser;
        assert_eq!(fixture.ask(&mut bench), 0);
        assert_eq!(bench.host.done, ["stateless 503 Service Unavailable Retry-After: 10|"]);
    }

    #[test]
    fn an_old_nonce_and_a_name_that_no_packet_can_hold_ask_no_server() {
        let fixture = fixture(&[]);
        let mut bench = fixture.bench("alice");
        bench.host.unix_time += std::time::Duration::from_secs(301);
        assert_eq!(fixture.ask(&mut bench), -4);
        assert_eq!(fixture.ask(&mut fixture.bench(&"x".repeat(300))), -2);
        assert_eq!(fixture.ask(&mut fixture.bench("alice@elsewhere")), -2);
        assert!(fixture.world.asked().is_empty());
    }

    #[test]
    fn more_attributes_are_told_where_the_script_wants_it() {
        assert_eq!(SECRET, "testing123");
        let auth = make(&crate::auth::MODULE, &[], Dialect::Kamailio, &|_| None).expect("auth starts");
        let others = |name: &str| (name == "auth").then(|| Arc::clone(&auth));
        for (name, value, cause) in [
            ("auth_extra", "Nothing-Known=$fu", "no module that is loaded"),
            ("digest_attributes", "rfc4590", "must be sterman or rfc5090"),
            ("server", "host=x", "needs secret"),
            ("radius_config", "/nowhere/radiusclient.conf", "/nowhere/radiusclient.conf: "),
        ] {
            let mut settings = vec![Setting { name: name.into(), value: text(value) }];
            if name != "radius_config" && name != "server" {
                settings.push(Setting { name: "server".into(), value: text(&server_setting(9)) });
            }
            let error = make(&MODULE, &settings, Dialect::Kamailio, &others).err().map(|error| error.to_string());
            assert!(error.as_ref().is_some_and(|error| error.contains(cause)), "{name}: {error:?}");
        }
        let none = make(&MODULE, &[], Dialect::Kamailio, &others).err().map(|error| error.to_string());
        assert!(none.is_some_and(|error| error.contains("name a RADIUS server")));
    }
}
