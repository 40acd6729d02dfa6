//! What a stored contact costs: `cargo run --release -p modules --example binding_memory [COUNT]`.
//!
//! Fills a location table with contacts such as phones send and prints how much the process grew
//! for each, by the kernel's own count of its resident pages.

use bytes::Bytes;
use modules::usrloc::{Contact, Table};
use sip_proto::registrar::Binding;

fn main() {
    let count: u32 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(500_000);
    let table = Table::default();
    let before = resident_bytes();
    for n in 0..count {
        let contact = contact(n);
        table.update(format!("user{n:07}").as_bytes(), |_| (Some(vec![contact]), ()));
    }
    let grown = resident_bytes() - before;
    println!("{count} contacts, {} bytes each", grown / u64::from(count));
    assert_eq!(table.counts(), (count as usize, count as usize));
}

/// A contact as a desk phone behind NAT registers it: about 170 bytes of text.
fn contact(n: u32) -> Contact {
    Contact {
        binding: Binding {
            uri: Bytes::from(format!("sip:user{n:07}@192.168.1.23:50600;transport=udp")),
            expires: 1_800_000_000,
            q: None,
            call_id: Bytes::from(format!("{n:08x}-5f3a9c1e7b2d4680@192.168.1.23")),
            cseq: 2,
            path: Bytes::new(),
            instance: Bytes::new(),
            reg_id: 0,
            params: Bytes::new(),
        },
        received: Bytes::from_static(b"sip:203.0.113.200:50600"),
        user_agent: Bytes::from_static(b"Desk Phone 5.2.1.300"),
        ruid: Bytes::from(format!("uloc-60f0a1b2c3d4e5f-{n:x}")),
        modified: 1_700_000_000,
        flags: 0,
        branch_flags: 64,
        methods: u32::MAX,
        socket: Some(0),
        connection: None,
    }
}

/// Pages in memory times their size, from /proc.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc/self/statm");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second number is the resident size") * 4096
}
