//! What the server says on the terminal when it is ready.

use std::fmt::Write;
use std::path::Path;

use module_api::Socket;

/// A few lines: what it listens on, whom it serves, and what to do next.
pub(crate) fn ready(sockets: &[Socket], domains: &[String], database: Option<&Path>) -> String {
    let mut text = format!("ser {} is ready.\n", env!("CARGO_PKG_VERSION"));
    text.push_str("  Listening on");
    for socket in sockets {
        // Writing to a string cannot fail.
        let _ = write!(text, " {}:{}", socket.transport.uri_param(), socket.address);
    }
    text.push('\n');
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

fn shown_host(socket: &Socket) -> String {
    match socket.address.ip() {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Transport;

    #[test]
    fn the_greeting_names_sockets_domain_data_and_the_next_step() {
        let socket = Socket {
            transport: Transport::Udp,
            address: "[2001:db8::1]:5060".parse().expect("a literal"),
            advertised: None,
            name: None,
        };
        let text = ready(&[socket], &["example.com".into()], Some(Path::new("/data/ser.db")));
        let expected = concat!(
            "ser ",
            env!("CARGO_PKG_VERSION"),
            " is ready.
  Listening on udp:[2001:db8::1]:5060
  Serving      example.com
  Data         /data/ser.db
Next: add users, then register phones as sip:NAME@example.com
  serctl add alice@example.com PASSWORD
"
        );
        assert_eq!(text, expected);
    }
}
