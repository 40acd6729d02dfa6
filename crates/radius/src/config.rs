//! The files of radiusclient-ng, as SER's and Kamailio's modules name them in `radius_config`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::{Service, Settings};
use crate::dictionary::Dictionary;
use crate::error::ConfigError;
use crate::peer::{Secret, Server, TlsFiles, Transport};

/// What a configuration file says: servers for questions, servers for accounting, and names.
#[derive(Debug)]
pub struct Configuration {
    /// Those of `authserver`.
    pub access: Settings,
    /// Those of `acctserver`.
    pub accounting: Settings,
    /// The built-in dictionary and that of the file.
    pub dictionary: Dictionary,
}

/// Words of the file that have no meaning for a SIP server, or ask for what is done anyway.
const WITHOUT_EFFECT: &[&str] = &[
    "auth_order",
    "login_tries",
    "login_timeout",
    "nologin",
    "issue",
    "login_radius",
    "login_local",
    "seqfile",
    "mapfile",
    "default_realm",
    "radattr_file",
    "clientdebug",
    "use-public-addr",
    "serv-auth-type",
    "namespace",
    "tls-verify-hostname",
];

/// The lines of a file that matter here.
#[derive(Default)]
struct Lines {
    access: Vec<String>,
    accounting: Vec<String>,
    servers: Option<PathBuf>,
    dictionaries: Vec<PathBuf>,
    is_tls: bool,
    tls: TlsFiles,
    timeout: Option<Duration>,
    retries: Option<u32>,
    dead_time: Option<Duration>,
    bind: Option<std::net::IpAddr>,
}

impl Configuration {
    /// Reads a configuration file and the files that it names.
    ///
    /// # Errors
    /// When one cannot be read, a line says nothing known, or a server has no secret.
    pub fn read(path: &Path) -> Result<Configuration, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| file_error(path, error))?;
        let mut lines = Lines::default();
        for (n, line) in text.lines().enumerate() {
            let wrong = |cause| ConfigError::Line { path: path.to_owned(), line: n + 1, cause };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            lines.take(word, value.trim(), path).map_err(wrong)?;
        }
        lines.finish(path)
    }
}

impl Lines {
    fn take(&mut self, word: &str, value: &str, path: &Path) -> Result<(), String> {
        let beside = |value: &str| path.parent().unwrap_or(Path::new("")).join(value);
        let number = || value.parse::<u32>().map_err(|_| format!("{word} must be a number, not `{value}`"));
        let seconds = || number().map(|number| Some(Duration::from_secs(number.into())));
        let servers = || value.split([',', ' ', '\t']).filter(|one| !one.is_empty()).map(str::to_owned);
        match word {
            "authserver" => self.access.extend(servers()),
            "acctserver" => self.accounting.extend(servers()),
            "servers" => self.servers = Some(beside(value)),
            "dictionary" => self.dictionaries.push(beside(value)),
            "radius_timeout" => self.timeout = seconds()?,
            "radius_retries" => self.retries = Some(number()?),
            "radius_deadtime" => self.dead_time = seconds()?,
            "bindaddr" if value == "*" => {}
            "bindaddr" => {
                self.bind = Some(value.parse().map_err(|_| format!("bindaddr must be an address, not `{value}`"))?);
            }
            "serv-type" => match value {
                "udp" => self.is_tls = false,
                "tls" => self.is_tls = true,
                other => return Err(format!("serv-type must be udp or tls, not `{other}`")),
            },
            "tls-ca-file" => self.tls.roots = Some(beside(value)),
            "tls-cert-file" => self.tls.certificate = Some(beside(value)),
            "tls-key-file" => self.tls.key = Some(beside(value)),
            word if WITHOUT_EFFECT.contains(&word) => {}
            word => return Err(format!("`{word}` is no setting of radiusclient-ng")),
        }
        Ok(())
    }

    fn finish(mut self, path: &Path) -> Result<Configuration, ConfigError> {
        let missing = |what: &str| ConfigError::Setting(format!("{}: there is no line `{what}`", path.display()));
        if self.access.is_empty() && self.accounting.is_empty() {
            return Err(missing("authserver HOST:PORT"));
        }
        let secrets = match &self.servers {
            Some(path) => secrets(path)?,
            None if self.is_tls => Vec::new(),
            None => return Err(missing("servers FILE")),
        };
        let mut dictionary = Dictionary::builtin();
        for path in std::mem::take(&mut self.dictionaries) {
            dictionary.read(&path)?;
        }
        Ok(Configuration {
            access: self.settings(&self.access, Service::Access, &secrets)?,
            accounting: self.settings(&self.accounting, Service::Accounting, &secrets)?,
            dictionary,
        })
    }

    fn settings(
        &self,
        named: &[String],
        service: Service,
        secrets: &[(String, Secret)],
    ) -> Result<Settings, ConfigError> {
        let server = |text: &String| self.server(text, service, secrets);
        let mut settings = Settings::new(service, named.iter().map(server).collect::<Result<_, _>>()?);
        settings.timeout = self.timeout.unwrap_or(settings.timeout);
        // That library counts the tries after the first.
        settings.tries = self.retries.map_or(settings.tries, |retries| retries.saturating_add(1));
        settings.dead_time = self.dead_time.unwrap_or(settings.dead_time);
        settings.bind = self.bind;
        settings.check()?;
        Ok(settings)
    }

    /// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`, and behind it a secret where radiusclient-ng's `HOST:PORT:SECRET` has one.
    fn server(&self, text: &str, service: Service, secrets: &[(String, Secret)]) -> Result<Server, ConfigError> {
        let transport = if self.is_tls { Transport::Tls(self.tls.clone()) } else { Transport::Udp };
        let (host, port, own) = parts(text);
        let port = match port {
            None | Some("") => transport.default_port(service),
            Some(port) => port.parse().map_err(|_| ConfigError::Setting(format!("`{text}`: `{port}` is no port")))?,
        };
        let known = secrets.iter().find(|(name, _)| name.eq_ignore_ascii_case(host) || name == text);
        let secret = match (own, known) {
            (Some(own), _) => Secret::new(own.as_bytes()),
            (None, Some((_, secret))) => secret.clone(),
            // RFC 6614 section 2.3.
            (None, None) if self.is_tls => Secret::new(b"radsec"),
            (None, None) => {
                let file = self.servers.as_deref().unwrap_or(Path::new("")).display();
                return Err(ConfigError::Setting(format!("{file} has no secret of server `{host}`")));
            }
        };
        Ok(Server { host: host.to_owned(), port, secret, transport })
    }
}

/// Host, port and secret.
fn parts(text: &str) -> (&str, Option<&str>, Option<&str>) {
    let (host, rest) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, rest)) => (host, Some(rest)),
            None => (text, None),
        },
    };
    match rest.and_then(|rest| rest.split_once(':')) {
        Some((port, secret)) => (host, Some(port), Some(secret)),
        None => (host, rest, None),
    }
}

/// The lines `HOST SECRET` of a file of servers.
fn secrets(path: &Path) -> Result<Vec<(String, Secret)>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| file_error(path, error))?;
    let mut all = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((host, secret)) = line.split_once(char::is_whitespace) else {
            let cause = "a line is HOST SECRET".to_owned();
            return Err(ConfigError::Line { path: path.to_owned(), line: n + 1, cause });
        };
        let secret = Secret::new(secret.trim().as_bytes());
        // `own/server` names the pair of both; the secret is that of the server.
        all.extend(host.split('/').map(|name| (name.to_owned(), secret.clone())));
    }
    Ok(all)
}

fn file_error(path: &Path, error: std::io::Error) -> ConfigError {
    ConfigError::File { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, files: &[(&str, &str)]) -> Scratch {
            let path = std::env::temp_dir().join(format!("radius-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a directory can be made");
            for (name, text) in files {
                std::fs::write(path.join(name), text).expect("a file can be written");
            }
            Scratch(path)
        }

        fn read(&self) -> Result<Configuration, String> {
            let outcome = Configuration::read(&self.0.join("radiusclient.conf"));
            outcome.map_err(|error| error.to_string().replace(&format!("{}/", self.0.display()), ""))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_files_of_radiusclient_are_read() {
        let scratch = Scratch::new(
            "full",
            &[
                (
                    "radiusclient.conf",
                    "# general\nauth_order radius,local\nauthserver\tone.example:1645,two.example\nauthserver [::1]:1812\n\
                     acctserver one.example\nservers servers\ndictionary dictionary\nseqfile /var/run/radius.seq\n\
                     radius_timeout 3\nradius_retries 1\nradius_deadtime 7\nbindaddr *\n",
                ),
                ("servers", "# hosts\none.example  secret one\ntwo.example s2\nme/::1 s3\n"),
                ("dictionary", "ATTRIBUTE Sip-Call-ID 110 string\n"),
            ],
        );
        let read = scratch.read().expect("it is right");
        let servers: Vec<_> = read.access.servers.iter().map(|one| (one.host.as_str(), one.port)).collect();
        assert_eq!(servers, [("one.example", 1645), ("two.example", 1812), ("::1", 1812)]);
        assert_eq!(read.access.servers[0].secret, Secret::new(b"secret one"));
        assert_eq!((read.access.timeout, read.access.tries), (Duration::from_secs(3), 2));
        assert_eq!(read.access.dead_time, Duration::from_secs(7));
        assert_eq!(read.accounting.servers[0].port, 1813);
        assert!(read.dictionary.attribute("Sip-Call-ID").is_some());
    }

    #[test]
    fn servers_behind_tls_need_no_secret() {
        let lines = "serv-type tls\nauthserver radsec.example\ntls-ca-file ca.pem\n";
        let read = Scratch::new("tls", &[("radiusclient.conf", lines)]).read().expect("it is right");
        let server = &read.access.servers[0];
        assert_eq!((server.port, &server.secret), (2083, &Secret::new(b"radsec")));
        assert!(matches!(&server.transport, Transport::Tls(files) if files.roots.is_some()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (name, conf, servers, cause) in [
            ("w1", "authserver a\nservers servers\n", "b x\n", "servers has no secret of server `a`"),
            ("w2", "authserver a\n", "", "radiusclient.conf: there is no line `servers FILE`"),
            ("w3", "authserve a\n", "", "radiusclient.conf:1: `authserve` is no setting of radiusclient-ng"),
            ("w4", "radius_timeout x\n", "", "radiusclient.conf:1: radius_timeout must be a number, not `x`"),
            ("w5", "servers servers\n", "", "radiusclient.conf: there is no line `authserver HOST:PORT`"),
            ("w6", "authserver a:x\nservers servers\n", "a b\n", "`a:x`: `x` is no port"),
            ("w7", "authserver a\nservers servers\n", "a\n", "servers:1: a line is HOST SECRET"),
        ] {
            let scratch = Scratch::new(name, &[("radiusclient.conf", conf), ("servers", servers)]);
            assert_eq!(scratch.read().err().as_deref(), Some(cause), "{conf}");
        }
    }
}
