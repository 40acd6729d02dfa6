//! Finding credentials, judging them, and taking them off.

use std::sync::PoisonError;

use module_api::{Call, Context, Dialect, Fault, Function, Level, Outcome, Param, ParamKind, Reply, Routes};
use sip_message::{HeaderName, Message, Method, Span};
use sip_proto::digest::{Algorithm, Credentials, Verdict, ha1, verify};

use super::settings::Authentication;

pub(super) const CONSUME: Function = Function {
    name: "consume_credentials",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "Takes the credentials that were verified off the request, so that they do not leave this domain. False when \
          none were verified.",
    example: "consume_credentials();",
    run: |call| match call.context.note::<Verified>().map(|Verified(claim)| claim.field) {
        Some(field) => {
            call.context.edits.remove(field);
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    },
};

pub(super) const HAS: Function = Function {
    name: "has_credentials",
    params: &[Param::required("realm", ParamKind::Format)],
    routes: Routes::REQUESTS,
    doc: "True when the request brings credentials for the realm, right or wrong.",
    example: "if (!has_credentials(\"example.com\")) www_challenge(\"example.com\", \"1\");",
    run: |call| {
        let realm = call.state::<Authentication>().realm(&call.context.message, &call.text(0));
        let has = |kind| Claim::find(&call.context.message, kind, realm.as_bytes()).is_some();
        (has(Kind::Www) || has(Kind::Proxy)).into()
    },
};

/// Who asks: a user agent server with 401, or a proxy with 407.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Www,
    Proxy,
}

impl Kind {
    /// A registrar is the REGISTER's server; for everything else this is a proxy.
    pub(crate) fn of(message: &Message) -> Kind {
        if message.method() == Method::Register { Kind::Www } else { Kind::Proxy }
    }

    pub(super) fn refusal(self) -> (u16, &'static str) {
        match self {
            Kind::Www => (401, "Unauthorized"),
            Kind::Proxy => (407, "Proxy Authentication Required"),
        }
    }

    pub(super) fn challenge_header(self) -> &'static str {
        match self {
            Kind::Www => "WWW-Authenticate",
            Kind::Proxy => "Proxy-Authenticate",
        }
    }

    fn header(self) -> HeaderName {
        match self {
            Kind::Www => HeaderName::Authorization,
            Kind::Proxy => HeaderName::ProxyAuthorization,
        }
    }
}

/// The credentials that were found right.
struct Verified(Claim);

/// The credentials that were found right, where some were.
///
/// A message may bring others beside them, for another realm or with the other header, and may put them first: what a
/// script asks about its user must be asked of these, and read as they were read when they were verified.
pub(crate) fn verified(context: &Context) -> Option<Credentials<'_>> {
    context.note::<Verified>()?.0.credentials()
}

/// Noted when only the nonce was too old, for the next challenge.
pub(super) struct WasStale;

/// Noted when nobody could say whether credentials are right, for the next challenge: whoever is challenged again
/// takes the password for wrong, and many phones then never try it again.
pub(crate) struct DatabaseAway;

impl DatabaseAway {
    /// Replies 503.
    pub(crate) fn reply(call: &mut Call<'_>) -> Outcome {
        respond(call, &Reply { code: 503, reason: b"Service Unavailable", headers: b"Retry-After: 10\r\n" })
    }
}

/// Nobody is let in while it is not known who they are, and nobody is told that they are wrong.
pub(crate) fn away(call: &mut Call<'_>, cause: String) -> Outcome {
    if call.dialect() == Dialect::Kamailio {
        // Scripts challenge after every failure; the challenge shall know.
        call.context.set_note(DatabaseAway);
        return Outcome::Fail(Fault { code: -1, cause: cause.into() });
    }
    DatabaseAway::reply(call);
    call.host.log(Level::Error, cause.as_bytes());
    Outcome::Value(0)
}

/// Replies through the transaction where there is one: after a wait there is.
pub(super) fn respond(call: &mut Call<'_>, reply: &Reply<'_>) -> Outcome {
    let sent = match call.context.transaction {
        Some(_) => call.host.reply(call.context, reply),
        None => call.host.reply_stateless(call.context, reply),
    };
    sent.is_ok().into()
}

/// Credentials of a request for one realm: who it says that it is.
#[derive(Clone)]
pub(crate) struct Claim {
    value: Vec<u8>,
    field: Span,
}

/// How an attempt to authenticate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    Accepted,
    /// There are no credentials for the realm.
    Missing,
    /// Wrong password or no such user: nothing tells which.
    Refused,
    Stale,
    /// The right password, but for another user than the request names.
    OtherUser,
}

impl Claim {
    /// The credentials for `realm`.
    pub(crate) fn find(message: &Message, kind: Kind, realm: &[u8]) -> Option<Claim> {
        message.headers_named(kind.header()).find_map(|header| {
            let value = header.unfolded().into_owned();
            let is_ours = Credentials::parse(&value)?.realm == realm;
            is_ours.then_some(Claim { value, field: header.field })
        })
    }

    fn credentials(&self) -> Option<Credentials<'_>> {
        Credentials::parse(&self.value)
    }

    /// The user name, and the domain behind an @ where it has one.
    pub(crate) fn user(&self) -> Option<(String, Option<String>)> {
        let name = String::from_utf8_lossy(self.credentials()?.username).into_owned();
        Some(match name.split_once('@') {
            Some((user, domain)) => (user.to_owned(), Some(domain.to_owned())),
            None => (name, None),
        })
    }

    pub(crate) fn algorithm(&self) -> Option<Algorithm> {
        self.credentials()?.algorithm
    }

    /// HA1 of a password for these credentials.
    pub(crate) fn ha1_of(&self, password: &str) -> Option<String> {
        let credentials = self.credentials()?;
        let digest = ha1(credentials.algorithm?, credentials.username, credentials.realm, password.as_bytes());
        Some(digest.as_str().to_owned())
    }

    /// Judges the credentials; `ha1` is none when there is no such user.
    ///
    /// `method` stands in for the request's own, unless it is empty.
    pub(crate) fn judge(&self, call: &mut Call<'_>, auth: &Authentication, method: &[u8], ha1: Option<&str>) -> Check {
        let Some(credentials) = self.credentials() else { return Check::Refused };
        let method = if method.is_empty() { call.context.message.method_text() } else { method };
        let now = call.host.unix_time();
        match verify(&credentials, method, ha1, &auth.nonces, now) {
            Verdict::Accepted => self.accept(call, auth),
            Verdict::Stale => self.stale(call),
            Verdict::Refused => Check::Refused,
        }
    }

    /// Takes credentials that are right, unless their nonce is used up.
    pub(crate) fn accept(&self, call: &mut Call<'_>, auth: &Authentication) -> Check {
        let Some(credentials) = self.credentials() else { return Check::Refused };
        let now = call.host.unix_time();
        // A script may ask twice about the same request.
        let is_known = verified(call.context).is_some_and(|known| known == credentials);
        let is_new = is_known
            || auth
                .uses
                .as_ref()
                .is_none_or(|uses| uses.lock().unwrap_or_else(PoisonError::into_inner).admit(&credentials, now));
        // A replay, or one more use of a nonce that is good once: as good as an old nonce (RFC 7616 section 3.3).
        if !is_new {
            return self.stale(call);
        }
        call.context.set_note(Verified(self.clone()));
        Check::Accepted
    }

    /// Takes down that only the nonce does not do, for the challenge that follows.
    pub(crate) fn stale(&self, call: &mut Call<'_>) -> Check {
        call.context.set_note(WasStale);
        Check::Stale
    }

    /// Whether the nonce is one of ours and young enough.
    pub(crate) fn is_fresh(&self, call: &Call<'_>, auth: &Authentication) -> bool {
        let now = call.host.unix_time();
        self.credentials().is_some_and(|one| auth.nonces.is_valid(one.nonce, one.realm, now))
    }

    /// What `read` finds in the credentials.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Credentials<'_>) -> Option<T>) -> Option<T> {
        read(&self.credentials()?)
    }

    /// Whether the user is the one of From, or of To for REGISTER.
    pub(crate) fn is_of_sender(&self, message: &Message) -> bool {
        let side = if message.method() == Method::Register { message.to() } else { message.from() };
        let uri = side.ok().and_then(|side| side.parsed_uri().ok());
        let named = uri.and_then(|uri| uri.user).map(sip_message::unescape);
        let claimed = self.user().map(|(user, _)| user.into_bytes());
        named.is_some() && named.as_deref() == claimed.as_deref()
    }
}

/// The return code of Kamailio for an attempt; SER knows true and false alone.
pub(crate) fn outcome(check: Check) -> Outcome {
    Outcome::Value(match check {
        Check::Accepted => 1,
        Check::Refused => -2,
        Check::Stale => -4,
        Check::Missing => -5,
        Check::OtherUser => -8,
    })
}
