//! A client and servers of the test's own, over real sockets on the loopback address.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::attribute::{REPLY_MESSAGE, USER_NAME};
use crate::packet::is_genuine_request;
use crate::{Attributes, Client, Code, Error, Figures, Packet, Secret, Server, Service, Settings, TlsFiles, Transport};

const SECRET: &[u8] = b"testing123";

/// What a server does with a request: the packets that it sends, in this order.
type Behaviour = Box<dyn FnMut(&Packet) -> Vec<Vec<u8>> + Send>;

/// An answer to a request, signed with `secret`.
fn answer(request: &Packet, code: Code, secret: &[u8]) -> Vec<u8> {
    let mut attributes = Attributes::new();
    attributes.push(REPLY_MESSAGE, b"hello").expect("it is short");
    let answer = Packet { code, identifier: request.identifier, authenticator: request.authenticator, attributes };
    answer.to_answer(&request.authenticator, secret).expect("it is short")
}

fn accept(request: &Packet) -> Vec<u8> {
    answer(request, Code::AccessAccept, SECRET)
}

/// Starts a server; it checks what it gets.
async fn serve(mut behaviour: Behaviour) -> Server {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let server = server(socket.local_addr().expect("it is bound").port());
    tokio::spawn(async move {
        let mut octets = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut octets).await.expect("it goes on");
            assert!(is_genuine_request(&octets[..length], SECRET));
            let request = Packet::parse(&octets[..length]).expect("it is a packet");
            for packet in behaviour(&request) {
                socket.send_to(&packet, from).await.expect("it is sent");
            }
        }
    });
    server
}

fn server(port: u16) -> Server {
    Server { host: "127.0.0.1".into(), port, secret: Secret::new(SECRET), transport: Transport::Udp }
}

struct World {
    client: Client,
    told: Arc<Mutex<Vec<String>>>,
}

/// A client that waits long enough for whoever answers, and `timeout` where it matters.
fn world(servers: Vec<Server>, timeout: Duration, tries: u32) -> World {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let mut settings = Settings::new(Service::Access, servers);
    (settings.timeout, settings.tries) = (timeout, tries);
    // Longer than any test: time never opens it again here.
    settings.dead_time = Duration::from_secs(3600);
    let report = Arc::new(move |line: &str| log.lock().expect("nobody panics").push(line.to_owned()));
    World { client: Client::new(settings, report).expect("it starts"), told }
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(20);

fn question(name: &str) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.push(USER_NAME, name.as_bytes()).expect("it is short");
    attributes
}

#[tokio::test]
async fn an_answer_is_accept_or_reject() {
    let server = serve(Box::new(|request| {
        let is_alice = request.attributes.first(USER_NAME) == Some(b"alice");
        vec![answer(request, if is_alice { Code::AccessAccept } else { Code::AccessReject }, SECRET)]
    }))
    .await;
    let world = world(vec![server], LONG, 1);
    let yes = world.client.ask(question("alice")).await.expect("it answers");
    assert_eq!((yes.code, yes.attributes.first(REPLY_MESSAGE)), (Code::AccessAccept, Some(&b"hello"[..])));
    assert_eq!(world.client.ask(question("eve")).await.map(|packet| packet.code), Ok(Code::AccessReject));
    assert_eq!(world.client.figures(), Figures { requests: 2, answers: 2, ..Figures::default() });
}

#[tokio::test]
async fn a_forged_answer_is_counted_and_the_true_one_still_comes() {
    let server = serve(Box::new(|request| {
        let mut unsigned = answer(request, Code::AccessAccept, SECRET);
        unsigned.truncate(20);
        let wrong_kind = answer(request, Code::AccountingResponse, SECRET);
        vec![
            answer(request, Code::AccessAccept, b"guess"),
            unsigned,
            wrong_kind,
            answer(request, Code::AccessReject, SECRET),
        ]
    }))
    .await;
    let world = world(vec![server], LONG, 1);
    assert_eq!(world.client.ask(question("eve")).await.map(|packet| packet.code), Ok(Code::AccessReject));
    let figures = world.client.figures();
    assert_eq!((figures.forged, figures.malformed, figures.answers), (1, 2, 1));
}

#[tokio::test]
async fn an_answer_that_comes_late_or_twice_is_counted_and_changes_nothing() {
    let mut first = None;
    let server = serve(Box::new(move |request| match first.take() {
        // The second question is answered by two answers to the first, and then by its own.
        Some(late) => vec![Vec::clone(&late), late, accept(request)],
        None => {
            first = Some(answer(request, Code::AccessReject, SECRET));
            vec![accept(request)]
        }
    }))
    .await;
    let world = world(vec![server], LONG, 1);
    for _ in 0..2 {
        assert_eq!(world.client.ask(question("alice")).await.map(|packet| packet.code), Ok(Code::AccessAccept));
    }
    assert_eq!((world.client.figures().late, world.client.figures().answers), (2, 2));
}

#[tokio::test]
async fn a_lost_packet_is_sent_again_as_it_was() {
    let mut seen = Vec::new();
    let server = serve(Box::new(move |request| {
        seen.push(request.clone());
        match seen.as_slice() {
            [first, .., last] => {
                assert_eq!(first, last);
                vec![accept(request)]
            }
            _ => vec![],
        }
    }))
    .await;
    // The first wait is in vain, and the second ends with the answer.
    let world = world(vec![server], Duration::from_secs(1), 10);
    assert!(world.client.ask(question("alice")).await.is_ok());
    assert!(world.client.figures().retransmissions >= 1);
}

#[tokio::test]
async fn a_silent_server_is_told_once_and_left_alone() {
    let silent = serve(Box::new(|_| vec![])).await;
    let name = silent.to_string();
    let world = world(vec![silent], SHORT, 2);
    let cause = format!("{name}: no answer in time");
    assert_eq!(world.client.ask(question("alice")).await, Err(Error::Silent(cause.clone())));
    assert_eq!(world.client.ask(question("alice")).await, Err(Error::Resting));
    let told = world.told.lock().expect("nobody panics");
    assert_eq!(*told, [format!("RADIUS server {cause}; it is left alone for 3600 s")]);
    let figures = world.client.figures();
    assert_eq!((figures.silences, figures.unanswered, figures.retransmissions), (1, 2, 1));
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_is_away_and_from_then_on_at_once() {
    let gone = {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        server(socket.local_addr().expect("it is bound").port())
    };
    let world = world(vec![gone, serve(Box::new(|request| vec![accept(request)])).await], LONG, 1);
    for _ in 0..2 {
        assert!(world.client.ask(question("alice")).await.is_ok());
    }
    // Nobody listens at the first: that is told at once, not after the 30 seconds, and told once.
    assert_eq!((world.client.figures().silences, world.client.figures().answers), (1, 2));
}

#[tokio::test]
async fn more_than_256_questions_at_once_take_more_sockets() {
    // Answers nobody before all have asked, so that all are on their way at once.
    const COUNT: usize = 600;
    let mut waiting = Vec::new();
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let server = server(socket.local_addr().expect("it is bound").port());
    tokio::spawn(async move {
        let mut octets = [0; 4096];
        let mut ports = std::collections::HashSet::new();
        while waiting.len() < COUNT {
            let (length, from) = socket.recv_from(&mut octets).await.expect("it goes on");
            let request = Packet::parse(&octets[..length]).expect("it is a packet");
            ports.insert(from);
            if !waiting.iter().any(|known| known == &(request.clone(), from)) {
                waiting.push((request, from));
            }
        }
        assert_eq!(ports.len(), 3);
        for (request, from) in waiting {
            socket.send_to(&accept(&request), from).await.expect("it is sent");
        }
    });
    let world = world(vec![server], Duration::from_secs(2), 10);
    let asked: Vec<_> = (0..COUNT)
        .map(|_| {
            let client = world.client.clone();
            tokio::spawn(async move { client.ask(question("alice")).await.is_ok() })
        })
        .collect();
    for one in asked {
        assert!(one.await.expect("it ends"));
    }
}

#[tokio::test]
async fn at_the_bound_of_sockets_a_question_is_refused() {
    let most = 256 * crate::peer::MOST_LINKS;
    let world = world(vec![serve(Box::new(|_| vec![])).await], Duration::from_secs(60), 1);
    let asking: Vec<_> = (0..most)
        .map(|_| {
            let client = world.client.clone();
            tokio::spawn(async move { client.ask(question("alice")).await })
        })
        .collect();
    while world.client.figures().requests < most as u64 {
        tokio::task::yield_now().await;
    }
    // Each of them has its identifier once nobody opens a socket any more, which the refusal waits for.
    assert_eq!(world.client.ask(question("alice")).await, Err(Error::Busy));
    asking.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_question_that_no_packet_can_hold_is_refused() {
    let world = world(vec![server(9)], LONG, 1);
    let mut attributes = Attributes::new();
    for _ in 0..17 {
        attributes.push(REPLY_MESSAGE, &[b'x'; 253]).expect("it fits");
    }
    assert!(matches!(world.client.ask(attributes).await, Err(Error::TooLong(_))));
}

/// A certificate of the test's own for 127.0.0.1, and a server behind it that ends each connection after `most` packets.
async fn serve_tls(most: usize) -> (Server, std::path::PathBuf) {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("radsec-{}-{number}.pem", std::process::id()));
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    std::fs::write(&path, own.cert.pem()).expect("it can be written");
    let key = rustls_pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("it fits");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("it goes on");
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            for _ in 0..most {
                let mut octets = vec![0; 20];
                stream.read_exact(&mut octets).await.expect("a header");
                octets.resize(usize::from(u16::from_be_bytes([octets[2], octets[3]])), 0);
                stream.read_exact(&mut octets[20..]).await.expect("the rest");
                assert!(is_genuine_request(&octets, b"radsec"));
                let request = Packet::parse(&octets).expect("it is a packet");
                let octets = answer(&request, Code::AccessAccept, b"radsec");
                // In two pieces: a stream keeps no borders.
                stream.write_all(&octets[..7]).await.expect("it is sent");
                stream.flush().await.expect("it is sent");
                stream.write_all(&octets[7..]).await.expect("it is sent");
                stream.flush().await.expect("it is sent");
            }
        }
    });
    let files = TlsFiles { roots: Some(path.clone()), ..TlsFiles::default() };
    let server =
        Server { host: "127.0.0.1".into(), port, secret: Secret::new(b"radsec"), transport: Transport::Tls(files) };
    (server, path)
}

// RFC 6614.
#[tokio::test]
async fn packets_travel_over_tls_and_a_connection_that_ended_is_opened_again() {
    let (server, path) = serve_tls(2).await;
    let mut settings = Settings::new(Service::Access, vec![server]);
    (settings.timeout, settings.dead_time) = (LONG, Duration::ZERO);
    let client = Client::new(settings, Arc::new(|_: &str| {})).expect("it starts");
    // Also where the server ends the connection while a question is on its way.
    for _ in 0..12 {
        assert!(client.ask(question("alice")).await.is_ok());
    }
    std::fs::remove_file(path).expect("it was written");
}

// RFC 6614 section 2.3: the server's certificate is verified.
#[tokio::test]
async fn a_server_of_another_authority_is_told_nothing() {
    let (server, own) = serve_tls(1).await;
    let (_, other) = serve_tls(1).await;
    let files = TlsFiles { roots: Some(other.clone()), ..TlsFiles::default() };
    let world = world(vec![Server { transport: Transport::Tls(files), ..server }], LONG, 1);
    let outcome = world.client.ask(question("alice")).await.map_err(|error| error.to_string());
    assert!(outcome.as_ref().is_err_and(|error| error.contains("certificate")), "{outcome:?}");
    for path in [own, other] {
        std::fs::remove_file(path).expect("it was written");
    }
}
