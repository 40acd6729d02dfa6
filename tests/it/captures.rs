//! Capture files: what others write is read, and what `serctl trace` writes others read; and messages that a server keeps.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::{Endpoint, Plan, Process, Scratch, Subject, Wire, program_file};

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

fn start(memory: &str) -> (Subject, Endpoint) {
    let plan = Plan::script("tests/it/control/observed.cfg").option(format!("--trace-memory={memory}"));
    let subject = Subject::start_ser(&plan);
    let phone = Endpoint::new(subject.address(Wire::Udp4));
    (subject, phone)
}

fn ask(phone: &Endpoint, call: &str) {
    phone.request(&format!("MESSAGE sip:nobody@{}", phone.server()), call, "1", "", "");
    phone.expect("SIP/2.0 404 ");
}

fn trace(subject: &Subject, words: &[&str]) -> Command {
    let mut command = Command::new(program_file("serctl"));
    command.arg("--data-dir").arg(subject.scratch().path()).args(words);
    command
}

fn said(subject: &Subject, words: &[&str]) -> String {
    let output = trace(subject, words).output().expect("serctl can be started");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_the_server_keeps_is_shown_with_the_steps_of_the_script_and_saved_with_them() {
    let (subject, phone) = start("1");
    ask(&phone, "one");
    ask(&phone, "two");
    let shown = said(&subject, &["trace", "--call-id", "one"]);
    assert!(shown.starts_with("MESSAGE sip:caller@") && shown.contains("404 "), "{shown}");
    assert!(shown.contains(&phone.own().to_string()) && !shown.contains("Call-ID two"), "{shown}");

    let json: serde_json::Value =
        serde_json::from_str(&said(&subject, &["--json", "trace", "--call-id", "one"])).expect("it is JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(2), "{json}");
    assert_eq!(json[0]["steps"][0]["route"], "request_route", "{json}");
    let lines = json[0]["steps"][0]["lines"].to_string();
    assert!(lines.contains("404"), "{lines}");

    let saved = subject.scratch().file("out.pcapng").to_string_lossy().into_owned();
    let told = said(&subject, &["trace", "--call-id", "two", "--save", &saved]);
    assert!(told.starts_with("2 messages are in "), "{told}");
    let fields = ["-T", "fields", "-e", "sip.Method", "-e", "sip.Status-Code", "-e", "frame.comment"];
    let output = Command::new("tshark").args(["-r", &saved]).args(fields).output().expect("tshark is there");
    let read = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(read.starts_with("MESSAGE\t\trequest_route") && read.contains("\n\t404\t"), "{read}");

    let calls = said(&subject, &["trace.calls", "method=MESSAGE"]);
    assert!(calls.contains("one") && calls.contains("two"), "{calls}");
    let nobody = said(&subject, &["trace.show", "three"]);
    assert!(nobody.contains("no message of this call is kept"), "{nobody}");
}

/// A mebibyte is kept, a quarter of it for calls that failed: what came at the same time and went well is gone.
#[test]
fn a_call_that_failed_is_kept_longer_than_what_went_well() {
    let (subject, phone) = start("1");
    let ask = |line: &str, call: &str, answer: &str| {
        phone.request(&format!("{line}@{}", phone.server()), call, "1", "", "");
        phone.expect(answer);
    };
    ask("OPTIONS sip:anybody", "went-well", "SIP/2.0 200 ");
    ask("INVITE sip:nobody", "failed", "SIP/2.0 404 ");
    let kept = || said(&subject, &["trace.calls"]);
    assert!(kept().contains("went-well") && kept().contains("failed"), "{}", kept());
    // Messages of about 600 bytes with what is noted of each: a few thousand are more than a mebibyte.
    for n in 0..3000 {
        ask("OPTIONS sip:anybody", &format!("later-{n}"), "SIP/2.0 200 ");
    }
    let shown = kept();
    assert!(shown.contains("failed") && shown.contains("later-2999"), "{shown}");
    assert!(!shown.contains("went-well"), "it is kept as well");
    assert!(said(&subject, &["trace.show", "failed"]).contains("404"));
}

#[test]
fn whoever_follows_sees_messages_as_they_come() {
    let (subject, phone) = start("1");
    ask(&phone, "before");
    let follower = Process::start("follower", &mut trace(&subject, &["trace", "--follow", "--method", "message"]));
    let has_both = |call: &str| {
        let is_seen = || follower.count_lines(call) == 2;
        assert!(follower.wait_until(Duration::from_secs(20), is_seen), "{}", follower.log());
    };
    has_both("before");
    ask(&phone, "after");
    has_both("after");
}

#[test]
fn a_server_that_keeps_nothing_says_how_to_make_it_keep_messages() {
    let (subject, phone) = start("0");
    ask(&phone, "one");
    for words in [&["trace"][..], &["trace.calls"], &["trace.show", "one"], &["trace.follow"]] {
        let said = said(&subject, words);
        assert!(said.contains("start it with --trace-memory"), "{words:?}: {said}");
    }
}
