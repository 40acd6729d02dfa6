//! A packet from a RADIUS server, and a dictionary.
//!
//! Nothing panics; what is read is written alike; nothing that was not signed with the secret is believed, and what was
//! signed is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use radius::packet::{is_genuine_request, verify_answer};
use radius::{Attributes, Code, Dictionary, Packet};

const SECRET: &[u8] = b"xyzzy5461";

fuzz_target!(|octets: &[u8]| {
    let request = [7; 16];
    // 16 octets of MD5 are not guessed.
    assert!(verify_answer(octets, &request, SECRET, true).is_err());
    assert!(!is_genuine_request(octets, SECRET));
    let octets = with_length(octets);
    if let Some(packet) = Packet::parse(&octets) {
        let written = packet.attributes.to_bytes();
        let again = Attributes::parse(&written).expect("what was written can be read");
        assert_eq!(again, packet.attributes);
        assert_eq!(again.to_bytes(), written);
        check_signatures(&packet, &request);
    }
    // The rest of the attributes as a value of each kind, and as a text of a server's SIP-AVP.
    let dictionary = Dictionary::builtin();
    for name in ["User-Name", "NAS-IP-Address", "NAS-IPv6-Address", "Service-Type"] {
        let _ = dictionary.encode(name, &octets);
    }
});

fn check_signatures(packet: &Packet, request: &[u8; 16]) {
    // A signature that is there already would be a second one.
    if packet.attributes.iter().any(|one| one.id.vendor.is_none() && one.id.number == 80) {
        return;
    }
    if let Some(answer) = packet.to_answer(request, SECRET) {
        let believed = verify_answer(&answer, request, SECRET, true).expect("it is signed");
        assert_eq!((believed.code, believed.identifier), (packet.code, packet.identifier));
        assert!(verify_answer(&answer, request, b"other", true).is_err());
    }
    for code in [Code::AccessRequest, Code::AccountingRequest] {
        if let Some((octets, _)) = (Packet { code, ..packet.clone() }).to_request(SECRET) {
            assert!(is_genuine_request(&octets, SECRET));
        }
    }
}

/// The packet with the length that it has: a random one is seldom right, and little is tried then.
fn with_length(octets: &[u8]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    if let (Ok(length), [_, _, high, low, ..]) = (u16::try_from(octets.len()), octets.as_mut_slice()) {
        [*high, *low] = length.to_be_bytes();
    }
    octets
}
