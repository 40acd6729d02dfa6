//! Questions about addresses and about names in the DNS.

mod dns;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use module_api::{Call, Function, Module, Outcome, Param, ParamKind, Routes, Value};

use crate::network::{self, Network};

/// Questions about addresses and names.
pub static MODULE: Module = Module {
    name: "ipops",
    doc: "Answers questions about addresses, and asks the DNS.",
    functions: &[
        IS_IP,
        IS_PURE_IP,
        IS_IPV4,
        IS_IPV6,
        IS_IPV6_REFERENCE,
        IP_TYPE,
        DETAILED_V4,
        DETAILED_V6,
        DETAILED,
        COMPARE,
        COMPARE_PURE,
        IS_IN_SUBNET,
        crate::also("ip_is_in_subnet", IS_IN_SUBNET),
        IS_RFC1918,
        dns::MATCH,
        crate::also("dns_int_match_ip", dns::MATCH),
        dns::QUERY,
        dns::PTR_QUERY,
        dns::SRV_QUERY,
        dns::NAPTR_QUERY,
        dns::SET_LOCAL_TTL,
    ],
    variables: &[dns::DNS, dns::PTRQUERY, dns::SRVQUERY, dns::NAPTRQUERY],
    make: dns::make,
    ..Module::EMPTY
};

const ADDRESS: &[Param] = &[Param::required("address", ParamKind::Format)];
const TWO: &[Param] = &[Param::required("address", ParamKind::Format), Param::required("other", ParamKind::Format)];
const INTO: &[Param] = &[Param::required("address", ParamKind::Format), Param::required("variable", ParamKind::Output)];

const fn question(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function { name, params: ADDRESS, routes: Routes::ANY, doc, example, run }
}

const IS_IP: Function = question(
    "is_ip",
    "True when the text is an address; one of IPv6 with or without brackets.",
    "if (is_ip(\"$rd\")) xlog(\"no name\\n\");",
    |call| network::address(&call.text(0)).is_some().into(),
);

const IS_PURE_IP: Function = question(
    "is_pure_ip",
    "True when the text is an address without brackets.",
    "if (is_pure_ip(\"$si\")) xlog(\"$si\\n\");",
    |call| network::pure_address(&call.text(0)).is_some().into(),
);

const IS_IPV4: Function =
    question("is_ipv4", "True when the text is an IPv4 address.", "if (is_ipv4(\"$rd\")) xlog(\"IPv4\\n\");", |call| {
        network::pure_address(&call.text(0)).is_some_and(|address| address.is_ipv4()).into()
    });

const IS_IPV6: Function = question(
    "is_ipv6",
    "True when the text is an IPv6 address without brackets.",
    "if (is_ipv6(\"$si\")) xlog(\"IPv6\\n\");",
    |call| network::pure_address(&call.text(0)).is_some_and(|address| address.is_ipv6()).into(),
);

const IS_IPV6_REFERENCE: Function = question(
    "is_ipv6_reference",
    "True when the text is an IPv6 address in brackets.",
    "if (is_ipv6_reference(\"$rd\")) xlog(\"IPv6\\n\");",
    |call| network::reference(&call.text(0)).is_some().into(),
);

const IP_TYPE: Function = question(
    "ip_type",
    "1 for an IPv4 address, 2 for one of IPv6, 3 for one of IPv6 in brackets, else false.",
    "ip_type(\"$rd\");",
    |call| {
        let text = call.text(0);
        match (network::pure_address(&text), network::reference(&text)) {
            (Some(IpAddr::V4(_)), _) => Outcome::Value(1),
            (Some(IpAddr::V6(_)), _) => Outcome::Value(2),
            (None, Some(_)) => Outcome::Value(3),
            (None, None) => Outcome::FALSE,
        }
    },
);

const IS_RFC1918: Function = question(
    "is_ip_rfc1918",
    "True when the text is a private IPv4 address (RFC 1918).",
    "if (is_ip_rfc1918(\"$si\")) xlog(\"inside\\n\");",
    |call| matches!(network::pure_address(&call.text(0)), Some(IpAddr::V4(address)) if address.is_private()).into(),
);

const fn detailed(name: &'static str, doc: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Function {
    Function {
        name,
        params: INTO,
        routes: Routes::ANY,
        doc,
        example: "if (detailed_ip_type(\"$si\", \"$var(kind)\")) xlog(\"$var(kind)\\n\");",
        run,
    }
}

const DETAILED_V4: Function = detailed(
    "detailed_ipv4_type",
    "Puts the kind of an IPv4 address into a variable: PUBLIC, PRIVATE, SHARED, LOOPBACK, LINK-LOCAL, MULTICAST, \
     BROADCAST, TEST-NET, 6TO4-RELAY or RESERVED.",
    |call| match network::pure_address(&call.text(0)) {
        Some(IpAddr::V4(address)) => write(call, kind_v4(address)),
        _ => Outcome::FALSE,
    },
);

const DETAILED_V6: Function = detailed(
    "detailed_ipv6_type",
    "Puts the kind of an IPv6 address into a variable: GLOBAL-UNICAST, UNIQUE-LOCAL-UNICAST, LINK-LOCAL-UNICAST, \
     LOOPBACK, UNSPECIFIED, MULTICAST, IPV4MAP, 6TO4, TEREDO, DOCUMENTATION, DISCARD or RESERVED.",
    |call| match network::address(&call.text(0)) {
        Some(IpAddr::V6(address)) => write(call, kind_v6(address)),
        _ => Outcome::FALSE,
    },
);

const DETAILED: Function =
    detailed("detailed_ip_type", "Puts the kind of an address of either version into a variable.", |call| {
        match network::address(&call.text(0)) {
            Some(IpAddr::V4(address)) => write(call, kind_v4(address)),
            Some(IpAddr::V6(address)) => write(call, kind_v6(address)),
            None => Outcome::FALSE,
        }
    });

const COMPARE: Function = Function {
    name: "compare_ips",
    params: TWO,
    routes: Routes::ANY,
    doc: "True when both texts are the same address, however spelled, with or without brackets.",
    example: "if (compare_ips(\"$si\", \"$Ri\")) xlog(\"from here\\n\");",
    run: |call| compare(call, network::address),
};

const COMPARE_PURE: Function = Function {
    name: "compare_pure_ips",
    params: TWO,
    routes: Routes::ANY,
    doc: "As compare_ips(), without brackets.",
    example: "if (compare_pure_ips(\"$si\", \"$Ri\")) xlog(\"from here\\n\");",
    run: |call| compare(call, network::pure_address),
};

const IS_IN_SUBNET: Function = Function {
    name: "is_in_subnet",
    params: &[Param::required("address", ParamKind::Format), Param::required("networks", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when the address lies in one of the networks, separated by commas.",
    example: "if (is_in_subnet(\"$si\", \"10.0.0.0/8, 192.168.0.0/16\")) xlog(\"inside\\n\");",
    run: |call| {
        let (text, networks) = (call.text(0), call.text(1));
        let Some(address) = network::address(&text) else { return Outcome::FALSE };
        let Ok(networks) = std::str::from_utf8(&networks) else { return Outcome::FALSE };
        let mut networks = networks.split(',').filter_map(|network| Network::parse(network.trim()));
        networks.any(|network| network.contains(address)).into()
    },
};

fn compare(call: &Call<'_>, read: fn(&[u8]) -> Option<IpAddr>) -> Outcome {
    match (read(&call.text(0)), read(&call.text(1))) {
        (Some(one), Some(other)) => (one == other).into(),
        _ => Outcome::FALSE,
    }
}

fn write(call: &mut Call<'_>, kind: &'static str) -> Outcome {
    match call.write_output(1, Value::from_static(kind)) {
        Ok(()) => Outcome::TRUE,
        Err(fault) => Outcome::Fail(fault),
    }
}

/// The blocks of IANA's registry of special addresses, in Kamailio's words.
fn kind_v4(address: Ipv4Addr) -> &'static str {
    match address.octets() {
        [255, 255, 255, 255] => "BROADCAST",
        [127, ..] => "LOOPBACK",
        [0 | 10, ..] | [192, 168, ..] | [172, 16..=31, ..] => "PRIVATE",
        [100, 64..=127, ..] => "SHARED",
        [169, 254, ..] => "LINK-LOCAL",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "TEST-NET",
        [192, 88, 99, _] => "6TO4-RELAY",
        [192, 0, 0, _] | [198, 18..=19, ..] | [240..=255, ..] => "RESERVED",
        [224..=239, ..] => "MULTICAST",
        _ => "PUBLIC",
    }
}

/// As [`kind_v4`], for IPv6.
fn kind_v6(address: Ipv6Addr) -> &'static str {
    let first = address.segments();
    match first {
        _ if address.is_unspecified() => "UNSPECIFIED",
        _ if address.is_loopback() => "LOOPBACK",
        _ if address.to_ipv4_mapped().is_some() => "IPV4MAP",
        [0x100, 0, 0, 0, ..] => "DISCARD",
        [0x2002, ..] => "6TO4",
        [0x2001, 0, ..] => "TEREDO",
        [0x2001, 0xdb8, ..] => "DOCUMENTATION",
        [0xff00..=0xffff, ..] => "MULTICAST",
        [0xfe80..=0xfebf, ..] => "LINK-LOCAL-UNICAST",
        [0xfc00..=0xfdff, ..] => "UNIQUE-LOCAL-UNICAST",
        [0x2000..=0x3fff, ..] => "GLOBAL-UNICAST",
        _ => "RESERVED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn ask(function: &str, args: &[&str]) -> i64 {
        Bench::invite().run(&MODULE, function, args)
    }

    // Each line as Kamailio 5.6.3 answers it.
    #[test]
    fn texts_are_told_apart() {
        for (function, text, code) in [
            ("is_ip", "1.2.3.4", 1),
            ("is_ip", "[::1]", 1),
            ("is_ip", "a", -1),
            ("is_pure_ip", "[::1]", -1),
            ("ip_type", "1.2.3.4", 1),
            ("ip_type", "::1", 2),
            ("ip_type", "[::1]", 3),
            ("ip_type", "1.2.3.4.5", -1),
            ("is_ip_rfc1918", "172.16.0.1", 1),
            ("is_ip_rfc1918", "100.64.0.1", -1),
            ("is_ipv4", "::1", -1),
            ("is_ipv6", "::1", 1),
            ("is_ipv6_reference", "[::1]", 1),
        ] {
            assert_eq!(ask(function, &[text]), code, "{function} {text}");
        }
    }

    #[test]
    fn addresses_are_compared_and_looked_for_in_networks() {
        assert_eq!(ask("compare_ips", &["::1", "[0:0:0:0:0:0:0:1]"]), 1);
        assert_eq!(ask("compare_pure_ips", &["::1", "[::1]"]), -1);
        assert_eq!(ask("compare_ips", &["1.2.3.4", "1.2.3.5"]), -1);
        assert_eq!(ask("is_in_subnet", &["10.1.2.3", "192.168.0.0/16, 10.0.0.0/8"]), 1);
        assert_eq!(ask("is_in_subnet", &["10.1.2.3", "10.1.2.3"]), 1);
        assert_eq!(ask("is_in_subnet", &["10.1.2.3", "nonsense"]), -1);
        assert_eq!(ask("is_in_subnet", &["2001:db8::1", "2001:db8::/32"]), 1);
    }

    // As Kamailio 5.6.3 names them.
    #[test]
    fn addresses_have_kinds() {
        for (address, kind) in [
            ("127.0.0.1", "LOOPBACK"),
            ("8.8.8.8", "PUBLIC"),
            ("100.64.0.8", "SHARED"),
            ("224.254.0.8", "MULTICAST"),
            ("192.0.2.8", "TEST-NET"),
            ("198.18.2.8", "RESERVED"),
            ("255.255.255.255", "BROADCAST"),
            ("192.88.99.3", "6TO4-RELAY"),
        ] {
            assert_eq!(kind_v4(address.parse().unwrap()), kind, "{address}");
        }
        for (address, kind) in [
            ("fe80::1", "LINK-LOCAL-UNICAST"),
            ("fd00::1", "UNIQUE-LOCAL-UNICAST"),
            ("2600::1", "GLOBAL-UNICAST"),
            ("64:ff9b::1", "RESERVED"),
            ("2001::1", "TEREDO"),
            ("::ffff:1.2.3.4", "IPV4MAP"),
            ("100::1", "DISCARD"),
        ] {
            assert_eq!(kind_v6(address.parse().unwrap()), kind, "{address}");
        }
    }
}
