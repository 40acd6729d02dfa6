//! What a mistake of the server's own costs: the work on one message, and no more.
#![allow(missing_docs)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine::{Names, Settings};
use module_api::{Host, every};
use sip_proto::resolve::{Known, Lookup, Question};
use testkit::{Network, StaticNames, Weather, answer, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";

/// Names of which one is a mistake.
struct Wrong(StaticNames);

impl Known for Wrong {
    fn lookup(&self, question: &Question) -> Lookup {
        assert!(!question.name.contains("mistake"), "a mistake that the test makes");
        self.0.lookup(question)
    }
}

impl Names for Wrong {
    fn ask(&self, questions: Vec<Question>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.ask(questions)
    }
}

fn network(routes: &str) -> Network {
    let script = format!("#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\n{routes}\n");
    Network::with(&script, Settings::default(), Wrong(StaticNames::default()), Weather::default())
}

#[test]
fn the_sender_of_the_message_gets_a_500_and_nothing_is_left_of_it() {
    let mut network = network("request_route { if ($rU == \"oops\") $rd = \"mistake.example\"; t_relay(); }");
    let wrong = request("INVITE", "z9hG4bK1", "").replace("bob@203.0.113.1:5080 SIP", "oops@203.0.113.1 SIP");
    network.send(CALLER, &wrong);
    network.send(CALLER, &request("INVITE", "z9hG4bK2", "").replace("c1@", "c2@"));
    network.settle();
    assert!(network.start_lines(CALLER).contains(&"SIP/2.0 500 Server Internal Error".to_owned()));
    assert_eq!(network.statistics().panics.value(), 1);
    let invite = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&invite, "200 OK"));
    network.settle();
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 200 OK"]);
    network.advance(Duration::from_secs(70));
    assert_eq!(network.transaction_count(), 0);
}

#[test]
fn what_is_due_at_the_same_time_is_done_all_the_same() {
    let mut network = network("request_route { t_relay(); }");
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    let ticks = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&ticks);
    // The first tick is a mistake, and it is not the last.
    let tick = move |_: &mut dyn Host| {
        assert!(counted.fetch_add(1, Ordering::Relaxed) != 0, "a mistake that the test makes");
        true
    };
    every(&*network.server(), "test", Duration::from_millis(500), Arc::new(tick));
    let jobs = Arc::new(AtomicU32::new(0));
    let done = Arc::clone(&jobs);
    network.post(Box::new(move |host| {
        host.after(Duration::from_millis(500), Box::new(|_| panic!("a mistake that the test makes")));
        host.after(
            Duration::from_millis(500),
            Box::new(move |_| {
                done.fetch_add(1, Ordering::Relaxed);
            }),
        );
    }));
    network.advance(Duration::from_millis(1600));
    assert_eq!((ticks.load(Ordering::Relaxed), jobs.load(Ordering::Relaxed)), (3, 1));
    assert_eq!(network.statistics().panics.value(), 2);
    // Timer A at 500 and 1500 ms (RFC 3261 section 17.1.1.2).
    assert_eq!(network.received(CALLEE).len(), 3);
}

#[test]
fn ticks_go_on_though_no_job_finds_room() {
    let mut network = network("request_route { t_relay(); }");
    let ticks = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&ticks);
    let tick = move |_: &mut dyn Host| {
        counted.fetch_add(1, Ordering::Relaxed);
        true
    };
    every(&*network.server(), "test", Duration::from_secs(1), Arc::new(tick));
    network.post(Box::new(|host| while host.after(Duration::from_secs(3600), Box::new(|_| ())) {}));
    network.advance(Duration::from_millis(3500));
    assert_eq!(ticks.load(Ordering::Relaxed), 3);
}
