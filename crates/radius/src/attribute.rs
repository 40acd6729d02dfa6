//! Attributes of a packet (RFC 2865 section 5), those of vendors included (section 5.26).

use std::net::IpAddr;

/// Which attribute: a number, of the standard or of a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttributeId {
    /// The vendor's number as IANA gave it; none: an attribute of the standard.
    pub vendor: Option<u32>,
    /// The attribute's number.
    pub number: u8,
}

impl AttributeId {
    /// An attribute of the standard.
    #[must_use]
    pub const fn standard(number: u8) -> AttributeId {
        AttributeId { vendor: None, number }
    }

    /// The longest value that it can have: one octet counts the whole attribute (section 5).
    #[must_use]
    pub const fn most(self) -> usize {
        if self.vendor.is_some() { 247 } else { 253 }
    }
}

/// An attribute and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Which.
    pub id: AttributeId,
    /// As it travels.
    pub value: Vec<u8>,
}

/// The attributes of a packet, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(Vec<Attribute>);

/// A value does not fit into an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong(pub AttributeId);

impl Attributes {
    /// None.
    #[must_use]
    pub fn new() -> Attributes {
        Attributes::default()
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`TooLong`] when the value does not fit; nothing is cut off.
    pub fn push(&mut self, id: AttributeId, value: &[u8]) -> Result<(), TooLong> {
        if value.len() > id.most() {
            return Err(TooLong(id));
        }
        self.0.push(Attribute { id, value: value.to_vec() });
        Ok(())
    }

    /// Adds one; of a value that is too long its beginning. Where half of it is better than no record at all.
    pub fn push_clipped(&mut self, id: AttributeId, value: &[u8]) {
        let value = &value[..value.len().min(id.most())];
        self.0.push(Attribute { id, value: value.to_vec() });
    }

    /// Adds an integer.
    pub fn push_int(&mut self, id: AttributeId, value: u32) {
        self.0.push(Attribute { id, value: value.to_be_bytes().to_vec() });
    }

    /// Adds an address.
    pub fn push_address(&mut self, v4: AttributeId, v6: AttributeId, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.push_clipped(v4, &address.octets()),
            IpAddr::V6(address) => self.push_clipped(v6, &address.octets()),
        }
    }

    /// The first value of an attribute.
    #[must_use]
    pub fn first(&self, id: AttributeId) -> Option<&[u8]> {
        self.all(id).next()
    }

    /// All values of an attribute.
    pub fn all(&self, id: AttributeId) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |one| one.id == id).map(|one| one.value.as_slice())
    }

    /// All, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.0.iter()
    }

    /// As they travel. Each attribute of a vendor goes by itself, which every server reads.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        for Attribute { id, value } in &self.0 {
            let length = value.len() as u8;
            match id.vendor {
                None => out.extend_from_slice(&[id.number, length + 2]),
                Some(vendor) => {
                    out.extend_from_slice(&[VENDOR_SPECIFIC.number, length + 8]);
                    out.extend_from_slice(&vendor.to_be_bytes());
                    out.extend_from_slice(&[id.number, length + 2]);
                }
            }
            out.extend_from_slice(value);
        }
        out
    }

    /// Reads attributes; none when a length does not fit.
    #[must_use]
    pub fn parse(mut octets: &[u8]) -> Option<Attributes> {
        let mut all = Attributes::new();
        while !octets.is_empty() {
            let (number, value, rest) = split(octets)?;
            if number == VENDOR_SPECIFIC.number {
                all.push_vendor(value);
            } else {
                all.0.push(Attribute { id: AttributeId::standard(number), value: value.to_vec() });
            }
            octets = rest;
        }
        Some(all)
    }

    /// What a vendor put into one attribute need not be made of attributes (section 5.26): then it is one itself.
    fn push_vendor(&mut self, value: &[u8]) {
        let whole = || Attribute { id: VENDOR_SPECIFIC, value: value.to_vec() };
        let Some((vendor, mut rest)) = value.split_first_chunk::<4>() else { return self.0.push(whole()) };
        let (vendor, before) = (Some(u32::from_be_bytes(*vendor)), self.0.len());
        while !rest.is_empty() {
            let Some((number, value, behind)) = split(rest) else {
                self.0.truncate(before);
                return self.0.push(whole());
            };
            self.0.push(Attribute { id: AttributeId { vendor, number }, value: value.to_vec() });
            rest = behind;
        }
    }
}

/// Number, value, and what is behind.
fn split(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [number, length, ..] = *octets else { return None };
    let value = octets.get(2..usize::from(length))?;
    Some((number, value, &octets[usize::from(length)..]))
}

/// User-Name (RFC 2865 section 5.1).
pub const USER_NAME: AttributeId = AttributeId::standard(1);
/// NAS-IP-Address (RFC 2865 section 5.4).
pub const NAS_IP_ADDRESS: AttributeId = AttributeId::standard(4);
/// NAS-Port (RFC 2865 section 5.5).
pub const NAS_PORT: AttributeId = AttributeId::standard(5);
/// Service-Type (RFC 2865 section 5.6).
pub const SERVICE_TYPE: AttributeId = AttributeId::standard(6);
/// Reply-Message (RFC 2865 section 5.18).
pub const REPLY_MESSAGE: AttributeId = AttributeId::standard(18);
/// Vendor-Specific (RFC 2865 section 5.26).
pub const VENDOR_SPECIFIC: AttributeId = AttributeId::standard(26);
/// Called-Station-Id (RFC 2865 section 5.30).
pub const CALLED_STATION_ID: AttributeId = AttributeId::standard(30);
/// Calling-Station-Id (RFC 2865 section 5.31).
pub const CALLING_STATION_ID: AttributeId = AttributeId::standard(31);
/// NAS-Identifier (RFC 2865 section 5.32).
pub const NAS_IDENTIFIER: AttributeId = AttributeId::standard(32);
/// Acct-Status-Type (RFC 2866 section 5.1).
pub const ACCT_STATUS_TYPE: AttributeId = AttributeId::standard(40);
/// Acct-Delay-Time (RFC 2866 section 5.2).
pub const ACCT_DELAY_TIME: AttributeId = AttributeId::standard(41);
/// Acct-Session-Id (RFC 2866 section 5.5).
pub const ACCT_SESSION_ID: AttributeId = AttributeId::standard(44);
/// Acct-Session-Time (RFC 2866 section 5.7).
pub const ACCT_SESSION_TIME: AttributeId = AttributeId::standard(46);
/// Acct-Terminate-Cause (RFC 2866 section 5.10).
pub const ACCT_TERMINATE_CAUSE: AttributeId = AttributeId::standard(49);
/// Event-Timestamp (RFC 2869 section 5.3).
pub const EVENT_TIMESTAMP: AttributeId = AttributeId::standard(55);
/// Message-Authenticator (RFC 2869 section 5.14).
pub const MESSAGE_AUTHENTICATOR: AttributeId = AttributeId::standard(80);
/// NAS-IPv6-Address (RFC 3162 section 2.1).
pub const NAS_IPV6_ADDRESS: AttributeId = AttributeId::standard(95);

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 2865 section 5.26: several attributes of a vendor may share one.
    #[test]
    fn attributes_of_a_vendor_are_read_one_by_one_and_written_so() {
        let packed = [26, 14, 0, 0, 0, 9, 1, 4, b'a', b'b', 2, 4, b'c', b'd'];
        let all = Attributes::parse(&packed).expect("it is well formed");
        let id = |number| AttributeId { vendor: Some(9), number };
        assert_eq!(all.first(id(1)), Some(&b"ab"[..]));
        assert_eq!(all.first(id(2)), Some(&b"cd"[..]));
        let written = [26, 10, 0, 0, 0, 9, 1, 4, b'a', b'b', 26, 10, 0, 0, 0, 9, 2, 4, b'c', b'd'];
        assert_eq!(all.to_bytes(), written);
    }

    #[test]
    fn what_a_vendor_wrote_in_another_form_is_kept_whole() {
        for packed in [&[26, 9, 0, 0, 0, 9, 1, 200, b'a'][..], &[26, 4, 0, 0], &[26, 7, 0, 0, 0, 9, 7]] {
            let all = Attributes::parse(packed).expect("it is well formed");
            assert_eq!(all.first(VENDOR_SPECIFIC), Some(&packed[2..]));
            assert_eq!(all.to_bytes(), packed);
        }
    }

    #[test]
    fn a_length_that_does_not_fit_is_refused() {
        for octets in [&[1][..], &[1, 0], &[1, 1], &[1, 4, b'a']] {
            assert_eq!(Attributes::parse(octets), None, "{octets:?}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_or_clipped_as_asked() {
        let mut all = Attributes::new();
        let vendor = AttributeId { vendor: Some(9), number: 1 };
        assert_eq!(all.push(USER_NAME, &[b'x'; 254]), Err(TooLong(USER_NAME)));
        assert_eq!(all.push(vendor, &[b'x'; 248]), Err(TooLong(vendor)));
        all.push_clipped(USER_NAME, &[b'x'; 254]);
        all.push_clipped(vendor, &[b'x'; 254]);
        assert_eq!(Attributes::parse(&all.to_bytes()), Some(all.clone()));
        assert_eq!(all.first(USER_NAME).map(<[u8]>::len), Some(253));
    }
}
