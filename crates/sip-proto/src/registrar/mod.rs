//! The registrar (RFC 3261 section 10.3) on the bindings of one address-of-record.
//!
//! [`apply`] decides and changes nothing: it takes the bindings as they are and a REGISTER, and gives
//! the changes that a store is to make, all or none; [`contact_header`] is what the 200 says then. Authentication, the
//! domain and the address-of-record are the caller's (steps 1 to 5 of section 10.3).

use std::time::Duration;

use bytes::Bytes;
use sip_message::{ContactValue, HeaderName, Message, NameAddr, Uri, push_number};

mod outbound;

pub use outbound::{Outbound, uses_outbound};

/// A contact at which an address-of-record can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The URI of the contact.
    pub uri: Bytes,
    /// Wall-clock time of its end, in whole seconds since 1970.
    pub expires: u64,
    /// Preference in thousandths; none when the contact named none.
    pub q: Option<u16>,
    /// Call-ID of the REGISTER that made or last refreshed it.
    pub call_id: Bytes,
    /// Its CSeq.
    pub cseq: u32,
    /// Path of the REGISTER (RFC 3327): comma-separated, in order; empty for none.
    pub path: Bytes,
    /// `+sip.instance` (RFC 5626), with its quotes; empty for none.
    pub instance: Bytes,
    /// `reg-id` (RFC 5626); 0 for none.
    pub reg_id: u32,
    /// Contact parameters other than `expires` and `q`, from the first `;` on.
    pub params: Bytes,
}

/// What the registrar insists on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Lifetime of a contact that asks for none, in seconds.
    pub default_expires: u32,
    /// Shorter ones get 423, unless zero (step 7).
    pub min_expires: u32,
    /// Longer ones are shortened.
    pub max_expires: u32,
    /// Most contacts of one address-of-record; beyond it nothing of the REGISTER is done.
    pub max_contacts: usize,
    /// Whether a short lifetime is raised to `min_expires` rather than refused with 423, as SER does.
    pub raises_short_expires: bool,
    /// Whether Path is kept (RFC 3327).
    pub keeps_path: bool,
    /// What is done about `outbound` (RFC 5626).
    pub outbound: Outbound,
    /// Whether `+sip.instance` with `reg-id` names a binding even where the user agent does not support `outbound`.
    pub trusts_reg_id: bool,
    /// Most bytes of a contact's URI.
    pub max_contact_length: usize,
    /// Preference of contacts that name none, in thousandths; none: they stay without.
    pub default_q: Option<u16>,
    /// Preference of every contact of this request, whatever it names.
    pub forced_q: Option<u16>,
    /// By how many of a hundred parts a lifetime that a contact asks for is shortened.
    pub shortens: u8,
    /// As `shortens`, for the lifetime of those that ask for none.
    pub shortens_default: u8,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            default_expires: 3600,
            min_expires: 60,
            max_expires: 86_400,
            max_contacts: 10,
            raises_short_expires: false,
            keeps_path: true,
            outbound: Outbound::Off,
            trusts_reg_id: true,
            max_contact_length: usize::MAX,
            default_q: None,
            forced_q: None,
            shortens: 0,
            shortens_default: 0,
        }
    }
}

/// One change of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new binding.
    Add(Binding),
    /// In place of the existing binding with this number.
    Replace(usize, Binding),
    /// The existing binding with this number goes.
    Remove(usize),
}

impl AsRef<Binding> for Binding {
    fn as_ref(&self) -> &Binding {
        self
    }
}

/// Why a REGISTER is refused. Nothing has been changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 400: a contact cannot be read, or `*` stands with other contacts or without `Expires: 0` (step 6).
    BadContact,
    /// 400: Call-ID or CSeq cannot be read.
    BadRequest,
    /// 423 with this Min-Expires (step 7).
    TooBrief {
        /// In seconds.
        min_expires: u32,
    },
    /// 500: a later REGISTER of the same Call-ID came first (step 7).
    OutOfOrder,
    /// 403: the address-of-record would have more contacts than it may have.
    TooManyContacts,
    /// 421 with `Require: path`: proxies added a Path that the phone does not know of (RFC 3327 section 5.3).
    PathUnsupported,
    /// 420 with `Unsupported: outbound`: the user agent requires what is off here.
    OutboundOff,
    /// 421 with `Require: outbound`: the user agent must support it (RFC 5626).
    OutboundUnsupported,
    /// 439: a proxy that does not know `outbound` is the first hop (RFC 5626 section 11.6).
    FirstHop,
    /// 400: several contacts of one REGISTER are flows (RFC 5626 section 6).
    SeveralFlows,
    /// 403: a contact is a GRUU of this registrar (RFC 5627 section 5.1).
    OwnGruu,
    /// 400: the URI of a contact is longer than is taken.
    LongContact,
}

impl Refusal {
    /// Status code and reason phrase.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Refusal::BadContact => (400, "Invalid Contact"),
            Refusal::BadRequest => (400, "Bad Request"),
            Refusal::TooBrief { .. } => (423, "Interval Too Brief"),
            Refusal::OutOfOrder => (500, "Request Out of Order"),
            Refusal::TooManyContacts => (403, "Too Many Contacts"),
            Refusal::PathUnsupported | Refusal::OutboundUnsupported => (421, "Extension Required"),
            Refusal::OutboundOff => (420, "Bad Extension"),
            Refusal::FirstHop => (439, "First Hop Lacks Outbound Support"),
            Refusal::SeveralFlows => (400, "Several Contacts With reg-id"),
            Refusal::OwnGruu => (403, "Contact Is A GRUU"),
            Refusal::LongContact => (400, "Contact Too Long"),
        }
    }
}

/// Decides on a REGISTER at `now`, the wall clock since 1970 (RFC 3261 section 10.3 steps 6 and 7):
/// the changes of the record, to be made all or none; empty for a query.
///
/// # Errors
/// A [`Refusal`]; the record stays as it is (step 7: all or none).
pub fn apply(
    register: &Message,
    existing: &[impl AsRef<Binding>],
    policy: &Policy,
    now: Duration,
) -> Result<Vec<Change>, Refusal> {
    let order = Order::of(register)?;
    let now = now.as_secs();
    let is_outbound = uses_outbound(register, policy)?;
    let changes = match contacts(register)? {
        Contacts::Query => Vec::new(),
        Contacts::All => remove_all(existing, &order, now)?,
        Contacts::Some(contacts) => {
            let keeps_flow = is_outbound || policy.trusts_reg_id;
            let request = Request { register, order, policy, now, path: path(register, policy)?, keeps_flow };
            request.changes(&contacts, existing)?
        }
    };
    let adds = changes.iter().any(|change| matches!(change, Change::Add(_)));
    if adds && count_after(existing, &changes, now) > policy.max_contacts {
        return Err(Refusal::TooManyContacts);
    }
    Ok(changes)
}

/// The Contact header of the 200 (step 8), one line, with its line end; empty when there is no binding.
///
/// `more` adds parameters of a contact, each with its semicolon.
pub fn contact_header<'a>(
    bindings: impl IntoIterator<Item = &'a Binding>,
    now: Duration,
    mut more: impl FnMut(&Binding, &mut Vec<u8>),
) -> Vec<u8> {
    let mut line = Vec::with_capacity(128);
    for binding in bindings {
        let left = binding.expires.saturating_sub(now.as_secs());
        line.extend_from_slice(if line.is_empty() { b"Contact: <" } else { b", <" });
        line.extend_from_slice(&binding.uri);
        line.push(b'>');
        if let Some(q) = binding.q {
            line.extend_from_slice(format!(";q={}", crate::redirect::q_text(q)).as_bytes());
        }
        line.extend_from_slice(b";expires=");
        push_number(&mut line, left);
        line.extend_from_slice(&binding.params);
        more(binding, &mut line);
    }
    if !line.is_empty() {
        line.extend_from_slice(b"\r\n");
    }
    line
}

enum Contacts<'a> {
    Query,
    All,
    Some(Vec<NameAddr<'a>>),
}

/// Step 6.
fn contacts(register: &Message) -> Result<Contacts<'_>, Refusal> {
    let mut addresses = Vec::new();
    let mut has_star = false;
    for contact in register.contacts() {
        match contact.map_err(|_| Refusal::BadContact)? {
            ContactValue::Star => has_star = true,
            ContactValue::Address(address) => addresses.push(address),
        }
    }
    match (has_star, addresses.is_empty()) {
        (false, true) => Ok(Contacts::Query),
        (false, false) => Ok(Contacts::Some(addresses)),
        (true, true) if register.expires() == Some(0) => Ok(Contacts::All),
        (true, _) => Err(Refusal::BadContact),
    }
}

/// What orders REGISTERs of one phone.
struct Order {
    call_id: Bytes,
    cseq: u32,
}

impl Order {
    fn of(register: &Message) -> Result<Order, Refusal> {
        let cseq = register.cseq().map_err(|_| Refusal::BadRequest)?.number;
        let call_id = register.header(HeaderName::CallId).map(|header| register.slice(header.value_span));
        let call_id = call_id.unwrap_or_default();
        if call_id.is_empty() { Err(Refusal::BadRequest) } else { Ok(Order { call_id, cseq }) }
    }

    /// Step 7: within one Call-ID the CSeq must be higher than the one of the binding. An equal one
    /// is the same REGISTER once more, after its transaction was forgotten; but it too must fail.
    fn follows(&self, binding: &Binding) -> bool {
        binding.call_id != self.call_id || self.cseq > binding.cseq
    }
}

fn remove_all(existing: &[impl AsRef<Binding>], order: &Order, now: u64) -> Result<Vec<Change>, Refusal> {
    let mut live = existing.iter().map(AsRef::as_ref).filter(|binding| binding.expires > now);
    if live.any(|binding| !order.follows(binding)) {
        return Err(Refusal::OutOfOrder);
    }
    Ok((0..existing.len()).map(Change::Remove).collect())
}

fn path(register: &Message, policy: &Policy) -> Result<Bytes, Refusal> {
    let mut path = Vec::new();
    for value in register.values_of(HeaderName::Path).filter(|_| policy.keeps_path) {
        if !path.is_empty() {
            path.extend_from_slice(b", ");
        }
        NameAddr::parse(value.text).map_err(|_| Refusal::BadRequest)?;
        path.extend_from_slice(&sip_message::unfold(value.text));
    }
    if !path.is_empty() && !register.has_token(HeaderName::Supported, "path") {
        return Err(Refusal::PathUnsupported);
    }
    Ok(path.into())
}

struct Request<'a> {
    register: &'a Message,
    order: Order,
    policy: &'a Policy,
    now: u64,
    path: Bytes,
    /// Whether `reg-id` counts.
    keeps_flow: bool,
}

impl Request<'_> {
    /// Step 7.
    fn changes(&self, contacts: &[NameAddr<'_>], existing: &[impl AsRef<Binding>]) -> Result<Vec<Change>, Refusal> {
        // Each contact costs a comparison with each binding; more than may be kept are not looked at.
        if contacts.len() > self.policy.max_contacts.saturating_mul(2).max(16) {
            return Err(Refusal::TooManyContacts);
        }
        let mut changes: Vec<Change> = Vec::new();
        for contact in contacts {
            let uri = contact.parsed_uri().map_err(|_| Refusal::BadContact)?;
            if contact.uri.len() > self.policy.max_contact_length {
                return Err(Refusal::LongContact);
            }
            let lifetime = self.lifetime(contact)?;
            let binding = self.binding(contact, lifetime);
            let found = existing.iter().position(|known| is_same(known.as_ref(), &binding, &uri));
            if let Some(known) = found.map(|number| existing[number].as_ref())
                && known.expires > self.now
                && !self.order.follows(known)
            {
                return Err(Refusal::OutOfOrder);
            }
            forget(&mut changes, found, &binding, &uri);
            match (found, lifetime) {
                (Some(number), 0) => changes.push(Change::Remove(number)),
                (Some(number), _) => changes.push(Change::Replace(number, binding)),
                (None, 0) => {}
                (None, _) => changes.push(Change::Add(binding)),
            }
        }
        Ok(changes)
    }

    /// Seconds: the contact's own, else the request's, else the default; held within bounds.
    fn lifetime(&self, contact: &NameAddr<'_>) -> Result<u32, Refusal> {
        let policy = self.policy;
        let own = contact.expires().or_else(|| self.register.expires());
        let shortens = if own.is_some() { policy.shortens } else { policy.shortens_default };
        let asked = own.unwrap_or(policy.default_expires);
        match asked {
            0 => Ok(0),
            // 10.2.1.1: a registrar that wants longer says how long.
            _ if asked < policy.min_expires && policy.raises_short_expires => Ok(policy.min_expires),
            _ if asked < policy.min_expires => Err(Refusal::TooBrief { min_expires: policy.min_expires }),
            _ => {
                let most = u64::from(asked.min(policy.max_expires));
                let left = most - most * u64::from(shortens.min(100)) / 100;
                Ok((left as u32).max(policy.min_expires).max(1))
            }
        }
    }

    fn binding(&self, contact: &NameAddr<'_>, lifetime: u32) -> Binding {
        let copy = |name| Bytes::copy_from_slice(contact.params.value(name).unwrap_or_default());
        let instance = copy("+sip.instance");
        // Without an instance reg-id means nothing (RFC 5626 section 6).
        let counts = self.keeps_flow && !instance.is_empty();
        let reg_id = outbound::reg_id(contact).filter(|_| counts).unwrap_or(0);
        let mut params = Vec::new();
        for param in contact.params.iter_spans() {
            // The GRUUs are the registrar's to say (RFC 5627 section 5.1).
            let is_ours = [&b"expires"[..], b"q", b"pub-gruu", b"temp-gruu"];
            if !is_ours.iter().any(|name| param.name.eq_ignore_ascii_case(name)) {
                params.extend_from_slice(&sip_message::unfold(self.register.text(param.span)));
            }
        }
        Binding {
            uri: self.register.slice(contact.uri_span),
            expires: self.now + u64::from(lifetime),
            q: self.policy.forced_q.or_else(|| contact.params.has("q").then(|| contact.q())).or(self.policy.default_q),
            call_id: self.order.call_id.clone(),
            cseq: self.order.cseq,
            path: self.path.clone(),
            instance,
            reg_id,
            params: params.into(),
        }
    }
}

/// Whether a contact means an existing binding: by the flow where both name one (RFC 5626 section
/// 6), else by its URI (RFC 3261 sections 10.2.4 and 19.1.4).
fn is_same(known: &Binding, new: &Binding, uri: &Uri<'_>) -> bool {
    if new.reg_id != 0 && !new.instance.is_empty() && known.reg_id != 0 && !known.instance.is_empty() {
        return known.reg_id == new.reg_id && known.instance == new.instance;
    }
    known.uri == new.uri || Uri::parse(&known.uri).is_ok_and(|known| known.equivalent(uri))
}

/// The later of two equal contacts in one REGISTER counts.
fn forget(changes: &mut Vec<Change>, found: Option<usize>, new: &Binding, uri: &Uri<'_>) {
    changes.retain(|change| match change {
        Change::Add(earlier) => !is_same(earlier, new, uri),
        Change::Replace(number, _) | Change::Remove(number) => Some(*number) != found,
    });
}

/// How many live bindings there will be.
fn count_after(existing: &[impl AsRef<Binding>], changes: &[Change], now: u64) -> usize {
    let is_replaced = |number| changes.iter().any(|change| matches!(change, Change::Replace(n, _) if *n == number));
    let is_removed = |number| changes.iter().any(|change| matches!(change, Change::Remove(n) if *n == number));
    let is_live = |number: &usize| existing[*number].as_ref().expires > now && !is_removed(*number);
    let stay = (0..existing.len()).filter(|number| is_replaced(*number) || is_live(number)).count();
    stay + changes.iter().filter(|change| matches!(change, Change::Add(_))).count()
}

#[cfg(test)]
mod tests;
