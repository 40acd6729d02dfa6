//! The address-of-record that a request is about (RFC 3261 section 10.3 step 5).

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Outcome};
use sip_message::{Uri, unescape};

use super::settings::Registrar;
use crate::usrloc::LocationTable;

/// An address-of-record in its canonical form.
#[derive(Debug, Clone)]
pub(super) struct Aor {
    /// Under which the table has it.
    pub(super) key: Bytes,
    pub(super) user: Bytes,
    /// Where users of different domains are told apart.
    pub(super) domain: Option<Bytes>,
}

impl Registrar {
    /// The address-of-record that a URI names: without parameters, escapes resolved. None when it is no SIP URI.
    pub(super) fn aor(&self, uri: &[u8]) -> Option<Aor> {
        let uri = Uri::parse(uri).ok().filter(Uri::is_sip)?;
        // A URI without user is the host's own address.
        let mut user = unescape(uri.user.unwrap_or(uri.host_text)).into_owned();
        if !self.is_case_sensitive {
            user.make_ascii_lowercase();
        }
        let user = Bytes::from(user);
        let host = self.domain(uri.host_text);
        let key = self.locations.aor(&user, host);
        let domain = self.locations.uses_domain.then(|| Bytes::from(host.to_ascii_lowercase()));
        Some(Aor { key, user, domain })
    }

    fn domain<'a>(&self, host: &'a [u8]) -> &'a [u8] {
        match host.split_at_checked(self.realm_prefix.len()) {
            Some((front, rest)) if !rest.is_empty() && front.eq_ignore_ascii_case(self.realm_prefix.as_bytes()) => rest,
            _ => host,
        }
    }
}

/// Runs `then` with the table that the call's first argument names, once it is open.
pub(super) fn with_table<F>(call: &mut Call<'_>, then: F) -> Outcome
where
    F: FnOnce(&mut Call<'_>, Arc<LocationTable>) -> Outcome + Send + 'static,
{
    let name = call.text(0);
    let name = String::from_utf8_lossy(&name);
    let registrar = call.shared_state::<Registrar>();
    if let Some(table) = registrar.locations.table(&name) {
        return then(call, table);
    }
    let name = name.into_owned();
    let open = async move { registrar.locations.open(name).await };
    Outcome::wait(open, move |call, opened| match opened {
        Ok(table) => then(call, table),
        Err(cause) => Outcome::fail(cause),
    })
}
