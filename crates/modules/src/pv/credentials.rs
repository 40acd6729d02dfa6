//! `$au` and its kin: what the message's digest credentials claim.

use module_api::{Call, Value, Variable};
use sip_message::{HeaderName, unquote};

use super::{copied, plain};

pub(super) const USER: Variable =
    plain("au", "The user name in the credentials.", "if ($au != $fU) exit;", |call, _| param(call, "username"));
pub(super) const USER_PART: Variable =
    plain("aU", "The user name in the credentials, up to an @.", "xlog(\"$aU\\n\");", |call, _| {
        first(call, "username", |name| name.split(|byte| *byte == b'@').next())
    });
pub(super) const REALM: Variable =
    plain("ar", "The realm in the credentials.", "xlog(\"$ar\\n\");", |call, _| param(call, "realm"));
pub(super) const DOMAIN: Variable = plain(
    "ad",
    "The domain of the user name in the credentials; undefined when it has none.",
    "xlog(\"$ad\\n\");",
    |call, _| {
        first(call, "username", |name| {
            let at = name.iter().position(|byte| *byte == b'@')?;
            Some(&name[at + 1..])
        })
    },
);
pub(super) const NONCE: Variable =
    plain("adn", "The nonce in the credentials.", "xlog(\"$adn\\n\");", |call, _| param(call, "nonce"));
pub(super) const RESPONSE: Variable =
    plain("adr", "The response in the credentials.", "xlog(\"$adr\\n\");", |call, _| param(call, "response"));
pub(super) const URI: Variable =
    plain("adu", "The URI in the credentials.", "xlog(\"$adu\\n\");", |call, _| param(call, "uri"));
pub(super) const ALGORITHM: Variable =
    plain("aa", "The algorithm in the credentials.", "xlog(\"$aa\\n\");", |call, _| param(call, "algorithm"));

fn param(call: &Call<'_>, name: &str) -> Value {
    first(call, name, |value| Some(value))
}

/// Reads a parameter of the first credentials: of Authorization, else of Proxy-Authorization.
fn first(call: &Call<'_>, name: &str, pick: impl FnOnce(&[u8]) -> Option<&[u8]>) -> Value {
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
        assert_eq!(bench.read(&MODULE, "au", None), text("alice@example.com"));
        assert_eq!(bench.read(&MODULE, "aU", None), text("alice"));
        assert_eq!(bench.read(&MODULE, "ad", None), text("example.com"));
        assert_eq!(bench.read(&MODULE, "ar", None), text("r"));
        assert_eq!(Bench::invite().read(&MODULE, "au", None), Value::Null);
    }
}
