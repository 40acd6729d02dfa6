//! Workers as threads with sockets of their own: who does what for whom (decision 0004).

use std::net::UdpSocket;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine::{Links, Mail, Mailboxes, Record, Ring, Settings, Shared, ToWorkers, What, Worker};
use module_api::SocketId;
use net::stream::{StreamSettings, Streams};
use net::udp::UdpOptions;
use testkit::{Network, StaticNames, Weather};

/// Longer than anything here takes, so that a mistake fails rather than hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two workers, each with a socket, of which those run that are asked for.
struct Pair {
    shared: Arc<Shared>,
    mailboxes: Mailboxes,
    addresses: Vec<std::net::SocketAddr>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
    phone: UdpSocket,
    _runtime: tokio::runtime::Runtime,
}

impl Pair {
    fn start(script: &str, running: &[usize]) -> Pair {
        Pair::with(script, Settings::default(), running)
    }

    fn with(script: &str, settings: Settings, running: &[usize]) -> Pair {
        let network = Network::with(script, settings, StaticNames::default(), Weather::default());
        let shared = Arc::clone(network.shared());
        let (mailboxes, stations) = engine::stations(2, 64).unwrap();
        let mut addresses = Vec::new();
        let with_sockets = stations.into_iter().map(|station| {
            let socket = net::udp::UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
            addresses.push(socket.local_address());
            (station, vec![(SocketId(0), socket)])
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let sink = Arc::new(ToWorkers::new(Arc::clone(&shared), Mailboxes::clone(&mailboxes)));
        let streams = Arc::new(Streams::new(runtime.handle().clone(), StreamSettings::default(), sink));
        let links = Links { mailboxes: Mailboxes::clone(&mailboxes), streams };
        let workers = Worker::all(&shared, with_sockets, &links).into_iter().enumerate();
        let mut threads = Vec::new();
        for (_, (worker, receivers)) in workers.filter(|(number, _)| running.contains(number)) {
            threads.push(thread::spawn(|| worker.run()));
            receivers.into_iter().for_each(|receiver| drop(thread::spawn(move || receiver.run())));
        }
        let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
        phone.set_read_timeout(Some(PATIENCE)).unwrap();
        Pair { shared, mailboxes, addresses, threads, phone, _runtime: runtime }
    }

    /// Sends a request to one worker's socket; returns the number of the worker that owns it.
    fn send(&self, to_worker: usize, method: &str, call: usize) -> usize {
        let phone = self.phone.local_addr().unwrap();
        let request = format!(
            "{method} sip:{phone} SIP/2.0\r\nVia: SIP/2.0/UDP {phone};branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
             From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: {call}@test\r\n\
             CSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        );
        self.phone.send_to(request.as_bytes(), self.addresses[to_worker]).unwrap();
        self.shared.owner(format!("{call}@test").as_bytes(), 2)
    }

    fn receive(&self) -> String {
        let mut buffer = [0; 4096];
        let (length, _) = self.phone.recv_from(&mut buffer).expect("an answer within a fair time");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// What the desk of a worker keeps of messages.
    fn kept(&self, worker: usize) -> Vec<Record> {
        let (answer, answered) = std::sync::mpsc::channel();
        let look = move |ring: &Ring| answer.send(ring.records().cloned().collect()).unwrap();
        assert!(self.mailboxes[worker].send(Mail::Look(Box::new(look))).is_ok());
        answered.recv_timeout(PATIENCE).unwrap()
    }

    fn stop(self) {
        for mailbox in self.mailboxes.iter() {
            let _ = mailbox.send(Mail::Drain(Instant::now()));
        }
        for thread in self.threads {
            thread.join().unwrap().unwrap();
        }
    }
}

const ANSWERS: &str = "loadmodule \"sl\"\nrequest_route { sl_send_reply(\"200\", \"OK\"); }";

#[test]
fn what_belongs_to_a_worker_that_sleeps_is_done_by_whoever_receives_it() {
    // The second worker never runs, which is the deepest sleep.
    let pair = Pair::start(ANSWERS, &[0]);
    let mut owners = [0; 2];
    for call in 0..32 {
        owners[pair.send(0, "OPTIONS", call)] += 1;
        assert!(pair.receive().contains(&format!("Call-ID: {call}@test\r\n")));
    }
    assert!(owners.iter().all(|count| *count > 0), "{owners:?}");
    pair.stop();
}

#[test]
fn mail_that_waits_is_done_before_what_comes_later() {
    let pair = Pair::start(ANSWERS, &[0]);
    let call = (0..).find(|call: &usize| pair.shared.owner(format!("{call}@test").as_bytes(), 2) == 1).unwrap();
    let (done, was_done) = std::sync::mpsc::channel();
    assert!(pair.mailboxes[1].send(Mail::Job(Box::new(move |_| done.send(()).unwrap()))).is_ok());
    pair.send(0, "OPTIONS", call);
    assert!(pair.receive().starts_with("SIP/2.0 200"));
    was_done.try_recv().expect("the job was first");
    pair.stop();
}

#[test]
fn the_owner_wakes_in_time_for_what_was_begun_in_its_place() {
    let script = "loadmodule \"tm\"\nmodparam(\"tm\", \"retr_timer1\", 40)\nrequest_route { t_relay(); }";
    let pair = Pair::start(script, &[0, 1]);
    for call in 0..8 {
        pair.send(0, "OPTIONS", call);
    }
    // Nobody answers: every request comes, and comes again when its owner's timer E fires.
    let mut times = [0; 8];
    while times.iter().any(|count| *count < 2) {
        let text = pair.receive();
        let call = text.split_once("Call-ID: ").unwrap().1.split('@').next().unwrap();
        times[call.parse::<usize>().unwrap()] += 1;
    }
    pair.stop();
}

#[test]
fn a_mistake_of_ours_costs_one_message() {
    let pair = Pair::start(ANSWERS, &[0, 1]);
    for mailbox in pair.mailboxes.iter() {
        assert!(mailbox.send(Mail::Job(Box::new(|_| panic!("on purpose")))).is_ok());
    }
    for call in 0..16 {
        pair.send(call % 2, "OPTIONS", call);
        assert!(pair.receive().starts_with("SIP/2.0 200"));
    }
    assert_eq!(pair.shared.statistics.panics.value(), 2);
    pair.stop();
}

#[test]
fn whoever_acts_at_a_desk_files_what_is_seen_there() {
    const CALLS: usize = 200;
    let settings = Settings { capture_bytes: 4_000_000, ..Settings::default() };
    let pair = Pair::with(ANSWERS, settings, &[0, 1]);
    let mut owners = [0; 2];
    for call in 0..CALLS {
        // Both receive for both, and often at once.
        for to in [call % 2, 1 - call % 2] {
            owners[pair.send(to, "OPTIONS", call)] += 1;
        }
        pair.receive();
        pair.receive();
    }
    for (worker, count) in owners.into_iter().enumerate() {
        let records = pair.kept(worker);
        assert!(records.iter().zip(1..).all(|(record, number)| record.number == number));
        let mut seen = [0; 3];
        for record in &records {
            match &record.what {
                What::Message { cause: 0, sighting } if !sighting.is_sent => seen[0] += 1,
                What::Message { cause, sighting } if sighting.is_sent && is_of(&records, *cause, record) => {
                    seen[1] += 1
                }
                What::Run { cause, .. } if is_of(&records, *cause, record) => seen[2] += 1,
                _ => panic!("{record:?}"),
            }
        }
        assert!(count > 0 && seen == [count; 3], "worker {worker} owns {count} and has {seen:?}");
    }
    pair.stop();
}

/// Whether record `cause` is a message that came in, of the same call.
fn is_of(records: &[Record], cause: u64, record: &Record) -> bool {
    let cause = cause.checked_sub(1).and_then(|place| records.get(place as usize));
    cause.is_some_and(|cause| {
        cause.call == record.call && matches!(&cause.what, What::Message { sighting, .. } if !sighting.is_sent)
    })
}
