//! A server as one setting: `host=radius.example.com; secret=s3cret`.

use std::path::PathBuf;

use crate::client::Service;
use crate::error::ConfigError;
use crate::peer::{Secret, Server, TlsFiles, Transport};

/// Reads a server. Keys: `host`, `port` and `acct_port` (of either service), `secret` or `secret_file`, `transport`
/// (`udp` or `tls`), and for TLS `ca`, `cert` and `key`, files in PEM.
///
/// # Errors
/// A sentence about what is wrong or missing.
pub fn server(text: &str, service: Service) -> Result<Server, ConfigError> {
    let wrong = |cause: String| ConfigError::Setting(cause);
    let (mut host, mut port, mut secret, mut is_tls, mut files) = (None, None, None, false, TlsFiles::default());
    for piece in text.split(';').map(str::trim).filter(|piece| !piece.is_empty()) {
        let Some((key, value)) = piece.split_once('=') else {
            return Err(wrong(format!("`{piece}` is not of the form NAME=VALUE")));
        };
        let (key, value) = (key.trim(), value.trim());
        match key {
            "host" => host = Some(value.to_owned()),
            "port" | "acct_port" => {
                let number = value.parse().map_err(|_| wrong(format!("{key} must be a port, not `{value}`")))?;
                if (key == "port") == (service == Service::Access) {
                    port = Some(number);
                }
            }
            "secret" => secret = Some(Secret::new(value.as_bytes())),
            "secret_file" => {
                let path = PathBuf::from(value);
                let text = std::fs::read(&path).map_err(|error| ConfigError::File { path, error })?;
                secret = Some(Secret::new(text.trim_ascii()));
            }
            "transport" => match value {
                "udp" => is_tls = false,
                "tls" => is_tls = true,
                other => return Err(wrong(format!("transport must be udp or tls, not `{other}`"))),
            },
            "ca" => files.roots = Some(value.into()),
            "cert" => files.certificate = Some(value.into()),
            "key" => files.key = Some(value.into()),
            key => {
                let known = "host, port, acct_port, secret, secret_file, transport, ca, cert and key";
                return Err(wrong(format!("`{key}` is none of {known}")));
            }
        }
    }
    let host = host.filter(|host| !host.is_empty()).ok_or_else(|| wrong("a server needs host=NAME".into()))?;
    let transport = if is_tls { Transport::Tls(files) } else { Transport::Udp };
    // RFC 6614 section 2.3: TLS is what protects, the secret is a word that everybody knows.
    let secret = secret.or_else(|| is_tls.then(|| Secret::new(b"radsec")));
    let secret = secret.filter(|secret| !secret.is_empty());
    let secret = secret.ok_or_else(|| wrong(format!("server {host} needs secret=WORD or secret_file=PATH")))?;
    let port = port.unwrap_or_else(|| transport.default_port(service));
    Ok(Server { host, port, secret, transport })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, u16), &str>) {
        let read = server(text, Service::Access).map_err(|error| error.to_string());
        let shown = read.as_ref().map(|server| (server.host.as_str(), server.port)).map_err(String::as_str);
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn a_server_is_a_host_and_a_secret() {
        check("host=192.0.2.1; secret=x", Ok(("192.0.2.1", 1812)));
        check("host=r.example;port=1645;acct_port=1646;secret=x;", Ok(("r.example", 1645)));
        check("host=r.example; transport=tls; ca=/etc/ca.pem", Ok(("r.example", 2083)));
        check("secret=x", Err("a server needs host=NAME"));
        check("host=a", Err("server a needs secret=WORD or secret_file=PATH"));
        check("host=a; secret=", Err("server a needs secret=WORD or secret_file=PATH"));
        check(
            "host=a; secre=x",
            Err("`secre` is none of host, port, acct_port, secret, secret_file, transport, ca, cert and key"),
        );
        check("host=a; port=x; secret=x", Err("port must be a port, not `x`"));
        check("a", Err("`a` is not of the form NAME=VALUE"));
        let accounting = server("host=a; port=1; acct_port=2; secret=x", Service::Accounting).map(|server| server.port);
        assert_eq!(accounting.ok(), Some(2));
    }
}
