//! Capture files: what others write is read, and what `serctl trace` writes others read.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Scratch, program_file};

fn datagram(source: (u8, u16), destination: (u8, u16), text: &str) -> Vec<u8> {
    let length = text.len() as u16;
    let mut packet = vec![0x45, 0];
    packet.extend((length + 28).to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, source.0, 192, 0, 2, destination.0]);
    for number in [source.1, destination.1, length + 8, 0] {
        packet.extend(number.to_be_bytes());
    }
    packet.extend(text.as_bytes());
    packet
}

/// A classic pcap file of raw IP packets, a second apart.
fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0];
    for (second, packet) in (1_700_000_000_u32..).zip(packets) {
        for number in [second, 0, packet.len() as u32, packet.len() as u32] {
            file.extend(number.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

fn message(start: &str, call: &str) -> String {
    format!(
        "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=1\r\n\
         To: <sip:bob@example.com>\r\nCall-ID: {call}@example.com\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
}

fn serctl(arguments: &[&str]) -> Output {
    Command::new(program_file("serctl")).args(arguments).output().expect("serctl is built")
}

#[test]
fn a_capture_is_shown_as_ladders_and_saved_so_that_tshark_reads_it() {
    let scratch = Scratch::new();
    let (phone, server) = ((1, 5070), (2, 5060));
    let packets = [
        datagram(phone, server, &message("INVITE sip:bob@example.com SIP/2.0", "one")),
        datagram(server, phone, &message("SIP/2.0 486 Busy Here", "one")),
        datagram(
            phone,
            server,
            &message("OPTIONS sip:bob@example.com SIP/2.0", "two").replace("1 INVITE", "1 OPTIONS"),
        ),
    ];
    let file = scratch.file("in.pcap");
    fs::write(&file, pcap(&packets)).expect("the directory is writable");
    let file = file.to_string_lossy().into_owned();

    let shown = serctl(&["trace", &file, "--call-id", "one@example.com"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.starts_with("INVITE sip:alice@example.com -> sip:bob@example.com  486 Busy Here\n"), "{shown}");
    assert!(shown.contains("INVITE ---") && shown.contains("<--") && !shown.contains("OPTIONS"), "{shown}");

    let saved = scratch.file("out.pcapng").to_string_lossy().into_owned();
    assert!(serctl(&["trace", &file, "--method", "INVITE", "--save", &saved]).status.success());
    assert!(Path::new(&saved).exists());
    let fields =
        ["-T", "fields", "-e", "udp.srcport", "-e", "sip.Method", "-e", "sip.Status-Code", "-e", "udp.checksum.status"];
    let output = Command::new("tshark")
        .args(["-r", &saved, "-o", "udp.check_checksum:TRUE"])
        .args(fields)
        .output()
        .expect("tshark is there");
    let read = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(read, "5070\tINVITE\t\t1\n5060\t\t486\t1\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_no_capture_is_said_and_nothing_is_written() {
    let scratch = Scratch::new();
    let file = scratch.file("image.gif");
    fs::write(&file, b"GIF89a").expect("the directory is writable");
    let output = serctl(&["trace", &file.to_string_lossy()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("image.gif: is neither pcap nor pcapng"), "{said}");
}
