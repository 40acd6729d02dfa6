//! Numbers and addresses as text, without the machinery of `format!`: the headers that each message
//! gets on its way (`received`, `rport`, `Content-Length`, `expires`) are nothing else.

use std::io::Write;
use std::net::IpAddr;

/// Appends `number` in decimal.
pub fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `address`; one of IPv6 without brackets.
pub fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (n, octet) in address.octets().into_iter().enumerate() {
                if n > 0 {
                    out.push(b'.');
                }
                push_number(out, octet.into());
            }
        }
        // Writing to a vector cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_read_as_everywhere() {
        for number in [0, 7, 10, 65_535, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
        for address in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "2001:db8::9:1", "::1"] {
            let mut out = b"=".to_vec();
            push_address(&mut out, address.parse().expect("an address"));
            assert_eq!(out, format!("={address}").into_bytes());
        }
    }
}
