//! GRUUs in what the registrar says and finds (RFC 5627).

use bytes::Bytes;
use module_api::Call;
use sip_message::{ContactValue, HeaderName, Message, Uri};
use sip_proto::gruu::{self, Gruu, Temporary};
use sip_proto::registrar::Binding;

use super::aor::Aor;
use super::settings::Registrar;
use crate::usrloc::Contact;

/// Whether a contact that shall live is a GRUU of this server's own domains. Requests to it would come back here for
/// ever (section 5.1).
pub(super) fn claims_own(call: &Call<'_>) -> bool {
    let message = &call.context.message;
    message.contacts().filter_map(Result::ok).any(|contact| {
        let ContactValue::Address(address) = contact else { return false };
        let lives = address.expires().or_else(|| message.expires()) != Some(0);
        let uri = address.parsed_uri().ok().filter(|uri| lives && gruu::kind(uri).is_some());
        uri.is_some_and(|uri| call.host.is_myself(uri.host_text, uri.port, uri.transport()))
    })
}

/// Adds GRUUs to the contacts of a 200, where the phone supports them.
pub(super) struct GruuParams {
    given: Option<Given>,
}

struct Given {
    temporary: Temporary,
    /// URI of the address-of-record.
    uri: Bytes,
    random: u64,
}

impl GruuParams {
    /// For a REGISTER of the address-of-record that `uri` names (section 5.2: `Supported: gruu`).
    pub(super) fn new(call: &mut Call<'_>, registrar: &Registrar, message: &Message, uri: &Bytes) -> GruuParams {
        let is_wanted = message.has_token(HeaderName::Supported, "gruu");
        let temporary = registrar.gruus.as_ref().filter(|_| is_wanted);
        let random = if temporary.is_some() { call.host.random() } else { 0 };
        GruuParams { given: temporary.cloned().map(|temporary| Given { temporary, uri: uri.clone(), random }) }
    }

    pub(super) fn push(&self, binding: &Binding, aor: &[u8], out: &mut Vec<u8>) {
        let Some(Given { temporary, uri, random }) = &self.given else { return };
        let Ok(uri) = Uri::parse(uri) else { return };
        // Each contact with another one: what tells nothing must not repeat.
        let user = gruu::instance(binding).and_then(|_| temporary.user(aor, binding, *random));
        gruu::push_contact_params(binding, &uri, user.as_deref(), out);
    }
}

/// Whom a request is for, as its URI says.
pub(super) enum Subject {
    /// Every contact of an address.
    Address(Aor),
    /// Those of one instance.
    Instance(Aor, Vec<u8>),
    /// Those of one registration of an instance.
    Temporary(Bytes, gruu::Named),
    /// None: a temporary GRUU that was never given out.
    Nobody,
}

impl Registrar {
    /// Whom a URI names; none when it is no SIP URI.
    pub(super) fn subject(&self, uri: &[u8]) -> Option<Subject> {
        let aor = self.aor(uri)?;
        let parsed = Uri::parse(uri).ok()?;
        let Some(temporary) = &self.gruus else { return Some(Subject::Address(aor)) };
        Some(match gruu::kind(&parsed) {
            None => Subject::Address(aor),
            Some(Gruu::Public(urn)) => Subject::Instance(aor, urn),
            Some(Gruu::Temporary) => match parsed.user.and_then(|user| temporary.open(user)) {
                Some(named) => Subject::Temporary(Bytes::copy_from_slice(&named.aor), named),
                None => Subject::Nobody,
            },
        })
    }

    /// Leaves those of `contacts` that belong to the subject.
    pub(super) fn narrow(&self, subject: &Subject, contacts: &mut Vec<Contact>) {
        match (subject, &self.gruus) {
            (Subject::Instance(_, urn), _) => contacts.retain(|contact| gruu::is_of_instance(&contact.binding, urn)),
            (Subject::Temporary(_, named), Some(temporary)) => {
                contacts.retain(|contact| temporary.is_of(named, &contact.binding));
            }
            (Subject::Address(_), _) => return,
            (Subject::Nobody | Subject::Temporary(..), _) => contacts.clear(),
        }
        // Without flows the latest contact of an instance is the instance (section 6.1).
        if contacts.iter().all(|contact| contact.binding.reg_id == 0) {
            contacts.sort_by_key(|contact| std::cmp::Reverse(contact.modified));
            contacts.truncate(1);
        }
    }
}

impl Subject {
    /// The key of the address-of-record.
    pub(super) fn key(&self) -> Option<&Bytes> {
        match self {
            Subject::Address(aor) | Subject::Instance(aor, _) => Some(&aor.key),
            Subject::Temporary(key, _) => Some(key),
            Subject::Nobody => None,
        }
    }
}
