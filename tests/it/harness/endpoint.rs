//! A SIP endpoint on a bare UDP socket: requests and answers are texts written by hand.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Nothing arrives for this long: something was lost.
const SILENCE: Duration = Duration::from_secs(5);

/// One socket that talks to one server.
pub(crate) struct Endpoint {
    socket: UdpSocket,
    own: SocketAddr,
    server: SocketAddr,
}

impl Endpoint {
    /// An endpoint at a port of its own on the server's address.
    pub(crate) fn new(server: SocketAddr) -> Endpoint {
        Endpoint::at(server.ip(), 0).expect("loopback has a free UDP port").towards(server)
    }

    /// An endpoint at an address of its choice, whose server is still to come; `None` when the
    /// address is taken.
    pub(crate) fn at(ip: IpAddr, port: u16) -> Option<Endpoint> {
        let socket = UdpSocket::bind((ip, port)).ok()?;
        let own = socket.local_addr().expect("a bound socket has an address");
        let endpoint = Endpoint { socket, own, server: own };
        endpoint.set_patience(SILENCE);
        Some(endpoint)
    }

    /// Sets the server that it sends to.
    pub(crate) fn towards(self, server: SocketAddr) -> Endpoint {
        Endpoint { server, ..self }
    }

    pub(crate) fn own(&self) -> SocketAddr {
        self.own
    }

    pub(crate) fn server(&self) -> SocketAddr {
        self.server
    }

    /// Sets how long [`Endpoint::receive`] waits.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.socket.set_read_timeout(Some(patience)).expect("the timeout is not zero");
    }

    /// The next message, `None` when there is none in time.
    pub(crate) fn receive(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// The next message that starts with `start`.
    pub(crate) fn expect(&self, start: &str) -> String {
        let message = self.receive().unwrap_or_else(|| panic!("silence instead of {start:?}"));
        assert!(message.starts_with(start), "instead of {start:?}:\n{message}");
        message
    }

    /// Sends the request `line` (without its version) of call `call`; `fields` are more header lines.
    pub(crate) fn request(&self, line: &str, call: &str, cseq: &str, to_tag: &str, fields: &str) {
        let own = self.own;
        let method = line.split(' ').next().unwrap_or_default();
        self.send(&format!(
            "{line} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {own};branch=z9hG4bK-{method}-{call}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:caller@{own}>;tag=c\r\n\
             To: <sip:bob@{}>{to_tag}\r\n\
             Call-ID: {call}\r\n\
             CSeq: {cseq} {method}\r\n\
             {fields}Content-Length: 0\r\n\r\n",
            self.server
        ));
    }

    /// Answers `request` with `status` (RFC 3261 section 8.2.6.2).
    pub(crate) fn answer(&self, request: &str, status: &str) {
        let copied = ["Via", "Record-Route", "From", "Call-ID", "CSeq"].map(|name| lines(request, name)).concat();
        let to = lines(request, "To");
        let to = if to.contains(";tag=") { to } else { format!("{};tag=b\r\n", to.trim_end()) };
        let own = self.own;
        self.send(&format!("SIP/2.0 {status}\r\n{copied}{to}Contact: <sip:bob@{own}>\r\nContent-Length: 0\r\n\r\n"));
    }

    /// Registers this endpoint as bob's only phone.
    pub(crate) fn register_bob(&self) {
        let fields = format!("Contact: <sip:bob@{}>\r\nExpires: 600\r\n", self.own);
        self.request(&format!("REGISTER sip:{}", self.server), "register", "1", "", &fields);
        self.expect("SIP/2.0 200 ");
    }

    /// Sends a message as it is written.
    pub(crate) fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.server).expect("loopback takes datagrams");
    }
}

/// All lines of one header field, line ends included.
pub(crate) fn lines(message: &str, name: &str) -> String {
    let is_it = |line: &&str| line.split_once(':').is_some_and(|(it, _)| it.trim().eq_ignore_ascii_case(name));
    message.split("\r\n").filter(is_it).map(|line| format!("{line}\r\n")).collect()
}

/// Value of a header field that occurs once, empty when it is absent.
pub(crate) fn field(message: &str, name: &str) -> String {
    lines(message, name).split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}
