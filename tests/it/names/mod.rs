//! Locating SIP servers (RFC 3263) with a name server that other people wrote: bind9.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Endpoint, Plan, Process, Scratch, Subject, Wire, free_port, lines};

const PATIENCE: Duration = Duration::from_secs(20);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where targets listen that must differ by their address.
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A name server with the zone `sip.test`.
struct NameServer {
    process: Process,
    address: SocketAddr,
}

impl NameServer {
    /// Serves `records` below `sip.test`, each good for a second.
    fn start(scratch: &Scratch, records: &str) -> NameServer {
        let address = SocketAddr::new(LOOPBACK, free_port(LOOPBACK));
        let directory = scratch.path().display().to_string();
        let zone = format!("$TTL 1\n@ SOA ns. h. 1 60 60 60 1\n NS ns\nns A 127.0.0.1\n{records}");
        let settings = format!(
            "options {{ directory \"{directory}\"; listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; \
             recursion no; dnssec-validation no; notify no; pid-file \"{directory}/named.pid\"; \
             session-keyfile \"{directory}/session.key\"; }};\ncontrols {{ }};\n\
             zone \"sip.test\" {{ type primary; file \"{directory}/zone\"; }};\n",
            address.port()
        );
        fs::write(scratch.file("zone"), zone).expect("the directory is writable");
        let file = scratch.file("named.conf");
        fs::write(&file, settings).expect("the directory is writable");
        let process = Process::start("named", Command::new("named").arg("-g").arg("-c").arg(file));
        // Behind the time of day.
        let is_up = process.wait_until(PATIENCE, || process.log().contains(" all zones loaded"));
        assert!(is_up, "named does not come up\n{}", process.log());
        NameServer { process, address }
    }
}

fn resolving(names: &NameServer) -> Subject {
    let plan = Plan::script("tests/it/names/resolving.cfg").on(Wire::Tcp4).on(Wire::Udp6);
    Subject::start_ser(&plan.option("--dns-server").option(names.address.to_string()))
}

fn udp(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).expect("loopback has a free UDP port");
    socket.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
    socket
}

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().expect("it is bound").port()
}

/// The first line of what arrives.
fn received(socket: &UdpSocket) -> String {
    let mut room = [0; 4096];
    let length = socket.recv(&mut room).expect("a message arrives");
    String::from_utf8_lossy(&room[..length]).lines().next().unwrap_or_default().to_owned()
}

/// A port at which nobody listens, and which nobody else gets.
fn dead_port() -> u16 {
    free_port(LOOPBACK)
}

// Section 4.1: NAPTR names the transport, SRV the port; what the records prefer is taken though UDP is the usual one.
#[test]
fn naptr_chooses_the_transport_and_srv_the_port() {
    let (over_udp, over_tcp) = (udp(LOOPBACK), TcpListener::bind((LOOPBACK, 0)).expect("loopback has a free port"));
    let tcp_port = over_tcp.local_addr().expect("it is bound").port();
    let records = format!(
        "stream NAPTR 10 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp.stream\nstream NAPTR 20 50 \"s\" \"SIP+D2U\" \"\" _sip._udp.stream\n\
         datagram NAPTR 10 50 \"s\" \"SIP+D2U\" \"\" _sip._udp.stream\n\
         datagram NAPTR 20 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp.stream\n\
         _sip._tcp.stream SRV 1 1 {tcp_port} a\n_sip._udp.stream SRV 1 1 {} a\na A 127.0.0.1\n",
        port(&over_udp)
    );
    let scratch = Scratch::new();
    let names = NameServer::start(&scratch, &records);
    let server = resolving(&names);
    let caller = Endpoint::new(server.address(Wire::Udp4));
    caller.request("MESSAGE sip:bob@datagram.sip.test", "by-udp", "1", "", "");
    assert_eq!(received(&over_udp), "MESSAGE sip:bob@datagram.sip.test SIP/2.0");
    caller.request("MESSAGE sip:bob@stream.sip.test", "by-tcp", "1", "", "");
    let (stream, _) = over_tcp.accept().expect("the server connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("the request arrives");
    assert_eq!(line.trim_end(), "MESSAGE sip:bob@stream.sip.test SIP/2.0");
}

// Section 4.3: a target that refuses is left for the next priority; RFC 2782: never before it.
#[test]
fn a_dead_target_is_left_for_the_next_priority() {
    let (living, spare) = (udp(LOOPBACK), udp(LOOPBACK));
    let records = format!(
        "_sip._udp SRV 10 0 {} a\n_sip._udp SRV 20 0 {} a\n_sip._udp SRV 30 0 {} a\na A 127.0.0.1\n",
        dead_port(),
        port(&living),
        port(&spare)
    );
    let scratch = Scratch::new();
    let names = NameServer::start(&scratch, &records);
    let server = resolving(&names);
    let caller = Endpoint::new(server.address(Wire::Udp4));
    for call in 0..20 {
        caller.request("MESSAGE sip:bob@sip.test", &format!("failover-{call}"), "1", "", "");
        assert_eq!(received(&living), "MESSAGE sip:bob@sip.test SIP/2.0");
    }
    spare.set_nonblocking(true).expect("a socket can be told");
    assert!(spare.recv(&mut [0; 10]).is_err(), "the last was not needed");
}

// RFC 2782: targets of one priority get their share by weight.
#[test]
fn targets_of_one_priority_share_by_weight() {
    const CALLS: usize = 400;
    let (heavy, light) = (udp(LOOPBACK), udp(SECOND));
    let records = format!(
        "_sip._udp SRV 10 75 {} a\n_sip._udp SRV 10 25 {} b\na A 127.0.0.1\nb A 127.0.0.2\n",
        port(&heavy),
        port(&light)
    );
    let scratch = Scratch::new();
    let names = NameServer::start(&scratch, &records);
    let server = resolving(&names);
    let caller = Endpoint::new(server.address(Wire::Udp4));
    let shares = std::thread::scope(|scope| {
        // Each answers, so that nothing is sent again.
        let answering = |socket: UdpSocket| {
            move || {
                let mut room = [0; 4096];
                let mut count = 0;
                while let Ok((length, server)) = socket.recv_from(&mut room) {
                    let text = String::from_utf8_lossy(&room[..length]).into_owned();
                    if text.starts_with("QUIT") {
                        break;
                    }
                    let rest = text.split_once("\r\n").map(|(_, rest)| rest).unwrap_or_default();
                    let answer = format!("SIP/2.0 200 OK\r\n{}", rest.replace("Max-Forwards", "X-Hops"));
                    socket.send_to(answer.as_bytes(), server).expect("loopback takes datagrams");
                    count += 1;
                }
                count
            }
        };
        let ends = [&heavy, &light].map(|socket| socket.local_addr().expect("it is bound"));
        let counts = [heavy, light].map(|socket| scope.spawn(answering(socket)));
        for call in 0..CALLS {
            caller.request("MESSAGE sip:bob@sip.test", &format!("weight-{call}"), "1", "", "");
            caller.expect("SIP/2.0 200 ");
        }
        for end in ends {
            udp(LOOPBACK).send_to(b"QUIT", end).expect("loopback takes datagrams");
        }
        counts.map(|count| count.join().expect("it says why"))
    });
    assert_eq!(shares[0] + shares[1], CALLS);
    // Eight standard deviations on either side of 300.
    assert!((230..=370).contains(&shares[0]), "{shares:?}");
}

// Section 4.2 and RFC 3596: a name with nothing but an IPv6 address.
#[test]
fn a_name_with_only_an_ipv6_address_is_reached_over_ipv6() {
    let phone = udp(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let scratch = Scratch::new();
    let names = NameServer::start(&scratch, "six AAAA ::1\n");
    let server = resolving(&names);
    let caller = Endpoint::new(server.address(Wire::Udp4));
    let uri = format!("MESSAGE sip:bob@six.sip.test:{}", port(&phone));
    caller.request(&uri, "six", "1", "", "");
    assert_eq!(received(&phone), format!("{uri} SIP/2.0"));
}

// RFC 8767: what was known goes on to work while no name server answers; what was not is refused in time.
#[test]
fn calls_to_known_names_go_on_while_the_name_server_is_down() {
    let phone = udp(LOOPBACK);
    let scratch = Scratch::new();
    let names = NameServer::start(&scratch, "known A 127.0.0.1\nother A 127.0.0.1\n");
    let server = resolving(&names);
    let caller = Endpoint::new(server.address(Wire::Udp4));
    let uri = format!("MESSAGE sip:bob@known.sip.test:{}", port(&phone));
    caller.request(&uri, "before", "1", "", "");
    received(&phone);
    names.process.kill();
    // The record is good for a second; each of these may find it stale.
    for call in 0..3 {
        caller.request(&uri, &format!("after-{call}"), "1", "", "");
        assert_eq!(received(&phone), format!("{uri} SIP/2.0"));
        std::thread::park_timeout(Duration::from_millis(600));
    }
    caller.set_patience(PATIENCE);
    caller.request("MESSAGE sip:bob@other.sip.test", "unknown", "1", "", "");
    let answer = loop {
        let answer = caller.receive().expect("an answer");
        if !answer.starts_with("SIP/2.0 1") {
            break answer;
        }
    };
    // It counts as a 503 of that branch (RFC 3261 section 16.9), which a proxy does not pass on (section 16.7 step 6).
    assert!(answer.starts_with("SIP/2.0 500 "), "{answer}");
}

// Functions of module ipops ask the same servers as the proxy, and the script reads what these say.
#[test]
fn a_script_asks_for_services_rules_and_names() {
    let records = "h NAPTR 20 1 \"s\" \"SIP+D2T\" \"\" _sip._tcp.h\nh NAPTR 10 1 \"s\" \"SIP+D2U\" \"\" _sip._udp.h\n\
                   _sip._udp.h SRV 20 0 5062 b\n_sip._udp.h SRV 10 0 5061 a\na A 127.0.0.1\na AAAA ::1\n";
    let scratch = Scratch::new();
    let names = NameServer::start(&scratch, records);
    let plan = Plan::script("tests/it/names/asking.cfg");
    let server = Subject::start_ser(&plan.option("--dns-server").option(names.address.to_string()));
    let caller = Endpoint::new(server.address(Wire::Udp4));
    caller.request("OPTIONS sip:h.sip.test", "asking", "1", "", "");
    let answer = caller.expect("SIP/2.0 200 ");
    let seen = lines(&answer, "X-Seen");
    let expected = "X-Seen: rules 2 SIP+D2U _sip._udp.h.sip.test\r\nX-Seen: services 2 a.sip.test 5061\r\n\
                    X-Seen: addresses 2\r\nX-Seen: nobody\r\n";
    assert_eq!(seen, expected, "{answer}");
}
