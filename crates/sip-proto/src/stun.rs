//! STUN Binding requests at SIP sockets: how phones keep a NAT open over UDP and see whether their flow still
//! leads back to them (RFC 5626 sections 4.4.2, 5.4 and 8; the messages are those of RFC 5389).

use std::net::{IpAddr, SocketAddr};

/// Length of a header.
const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const BINDING_ERROR: [u8; 2] = [0x01, 0x11];
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
/// Attributes below this must be understood (RFC 5389 section 15).
const OPTIONAL: u16 = 0x8000;
/// Most unknown attributes that an answer lists.
const MOST_UNKNOWN: usize = 8;

/// Whether a datagram is of STUN and not of SIP (RFC 5626 section 8): the first two bits are zero, which no SIP
/// message begins with, and the magic cookie is in its place.
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER && datagram[0] & 0xc0 == 0 && datagram[4..8] == COOKIE
}

/// The answer to a Binding request that came from `source`. None for everything else: an indication wants none
/// (RFC 5389 section 7.3.2), a response and what is malformed are dropped.
pub fn answer(datagram: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes([*datagram.get(2)?, *datagram.get(3)?]));
    if !is_stun(datagram) || datagram[..2] != BINDING_REQUEST || length != datagram.len() - HEADER {
        return None;
    }
    let unknown = unknown_attributes(&datagram[HEADER..])?;
    let transaction: &[u8; 12] = datagram[8..HEADER].try_into().ok()?;
    if unknown.is_empty() {
        return Some(message(BINDING_SUCCESS, transaction, &[(XOR_MAPPED_ADDRESS, xor_mapped(source, transaction))]));
    }
    // RFC 5389 section 7.3.1.
    let list = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
    let code = [&[0, 0, 4, 20][..], b"Unknown Attribute"].concat();
    Some(message(BINDING_ERROR, transaction, &[(ERROR_CODE, code), (UNKNOWN_ATTRIBUTES, list)]))
}

/// Attributes that must be understood and are not. Nobody is authenticated here (RFC 5626 section 8), so none is
/// understood. None when they cannot be read.
fn unknown_attributes(mut rest: &[u8]) -> Option<Vec<u16>> {
    let mut unknown = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_first_chunk::<4>()?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]])).next_multiple_of(4);
        rest = after.get(length..)?;
        if kind < OPTIONAL && unknown.len() < MOST_UNKNOWN {
            unknown.push(kind);
        }
    }
    Some(unknown)
}

fn message(kind: [u8; 2], transaction: &[u8; 12], attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut out = [&kind[..], &[0, 0], &COOKIE, transaction].concat();
    for (kind, value) in attributes {
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    let length = ((out.len() - HEADER) as u16).to_be_bytes();
    out[2..4].copy_from_slice(&length);
    out
}

/// The address with the cookie over it, which keeps NATs from rewriting it (RFC 5389 section 15.2).
fn xor_mapped(source: SocketAddr, transaction: &[u8; 12]) -> Vec<u8> {
    let mask = [&COOKIE[..], transaction].concat();
    let ip = source.ip().to_canonical();
    let (family, address) = match ip {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (2, address.octets().to_vec()),
    };
    let mut out = vec![0, family];
    out.extend(source.port().to_be_bytes().iter().zip(&mask).map(|(byte, mask)| byte ^ mask));
    out.extend(address.iter().zip(&mask).map(|(byte, mask)| byte ^ mask));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 12] = *b"abcdefghijkl";

    fn request(attributes: &[u8]) -> Vec<u8> {
        let length = (attributes.len() as u16).to_be_bytes();
        [&[0, 1][..], &length, &COOKIE, &ID, attributes].concat()
    }

    // RFC 5389 section 15.2, worked by hand: 5070 = 0x13ce, ^ 0x2112 = 0x32dc; 198.51.100.7 ^ cookie.
    #[test]
    fn a_binding_request_is_told_where_it_came_from() {
        let answer = answer(&request(&[]), ([198, 51, 100, 7], 5070).into()).unwrap();
        let expected = [
            &[1, 1, 0, 12][..],
            &COOKIE,
            &ID,
            &[0, 0x20, 0, 8, 0, 1, 0x32, 0xdc, 198 ^ 0x21, 51 ^ 0x12, 100 ^ 0xa4, 7 ^ 0x42],
        ];
        assert_eq!(answer, expected.concat());
    }

    #[test]
    fn an_address_of_ipv6_is_masked_with_the_transaction_too() {
        let source: SocketAddr = "[2001:db8::1]:5060".parse().unwrap();
        let answer = answer(&request(&[]), source).unwrap();
        assert_eq!(answer[24..26], [0, 2]);
        assert_eq!(answer[28..32], [0x20 ^ 0x21, 0x01 ^ 0x12, 0x0d ^ 0xa4, 0xb8 ^ 0x42]);
        assert_eq!(answer[43], 1 ^ b'l');
    }

    // RFC 5389 section 7.3.1.
    #[test]
    fn what_must_be_understood_and_is_not_is_named() {
        // PRIORITY 0x0024 with four bytes, SOFTWARE 0x8022 with three and padding.
        let attributes = [0, 0x24, 0, 4, 1, 2, 3, 4, 0x80, 0x22, 0, 3, b'a', b'b', b'c', 0];
        let answer = answer(&request(&attributes), ([198, 51, 100, 7], 5070).into()).unwrap();
        assert_eq!(answer[..2], BINDING_ERROR);
        assert_eq!(answer[24..28], [0, 0, 4, 20]);
        assert_eq!(answer[answer.len() - 8..], [0, 10, 0, 2, 0, 0x24, 0, 0]);
        assert_eq!(usize::from(answer[3]) + HEADER, answer.len());
        let optional = [0x80, 0x22, 0, 3, b'a', b'b', b'c', 0];
        assert_eq!(super::answer(&request(&optional), ([198, 51, 100, 7], 1).into()).unwrap()[..2], BINDING_SUCCESS);
    }

    #[test]
    fn nothing_else_is_answered() {
        let source = ([198, 51, 100, 7], 5070).into();
        let request = request(&[]);
        for (at, byte) in [(0, 1), (0, 0x80), (1, 0x11), (3, 4), (4, 0)] {
            let mut changed = request.clone();
            changed[at] = byte;
            assert_eq!(answer(&changed, source), None, "{at}");
        }
        for length in 0..request.len() {
            assert_eq!(answer(&request[..length], source), None);
        }
        assert_eq!(answer(&self::request(&[0, 6, 0, 9, 1]), source), None);
        assert_eq!(answer(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", source), None);
        assert!(!is_stun(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n"));
    }
}
