//! Answering a peer's challenge (RFC 3261 section 22, RFC 7616, RFC 8760).

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes};
use sip_message::{AuthParams, HeaderName, Message, unquote};
use sip_proto::digest::{Algorithm, Credentials, ha1, response};

use super::Settings;

/// Who the server is in a realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: Bytes,
    /// Empty answers any realm.
    pub(super) realm: Bytes,
    pub(super) password: Bytes,
    /// Whether the password is the hash of user, realm and password.
    pub(super) is_ha1: bool,
}

impl Account {
    /// Reads `user:realm:password`; the password may hold colons.
    pub(super) fn parse(text: &Bytes) -> Option<Account> {
        let mut parts = text.splitn(3, |byte| *byte == b':').map(|part| text.slice_ref(part));
        let (user, realm, password) = (parts.next()?, parts.next()?, parts.next()?);
        (!user.is_empty()).then_some(Account { user, realm, password, is_ha1: false })
    }

    fn fits(&self, realm: &[u8]) -> bool {
        self.realm.is_empty() || self.realm == realm
    }
}

pub(super) const AUTH: Function = Function {
    name: "uac_auth",
    params: &[Param::optional("mode", ParamKind::Int)],
    routes: Routes::FAILURE,
    doc: "Answers the challenge of a 401 or 407 with the credentials for its realm; t_relay() then sends the request again, \
          to the same target. False when there are no credentials for the realm, or they have been refused. With mode 1 \
          passwords are hashes (HA1). MD5, SHA-256 and SHA-512-256 are answered.",
    example: "failure_route[TRUNK] { if (t_check_status(\"401|407\") && uac_auth()) t_relay(); }",
    run: auth,
};

/// Noted when a challenge has been answered: a second one means that the peer did not like the answer.
struct Answered(Vec<Bytes>);

fn auth(call: &mut Call<'_>) -> Outcome {
    let Some(reply) = call.context.reply.clone() else { return Outcome::FALSE };
    let settings = call.shared_state::<Settings>();
    let accounts: Vec<Account> =
        of_attributes(call, &settings).into_iter().chain(settings.credentials.clone()).collect();
    let is_ha1 = call.int(0) == Some(1);
    let random = call.host.random();
    let about = Request { method: call.context.message.method_text(), uri: &call.context.target.uri, random };
    let Some(answer) = answer(&reply, &about, |realm| {
        let account = accounts.iter().find(|account| account.fits(realm))?;
        Some(Account { is_ha1: is_ha1 || account.is_ha1, ..account.clone() })
    }) else {
        return Outcome::FALSE;
    };
    let mut answered = call.context.note::<Answered>().map(|answered| answered.0.clone()).unwrap_or_default();
    // The same realm again: the credentials were wrong. A stale nonce is worth one more try (RFC 7616 section 3.3).
    let tries = answered.iter().filter(|realm| **realm == answer.realm).count();
    if tries >= if answer.is_stale { 2 } else { 1 } {
        return Outcome::FALSE;
    }
    answered.push(answer.realm.clone());
    call.context.set_note(Answered(answered));
    // What an earlier try said to this realm would stand beside it.
    call.context.edits.remove_headers(&call.context.message.clone(), answer.header);
    call.context.edits.append_header([answer.header.as_str().as_bytes(), b": ", &answer.value, b"\r\n"].concat());
    call.context.is_target_fresh = true;
    Outcome::TRUE
}

/// Credentials that the script has put into attributes.
fn of_attributes(call: &Call<'_>, settings: &Settings) -> Option<Account> {
    let read = |name: &Bytes| call.context.avps.first(name).map(|value| value.to_bytes());
    let user = read(&settings.user_attribute).filter(|user| !user.is_empty())?;
    let realm = read(&settings.realm_attribute).unwrap_or_default();
    Some(Account { user, realm, password: read(&settings.password_attribute)?, is_ha1: false })
}

/// The request that is to be sent again.
pub(super) struct Request<'a> {
    pub(super) method: &'a [u8],
    pub(super) uri: &'a [u8],
    /// Makes the client's nonce.
    pub(super) random: u64,
}

/// An answer to a challenge.
pub(super) struct Answer {
    pub(super) header: HeaderName,
    pub(super) value: Vec<u8>,
    pub(super) realm: Bytes,
    pub(super) is_stale: bool,
}

/// The answer to the first challenge of `reply` that can be answered: RFC 8760 section 2.4 has the peer put
/// the one that it likes best first.
pub(super) fn answer(
    reply: &Message,
    request: &Request<'_>,
    account: impl Fn(&[u8]) -> Option<Account>,
) -> Option<Answer> {
    let challenges = [
        (HeaderName::WwwAuthenticate, HeaderName::Authorization),
        (HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization),
    ];
    challenges.into_iter().find_map(|(from, header)| {
        reply.headers_named(from).find_map(|challenge| {
            let challenge = challenge.unfolded().into_owned();
            answer_one(&challenge, header, request, &account)
        })
    })
}

fn answer_one(
    challenge: &[u8],
    header: HeaderName,
    request: &Request<'_>,
    account: &impl Fn(&[u8]) -> Option<Account>,
) -> Option<Answer> {
    let params = AuthParams::parse(challenge).filter(AuthParams::is_digest)?;
    let text = |name: &str| params.find(name).map(|value| unquote(value).into_owned());
    let algorithm = match text("algorithm") {
        Some(token) => Algorithm::from_token(&token)?,
        None => Algorithm::Md5,
    };
    let (realm, nonce) = (text("realm")?, text("nonce")?);
    let account = account(&realm)?;
    let qop = text("qop");
    let has_qop = match &qop {
        Some(offers) => {
            let offers_auth =
                offers.split(|byte| *byte == b',').any(|offer| offer.trim_ascii().eq_ignore_ascii_case(b"auth"));
            if !offers_auth {
                return None;
            }
            true
        }
        None => false,
    };
    let cnonce = format!("{:016x}", request.random);
    let credentials = Credentials {
        username: &account.user,
        realm: &realm,
        nonce: &nonce,
        uri: request.uri,
        response: b"",
        algorithm: Some(algorithm),
        qop: has_qop.then_some((&b"00000001"[..], cnonce.as_bytes())),
    };
    let hashed = match account.is_ha1 {
        true => String::from_utf8_lossy(&account.password).into_owned(),
        false => ha1(algorithm, &account.user, &realm, &account.password).as_str().to_owned(),
    };
    let digest = response(&credentials, algorithm, request.method, &hashed);
    let mut value = Vec::with_capacity(256);
    value.extend_from_slice(b"Digest ");
    for (name, text) in [("username", &account.user[..]), ("realm", &realm), ("nonce", &nonce), ("uri", request.uri)] {
        push_quoted(&mut value, name, text);
        value.extend_from_slice(b", ");
    }
    push_quoted(&mut value, "response", digest.as_bytes());
    value.extend_from_slice(format!(", algorithm={}", algorithm.as_str()).as_bytes());
    if let Some(opaque) = text("opaque") {
        value.extend_from_slice(b", ");
        push_quoted(&mut value, "opaque", &opaque);
    }
    if has_qop {
        value.extend_from_slice(format!(", qop=auth, nc=00000001, cnonce=\"{cnonce}\"").as_bytes());
    }
    let is_stale = text("stale").is_some_and(|stale| stale.eq_ignore_ascii_case(b"true"));
    Some(Answer { header, value, realm: realm.into(), is_stale })
}

/// `name="text"`, with what a quoted string cannot hold left out or escaped.
fn push_quoted(out: &mut Vec<u8>, name: &str, text: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in text.iter().filter(|byte| !byte.is_ascii_control()) {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn answer_to(challenge: &str) -> Option<String> {
        let bench = Bench::reply(&format!("401 Unauthorized\r\nWWW-Authenticate: {challenge}"));
        let request = Request { method: b"INVITE", uri: b"sip:bob@biloxi.com", random: 0x1234 };
        let account = Account::parse(&Bytes::from_static(b"bob:biloxi.com:zanzibar")).expect("three parts");
        let answer = answer(&bench.context.message, &request, |realm| Some(account.clone()).filter(|a| a.fits(realm)))?;
        Some(format!("{}: {}", answer.header.as_str(), String::from_utf8_lossy(&answer.value)))
    }

    // The digest of RFC 3665 section 2.1's credentials: HA1 of bob:biloxi.com:zanzibar, INVITE, no qop.
    #[test]
    fn a_challenge_without_qop_is_answered_as_rfc_2069_has_it() {
        // MD5(12af60467a33e8518da5c68bbff12b11:dcd98b7102dd2f0e8b11d0f600bfb0c093:MD5(INVITE:sip:bob@biloxi.com)),
        // the example of RFC 3261's companion draft-smith-sipping-auth-examples-01 section 3.1.
        let answer =
            answer_to("Digest realm=\"biloxi.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c\"");
        assert_eq!(
            answer.as_deref(),
            Some(
                "Authorization: Digest username=\"bob\", realm=\"biloxi.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", \
                 uri=\"sip:bob@biloxi.com\", response=\"bf57e4e0d0bffc0fbaedce64d59add5e\", algorithm=MD5, opaque=\"5ccc069c\""
            )
        );
    }

    #[test]
    fn with_qop_the_answer_counts_and_has_a_nonce_of_its_own() {
        let answer = answer_to("Digest realm=\"biloxi.com\", nonce=\"n\", qop=\"auth-int, auth\", algorithm=SHA-256")
            .expect("an answer");
        assert!(answer.contains("algorithm=SHA-256, qop=auth, nc=00000001, cnonce=\"0000000000001234\""), "{answer}");
    }

    #[test]
    fn what_cannot_be_answered_is_not() {
        assert_eq!(answer_to("Digest realm=\"other\", nonce=\"n\""), None);
        assert_eq!(answer_to("Digest realm=\"biloxi.com\", nonce=\"n\", qop=\"auth-int\""), None);
        assert_eq!(answer_to("Digest realm=\"biloxi.com\", nonce=\"n\", algorithm=AKAv1-MD5"), None);
        assert_eq!(answer_to("Basic realm=\"biloxi.com\""), None);
    }
}
