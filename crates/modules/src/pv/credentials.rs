//! `$au` and its kin: what digest credentials say.
//!
//! Once credentials were verified, theirs: a script that compares `$au` with From must not be shown other credentials
//! that the message brings along. Before that, those that come first, which prove nothing.

use bytes::Bytes;
use module_api::{Call, Value, Variable};
use sip_message::{HeaderName, Uri, unquote};
use sip_proto::digest::{Algorithm, Credentials};

use super::{copied, plain};
use crate::auth::verified;

pub(super) const USER: Variable =
    plain("au", "The user name in the credentials, up to an @.", "if ($au != $fU) exit;", |call, _| {
        read(call, "username", username, |name| name.split(|byte| *byte == b'@').next())
    });
pub(super) const WHOLE_USER: Variable = plain(
    "aU",
    "The user name in the credentials as it stands, with a domain where it has one.",
    "xlog(\"$aU\\n\");",
    |call, _| read(call, "username", username, whole),
);
pub(super) const ACCOUNTED: Variable = plain(
    "Au",
    "Whom to charge: user and realm of the credentials as user@realm, else user and host of From.",
    "xlog(\"$Au\\n\");",
    |call, _| {
        let (user, realm) = (charged(call), read(call, "realm", |credentials| Some(credentials.realm), whole));
        match (user, realm) {
            (Value::Str(user), Value::Str(realm)) => Value::Str([&user[..], b"@", &realm].concat().into()),
            _ => {
                let from = call.context.message.from().ok();
                let uri = from.and_then(|from| Uri::parse(from.uri).ok());
                let user = uri.and_then(|uri| Some([uri.user?, b"@", uri.host_text].concat()));
                user.map(Bytes::from).into()
            }
        }
    },
);
pub(super) const ACCOUNTED_USER: Variable =
    plain("AU", "The user to charge: of the credentials, else of the URI of From.", "xlog(\"$AU\\n\");", |call, _| {
        match charged(call) {
            Value::Null => match call.context.message.from() {
                Ok(from) => super::target::part(from.uri, |uri| uri.user),
                Err(_) => Value::Null,
            },
            user => user,
        }
    });
pub(super) const CLIENT_NONCE: Variable =
    plain("adc", "The cnonce in the credentials.", "xlog(\"$adc\\n\");", |call, _| first(call, "cnonce"));
pub(super) const OPAQUE: Variable =
    plain("ado", "The opaque in the credentials.", "xlog(\"$ado\\n\");", |call, _| first(call, "opaque"));
pub(super) const REALM: Variable = plain("ar", "The realm in the credentials.", "xlog(\"$ar\\n\");", |call, _| {
    read(call, "realm", |credentials| Some(credentials.realm), whole)
});
pub(super) const DOMAIN: Variable = plain(
    "ad",
    "The domain of the user name in the credentials; undefined when it has none.",
    "xlog(\"$ad\\n\");",
    |call, _| {
        read(call, "username", username, |name| {
            let at = name.iter().position(|byte| *byte == b'@')?;
            Some(&name[at + 1..])
        })
    },
);
pub(super) const NONCE: Variable = plain("adn", "The nonce in the credentials.", "xlog(\"$adn\\n\");", |call, _| {
    read(call, "nonce", |credentials| Some(credentials.nonce), whole)
});
pub(super) const RESPONSE: Variable =
    plain("adr", "The response in the credentials.", "xlog(\"$adr\\n\");", |call, _| {
        read(call, "response", |credentials| Some(credentials.response), whole)
    });
pub(super) const URI: Variable = plain("adu", "The URI in the credentials.", "xlog(\"$adu\\n\");", |call, _| {
    read(call, "uri", |credentials| Some(credentials.uri), whole)
});
pub(super) const ALGORITHM: Variable =
    plain("aa", "The algorithm in the credentials.", "xlog(\"$aa\\n\");", |call, _| {
        read(call, "algorithm", |credentials| Some(credentials.algorithm.map(Algorithm::as_str)?.as_bytes()), whole)
    });

/// The user of credentials that were verified; others prove nothing, so nobody is charged by them.
fn charged(call: &Call<'_>) -> Value {
    match verified(call.context) {
        Some(credentials) => copied(credentials.username.split(|byte| *byte == b'@').next()),
        None => Value::Null,
    }
}

/// A parameter of the first credentials.
fn first(call: &Call<'_>, name: &str) -> Value {
    let message = &call.context.message;
    let own = message.credentials(HeaderName::Authorization);
    let mut all = own.chain(message.credentials(HeaderName::ProxyAuthorization));
    copied(all.next().and_then(|credentials| credentials.find(name)).map(unquote).as_deref())
}

fn username<'a>(credentials: &Credentials<'a>) -> Option<&'a [u8]> {
    Some(credentials.username)
}

fn whole(value: &[u8]) -> Option<&[u8]> {
    Some(value)
}

/// Reads a parameter of the verified credentials with `field`, else the one called `name` of the first credentials:
/// of Authorization, else of Proxy-Authorization. `pick` takes the part that is wanted.
fn read(
    call: &Call<'_>,
    name: &str,
    field: for<'a> fn(&Credentials<'a>) -> Option<&'a [u8]>,
    pick: fn(&[u8]) -> Option<&[u8]>,
) -> Value {
    if let Some(credentials) = verified(call.context) {
        return copied(field(&credentials).and_then(pick));
    }
    let message = &call.context.message;
    let own = message.credentials(HeaderName::Authorization);
    let mut all = own.chain(message.credentials(HeaderName::ProxyAuthorization));
    let value = all.next().and_then(|credentials| credentials.find(name)).map(unquote);
    copied(value.as_deref().and_then(pick))
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, text};

    #[test]
    fn credentials_are_read_without_being_believed() {
        let line = "Subject: lunch\r\nProxy-Authorization: Digest username=\"alice@example.com\", realm=\"r\", nonce=\"n\"\r\n";
        let mut bench = Bench::new(&INVITE.replace("Subject: lunch\r\n", line));
        // As Kamailio 5.6.3 prints them: the user part is the one with the small letter.
        assert_eq!(bench.read(&MODULE, "au", None), text("alice"));
        assert_eq!(bench.read(&MODULE, "aU", None), text("alice@example.com"));
        assert_eq!(bench.read(&MODULE, "AU", None), text("alice"));
        assert_eq!(bench.read(&MODULE, "Au", None), text("alice@example.com"));
        assert_eq!(bench.read(&MODULE, "ad", None), text("example.com"));
        assert_eq!(bench.read(&MODULE, "ar", None), text("r"));
        assert_eq!(Bench::invite().read(&MODULE, "au", None), Value::Null);
    }
}
