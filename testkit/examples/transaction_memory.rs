//! How many bytes a live transaction costs, by the growth of the process: `cargo run --release -p testkit
//! --example transaction_memory`. With the allocator of the system, not the server's.

use testkit::{Network, answer, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";
const SCRIPT: &str = "#!KAMAILIO\nloadmodule \"tm.so\"\nrequest_route { t_relay(); }\n";
const COUNT: usize = 50_000;

fn main() {
    // All are kept, so that no measurement lives in what an earlier one gave back.
    let _kept = [
        measure("INVITE ringing", "INVITE", Some("180 Ringing")),
        measure("INVITE answered", "INVITE", Some("200 OK")),
        measure("INVITE refused", "INVITE", Some("486 Busy Here")),
        measure("MESSAGE pending", "MESSAGE", None),
        measure("MESSAGE answered", "MESSAGE", Some("200 OK")),
    ];
}

fn measure(what: &str, method: &str, status: Option<&str>) -> Network {
    let mut network = Network::new(SCRIPT);
    let before = resident_bytes();
    for number in 0..COUNT {
        network.send(CALLER, &request(method, &format!("z9hG4bK{number}"), ""));
        network.settle();
        for arrived in network.received(CALLEE) {
            if let Some(status) = status {
                network.send(CALLEE, &answer(&arrived.text(), status));
            }
        }
        network.settle();
        network.received(CALLEE);
        network.received(CALLER);
    }
    let grown = resident_bytes().saturating_sub(before);
    println!("{what}: {} bytes each, of {} transactions", grown / COUNT, network.transaction_count());
    network
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<usize>().ok()).unwrap_or_default() * 1024
}
