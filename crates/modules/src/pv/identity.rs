//! `$ai`, `$pu`, `$re`, `$di`: who else the message says that it is from, and for whom it was.

use module_api::{Call, Value, Variable};
use sip_message::NameAddr;

use super::target::part;
use super::{copied, plain};

pub(super) const PREFERRED_URI: Variable =
    plain("pu", "The URI of P-Preferred-Identity.", "xlog(\"$pu\\n\");", |call, _| uri(call, PREFERRED));
pub(super) const PREFERRED_USER: Variable =
    plain("pU", "The user in the URI of P-Preferred-Identity.", "xlog(\"$pU\\n\");", |call, _| {
        with(call, PREFERRED, |address| part(address.uri, |uri| uri.user))
    });
pub(super) const PREFERRED_HOST: Variable =
    plain("pd", "The host in the URI of P-Preferred-Identity.", "xlog(\"$pd\\n\");", |call, _| {
        with(call, PREFERRED, |address| part(address.uri, |uri| Some(uri.host_text)))
    });
pub(super) const PREFERRED_NAME: Variable =
    plain("pn", "The display name of P-Preferred-Identity, as written.", "xlog(\"$pn\\n\");", |call, _| {
        with(call, PREFERRED, |address| copied(Some(address.display)))
    });
pub(super) const REMOTE_PARTY: Variable =
    plain("re", "The URI of Remote-Party-ID.", "xlog(\"$re\\n\");", |call, _| uri(call, b"Remote-Party-ID"));
pub(super) const DIVERSION: Variable =
    plain("di", "The URI of the first Diversion (RFC 5806).", "xlog(\"diverted by $di\\n\");", |call, _| {
        uri(call, DIVERTED)
    });
pub(super) const DIVERSION_REASON: Variable =
    plain("dir", "The reason of the first Diversion.", "xlog(\"$dir\\n\");", |call, _| parameter(call, "reason"));
pub(super) const DIVERSION_PRIVACY: Variable =
    plain("dip", "The privacy of the first Diversion.", "xlog(\"$dip\\n\");", |call, _| parameter(call, "privacy"));
pub(super) const DIVERSION_COUNTER: Variable =
    plain("dic", "The counter of the first Diversion.", "xlog(\"$dic\\n\");", |call, _| parameter(call, "counter"));

const PREFERRED: &[u8] = b"P-Preferred-Identity";
const DIVERTED: &[u8] = b"Diversion";

fn with(call: &Call<'_>, name: &[u8], read: impl FnOnce(NameAddr<'_>) -> Value) -> Value {
    let header = call.context.message.headers_with_name(name).next();
    let first = header.and_then(|header| header.values().next());
    first.and_then(|value| NameAddr::parse(value.text).ok()).map_or(Value::Null, read)
}

fn uri(call: &Call<'_>, name: &[u8]) -> Value {
    with(call, name, |address| copied(Some(address.uri)))
}

fn parameter(call: &Call<'_>, name: &str) -> Value {
    with(call, DIVERTED, |address| copied(address.params.value(name)))
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, text};

    /// What Kamailio 5.6.3 prints for the same headers.
    #[test]
    fn identities_beside_from_are_read() {
        let lines = "Subject: lunch\r\nP-Preferred-Identity: \"Pref\" <sip:ppi@ex.com:99>\r\n\
                     Remote-Party-ID: \"R\" <sip:rpid@ex.com>;party=calling\r\n\
                     Diversion: <sip:div@ex.com>;reason=busy;privacy=full;counter=3\r\n";
        let mut bench = Bench::new(&INVITE.replace("Subject: lunch\r\n", lines));
        let expected = [
            ("pu", "sip:ppi@ex.com:99"),
            ("pU", "ppi"),
            ("pd", "ex.com"),
            ("pn", "\"Pref\""),
            ("re", "sip:rpid@ex.com"),
            ("di", "sip:div@ex.com"),
            ("dir", "busy"),
            ("dip", "full"),
            ("dic", "3"),
        ];
        for (name, value) in expected {
            assert_eq!(bench.read(&MODULE, name, None), text(value), "{name}");
        }
        assert_eq!(Bench::invite().read(&MODULE, "di", None), Value::Null);
    }
}
