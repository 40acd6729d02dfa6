//! A RADIUS server in the test's own process.

use std::sync::{Arc, Mutex};

use radius::packet::is_genuine_request;
use radius::{AttributeId, Attributes, Code, Packet};
use tokio::runtime::{Builder, Runtime};

pub(crate) const SECRET: &str = "testing123";

/// A runtime, and a server on the loopback address that answers as it is told.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Packet>>>,
}

/// The code of an answer and its attributes; none: silence.
pub(crate) type Answer = Option<(Code, Vec<(u8, Vec<u8>)>)>;

impl World {
    pub(crate) fn new(mut answer: impl FnMut(&Packet) -> Answer + Send + 'static) -> World {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let socket = runtime.block_on(tokio::net::UdpSocket::bind("127.0.0.1:0")).expect("a socket");
        let port = socket.local_addr().expect("it is bound").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        runtime.spawn(async move {
            let mut octets = [0; 4096];
            loop {
                let (length, from) = socket.recv_from(&mut octets).await.expect("it goes on");
                assert!(is_genuine_request(&octets[..length], SECRET.as_bytes()));
                let request = Packet::parse(&octets[..length]).expect("it is a packet");
                let answered = answer(&request);
                log.lock().expect("nobody panics").push(request.clone());
                let Some((code, values)) = answered else { continue };
                let mut attributes = Attributes::new();
                for (number, value) in values {
                    attributes.push(AttributeId::standard(number), &value).expect("it is short");
                }
                let packet = Packet { code, attributes, ..request.clone() };
                let octets = packet.to_answer(&request.authenticator, SECRET.as_bytes()).expect("it is short");
                socket.send_to(&octets, from).await.expect("it is sent");
            }
        });
        World { runtime, port, asked }
    }

    /// What the server was asked so far.
    pub(crate) fn asked(&self) -> Vec<Packet> {
        self.asked.lock().expect("nobody panics").clone()
    }
}

/// The setting `server` for a server at this port.
pub(crate) fn server_setting(port: u16) -> String {
    format!("host=127.0.0.1; port={port}; acct_port={port}; secret={SECRET}")
}
