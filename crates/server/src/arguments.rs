//! Command line of `ser`: its own options and those of SER and Kamailio.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{ArgAction, Parser};
use control::events::Filter;
use control::http_client::Url;

use crate::commands::Command;
use crate::logging::Destination;

/// SIP proxy, registrar and service platform.
///
/// Without options it serves the built-in set-up: a registrar and proxy for this machine's addresses
/// and the domain given by --domain. With -f it runs a SER or Kamailio script.
#[derive(Debug, Clone, Parser)]
#[command(name = "ser", version, disable_version_flag = true, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  ser --domain example.com             serve example.com with the built-in set-up
  ser check /etc/ser/ser.cfg           check a script and stop, as -c does
  ser explain -f ser.cfg INVITE sip:bob@example.com --from alice@example.com
                                       show what the script does with a call
  ser test tests/*.sertest             run the tests of scripts
  ser fmt ser.cfg                      format a script
  ser -f kamailio.cfg -l udp:[::1]:5060 -E -dd
Documentation: docs/operating.md")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Script to run
    #[arg(short = 'f', value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Check the script, print what is wrong with it, and stop
    #[arg(short = 'c', action = ArgAction::Count)]
    pub(crate) check: u8,

    /// How diagnostics of the script are printed
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub(crate) format: String,

    /// Write the way of these callers' messages through the script to the log: user, user@domain, an IP address,
    /// or * for everybody; repeatable
    #[arg(long, value_name = "WHO", value_parser = engine::Who::parse)]
    pub(crate) trace: Vec<engine::Who>,

    /// Print the script of the built-in set-up and stop
    #[arg(long)]
    pub(crate) print_builtin: bool,

    /// Listen here: [PROTO:]HOST[:PORT], with PROTO udp, tcp, tls, ws or wss; repeatable
    #[arg(short = 'l', long = "listen", value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,

    /// Domain of the built-in set-up; repeatable [default: this machine's addresses only]
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    pub(crate) domain: Vec<String>,

    /// Further name that counts as this server; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Vec<String>,

    /// Ask this name server: ADDRESS[:PORT]; repeatable [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "ADDRESS", value_parser = name_server)]
    pub(crate) dns_server: Vec<SocketAddr>,

    /// Where data is kept [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Certificate chain for TLS and secure WebSocket (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Certificates that peers' certificates must chain to (PEM) [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,

    /// Connect over TLS without checking the peer's certificate
    #[arg(long)]
    pub(crate) tls_no_verify: bool,

    /// Where serctl and programs reach the server: a path, or `off` [default: control.sock in the data directory]
    #[arg(long, value_name = "SOCKET")]
    pub(crate) control: Option<String>,

    /// Serve JSON-RPC, metrics and health over HTTP here: ADDRESS:PORT; off unless given
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http: Option<SocketAddr>,

    /// File with the token that HTTP callers must show; needed unless --http is on this machine's own address
    #[arg(long, value_name = "FILE", requires = "http")]
    pub(crate) http_token_file: Option<PathBuf>,

    /// Post events here as they happen (http or https URL); repeatable
    #[arg(long, value_name = "URL", value_parser = Url::parse)]
    pub(crate) webhook: Vec<Url>,

    /// Which events webhooks get: `events=call.*,ban&user=alice&address=IP` [default: all]
    #[arg(long, value_name = "FILTER", value_parser = EventFilter::parse, requires = "webhook")]
    pub(crate) webhook_events: Option<EventFilter>,

    /// File with the secret that signs what webhooks get (HMAC-SHA256)
    #[arg(long, value_name = "FILE", requires = "webhook")]
    pub(crate) webhook_secret_file: Option<PathBuf>,

    /// Send a span for each request to this OpenTelemetry collector, as http://127.0.0.1:4318/v1/traces
    #[arg(long, value_name = "URL", value_parser = Url::parse)]
    pub(crate) otlp: Option<Url>,

    /// Print the description of the HTTP interface (OpenAPI) and stop
    #[arg(long)]
    pub(crate) print_openapi: bool,

    /// Print the manual page and stop
    #[arg(long, hide = true)]
    pub(crate) print_man: bool,

    /// Print a completion script of `ser` for this shell and stop
    #[arg(long, value_name = "SHELL")]
    pub(crate) print_completion: Option<clap_complete::Shell>,

    /// Keep the messages seen last, and the steps of the script for them, in this much memory per worker (MiB) for `serctl trace`; 0 keeps none
    #[arg(long, value_name = "MIB", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=4096))]
    pub(crate) trace_memory: u32,

    /// Go to the background (as `ser` it stays in the foreground unless told)
    #[arg(long)]
    pub(crate) daemon: bool,

    /// Number of workers [default: the number of cores]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,

    /// Stay in the foreground; -DD means the same
    #[arg(short = 'D', action = ArgAction::Count)]
    pub(crate) foreground: u8,

    /// Log to standard error instead of syslog
    #[arg(short = 'E')]
    pub(crate) log_stderr: bool,

    /// Where the log goes: stderr, json (standard error, an object a line), syslog, journal [default: as the script and -E say]
    #[arg(long, value_name = "WHERE", conflicts_with_all = ["log_stderr", "log_json"])]
    pub(crate) log: Option<Destination>,

    /// Log to standard error as JSON, one object a line, for programs
    #[arg(long)]
    pub(crate) log_json: bool,

    /// Colour in the log on standard error
    #[arg(short = 'e')]
    pub(crate) log_color: bool,

    /// More log; repeatable
    #[arg(short = 'd', action = ArgAction::Count)]
    pub(crate) debug: u8,

    /// Define a preprocessor name: ID or ID=VALUE; repeatable
    #[arg(short = 'A', value_name = "ID[=VALUE]")]
    pub(crate) define: Vec<String>,

    /// Write the process number to this file
    #[arg(short = 'P', value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,

    /// Write the process group number to this file
    #[arg(short = 'G', value_name = "FILE")]
    pub(crate) pgid_file: Option<PathBuf>,

    /// Working directory
    #[arg(short = 'w', value_name = "DIR")]
    pub(crate) working_dir: Option<PathBuf>,

    /// Directory for run-time files
    #[arg(short = 'Y', value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,

    /// Directory to become the root of the file system
    #[arg(short = 't', value_name = "DIR")]
    pub(crate) chroot: Option<PathBuf>,

    /// User to become once the sockets are open
    #[arg(short = 'u', value_name = "USER")]
    pub(crate) user: Option<String>,

    /// Group to become once the sockets are open
    #[arg(short = 'g', value_name = "GROUP")]
    pub(crate) group: Option<String>,

    /// No TCP
    #[arg(short = 'T')]
    pub(crate) no_tcp: bool,

    /// Whether names of the listening addresses become aliases: yes or no
    #[arg(short = 'a', value_name = "YES|NO")]
    pub(crate) auto_aliases: Option<String>,

    /// Print the version
    #[arg(short = 'v', long = "version", action = ArgAction::Count)]
    pub(crate) show_version: u8,

    #[command(flatten)]
    pub(crate) ignored: Ignored,
}

/// Options of SER and Kamailio that have no meaning here. Each says so once.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Accepted for SER's and Kamailio's sake, without effect")]
pub(crate) struct Ignored {
    /// Shared memory in megabytes
    #[arg(short = 'm', value_name = "MB")]
    shared_memory: Option<String>,
    /// Private memory in megabytes
    #[arg(short = 'M', value_name = "MB")]
    private_memory: Option<String>,
    /// Worker processes per UDP socket; the number of workers follows the cores
    #[arg(short = 'n', value_name = "N")]
    children: Option<String>,
    /// TCP worker processes
    #[arg(short = 'N', value_name = "N")]
    tcp_children: Option<String>,
    /// Memory manager
    #[arg(short = 'x', value_name = "NAME")]
    memory_manager: Option<String>,
    /// Private memory manager
    #[arg(short = 'X', value_name = "NAME")]
    private_memory_manager: Option<String>,
    /// Module search path
    #[arg(short = 'L', value_name = "PATH")]
    module_path: Option<String>,
    /// Poll method
    #[arg(short = 'W', value_name = "METHOD")]
    poll_method: Option<String>,
    /// Optimisation level of the script
    #[arg(short = 'O', value_name = "LEVEL")]
    optimization: Option<String>,
    /// Largest receive buffer
    #[arg(short = 'b', value_name = "BYTES")]
    buffer: Option<String>,
    /// Check Via by DNS
    #[arg(short = 'r')]
    dns: bool,
    /// Check Via by reverse DNS
    #[arg(short = 'R')]
    reverse_dns: bool,
    /// Check the Via of replies
    #[arg(short = 'K')]
    check_via: bool,
    /// SCTP worker processes
    #[arg(short = 'Q', value_name = "N")]
    sctp_children: Option<String>,
    /// No SCTP
    #[arg(short = 'S')]
    no_sctp: bool,
}

impl Ignored {
    /// The options that were given, each with the reason why it has no effect.
    pub(crate) fn given(&self) -> Vec<(&'static str, &'static str)> {
        const MEMORY: &str = "memory is taken from the system as needed";
        const WORKERS: &str = "one worker runs on each core; see --workers";
        const BUILT_IN: &str = "all modules are built in";
        const VIA: &str = "the sender's address is always recorded (RFC 3261 section 18.2.1)";
        const SCTP: &str = "SCTP is not supported";
        let options = [
            (self.shared_memory.is_some(), "-m", MEMORY),
            (self.private_memory.is_some(), "-M", MEMORY),
            (self.children.is_some(), "-n", WORKERS),
            (self.tcp_children.is_some(), "-N", WORKERS),
            (self.memory_manager.is_some(), "-x", MEMORY),
            (self.private_memory_manager.is_some(), "-X", MEMORY),
            (self.module_path.is_some(), "-L", BUILT_IN),
            (self.poll_method.is_some(), "-W", "workers always use epoll"),
            (self.optimization.is_some(), "-O", "scripts are always compiled"),
            (self.buffer.is_some(), "-b", "receive buffers are sized by the server"),
            (self.dns, "-r", VIA),
            (self.reverse_dns, "-R", VIA),
            (self.check_via, "-K", "replies whose top Via is not ours are always dropped (RFC 3261 section 18.1.2)"),
            (self.sctp_children.is_some(), "-Q", SCTP),
            (self.no_sctp, "-S", SCTP),
        ];
        options.into_iter().filter(|(is_given, ..)| *is_given).map(|(_, name, why)| (name, why)).collect()
    }
}

/// A filter of events that has been found valid.
#[derive(Debug, Clone)]
pub(crate) struct EventFilter(pub(crate) String);

/// `ADDRESS[:PORT]`, where the port is that of DNS unless given.
fn name_server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, 53))
        .or_else(|_| text.parse())
        .map_err(|_| "not an IP address with or without a port".to_owned())
}

impl EventFilter {
    fn parse(text: &str) -> Result<EventFilter, String> {
        Filter::parse(text).map(|_| EventFilter(text.to_owned())).map_err(|error| error.to_string())
    }
}

/// How the program behaves, by the name under which it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persona {
    /// Stays in the foreground unless told otherwise.
    Ser,
    /// Goes to the background unless told otherwise.
    Kamailio,
}

impl Persona {
    /// The persona for a program started as `name`: a link named `kamailio` or `openser` asks for theirs.
    pub(crate) fn of(name: &Path) -> Persona {
        match name.file_name().and_then(|name| name.to_str()) {
            Some("kamailio" | "openser") => Persona::Kamailio,
            _ => Persona::Ser,
        }
    }
}

impl Arguments {
    /// The command line without any option.
    pub(crate) fn none() -> Arguments {
        Arguments::parse_from(["ser"])
    }

    /// Whether the server shall leave the terminal. `fork` is what the script says, if it does.
    pub(crate) fn goes_to_background(&self, persona: Persona, fork: bool) -> bool {
        let wanted = match persona {
            Persona::Ser => self.daemon,
            Persona::Kamailio => fork,
        };
        wanted && self.foreground == 0
    }

    /// The defines given with -A, split at the first `=`.
    pub(crate) fn defines(&self) -> Vec<(String, Option<String>)> {
        let split = |define: &String| match define.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (define.clone(), None),
        };
        self.define.iter().map(split).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Arguments {
        Arguments::try_parse_from(line.split(' ')).expect("the line is valid")
    }

    #[test]
    fn a_kamailio_command_line_is_understood() {
        let arguments = parse("kamailio -f k.cfg -m 64 -M 8 -DD -E -P /run/k.pid -l udp:127.0.0.1:5060 -A WITH_AUTH");
        assert_eq!(arguments.file.as_deref(), Some(Path::new("k.cfg")));
        assert_eq!(arguments.foreground, 2);
        assert!(arguments.log_stderr);
        assert_eq!(arguments.ignored.given().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["-m", "-M"]);
        assert_eq!(arguments.defines(), [("WITH_AUTH".to_owned(), None)]);
    }

    #[test]
    fn a_name_server_has_the_port_of_dns_unless_told() {
        let servers =
            parse("ser --dns-server 192.0.2.53 --dns-server [::1]:5353 --dns-server ::1 --dns-server [::1]").dns_server;
        let expected = ["192.0.2.53:53", "[::1]:5353", "[::1]:53", "[::1]:53"];
        assert_eq!(servers, expected.map(|text| text.parse::<SocketAddr>().expect("an address")));
        assert!(Arguments::try_parse_from(["ser", "--dns-server", "dns.example"]).is_err());
    }

    #[test]
    fn started_as_kamailio_it_goes_to_the_background_unless_told_otherwise() {
        assert_eq!(Persona::of(Path::new("/usr/sbin/kamailio")), Persona::Kamailio);
        assert!(parse("kamailio -f k.cfg").goes_to_background(Persona::Kamailio, true));
        assert!(!parse("kamailio -f k.cfg -D").goes_to_background(Persona::Kamailio, true));
        assert!(!parse("kamailio -f k.cfg").goes_to_background(Persona::Kamailio, false));
    }

    #[test]
    fn started_as_ser_it_stays_in_the_foreground_unless_asked() {
        assert_eq!(Persona::of(Path::new("ser")), Persona::Ser);
        assert!(!parse("ser").goes_to_background(Persona::Ser, true));
        assert!(parse("ser --daemon").goes_to_background(Persona::Ser, true));
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
