//! Packets and what proves them: the authenticators of RFC 2865 section 3, RFC 2866 section 3, RFC 2869 section 5.14.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use crate::attribute::{Attributes, MESSAGE_AUTHENTICATOR};

/// What a packet is (RFC 2865 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Asks whether somebody may.
    AccessRequest,
    /// Yes.
    AccessAccept,
    /// No.
    AccessReject,
    /// Tells what has happened.
    AccountingRequest,
    /// It is taken down.
    AccountingResponse,
    /// Asks for more.
    AccessChallenge,
    /// Anything else.
    Other(u8),
}

impl Code {
    /// As it travels.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Code::AccessRequest => 1,
            Code::AccessAccept => 2,
            Code::AccessReject => 3,
            Code::AccountingRequest => 4,
            Code::AccountingResponse => 5,
            Code::AccessChallenge => 11,
            Code::Other(number) => number,
        }
    }

    fn of(number: u8) -> Code {
        match number {
            1 => Code::AccessRequest,
            2 => Code::AccessAccept,
            3 => Code::AccessReject,
            4 => Code::AccountingRequest,
            5 => Code::AccountingResponse,
            11 => Code::AccessChallenge,
            other => Code::Other(other),
        }
    }

    /// Whether an answer of this code can be one to a request of code `request`.
    #[must_use]
    pub fn answers(self, request: Code) -> bool {
        match request {
            Code::AccessRequest => matches!(self, Code::AccessAccept | Code::AccessReject | Code::AccessChallenge),
            Code::AccountingRequest => self == Code::AccountingResponse,
            _ => false,
        }
    }
}

/// 16 octets that bind requests and answers.
pub type Authenticator = [u8; 16];

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub code: Code,
    /// Tells requests on the way apart.
    pub identifier: u8,
    /// Binds request and answer.
    pub authenticator: Authenticator,
    /// The contents.
    pub attributes: Attributes,
}

/// The longest packet, and the shortest (RFC 2865 section 3).
pub const MOST: usize = 4096;
const HEADER: usize = 20;

/// Why an answer does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It is no packet.
    Malformed,
    /// It does not prove that its sender knows the secret.
    Forged,
    /// It has no Message-Authenticator, and must have one.
    Unsigned,
}

impl Packet {
    /// Reads a packet. What follows its end counts as padding (RFC 2865 section 3). None when it is none.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Option<Packet> {
        let (header, _) = octets.split_first_chunk::<HEADER>()?;
        let length = length_of(header)?;
        let attributes = Attributes::parse(octets.get(HEADER..length)?)?;
        let mut authenticator = Authenticator::default();
        authenticator.copy_from_slice(&header[4..]);
        Some(Packet { code: Code::of(header[0]), identifier: header[1], authenticator, attributes })
    }

    /// Writes a request, signed. None when it would be too long.
    ///
    /// The authenticator of an Accounting-Request is made here (RFC 2866 section 3), as is any Message-Authenticator,
    /// which goes first: so no prefix of a packet that somebody else chose stands before it.
    #[must_use]
    pub fn to_request(&self, secret: &[u8]) -> Option<(Vec<u8>, Authenticator)> {
        let is_accounting = self.code == Code::AccountingRequest;
        // The place where a sum stands is zero while the sum is made (RFC 2866 section 3, RFC 5176 section 3.3).
        let place = if is_accounting { Authenticator::default() } else { self.authenticator };
        let mut octets = self.with_signature(&place, secret)?;
        if is_accounting {
            let sum = md5(&[&octets, secret]);
            octets[4..HEADER].copy_from_slice(&sum);
        }
        let mut authenticator = Authenticator::default();
        authenticator.copy_from_slice(&octets[4..HEADER]);
        Some((octets, authenticator))
    }

    /// Writes an answer to the request of that authenticator (RFC 2865 section 3). For servers in tests.
    #[must_use]
    pub fn to_answer(&self, request: &Authenticator, secret: &[u8]) -> Option<Vec<u8>> {
        let mut octets = self.with_signature(request, secret)?;
        let sum = md5(&[&octets, secret]);
        octets[4..HEADER].copy_from_slice(&sum);
        Some(octets)
    }

    fn with_signature(&self, authenticator: &Authenticator, secret: &[u8]) -> Option<Vec<u8>> {
        let attributes = self.attributes.to_bytes();
        let length = HEADER + SIGNATURE + attributes.len();
        let short = u16::try_from(length).ok().filter(|_| length <= MOST)?;
        let mut octets = Vec::with_capacity(length);
        octets.extend_from_slice(&[self.code.number(), self.identifier]);
        octets.extend_from_slice(&short.to_be_bytes());
        octets.extend_from_slice(authenticator);
        octets.extend_from_slice(&[MESSAGE_AUTHENTICATOR.number, SIGNATURE as u8]);
        octets.extend_from_slice(&[0; 16]);
        octets.extend_from_slice(&attributes);
        let sum = hmac(secret, &[&octets]);
        octets[HEADER + 2..HEADER + SIGNATURE].copy_from_slice(&sum);
        Some(octets)
    }
}

const SIGNATURE: usize = 18;

/// Reads an answer and believes it only when it is proven: `request` is the authenticator of what it answers.
///
/// # Errors
/// Why it does not count.
pub fn verify_answer(
    octets: &[u8],
    request: &Authenticator,
    secret: &[u8],
    must_be_signed: bool,
) -> Result<Packet, Doubt> {
    let packet = Packet::parse(octets).ok_or(Doubt::Malformed)?;
    let octets = octets.first_chunk::<HEADER>().and_then(length_of).and_then(|length| octets.get(..length));
    let octets = octets.ok_or(Doubt::Malformed)?;
    let sum = md5(&[&octets[..4], request, &octets[HEADER..], secret]);
    if !bool::from(sum.ct_eq(&packet.authenticator)) {
        return Err(Doubt::Forged);
    }
    // MD5 alone does not prove it: CVE-2024-3596 makes an Accept out of a Reject.
    match signature(octets) {
        Some(found) => {
            let is_right = is_signed(octets, found, request, secret);
            if is_right { Ok(packet) } else { Err(Doubt::Forged) }
        }
        None if must_be_signed && packet.code != Code::AccountingResponse => Err(Doubt::Unsigned),
        None => Ok(packet),
    }
}

/// Whether a request is what it says, for servers in tests.
#[must_use]
pub fn is_genuine_request(octets: &[u8], secret: &[u8]) -> bool {
    let Some(packet) = Packet::parse(octets) else { return false };
    let zeros = Authenticator::default();
    let is_accounting = packet.code == Code::AccountingRequest;
    let place = if is_accounting { &zeros } else { &packet.authenticator };
    let is_summed = !is_accounting
        || bool::from(md5(&[&octets[..4], &zeros, &octets[HEADER..], secret]).ct_eq(&packet.authenticator));
    is_summed && signature(octets).is_some_and(|found| is_signed(octets, found, place, secret))
}

fn is_signed(octets: &[u8], at: usize, authenticator: &Authenticator, secret: &[u8]) -> bool {
    let sum = hmac(secret, &[&octets[..4], authenticator, &octets[HEADER..at], &[0; 16], &octets[at + 16..]]);
    bool::from(sum.ct_eq(&octets[at..at + 16]))
}

/// Where the value of Message-Authenticator lies, in a packet of sound attributes.
fn signature(octets: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    while let Some([number, length]) = octets.get(at..at + 2) {
        if *number == MESSAGE_AUTHENTICATOR.number {
            return (usize::from(*length) == SIGNATURE).then_some(at + 2);
        }
        at += usize::from(*length);
    }
    None
}

/// The length that a packet says it has; none when it cannot be that.
pub(crate) fn length_of(header: &[u8; HEADER]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    (HEADER..=MOST).contains(&length).then_some(length)
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut sum = Md5::new();
    parts.iter().for_each(|part| sum.update(part));
    sum.finalize().into()
}

fn hmac(secret: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut sum = Hmac::<Md5>::new_from_slice(secret).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| sum.update(part));
    sum.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::attribute::{AttributeId, REPLY_MESSAGE, USER_NAME};

    const SECRET: &[u8] = b"xyzzy5461";

    fn packet(code: Code) -> Packet {
        let mut attributes = Attributes::new();
        attributes.push(USER_NAME, b"nemo").expect("it is short");
        Packet { code, identifier: 7, authenticator: [9; 16], attributes }
    }

    // RFC 2865 section 7.1: the example's answer, whose authenticator is MD5 over it and the secret.
    #[test]
    fn the_response_authenticator_is_that_of_the_standards_example() {
        let request = [0x0f, 0x40, 0x3f, 0x94, 0x73, 0x97, 0x80, 0x57, 0xbd, 0x83, 0xd5, 0xcb, 0x98, 0xf4, 0x22, 0x7a];
        let answer = [
            0x02, 0x00, 0x00, 0x26, 0x86, 0xfe, 0x22, 0x0e, 0x76, 0x24, 0xba, 0x2a, 0x10, 0x05, 0xf6, 0xbf, 0x9b, 0x55,
            0xe0, 0xb2, 0x06, 0x06, 0x00, 0x00, 0x00, 0x01, 0x0f, 0x06, 0x00, 0x00, 0x00, 0x00, 0x0e, 0x06, 0xc0, 0xa8,
            0x01, 0x03,
        ];
        let read = verify_answer(&answer, &request, SECRET, false).expect("it is the example");
        assert_eq!(read.code, Code::AccessAccept);
        assert_eq!(read.attributes.first(AttributeId::standard(14)), Some(&[192, 168, 1, 3][..]));
        assert_eq!(verify_answer(&answer, &request, b"other", false), Err(Doubt::Forged));
        // CVE-2024-3596.
        assert_eq!(verify_answer(&answer, &request, SECRET, true), Err(Doubt::Unsigned));
    }

    // RFC 2869 section 5.14.
    #[test]
    fn every_request_is_signed_first_of_all() {
        for code in [Code::AccessRequest, Code::AccountingRequest] {
            let (octets, authenticator) = packet(code).to_request(SECRET).expect("it is short");
            assert_eq!(octets[HEADER..HEADER + 2], [80, 18]);
            assert!(is_genuine_request(&octets, SECRET));
            assert!(!is_genuine_request(&octets, b"other"));
            assert_eq!(Packet::parse(&octets).map(|packet| packet.authenticator), Some(authenticator));
            let mut changed = octets.clone();
            *changed.last_mut().expect("it has a name") = b'x';
            assert!(!is_genuine_request(&changed, SECRET), "{code:?}");
        }
    }

    // RFC 2866 section 3.
    #[test]
    fn an_accounting_request_is_summed_over_itself() {
        let (octets, authenticator) = packet(Code::AccountingRequest).to_request(SECRET).expect("it is short");
        assert_eq!(authenticator, md5(&[&octets[..4], &[0; 16], &octets[HEADER..], SECRET]));
    }

    #[test]
    fn an_answer_that_anybody_changed_does_not_count() {
        let mut answer = packet(Code::AccessReject);
        answer.attributes.push(REPLY_MESSAGE, b"no").expect("it is short");
        let octets = answer.to_answer(&[3; 16], SECRET).expect("it is short");
        assert_eq!(verify_answer(&octets, &[3; 16], SECRET, true).map(|packet| packet.code), Ok(Code::AccessReject));
        assert_eq!(verify_answer(&octets, &[4; 16], SECRET, true), Err(Doubt::Forged));
        for at in [0, 1, 4, 22, 40, octets.len() - 1] {
            let mut changed = octets.clone();
            changed[at] ^= 1;
            assert_eq!(verify_answer(&changed, &[3; 16], SECRET, true), Err(Doubt::Forged), "{at}");
        }
        assert_eq!(verify_answer(&octets[..30], &[3; 16], SECRET, true), Err(Doubt::Malformed));
        let padded = [&octets[..], &[1, 2, 3]].concat();
        assert!(verify_answer(&padded, &[3; 16], SECRET, true).is_ok(), "padding is passed over");
    }

    #[test]
    fn a_packet_of_more_than_4096_octets_is_not_written() {
        let mut packet = packet(Code::AccessRequest);
        while packet.attributes.to_bytes().len() <= MOST {
            packet.attributes.push_clipped(REPLY_MESSAGE, &[b'x'; 253]);
        }
        assert_eq!(packet.to_request(SECRET), None);
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_alike(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut octets = octets;
            if octets.len() >= HEADER {
                let length = (octets.len() as u16).to_be_bytes();
                octets[2..4].copy_from_slice(&length);
            }
            if let Some(packet) = Packet::parse(&octets) {
                let again = packet.attributes.to_bytes();
                prop_assert_eq!(Attributes::parse(&again), Some(packet.attributes));
            }
            let _ = verify_answer(&octets, &[0; 16], SECRET, true);
            let _ = is_genuine_request(&octets, SECRET);
        }
    }
}
