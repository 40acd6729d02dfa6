//! Globally routable URIs of one user agent instance (RFC 5627).
//!
//! A public GRUU is the address-of-record with the instance in `gr`. A temporary one has a sealed user part and an
//! empty `gr`: it tells whom it leads to only to the server that made it. Nothing of it is stored. It names the
//! address-of-record, the instance and the Call-ID under which the instance registered, so that it ends, as it
//! must, when the instance registers under another Call-ID (section 5.4).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sip_message::{Uri, unescape};

use crate::registrar::Binding;
use crate::seal::Sealer;

/// Makes temporary GRUUs and reads them.
#[derive(Debug, Clone)]
pub struct Temporary {
    sealer: Sealer,
    secret: [u8; 32],
}

/// Whom a GRUU leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gruu {
    /// The instance with this URN.
    Public(Vec<u8>),
    /// Found by [`Temporary::open`] on the user part.
    Temporary,
}

/// What a temporary GRUU names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The address-of-record, as the registrar's table has it.
    pub aor: Vec<u8>,
    registration: [u8; 8],
}

/// The user part of a temporary GRUU begins so, for whoever reads a log.
const PREFIX: &[u8] = b"tgruu.";
/// Random bytes that make two temporary GRUUs of one registration differ (appendix A.2).
const LUCK: usize = 8;
const REGISTRATION: usize = 8;
/// Lengths are rounded up to this, so that they do not tell addresses-of-record apart.
const ROUND: usize = 32;

impl Temporary {
    /// From a secret that outlives the process.
    pub fn new(secret: &[u8]) -> Temporary {
        let mut own = [0; 32];
        own.copy_from_slice(&hash(secret, &[b"gruu/registration"]));
        Temporary { sealer: Sealer::new(secret, "gruu"), secret: own }
    }

    /// A fresh user part for the instance of a binding of `aor`. None when `aor` is too long for one.
    pub fn user(&self, aor: &[u8], binding: &Binding, random: u64) -> Option<String> {
        let mut text = random.to_be_bytes().to_vec();
        text.extend_from_slice(&self.registration(binding));
        text.extend_from_slice(&u16::try_from(aor.len()).ok()?.to_be_bytes());
        text.extend_from_slice(aor);
        text.resize(text.len().next_multiple_of(ROUND), 0);
        Some(format!("tgruu.{}", self.sealer.seal(&text)?))
    }

    /// What a user part names; none when it is no temporary GRUU of ours.
    pub fn open(&self, user: &[u8]) -> Option<Named> {
        let text = self.sealer.open(user.strip_prefix(PREFIX)?)?;
        let (registration, rest) = text.get(LUCK..)?.split_first_chunk::<REGISTRATION>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let aor = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
        Some(Named { aor: aor.to_vec(), registration: *registration })
    }

    /// Whether a binding is one of the registration that a temporary GRUU names.
    pub fn is_of(&self, named: &Named, binding: &Binding) -> bool {
        instance(binding).is_some() && self.registration(binding) == named.registration
    }

    fn registration(&self, binding: &Binding) -> [u8; REGISTRATION] {
        let instance = instance(binding).unwrap_or_default();
        let length = (instance.len() as u32).to_be_bytes();
        let hash = hash(&self.secret, &[&length, &instance.to_ascii_lowercase(), &binding.call_id]);
        let mut short = [0; REGISTRATION];
        short.copy_from_slice(&hash[..REGISTRATION]);
        short
    }
}

fn hash(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The URN in `+sip.instance`, without its quotes and angle brackets (RFC 5626 section 4.1). None when there is
/// none, or one that could not stand in a URI.
pub fn instance(binding: &Binding) -> Option<&[u8]> {
    let urn = binding.instance.strip_prefix(b"\"<")?.strip_suffix(b">\"")?;
    let is_urn = urn.len() > 4 && urn[..4].eq_ignore_ascii_case(b"urn:");
    (is_urn && urn.iter().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\".contains(byte))).then_some(urn)
}

/// Whether a binding is one of the instance with this URN. The letters of a UUID have no case (RFC 4122 section 3),
/// and other URNs that differ in case alone nobody gives to two devices.
pub fn is_of_instance(binding: &Binding, urn: &[u8]) -> bool {
    instance(binding).is_some_and(|own| own.eq_ignore_ascii_case(urn))
}

/// What kind of GRUU a URI is; none when it is none (section 4.1: the parameter `gr` makes one).
pub fn kind(uri: &Uri<'_>) -> Option<Gruu> {
    match uri.param("gr")? {
        Some(value) if !value.is_empty() => Some(Gruu::Public(unescape(value).into_owned())),
        _ => Some(Gruu::Temporary),
    }
}

/// The parameters of a contact in a 200 (section 5.2), each with its semicolon: `pub-gruu`, and `temp-gruu` where a
/// user part for one is given. Nothing for a contact without instance.
///
/// `aor` is the URI of the To header.
pub fn push_contact_params(binding: &Binding, aor: &Uri<'_>, temporary: Option<&str>, out: &mut Vec<u8>) {
    let Some(urn) = instance(binding) else { return };
    let user = aor.user.unwrap_or_default();
    if !user.iter().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\".contains(byte)) {
        return;
    }
    let scheme: &[u8] = if aor.scheme == sip_message::Scheme::Sips { b"sips:" } else { b"sip:" };
    let push_host = |out: &mut Vec<u8>| {
        out.extend_from_slice(aor.host_text);
        if let Some(port) = aor.port {
            out.extend_from_slice(format!(":{port}").as_bytes());
        }
    };
    out.extend_from_slice(b";pub-gruu=\"");
    out.extend_from_slice(scheme);
    if !user.is_empty() {
        out.extend_from_slice(user);
        out.push(b'@');
    }
    push_host(out);
    out.extend_from_slice(b";gr=");
    for byte in urn {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$".contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out.push(b'"');
    if let Some(user) = temporary {
        out.extend_from_slice(b";temp-gruu=\"");
        out.extend_from_slice(scheme);
        out.extend_from_slice(user.as_bytes());
        out.push(b'@');
        push_host(out);
        out.extend_from_slice(b";gr\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(instance: &str, call_id: &str) -> Binding {
        Binding {
            uri: "sip:a@192.0.2.1".into(),
            expires: 1,
            q: None,
            call_id: call_id.to_owned().into(),
            cseq: 1,
            path: "".into(),
            instance: instance.to_owned().into(),
            reg_id: 0,
            params: "".into(),
        }
    }

    const URN: &str = "\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"";

    // The example of RFC 5627 section 3.2.
    #[test]
    fn a_public_gruu_is_the_address_with_the_instance() {
        let aor = Uri::parse(b"sip:callee@example.com").unwrap();
        let mut out = Vec::new();
        push_contact_params(&binding(URN, "c"), &aor, Some("tgruu.7hs"), &mut out);
        let expected = ";pub-gruu=\"sip:callee@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6\"\
                        ;temp-gruu=\"sip:tgruu.7hs@example.com;gr\"";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_cannot_stand_in_a_uri_parameter_is_escaped_and_found_again() {
        let binding = binding("\"<urn:x:a;b=c>\"", "c");
        let aor = Uri::parse(b"sips:callee@example.com:5071").unwrap();
        let mut out = Vec::new();
        push_contact_params(&binding, &aor, None, &mut out);
        assert_eq!(out, b";pub-gruu=\"sips:callee@example.com:5071;gr=urn:x:a%3Bb%3Dc\"");
        let uri = Uri::parse(b"sips:callee@example.com:5071;gr=urn:x:a%3Bb%3Dc").unwrap();
        let Some(Gruu::Public(urn)) = kind(&uri) else { panic!("it is one") };
        assert!(is_of_instance(&binding, &urn));
    }

    #[test]
    fn a_contact_without_a_proper_instance_gets_none() {
        for instance in ["", "<urn:uuid:1>", "\"urn:uuid:1\"", "\"<1>\"", "\"<urn:uuid:\r\n1>\""] {
            let mut out = Vec::new();
            push_contact_params(&binding(instance, "c"), &Uri::parse(b"sip:a@b").unwrap(), Some("t"), &mut out);
            assert!(out.is_empty(), "{instance}");
        }
    }

    #[test]
    fn gr_makes_a_gruu() {
        let kind_of = |uri: &str| kind(&Uri::parse(uri.as_bytes()).unwrap());
        assert_eq!(kind_of("sip:a@b"), None);
        assert_eq!(kind_of("sip:a@b;gr"), Some(Gruu::Temporary));
        assert_eq!(kind_of("sip:a@b;gr=urn:uuid:1"), Some(Gruu::Public(b"urn:uuid:1".to_vec())));
    }

    // Appendix A.2 and section 5.4.
    #[test]
    fn a_temporary_gruu_leads_to_its_registration_until_the_call_id_changes() {
        let temporary = Temporary::new(b"secret");
        let known = binding(URN, "c1");
        let user = temporary.user(b"callee", &known, 1).unwrap();
        let named = temporary.open(user.as_bytes()).unwrap();
        assert_eq!(named.aor, b"callee");
        assert!(temporary.is_of(&named, &known));
        assert!(!temporary.is_of(&named, &binding(URN, "c2")));
        assert!(!temporary.is_of(&named, &binding("\"<urn:uuid:2>\"", "c1")));
    }

    // Appendix A.2: neither can one be made by others, nor two be told to be of one user.
    #[test]
    fn a_temporary_gruu_cannot_be_forged_and_tells_nothing() {
        let temporary = Temporary::new(b"secret");
        let known = binding(URN, "c1");
        let (one, two) = (temporary.user(b"callee", &known, 1).unwrap(), temporary.user(b"callee", &known, 2).unwrap());
        assert_eq!(one.len(), two.len());
        assert_eq!(one.len(), temporary.user(b"al", &known, 3).unwrap().len());
        let same = one.bytes().skip(PREFIX.len()).zip(two.bytes().skip(PREFIX.len())).filter(|(a, b)| a == b).count();
        assert!(same < 16, "{one} {two}");
        let mut forged = one.into_bytes();
        let last = forged.len() - 5;
        forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
        assert_eq!(temporary.open(&forged), None);
        assert_eq!(temporary.open(b"tgruu."), None);
        assert_eq!(temporary.open(b"alice"), None);
        assert_eq!(Temporary::new(b"other").open(two.as_bytes()), None);
        assert_eq!(temporary.user(&[b'x'; 600], &known, 1), None);
    }
}
