//! Port numbers, chosen by the kernel.

use std::collections::HashSet;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::Mutex;

static HANDED_OUT: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port that was free for UDP and TCP on `ip` a moment ago and that no other test of this
/// process was given.
///
/// Another process may still take it before the peer binds it; whoever starts a peer tries
/// again with another port when the peer says so.
pub(crate) fn free_port(ip: IpAddr) -> u16 {
    for _ in 0..100 {
        let socket = UdpSocket::bind((ip, 0)).expect("loopback has a free UDP port");
        let port = socket.local_addr().expect("a bound socket has an address").port();
        let is_new =
            HANDED_OUT.lock().expect("no test panics while it holds this lock").get_or_insert_default().insert(port);
        if is_new && TcpListener::bind((ip, port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {ip} is free for both UDP and TCP")
}
