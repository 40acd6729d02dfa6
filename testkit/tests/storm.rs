//! Calls, cancelled calls, failures and messages in bad weather, from two thousand seeds.
//!
//! Whatever the network does, afterwards no transaction is left, nobody has had two different final
//! responses to one request, and an ACK to a failure has gone no further than the server. A seed that fails
//! is named in the message; `STORM_SEED=n` runs it alone.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::time::Duration;

use engine::Settings;
use testkit::{Arrived, Network, StaticNames, Weather, answer_tagged, line, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEES: [&str; 3] = ["203.0.113.1:5080", "203.0.113.2:5080", "203.0.113.3:5080"];
const UNREACHABLE: &str = "203.0.113.3:5080";

const SCRIPT: &str = r#"#!KAMAILIO
loadmodule "tm.so"
loadmodule "textops.so"
request_route {
    if (is_method("ACK")) { t_relay(); exit; }
    if (is_method("CANCEL")) { t_relay(); exit; }
    t_on_failure("NEXT");
    if (is_method("INVITE")) { append_branch("sip:bob@203.0.113.2:5080"); }
    t_relay();
}
failure_route[NEXT] {
    if (t_check_status("486|408")) { append_branch("sip:bob@203.0.113.3:5080"); t_relay(); }
}
"#;

struct Dice(u64);

impl Dice {
    /// A number below `bound`: xorshift.
    fn roll(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// One caller's transactions and what came back, by branch.
struct Storm {
    network: Network,
    dice: Dice,
    seed: u64,
    /// Final responses to the caller, by CSeq method and branch of the Via; those to a failure once each.
    failures: BTreeMap<(String, String), Arrived>,
    /// How each callee answers an INVITE that it has seen, so that repetitions get the same.
    verdicts: BTreeMap<String, &'static str>,
}

impl Storm {
    fn new(seed: u64) -> Storm {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let weather = Weather {
            loss_per_mille: dice.roll(301) as u32,
            twice_per_mille: dice.roll(200) as u32,
            delay: Duration::from_millis(1 + dice.roll(500)),
            seed,
        };
        let network = Network::with(SCRIPT, Settings::default(), StaticNames::default(), weather);
        Storm { network, dice, seed, failures: BTreeMap::new(), verdicts: BTreeMap::new() }
    }

    fn run(&mut self) {
        for number in 0..4 {
            let method = if self.dice.roll(3) == 0 { "MESSAGE" } else { "INVITE" };
            let branch = format!("z9hG4bK{number}");
            let repeated = 1 + self.dice.roll(4);
            for _ in 0..repeated {
                self.network.send(CALLER, &request(method, &branch, ""));
                self.pass(500);
            }
            if method == "INVITE" && self.dice.roll(2) == 0 {
                self.network.send(CALLER, &request("CANCEL", &branch, ""));
                self.pass(500);
            }
        }
        // Longer than Timer C of two generations of branches with all that may follow.
        for _ in 0..900 {
            self.pass(1000);
        }
        assert_eq!(self.network.transaction_count(), 0, "seed {}: transactions are left", self.seed);
        assert!(!self.network.is_busy(), "seed {}: something still waits", self.seed);
    }

    fn pass(&mut self, milliseconds: u64) {
        self.network.advance(Duration::from_millis(milliseconds));
        if self.dice.roll(4) == 0 {
            self.network.unreachable(UNREACHABLE);
        }
        for arrived in self.network.received(CALLER) {
            self.on_reply(&arrived);
        }
        for callee in CALLEES {
            for arrived in self.network.received(callee) {
                self.on_request(callee, &arrived);
            }
        }
    }

    /// The caller: acknowledges failures, and two different ones to one request are an error.
    fn on_reply(&mut self, arrived: &Arrived) {
        let reply = &arrived.text()[..];
        let status = reply.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()).expect("a status line");
        let method = line(reply, "CSeq:").and_then(|line| line.rsplit(' ').next()).expect("a CSeq").to_owned();
        let branch = line(reply, "Via:").and_then(|line| line.split("branch=").nth(1)).expect("our branch").to_owned();
        if status < 200 || (method == "INVITE" && status < 300) {
            return;
        }
        let first = self.failures.entry((method.clone(), branch.clone())).or_insert_with(|| arrived.clone());
        assert_eq!(first.bytes, arrived.bytes, "seed {}: two final responses to one request", self.seed);
        if method == "INVITE" {
            let to = line(reply, "To:").expect("a To").split("<sip:bob@example.com>").nth(1).unwrap_or_default();
            self.network.send(CALLER, &request("ACK", &branch, to));
        }
    }

    /// The server's own ACK to a failure has one Via. One of the caller would have two, and this caller
    /// acknowledges failures alone: it goes through only when Timer H has ended the transaction.
    fn on_ack(&self, arrived: &Arrived) {
        let text = arrived.text();
        let Some(below) = text.lines().filter(|line| line.starts_with("Via:")).nth(1) else { return };
        let branch = below.split("branch=").nth(1).expect("the caller's branch").to_owned();
        let failure = &self.failures[&("INVITE".to_owned(), branch)];
        let age = arrived.at - failure.at;
        assert!(age > TIMER_H, "seed {}: an ACK to a failure went through after {age:?}", self.seed);
    }

    /// A callee: answers as the dice say, the same for repetitions.
    fn on_request(&mut self, callee: &'static str, arrived: &Arrived) {
        let request = &arrived.text()[..];
        let via = line(request, "Via:").expect("a Via").to_owned();
        let method = request.split(' ').next().expect("a method");
        if method == "ACK" {
            return self.on_ack(arrived);
        }
        if callee == UNREACHABLE {
            return;
        }
        let tag = if callee == CALLEES[0] { "b1" } else { "b2" };
        if method == "CANCEL" {
            self.network.send(callee, &answer_tagged(request, "200 OK", tag));
            if self.verdicts.get(&via) == Some(&"ring") {
                self.verdicts.insert(via, "487 Request Terminated");
            }
            return;
        }
        const VERDICTS: [&str; 7] =
            ["200 OK", "486 Busy Here", "603 Decline", "503 Service Unavailable", "ring", "silent", "404 Not Found"];
        let roll = self.dice.roll(VERDICTS.len() as u64) as usize;
        let verdict = *self.verdicts.entry(via).or_insert(VERDICTS[roll]);
        match verdict {
            "silent" => {}
            "ring" => self.network.send(callee, &answer_tagged(request, "180 Ringing", tag)),
            _ => self.network.send(callee, &answer_tagged(request, verdict, tag)),
        }
    }
}

#[test]
fn after_every_storm_nothing_is_left() {
    let alone = std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = alone.map_or(0..SEEDS, |seed| seed..seed + 1);
    for seed in seeds {
        Storm::new(seed).run();
    }
}

const SEEDS: u64 = 2000;
/// 64*T1, less what the failure itself was under way.
const TIMER_H: Duration = Duration::from_secs(31);
