//! Flows of user agents (RFC 5626 section 6).

use sip_message::{HeaderName, Message, NameAddr, Uri};

use super::{Policy, Refusal};

/// What the registrar does about `outbound`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outbound {
    /// Nothing; who requires it is refused with 420.
    #[default]
    Off,
    /// What the RFC says, for user agents that support it.
    Offered,
    /// As offered, and who does not support it is refused with 421.
    Demanded,
}

/// Largest `reg-id` (section 4.2).
const MAX_REG_ID: u32 = i32::MAX as u32;

/// Whether a REGISTER sets up a flow, so that the 200 shall say `Require: outbound` (section 6).
///
/// # Errors
/// When the registrar, the first hop or the request itself does not allow it.
pub fn uses_outbound(register: &Message, policy: &Policy) -> Result<bool, Refusal> {
    let is_required = register.has_token(HeaderName::Require, "outbound");
    let is_supported = is_required || register.has_token(HeaderName::Supported, "outbound");
    match policy.outbound {
        Outbound::Off if is_required => return Err(Refusal::OutboundOff),
        Outbound::Off => return Ok(false),
        Outbound::Demanded if !is_supported => return Err(Refusal::OutboundUnsupported),
        _ if !is_supported => return Ok(false),
        _ => {}
    }
    let is_flow = |contact: &NameAddr<'_>| contact.params.value("+sip.instance").is_some() && reg_id(contact).is_some();
    let contacts = register.contacts().filter_map(Result::ok);
    let addresses = contacts.filter_map(|contact| match contact {
        sip_message::ContactValue::Address(address) => Some(address),
        sip_message::ContactValue::Star => None,
    });
    let mut flows = 0;
    let mut living = 0;
    for contact in addresses.filter(is_flow) {
        flows += 1;
        living += usize::from(contact.expires().or_else(|| register.expires()) != Some(0));
    }
    if living > 1 {
        return Err(Refusal::SeveralFlows);
    }
    if flows > 0 && !first_hop_knows_outbound(register) {
        return Err(Refusal::FirstHop);
    }
    Ok(flows > 0)
}

/// `reg-id`, where it is one.
pub(super) fn reg_id(contact: &NameAddr<'_>) -> Option<u32> {
    let value = contact.params.value("reg-id")?;
    let id = std::str::from_utf8(value).ok()?.parse().ok()?;
    (1..=MAX_REG_ID).contains(&id).then_some(id)
}

/// The user agent sent it here directly, or through a proxy that has put `ob` into its Path, which is the last one
/// of the header, for each proxy puts its own on top.
fn first_hop_knows_outbound(register: &Message) -> bool {
    if register.values_of(HeaderName::Via).nth(1).is_none() {
        return true;
    }
    let Some(path) = register.values_of(HeaderName::Path).last() else { return false };
    let uri = NameAddr::parse(path.text).ok().map(|address| address.uri);
    uri.and_then(|uri| Uri::parse(uri).ok()).is_some_and(|uri| uri.params.has("ob"))
}
