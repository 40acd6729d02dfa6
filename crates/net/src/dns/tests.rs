//! The resolver before answers that the tests decide, and before a real socket.

use std::pin::Pin;
use std::sync::atomic::AtomicUsize;

use super::upstream::{Answer, Asked, Failure};
use super::*;

/// Answers as told, and counts.
#[derive(Default)]
struct Script {
    asked: AtomicUsize,
    is_down: AtomicBool,
}

impl Ask for Arc<Script> {
    fn ask<'a>(&'a self, _: &'a str, _: Kind) -> Pin<Box<dyn Asked + 'a>> {
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            if self.is_down.load(Ordering::Relaxed) {
                return Err(Failure::NoServer);
            }
            Ok(Answer { records: one_address(), ttl: Duration::from_secs(100) })
        })
    }
}

fn one_address() -> Records {
    Records::Addresses(vec!["192.0.2.1".parse().unwrap()])
}

fn scripted() -> (Arc<Script>, Resolver) {
    let script = Arc::new(Script::default());
    let upstream = Box::new(Arc::clone(&script));
    let resolver = Resolver::with_upstream(Handle::current(), DnsSettings::default(), upstream);
    (script, resolver)
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_the_same_wait_for_one_answer() {
    let (script, resolver) = scripted();
    let ask = || resolver.lookup("a.example", Kind::A);
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    assert_eq!(*a.unwrap(), one_address());
    assert!(b.is_ok() && c.is_ok());
    assert_eq!(script.asked.load(Ordering::Relaxed), 1);
    assert!(resolver.asking().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_leaves_the_question_to_others() {
    let (_, resolver) = scripted();
    let ask = || resolver.lookup("a.example", Kind::A);
    let soon = Duration::from_millis(1);
    let (gave_up, patient) = tokio::join!(tokio::time::timeout(soon, ask()), ask());
    assert!(gave_up.is_err());
    assert_eq!(*patient.unwrap(), one_address());
    assert!(resolver.asking().is_empty());
}

#[tokio::test(start_paused = true)]
async fn calls_to_known_names_go_on_while_the_dns_is_down() {
    let (script, resolver) = scripted();
    resolver.lookup("a.example", Kind::A).await.unwrap();
    script.is_down.store(true, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(200)).await;
    // The first who asks finds out that it is down, and still gets the old answer.
    assert_eq!(*resolver.lookup("a.example", Kind::A).await.unwrap(), one_address());
    assert_eq!(resolver.lookup("b.example", Kind::A).await, Err(Unresolved));
    assert!(resolver.counts().is_down);
    tokio::time::advance(Duration::from_secs(3600)).await;
    let known = Cached::Known(Arc::new(one_address()));
    assert_eq!(resolver.get("a.example", Kind::A), known);
}

#[tokio::test(start_paused = true)]
async fn the_dns_coming_back_is_noticed_in_the_background() {
    let (script, resolver) = scripted();
    resolver.lookup("a.example", Kind::A).await.unwrap();
    script.is_down.store(true, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(200)).await;
    resolver.lookup("a.example", Kind::A).await.unwrap();
    script.is_down.store(false, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(matches!(resolver.get("a.example", Kind::A), Cached::Known(_)));
    while resolver.counts().is_down {
        tokio::time::advance(Duration::from_millis(5)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(script.asked.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_as_long_as_who_asked_for_it_wants() {
    let (script, resolver) = scripted();
    let ask = |name: &'static str, ttl: u64| resolver.lookup_kept(name, Kind::A, Some(Duration::from_secs(ttl)));
    ask("a.example", 7200).await.unwrap();
    ask("b.example", 10).await.unwrap();
    tokio::time::advance(Duration::from_secs(1000)).await;
    assert!(matches!(resolver.get("a.example", Kind::A), Cached::Known(_)));
    assert_eq!(resolver.get("b.example", Kind::A), Cached::Unknown);
    assert_eq!(script.asked.load(Ordering::Relaxed), 2);
}

/// Serves questions for A: `192.0.2.9` for 60 s to names that begin with `a`, else NXDOMAIN.
async fn serve(socket: tokio::net::UdpSocket) {
    let mut question = [0; 512];
    loop {
        let (len, peer) = socket.recv_from(&mut question).await.unwrap();
        let end = 12 + question[12..len].iter().position(|&byte| byte == 0).unwrap() + 5;
        let exists = question[13] == b'a';
        let mut answer = question[..end].to_vec();
        answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
        if exists {
            answer[7] = 1;
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9]);
        } else {
            answer[3] = 0x83;
        }
        socket.send_to(&answer, peer).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_over_udp_is_asked() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let settings = DnsSettings { servers: vec![socket.local_addr().unwrap()], ..DnsSettings::default() };
    let resolver = Resolver::new(Handle::current(), settings).unwrap();
    tokio::spawn(serve(socket));
    let expected = Records::Addresses(vec!["192.0.2.9".parse().unwrap()]);
    assert_eq!(*resolver.lookup("a.example", Kind::A).await.unwrap(), expected);
    assert_eq!(*resolver.lookup("no.example", Kind::A).await.unwrap(), Records::NoSuch);
    assert_eq!(resolver.get("a.example", Kind::A), Cached::Known(Arc::new(expected)));
    let long = "x".repeat(300);
    assert_eq!(*resolver.lookup(&long, Kind::A).await.unwrap(), Records::NoSuch);
}
