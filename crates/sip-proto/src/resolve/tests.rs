//! Tests of the plan, by section of RFC 3263 and RFC 7984.

use std::collections::HashMap;

use super::*;

#[derive(Default)]
struct Zone {
    answers: HashMap<Question, Records>,
    is_down: bool,
    is_complete: bool,
}

impl Known for Zone {
    fn lookup(&self, question: &Question) -> Lookup {
        match self.answers.get(question) {
            Some(records) => Lookup::Records(Arc::new(records.clone())),
            None if self.is_down => Lookup::Failed,
            None if self.is_complete => Lookup::Records(Arc::new(Records::NoSuch)),
            None => Lookup::Unknown,
        }
    }
}

impl Zone {
    fn complete() -> Zone {
        Zone { is_complete: true, ..Zone::default() }
    }

    fn with(mut self, name: &str, kind: RecordKind, records: Records) -> Zone {
        self.answers.insert(Question { name: name.into(), kind }, records);
        self
    }

    fn address(self, name: &str, addresses: &[&str]) -> Zone {
        let all: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = all.into_iter().partition(IpAddr::is_ipv4);
        self.with(name, RecordKind::A, Records::Addresses(v4)).with(name, RecordKind::Aaaa, Records::Addresses(v6))
    }

    fn srv(self, name: &str, records: &[(u16, u16, u16, &str)]) -> Zone {
        let record = |&(priority, weight, port, target): &(u16, u16, u16, &str)| Srv {
            priority,
            weight,
            port,
            target: target.into(),
        };
        self.with(name, RecordKind::Srv, Records::Srv(records.iter().map(record).collect()))
    }

    fn naptr(self, name: &str, records: &[(u16, u16, &str, &str)]) -> Zone {
        let record = |&(order, preference, services, replacement): &(u16, u16, &str, &str)| Naptr {
            order,
            preference,
            flags: "s".into(),
            services: services.into(),
            replacement: replacement.into(),
        };
        self.with(name, RecordKind::Naptr, Records::Naptr(records.iter().map(record).collect()))
    }
}

fn planned(uri: &str, settings: &ResolveSettings, zone: &Zone) -> Plan {
    plan(&Uri::parse(uri.as_bytes()).unwrap(), settings, zone, &mut |_| 0)
}

fn check_with(settings: &ResolveSettings, uri: &str, zone: &Zone, expected: &[&str]) {
    let Plan::Hops(hops) = planned(uri, settings, zone) else {
        panic!("{uri}: {:?}", planned(uri, settings, zone));
    };
    let texts: Vec<String> = hops.iter().map(|hop| format!("{} {}", hop.transport.uri_param(), hop.address)).collect();
    assert_eq!(texts, expected, "{uri}");
}

fn check(uri: &str, zone: &Zone, expected: &[&str]) {
    check_with(&ResolveSettings::default(), uri, zone, expected);
}

fn check_none(uri: &str, zone: &Zone, expected: Why) {
    assert_eq!(planned(uri, &ResolveSettings::default(), zone), Plan::None(expected), "{uri}");
}

fn check_ask(uri: &str, zone: &Zone, expected: &[(&str, RecordKind)]) {
    let questions = expected.iter().map(|(name, kind)| Question { name: (*name).into(), kind: *kind }).collect();
    assert_eq!(planned(uri, &ResolveSettings::default(), zone), Plan::Ask(questions), "{uri}");
}

// Section 4.1: an address needs no DNS.
#[test]
fn an_address_is_used_as_it_is() {
    let zone = Zone::default();
    check("sip:a@192.0.2.1", &zone, &["udp 192.0.2.1:5060"]);
    check("sip:a@192.0.2.1:5080", &zone, &["udp 192.0.2.1:5080"]);
    check("sip:a@[2001:db8::1]", &zone, &["udp [2001:db8::1]:5060"]);
    check("sip:a@[2001:db8::1]:5080;transport=tcp", &zone, &["tcp [2001:db8::1]:5080"]);
    check("sips:a@192.0.2.1", &zone, &["tls 192.0.2.1:5061"]);
    check("sip:a@192.0.2.1;transport=tls", &zone, &["tls 192.0.2.1:5061"]);
}

#[test]
fn an_ipv4_address_written_as_ipv6_is_reached_over_ipv4() {
    check("sip:a@[::ffff:192.0.2.1]", &Zone::default(), &["udp 192.0.2.1:5060"]);
}

#[test]
fn maddr_takes_the_place_of_the_host() {
    check("sip:a@example.com;maddr=192.0.2.9", &Zone::default(), &["udp 192.0.2.9:5060"]);
    check("sip:a@example.com;maddr=[2001:db8::9]", &Zone::default(), &["udp [2001:db8::9]:5060"]);
}

#[test]
fn sips_over_tcp_is_tls_and_over_udp_impossible() {
    check("sips:a@192.0.2.1;transport=tcp", &Zone::default(), &["tls 192.0.2.1:5061"]);
    check_none("sips:a@192.0.2.1;transport=udp", &Zone::default(), Why::NoTransport);
}

#[test]
fn a_transport_that_is_not_there_is_refused() {
    check_none("sip:a@192.0.2.1;transport=ws", &Zone::default(), Why::NoTransport);
    check_none("sip:a@example.com;transport=sctp", &Zone::default(), Why::NoTransport);
    check_none("sip:a@example.com;transport=pigeon", &Zone::default(), Why::NoTransport);
}

#[test]
fn a_family_that_is_not_there_is_refused() {
    let settings = ResolveSettings { ipv6: false, ..ResolveSettings::default() };
    assert_eq!(planned("sip:a@[2001:db8::1]", &settings, &Zone::default()), Plan::None(Why::NoFamily));
}

#[test]
fn a_tel_uri_names_no_host() {
    check_none("tel:+1234", &Zone::default(), Why::NotSip);
}

// Section 4.2: a port excludes SRV.
#[test]
fn a_host_with_port_is_looked_up_by_address() {
    check_ask(
        "sip:a@Example.com.:5070",
        &Zone::default(),
        &[("example.com", RecordKind::A), ("example.com", RecordKind::Aaaa)],
    );
    let zone = Zone::complete().address("example.com", &["192.0.2.1"]);
    check("sip:a@example.com:5070", &zone, &["udp 192.0.2.1:5070"]);
    check("sips:a@example.com:5070", &zone, &["tls 192.0.2.1:5070"]);
}

// Section 4.1: the example of the RFC.
#[test]
fn naptr_chooses_the_transport_and_srv_the_host() {
    let records = [
        (50, 50, "SIPS+D2T", "_sips._tcp.example.com."),
        (90, 50, "SIP+D2T", "_sip._tcp.example.com."),
        (100, 50, "SIP+D2U", "_sip._udp.example.com."),
    ];
    let zone = Zone::complete()
        .naptr("example.com", &records)
        .srv("_sip._tcp.example.com", &[(0, 1, 5060, "server1.example.com"), (0, 2, 5060, "server2.example.com")])
        .address("server1.example.com", &["192.0.2.1"])
        .address("server2.example.com", &["192.0.2.2"]);
    let settings = ResolveSettings { transports: vec![Transport::Udp, Transport::Tcp], ..ResolveSettings::default() };
    check_with(&settings, "sip:a@example.com", &zone, &["tcp 192.0.2.1:5060", "tcp 192.0.2.2:5060"]);
}

#[test]
fn naptr_order_comes_before_preference() {
    let records = [(20, 1, "SIP+D2U", "u.example.com"), (10, 9, "SIP+D2T", "t.example.com")];
    let zone = Zone::complete()
        .naptr("example.com", &records)
        .srv("u.example.com", &[(0, 0, 5060, "h.example.com")])
        .srv("t.example.com", &[(0, 0, 5062, "h.example.com")])
        .address("h.example.com", &["192.0.2.1"]);
    check("sip:a@example.com", &zone, &["tcp 192.0.2.1:5062", "udp 192.0.2.1:5060"]);
}

#[test]
fn sips_takes_secure_services_only() {
    let records = [(10, 1, "SIP+D2U", "u.example.com"), (20, 1, "SIPS+D2T", "s.example.com")];
    let zone = Zone::complete()
        .naptr("example.com", &records)
        .srv("s.example.com", &[(0, 0, 5099, "h.example.net")])
        .address("h.example.net", &["192.0.2.1"]);
    let Plan::Hops(hops) = planned("sips:a@example.com", &ResolveSettings::default(), &zone) else { panic!() };
    assert_eq!(
        hops,
        [Hop {
            address: "192.0.2.1:5099".parse().unwrap(),
            transport: Transport::Tls,
            // RFC 5922 section 4: the certificate is for the domain of the URI.
            host: Some("example.com".into()),
        }]
    );
}

// Section 4.1: without NAPTR, SRV of every transport that is there.
#[test]
fn without_naptr_every_service_is_asked_at_once() {
    check_ask("sip:a@example.com", &Zone::default(), &[("example.com", RecordKind::Naptr)]);
    let zone = Zone::default().with("example.com", RecordKind::Naptr, Records::NoSuch);
    check_ask(
        "sip:a@example.com",
        &zone,
        &[
            ("_sip._udp.example.com", RecordKind::Srv),
            ("_sip._tcp.example.com", RecordKind::Srv),
            ("_sips._tcp.example.com", RecordKind::Srv),
        ],
    );
}

#[test]
fn a_given_transport_asks_its_srv_records_only() {
    check_ask("sip:a@example.com;transport=tcp", &Zone::default(), &[("_sip._tcp.example.com", RecordKind::Srv)]);
}

#[test]
fn without_srv_the_name_itself_is_used() {
    let zone = Zone::complete().address("example.com", &["192.0.2.1"]);
    check("sip:a@example.com", &zone, &["udp 192.0.2.1:5060"]);
    check("sip:a@example.com;transport=tcp", &zone, &["tcp 192.0.2.1:5060"]);
    check("sips:a@example.com", &zone, &["tls 192.0.2.1:5061"]);
}

#[test]
fn srv_priorities_give_the_order_of_failover() {
    let zone = Zone::complete()
        .srv("_sip._udp.example.com", &[(20, 0, 5060, "b.example.com"), (10, 0, 5062, "a.example.com")])
        .address("a.example.com", &["192.0.2.1", "192.0.2.2"])
        .address("b.example.com", &["192.0.2.3"]);
    check("sip:a@example.com", &zone, &["udp 192.0.2.1:5062", "udp 192.0.2.2:5062", "udp 192.0.2.3:5060"]);
}

#[test]
fn a_dot_as_srv_target_means_no_service() {
    let zone = Zone::complete().srv("_sip._udp.example.com", &[(0, 0, 0, ".")]).address("example.com", &["192.0.2.1"]);
    check_none("sip:a@example.com;transport=udp", &zone, Why::NoSuchHost);
}

#[test]
fn addresses_of_all_srv_targets_are_asked_at_once() {
    let zone = Zone::default().srv("_sip._udp.x.org", &[(1, 0, 5060, "a.x.org"), (2, 0, 5060, "b.x.org")]);
    check_ask(
        "sip:x.org;transport=udp",
        &zone,
        &[
            ("a.x.org", RecordKind::A),
            ("a.x.org", RecordKind::Aaaa),
            ("b.x.org", RecordKind::A),
            ("b.x.org", RecordKind::Aaaa),
        ],
    );
}

// RFC 7984.
#[test]
fn families_take_turns_within_one_host() {
    let zone = Zone::complete().address("x.org", &["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    check("sip:x.org:5060", &zone, &["udp [2001:db8::1]:5060", "udp 192.0.2.1:5060", "udp 192.0.2.2:5060"]);
    let settings = ResolveSettings { prefers_ipv6: false, ..ResolveSettings::default() };
    let expected = ["udp 192.0.2.1:5060", "udp [2001:db8::1]:5060", "udp 192.0.2.2:5060"];
    check_with(&settings, "sip:x.org:5060", &zone, &expected);
}

#[test]
fn srv_priority_comes_before_address_family() {
    let zone = Zone::complete()
        .srv("_sip._udp.x.org", &[(1, 0, 5060, "four.x.org"), (2, 0, 5060, "six.x.org")])
        .address("four.x.org", &["192.0.2.1"])
        .address("six.x.org", &["2001:db8::1"]);
    check("sip:x.org", &zone, &["udp 192.0.2.1:5060", "udp [2001:db8::1]:5060"]);
}

#[test]
fn a_family_that_is_not_there_is_not_asked() {
    let settings = ResolveSettings { ipv6: false, ..ResolveSettings::default() };
    let question = Question { name: "x.org".into(), kind: RecordKind::A };
    assert_eq!(planned("sip:x.org:5060", &settings, &Zone::default()), Plan::Ask(vec![question]));
}

#[test]
fn a_dns_that_is_down_does_not_stop_calls_to_known_addresses() {
    let mut zone = Zone::default().address("x.org", &["192.0.2.1"]);
    zone.is_down = true;
    check("sip:x.org", &zone, &["udp 192.0.2.1:5060"]);
    check_none("sip:other.org", &zone, Why::ResolverDown);
}

#[test]
fn a_host_that_is_not_there_is_told() {
    check_none("sip:nobody.example.com", &Zone::complete(), Why::NoSuchHost);
}

#[test]
fn the_number_of_hops_has_a_bound() {
    let addresses: Vec<String> = (0..200).map(|last| format!("192.0.2.{last}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let zone = Zone::complete().address("x.org", &addresses);
    let Plan::Hops(hops) = planned("sip:x.org:5060", &ResolveSettings::default(), &zone) else { panic!() };
    assert_eq!(hops.len(), 16);
}

// Section 5.
#[test]
fn a_response_goes_by_srv_when_its_via_names_a_host_without_port() {
    let zone = Zone::complete()
        .srv("_sip._udp.x.org", &[(0, 0, 5090, "a.x.org")])
        .address("a.x.org", &["192.0.2.1"])
        .address("x.org", &["192.0.2.2"]);
    let settings = ResolveSettings::default();
    let hop = |port| match plan_response(Host::Name(b"x.org"), port, Transport::Udp, &settings, &zone, &mut |_| 0) {
        Plan::Hops(hops) => hops[0].address.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(hop(None), "192.0.2.1:5090");
    assert_eq!(hop(Some(5060)), "192.0.2.2:5060");
}
