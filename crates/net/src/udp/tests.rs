//! UDP over real loopback sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::*;

/// How often to wait before giving up.
const WAITS: usize = 50;

fn bind(address: &str) -> UdpSocket {
    UdpSocket::bind(address.parse().unwrap(), &UdpOptions::default()).unwrap()
}

/// Received datagrams as (bytes, peer, local) until `count` are there.
fn collect(socket: &UdpSocket, count: usize) -> Vec<(Vec<u8>, SocketAddr, SocketAddr)> {
    let mut batch = ReceiveBatch::new();
    let mut found = Vec::new();
    while found.len() < count {
        // Both ways in turn: neither may lose what the other leaves.
        if found.len() % 3 == 0 || socket.receive(&mut batch).unwrap() == 0 {
            wait(socket, &mut batch);
        }
        found.extend(batch.iter().map(|d| (d.bytes.to_vec(), d.peer, d.local)));
    }
    found
}

fn wait(socket: &UdpSocket, batch: &mut ReceiveBatch) {
    let came = (0..WAITS).any(|_| socket.wait(batch).unwrap() > 0);
    assert!(came, "nothing came");
}

fn send(socket: &UdpSocket, to: SocketAddr, from: Option<IpAddr>, payloads: &[&[u8]]) {
    let mut batch = SendBatch::new();
    for payload in payloads {
        batch.push(payload, to, from).unwrap();
    }
    batch.flush(socket, |to, error| panic!("{to}: {error}"));
    assert!(batch.is_empty());
}

fn check_exchange(address: &str) {
    let (a, b) = (bind(address), bind(address));
    let payloads: Vec<Vec<u8>> = (0..200_u8).map(|n| vec![n; usize::from(n) + 1]).collect();
    let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    send(&a, b.local_address(), None, &slices);
    let expected: Vec<_> = payloads.into_iter().map(|bytes| (bytes, a.local_address(), b.local_address())).collect();
    assert_eq!(collect(&b, 200), expected);
}

#[test]
fn datagrams_arrive_whole_and_in_order_over_ipv4() {
    check_exchange("127.0.0.1:0");
}

#[test]
fn datagrams_arrive_whole_and_in_order_over_ipv6() {
    check_exchange("[::1]:0");
}

fn check_wildcard(wildcard: &str, peer: &str, local: &str) {
    let (server, client) = (bind(wildcard), bind(peer));
    let target = SocketAddr::new(local.parse().unwrap(), server.local_address().port());
    send(&client, target, None, &[b"ping"]);
    let got = collect(&server, 1);
    assert_eq!(got, [(b"ping".to_vec(), client.local_address(), target)]);
    send(&server, client.local_address(), Some(target.ip()), &[b"pong"]);
    assert_eq!(collect(&client, 1)[0].1, target);
}

#[test]
fn a_wildcard_socket_knows_and_keeps_the_local_ipv4_address() {
    check_wildcard("0.0.0.0:0", "127.0.0.1:0", "127.0.0.2");
}

#[test]
fn a_wildcard_socket_knows_and_keeps_the_local_ipv6_address() {
    check_wildcard("[::]:0", "[::1]:0", "::1");
}

#[test]
fn the_longest_datagram_is_sent_in_fragments_and_not_truncated() {
    let (a, b) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    let payload = vec![b'x'; 65_507];
    send(&a, b.local_address(), None, &[&payload]);
    assert_eq!(collect(&b, 1)[0].0, payload);
}

#[test]
fn one_bad_datagram_stops_no_other() {
    let (a, b) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    let mut batch = SendBatch::new();
    let to = b.local_address();
    batch.push(b"one", to, None).unwrap();
    batch.push(&vec![0; 70_000], to, None).unwrap();
    batch.push(b"two", to, None).unwrap();
    let mut refused = Vec::new();
    batch.flush(&a, |to, error| refused.push((to, error.raw_os_error())));
    assert_eq!(refused, [(to, Some(libc::EMSGSIZE))]);
    let got: Vec<_> = collect(&b, 2).into_iter().map(|d| d.0).collect();
    assert_eq!(got, [b"one".to_vec(), b"two".to_vec()]);
}

fn check_refused(address: &str) {
    let socket = bind(address);
    let closed = bind(address).local_address();
    send(&socket, closed, None, &[b"anybody there?"]);
    let mut batch = ReceiveBatch::new();
    let mut errors = Vec::new();
    let came = (0..WAITS).any(|_| {
        assert_eq!(socket.wait(&mut batch).unwrap(), 0);
        batch.has_met_error()
    });
    assert!(came, "no error came");
    socket.take_errors(|peer, kind| errors.push((peer, kind)));
    assert_eq!(errors, [(closed, io::ErrorKind::ConnectionRefused)]);
    // What ICMP left behind disturbs neither sending nor receiving.
    let other = bind(address);
    send(&socket, other.local_address(), None, &[b"you then"]);
    assert_eq!(collect(&other, 1)[0].0, b"you then");
    assert_eq!(socket.receive(&mut ReceiveBatch::new()).unwrap(), 0);
}

#[test]
fn icmp_port_unreachable_names_the_peer_over_ipv4() {
    check_refused("127.0.0.1:0");
}

#[test]
fn icmp_port_unreachable_names_the_peer_over_ipv6() {
    check_refused("[::1]:0");
}

#[test]
fn whoever_meets_an_error_is_told_and_finds_its_peer() {
    let socket = bind("127.0.0.1:0");
    let closed = bind("127.0.0.1:0").local_address();
    let other = bind("127.0.0.1:0");
    send(&socket, closed, None, &[b"anybody there?"]);
    // Over loopback the answer of ICMP is there when the call returns; the next sending meets it.
    let mut batch = SendBatch::new();
    batch.push(b"you then", other.local_address(), None).unwrap();
    assert!(batch.flush(&socket, |to, error| panic!("{to}: {error}")));
    let mut errors = Vec::new();
    socket.take_errors(|peer, kind| errors.push((peer, kind)));
    assert_eq!(errors, [(closed, io::ErrorKind::ConnectionRefused)]);
}

#[test]
fn a_batch_is_bounded() {
    let mut batch = SendBatch::new();
    let to: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let taken = (0..10_000).take_while(|_| batch.push(b"x", to, None).is_ok());
    assert_eq!(taken.count(), 4096);
}

#[test]
fn both_families_bind_the_same_port_on_the_wildcard() {
    let v6 = bind("[::]:0");
    let port = v6.local_address().port();
    // Another process may have taken it on IPv4, which says nothing of us.
    match UdpSocket::bind(([0, 0, 0, 0], port).into(), &UdpOptions::default()) {
        Ok(v4) => assert_eq!(v4.local_address().port(), port),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse),
    }
}

#[test]
fn the_loopback_has_a_path_mtu() {
    let peer: SocketAddr = "127.0.0.1:5060".parse().unwrap();
    assert!(path_mtu(peer).unwrap() >= 1500);
}

#[test]
fn the_routing_table_says_from_where_a_peer_is_reached() {
    let toward = |peer: &str| source_toward(peer.parse().expect("a literal address"));
    assert_eq!(toward("127.0.0.1:9"), Some([127, 0, 0, 1].into()));
    assert_eq!(toward("127.8.8.8:9"), Some([127, 0, 0, 1].into()));
}

#[test]
fn a_socket_is_set_up_as_wanted() {
    let options = UdpOptions {
        receive_buffer: Some(20_000),
        send_buffer: Some(10_000),
        type_of_service: Some(0x10),
        multicast_hops: Some(7),
        hears_own_multicast: false,
        ..UdpOptions::default()
    };
    let udp = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
    let socket = socket2::SockRef::from(&udp);
    // The kernel doubles what it is asked for.
    assert_eq!(socket.recv_buffer_size().unwrap(), 40_000);
    assert_eq!(socket.send_buffer_size().unwrap(), 20_000);
    assert_eq!(socket.tos_v4().unwrap(), 0x10);
    assert_eq!(socket.multicast_ttl_v4().unwrap(), 7);
    assert!(!socket.multicast_loop_v4().unwrap());
}
