//! What the server says on the terminal when it is ready.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use module_api::Socket;

/// A few lines: what it listens on, whom it serves, and what to do next.
pub(crate) fn ready(
    sockets: &[Socket],
    domains: &[String],
    database: Option<&Path>,
    http: Option<SocketAddr>,
) -> String {
    let mut text = format!("ser {} is ready.\n", env!("CARGO_PKG_VERSION"));
    text.push_str("  Listening on");
    for socket in sockets {
        // Writing to a string cannot fail.
        let _ = write!(text, " {socket}");
    }
    text.push('\n');
    if let Some(http) = http {
        let _ = writeln!(text, "  HTTP         http://{http}/metrics");
    }
    let Some(database) = database else { return text };
    let domain = match domains {
        [] => sockets.first().map_or_else(|| "this machine".to_owned(), shown_host),
        domains => domains.join(", "),
    };
    let _ = writeln!(text, "  Serving      {domain}");
    let _ = writeln!(text, "  Data         {}", database.display());
    let first = domains.first().unwrap_or(&domain);
    let of_domain = domains.first().map(|domain| format!("@{domain}")).unwrap_or_default();
    let _ = writeln!(text, "Next: add users, then register phones as sip:NAME@{first}");
    let _ = writeln!(text, "  serctl add alice{of_domain} PASSWORD");
    text
}

/// As it stands in a URI: with its port where that is not the one of its transport, without which
/// the URI would not mean this server.
fn shown_host(socket: &Socket) -> String {
    if socket.address.port() != socket.transport.default_port() {
        return socket.address.to_string();
    }
    match socket.address.ip() {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Transport;

    fn socket(address: &str) -> Socket {
        let address = address.parse().expect("a literal");
        Socket { transport: Transport::Udp, address, advertised: None, name: None }
    }

    #[test]
    fn without_a_domain_users_are_told_the_address_with_a_port_that_is_not_the_usual() {
        let told = |address: &str| ready(&[socket(address)], &[], Some(Path::new("/data/ser.db")), None);
        assert!(told("192.0.2.1:5060").contains("as sip:NAME@192.0.2.1\n"));
        assert!(told("192.0.2.1:5070").contains("as sip:NAME@192.0.2.1:5070\n"));
        assert!(told("[2001:db8::1]:5070").contains("as sip:NAME@[2001:db8::1]:5070\n"));
    }

    #[test]
    fn the_greeting_names_sockets_domain_data_and_the_next_step() {
        let text = ready(
            &[socket("[2001:db8::1]:5060")],
            &["example.com".into()],
            Some(Path::new("/data/ser.db")),
            Some(([127, 0, 0, 1], 8080).into()),
        );
        let expected = concat!(
            "ser ",
            env!("CARGO_PKG_VERSION"),
            " is ready.
  Listening on udp:[2001:db8::1]:5060
  HTTP         http://127.0.0.1:8080/metrics
  Serving      example.com
  Data         /data/ser.db
Next: add users, then register phones as sip:NAME@example.com
  serctl add alice@example.com PASSWORD
"
        );
        assert_eq!(text, expected);
    }
}
