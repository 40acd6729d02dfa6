//! FreeRADIUS, started by a test for itself: three ports on the loopback address, a directory, nobody else.

use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use super::certificate::CertificateFiles;
use super::{Process, Scratch, free_port};

/// How long the server may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);
const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A FreeRADIUS of one test. Its secret is `testing123`.
pub(crate) struct RadiusServer {
    scratch: Scratch,
    access: u16,
    accounting: u16,
    tls: u16,
    certificate: CertificateFiles,
    process: Option<Process>,
}

impl RadiusServer {
    /// Starts a server that knows these users, written as FreeRADIUS's file `users` has them.
    pub(crate) fn start(users: &str) -> RadiusServer {
        let scratch = Scratch::new();
        let certificate = CertificateFiles::create(scratch.path(), &["127.0.0.1"]);
        let mut server = RadiusServer {
            access: free_port(IP),
            accounting: free_port(IP),
            tls: free_port(IP),
            certificate,
            scratch,
            process: None,
        };
        fs::write(server.scratch.file("users"), users).expect("the directory is writable");
        fs::write(server.scratch.file("dictionary"), DICTIONARY).expect("the directory is writable");
        fs::write(server.scratch.file("radiusd.conf"), server.configuration()).expect("the directory is writable");
        server.start_again();
        server
    }

    /// The setting `server` of a module.
    pub(crate) fn setting(&self) -> String {
        format!("host=127.0.0.1; port={}; acct_port={}; secret=testing123", self.access, self.accounting)
    }

    /// The setting `server` for RadSec.
    pub(crate) fn tls_setting(&self) -> String {
        let (chain, key) = (self.certificate.certificate.display(), self.certificate.key.display());
        let port = self.tls;
        format!("host=127.0.0.1; port={port}; acct_port={port}; transport=tls; ca={chain}; cert={chain}; key={key}")
    }

    /// The files of radiusclient-ng that name this server; returns the one for `radius_config`.
    pub(crate) fn client_files(&self) -> String {
        let text = format!(
            "auth_order radius\nauthserver 127.0.0.1:{}\nacctserver 127.0.0.1:{}\nservers servers\nradius_timeout 2\n\
             radius_retries 1\n",
            self.access, self.accounting
        );
        let path = self.scratch.file("radiusclient.conf");
        fs::write(&path, text).expect("the directory is writable");
        fs::write(self.scratch.file("servers"), "127.0.0.1 testing123\n").expect("the directory is writable");
        path.display().to_string()
    }

    /// Ends the server at once.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops the server from answering, while its sockets stay.
    pub(crate) fn hang(&self) {
        self.process.as_ref().expect("it runs").signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.process.as_ref().expect("it runs").signal("CONT");
    }

    /// Starts the server, anew or after its end.
    pub(crate) fn start_again(&mut self) {
        let mut command = Command::new("/usr/sbin/freeradius");
        command.arg("-d").arg(self.scratch.path()).args(["-fxx", "-l", "stdout"]);
        let process = Process::start("freeradius", &mut command);
        process.wait_for_line("Ready to process requests", PATIENCE);
        self.process = Some(process);
    }

    /// What it says.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Waits until it has said `text`.
    pub(crate) fn shall_say(&self, text: &str) {
        self.process.as_ref().expect("it runs").shall_say(text, PATIENCE);
    }

    /// What accounting has written down, a text for each record.
    pub(crate) fn records(&self) -> Vec<String> {
        let text = fs::read_to_string(self.scratch.file("detail")).unwrap_or_default();
        // A record that is being written just now ends later.
        let end = text.rfind("\n\n").map_or(0, |end| end + 2);
        text[..end].split("\n\n").filter(|record| !record.trim().is_empty()).map(str::to_owned).collect()
    }

    fn configuration(&self) -> String {
        let place = self.scratch.path().display().to_string();
        CONFIGURATION
            .replace("PLACE", &place)
            .replace("CHAIN", &self.certificate.certificate.display().to_string())
            .replace("KEY", &self.certificate.key.display().to_string())
            .replace("ACCESS", &self.access.to_string())
            .replace("ACCOUNTING", &self.accounting.to_string())
            .replace("RADSEC", &self.tls.to_string())
    }
}

/// What SER's modules say and FreeRADIUS's own dictionaries do not have.
const DICTIONARY: &str = "\
ATTRIBUTE Sip-Uri-User 208 string
ATTRIBUTE Sip-Group 211 string
ATTRIBUTE SIP-AVP 225 string
VALUE Service-Type Group-Check 12
VALUE Service-Type SIP-Caller-AVPs 30
VALUE Acct-Status-Type Failed 15
";

const CONFIGURATION: &str = r#"
prefix = /usr
name = freeradius
confdir = PLACE
raddbdir = PLACE
logdir = PLACE
run_dir = PLACE
libdir = /usr/lib/freeradius
pidfile = PLACE/pid
proxy_requests = no
log {
 destination = stdout
}
security {
 reject_delay = 0
}
thread pool {
 start_servers = 1
 max_servers = 4
 min_spare_servers = 1
 max_spare_servers = 3
 max_requests_per_server = 0
}
client local {
 ipaddr = 127.0.0.1
 secret = testing123
 require_message_authenticator = yes
}
clients behind_tls {
 client local_tls {
  ipaddr = 127.0.0.1
  proto = tls
  secret = radsec
 }
}
modules {
 digest {
 }
 files {
  filename = PLACE/users
 }
 detail {
  filename = PLACE/detail
  header = "%t"
  permissions = 0600
 }
}
server default {
 listen {
  type = auth
  ipaddr = 127.0.0.1
  port = ACCESS
 }
 listen {
  type = acct
  ipaddr = 127.0.0.1
  port = ACCOUNTING
 }
 listen {
  type = auth+acct
  ipaddr = 127.0.0.1
  port = RADSEC
  proto = tcp
  clients = behind_tls
  tls {
   private_key_file = KEY
   certificate_file = CHAIN
   ca_file = CHAIN
   require_client_cert = yes
  }
 }
 authorize {
  digest
  files
 }
 authenticate {
  digest
 }
 post-auth {
  update reply {
   Message-Authenticator := 0x00
  }
  Post-Auth-Type REJECT {
   update reply {
    Message-Authenticator := 0x00
   }
  }
 }
 accounting {
  detail
 }
}
"#;
