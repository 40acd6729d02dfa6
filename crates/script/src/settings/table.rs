//! The table of core parameters: name, kind, default, unit and meaning.

use module_api::{Dialect, Value};

use crate::syntax::tree::Literal;

/// A core parameter.
#[derive(Debug, Clone, Copy)]
pub struct CoreParameter {
    /// Its name.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// What its value must be.
    pub kind: CoreKind,
    /// The default as an operator would write it; empty when it has none.
    pub default: &'static str,
    /// The unit of a number, where it has one.
    pub unit: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// What the value of a [`CoreParameter`] must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreKind {
    /// A number.
    Int,
    /// `yes` or `no`, or a number.
    Bool,
    /// A string or a bare word.
    Text,
    /// Accepted for the sake of existing scripts and without effect here.
    Ignored,
}

impl CoreParameter {
    /// Whether it means something that is not there yet.
    pub(super) fn is_to_come(&self) -> bool {
        self.doc.contains("no effect yet")
    }

    /// The default, which for the log level depends on the family.
    pub(super) fn default_in(&self, dialect: Dialect) -> Value {
        // The scales differ: 2 shows notices in SER, 0 warnings in Kamailio.
        let default = if self.name == "debug" && dialect == Dialect::Ser { "2" } else { self.default };
        match self.kind {
            CoreKind::Int | CoreKind::Bool => Value::Int(boolean(default).or(default.parse().ok()).unwrap_or(0)),
            CoreKind::Text | CoreKind::Ignored => Value::from_static(default),
        }
    }

    /// Reads a value; the error says what it should be.
    pub(super) fn read(&self, literal: &Literal) -> Result<Value, &'static str> {
        match (self.kind, literal) {
            (CoreKind::Int | CoreKind::Bool, Literal::Int(number)) => Ok(Value::Int(*number)),
            (CoreKind::Int, Literal::Word(word)) => boolean(word).map(Value::Int).ok_or("a number"),
            (CoreKind::Bool, Literal::Word(word)) => boolean(word).map(Value::Int).ok_or("yes or no"),
            (CoreKind::Int, Literal::Text(text)) => text.parse().map(Value::Int).map_err(|_| "a number"),
            (CoreKind::Bool, Literal::Text(_)) => Err("yes or no"),
            (_, Literal::Int(number)) => Ok(Value::Int(*number)),
            (_, Literal::Text(text) | Literal::Word(text)) => Ok(Value::Str(text.clone().into())),
        }
    }
}

/// `yes`, `true`, `on`, `enable` and their opposites.
pub(crate) fn boolean(word: &str) -> Option<i64> {
    match word.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "enable" => Some(1),
        "no" | "false" | "off" | "disable" => Some(0),
        _ => None,
    }
}

pub(super) fn find(name: &str) -> Option<&'static CoreParameter> {
    CORE_PARAMETERS.iter().find(|parameter| parameter.name == name || parameter.aliases.contains(&name))
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let aliases = CORE_PARAMETERS.iter().flat_map(|parameter| parameter.aliases.iter().copied());
    CORE_PARAMETERS.iter().map(|parameter| parameter.name).chain(aliases).chain(["listen", "alias"])
}

const fn int(name: &'static str, default: &'static str, unit: &'static str, doc: &'static str) -> CoreParameter {
    CoreParameter { name, aliases: &[], kind: CoreKind::Int, default, unit, doc }
}

const fn flag(name: &'static str, default: &'static str, doc: &'static str) -> CoreParameter {
    CoreParameter { name, aliases: &[], kind: CoreKind::Bool, default, unit: "", doc }
}

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> CoreParameter {
    CoreParameter { name, aliases: &[], kind: CoreKind::Text, default, unit: "", doc }
}

const fn ignored(name: &'static str, doc: &'static str) -> CoreParameter {
    CoreParameter { name, aliases: &[], kind: CoreKind::Ignored, default: "", unit: "", doc }
}

const fn also(parameter: CoreParameter, aliases: &'static [&'static str]) -> CoreParameter {
    CoreParameter { aliases, ..parameter }
}

const MEMORY: &str = "Memory is not managed by hand here; no effect.";
const PROCESSES: &str = "There are no such processes here; no effect.";
const THREADS: &str = "Work is spread over one thread per core; no effect.";
const LIBRARY: &str = "Concerns a library that is not used here; no effect.";
const SCHEDULER: &str = "Scheduling is left to the operating system; no effect.";

/// Every core parameter.
pub const CORE_PARAMETERS: &[CoreParameter] = &[
    // Logging.
    int("debug", "0", "level", "Messages up to this level are logged; the scales of SER and Kamailio differ."),
    flag("log_stderror", "no", "Log to standard error instead of the system log."),
    text("log_facility", "LOG_DAEMON", "Facility of the system log."),
    text("log_name", "", "Name in the system log."),
    text("log_prefix", "", "Text in front of each line about a message; variables are expanded."),
    flag("log_color", "no", "Colour on standard error; no effect yet."),
    int("log_prefix_mode", "0", "", "1: evaluate the prefix for each line instead of once; no effect yet."),
    ignored("log_engine_type", "The log has one form here; no effect."),
    ignored("log_engine_data", "The log has one form here; no effect."),
    also(ignored("corelog", "Level of some errors; no effect."), &["core_log"]),
    ignored("sip_parser_log", "Malformed messages are counted, not logged; no effect."),
    ignored("sip_parser_log_oneline", "Malformed messages are counted, not logged; no effect."),
    ignored("sip_parser_mode", "The parser has one mode; no effect."),
    int("latency_log", "-1", "level", "Level at which slow actions are logged; no effect yet."),
    int("latency_cfg_log", "-1", "level", "Level at which slow scripts are logged; no effect yet."),
    int("latency_limit_action", "0", "µs", "A statement that takes longer is logged; 0: none is; no effect yet."),
    int("latency_limit_db", "0", "µs", "A database query that takes longer is logged; 0: none is; no effect yet."),
    int("latency_limit_cfg", "0", "µs", "A script that takes longer is logged; 0: none is; no effect yet."),
    // Processes.
    int("children", "8", "processes", "Workers per socket; here a hint only."),
    flag("fork", "yes", "Go to the background."),
    text("pidfile", "", "File for the process number."),
    also(text("user", "", "User to run as."), &["uid"]),
    also(text("group", "", "Group to run as."), &["gid"]),
    text("chroot", "", "Directory to be the root of the file system."),
    also(text("workdir", "", "Working directory."), &["wdir"]),
    also(text("rundir", "/run/ser", "Directory for control sockets."), &["run_dir"]),
    flag("disable_core_dump", "no", "Write no core file."),
    int("open_files_limit", "0", "files", "Bound of open files; 0: as the system has it."),
    also(int("exit_timeout", "60", "s", "How long a stop may take; no effect yet."), &["ser_kill_timeout"]),
    int("server_id", "0", "", "Number of this instance among several, for via_add_srvid()."),
    int("async_workers", "0", "", "Waits need no workers here; accepted."),
    also(ignored("memlog", MEMORY), &["mem_log"]),
    also(ignored("memdbg", MEMORY), &["mem_dbg"]),
    ignored("mem_summary", MEMORY),
    ignored("mem_safety", MEMORY),
    ignored("mem_join", MEMORY),
    ignored("mem_status_mode", MEMORY),
    ignored("mlock_pages", MEMORY),
    ignored("shm_force_alloc", MEMORY),
    also(ignored("shm", MEMORY), &["shm_mem", "shm_mem_size"]),
    ignored("pv_buffer_size", MEMORY),
    ignored("pv_buffer_slots", MEMORY),
    ignored("pv_cache_limit", MEMORY),
    ignored("pv_cache_action", MEMORY),
    ignored("sql_buffer_size", MEMORY),
    ignored("msg_clone_extra_size", MEMORY),
    ignored("fork_delay", PROCESSES),
    ignored("modinit_delay", PROCESSES),
    ignored("wait_worker1_mode", PROCESSES),
    ignored("wait_worker1_time", PROCESSES),
    ignored("wait_worker1_usleep", PROCESSES),
    ignored("socket_workers", PROCESSES),
    ignored("async_usleep", PROCESSES),
    ignored("async_nonblock", PROCESSES),
    ignored("async_workers_group", PROCESSES),
    ignored("verbose_startup", PROCESSES),
    ignored("route_locks_size", THREADS),
    ignored("tcp_main_threads", THREADS),
    ignored("tls_threads_mode", LIBRARY),
    ignored("real_time", SCHEDULER),
    ignored("rt_prio", SCHEDULER),
    ignored("rt_policy", SCHEDULER),
    also(ignored("rt_timer1_prio", SCHEDULER), &["rt_fast_timer_prio", "rt_ftimer_prio"]),
    also(ignored("rt_timer1_policy", SCHEDULER), &["rt_ftimer_policy"]),
    also(ignored("rt_timer2_prio", SCHEDULER), &["rt_stimer_prio"]),
    also(ignored("rt_timer2_policy", SCHEDULER), &["rt_stimer_policy"]),
    also(ignored("mpath", "Modules are built in; the path has no effect."), &["loadpath"]),
    ignored("cfgengine", "Only the native language is there; no effect."),
    ignored("loop_checks", "Loops are always detected (RFC 5393); no effect."),
    ignored("syn_branch", "Branch names always belong to transactions; no effect."),
    ignored("stats_name_separator", "Statistics have fixed names; no effect."),
    ignored("rpc_exec_delta", "No effect."),
    // Addresses.
    int("port", "5060", "", "Port of listening addresses that name none."),
    also(
        flag("auto_aliases", "no", "yes: count the host names of listening addresses as aliases; no effect yet."),
        &["auto_domains"],
    ),
    text("advertised_address", "", "Host for Via and Record-Route instead of the real one."),
    int("advertised_port", "0", "", "Port for Via and Record-Route instead of the real one; 0: the real one."),
    flag("mhomed", "no", "Send from the socket at the address that the routing table names for the next hop."),
    int("auto_bind_ipv6", "0", "", "1: listen on IPv6 too where no address is given; no effect yet."),
    int("bind_ipv6_link_local", "0", "", "1: listen on link-local addresses too; no effect yet."),
    also(
        int("ip_free_bind", "0", "", "1: listen on addresses that the host does not have yet."),
        &["ipfreebind", "ip_nonlocal_bind"],
    ),
    text("ipv6_hex_style", "c", "How IPv6 addresses are written; always the canonical form."),
    text("mcast", "", "Interface for multicast; no effect yet."),
    flag("mcast_loopback", "yes", "Receive own multicast."),
    int("mcast_ttl", "-1", "hops", "Reach of multicast; -1: as the system has it."),
    text("tos", "", "Type of service of outgoing packets: a number, or IPTOS_LOWDELAY and its kin."),
    int("pmtu_discovery", "0", "", "1: datagrams are never fragmented."),
    int("maxbuffer", "4194304", "bytes", "Receive buffer of UDP sockets to ask for."),
    int("maxsndbuffer", "4194304", "bytes", "Send buffer of UDP sockets to ask for."),
    int("msg_recv_max_size", "65535", "bytes", "Largest message."),
    ignored("udp4_raw", "Ordinary sockets are used; no effect."),
    ignored("udp4_raw_mtu", "Ordinary sockets are used; no effect."),
    ignored("udp4_raw_ttl", "Ordinary sockets are used; no effect."),
    int(
        "udp_mtu",
        "0",
        "bytes",
        "Requests larger than this leave over another transport; 0: at 1300 (RFC 3261 section 18.1.1).",
    ),
    text("udp_mtu_try_proto", "TCP", "The transport for requests too large for UDP; it always is TCP."),
    // SIP.
    ignored("check_via", "Replies whose top Via is not ours are always dropped (RFC 3261 section 18.1.2); no effect."),
    flag("dns", "no", "Compare the top Via with the sender by name too; no effect yet."),
    also(
        flag("rev_dns", "no", "Compare the top Via with the sender by reverse lookup too; no effect yet."),
        &["dns_rev_via"],
    ),
    flag("sip_warning", "no", "Add a Warning header to replies made here; no effect yet."),
    flag("server_signature", "yes", "Add Server and User-Agent headers."),
    text("server_header", "Server: ser", "The whole header line for replies."),
    text("user_agent_header", "User-Agent: ser", "The whole header line for requests."),
    int(
        "reply_to_via",
        "0",
        "",
        "1: send replies over UDP to the address in Via instead of where the request came from.",
    ),
    also(flag("force_rport", "no", "Answer to the source port of every request."), &["add_rport"]),
    flag("local_rport", "no", "Add rport to our own Via; it always is."),
    flag("phone2tel", "yes", "Treat user=phone as a telephone number when comparing; no effect yet."),
    text(
        "xavp_via_params",
        "",
        "Extended attribute whose fields become parameters of Via, with via_add_xavp_params().",
    ),
    text("xavp_via_fields", "", "Extended attribute with address and port of Via, for via_use_xavp_fields()."),
    text("uri_host_extra_chars", "", "Further characters allowed in host names; no effect yet."),
    text("hdr_name_extra_chars", "", "Further characters allowed in header names; no effect yet."),
    flag("http_reply_parse", "no", "Parse HTTP replies as well; no effect yet."),
    int("max_branches", "12", "branches", "Branches of one transaction."),
    int("max_while_loops", "100", "rounds", "A loop is ended after so many."),
    int("max_recursive_level", "256", "levels", "How deep routes may call each other."),
    int("return_mode", "0", "", "1: every code but 0 is true."),
    flag("onsend_route_reply", "no", "Run onsend_route for replies too; no effect yet."),
    int("received_route_mode", "0", "", "1: run event_route[core:msg-received] for each datagram; no effect yet."),
    int("msg_apply_changes_mode", "0", "", "Whether changes may be applied in the middle of a script; no effect yet."),
    int("msg_time", "1", "", "Whether the time of arrival is kept; it is."),
    flag("visible_edits", "no", "Let a script read its own changes at once; no effect yet."),
    ignored("use_dst_blocklist", "Unreachable targets are skipped by RFC 3263; no effect."),
    ignored("dst_blocklist_mem", "Unreachable targets are skipped by RFC 3263; no effect."),
    ignored("dst_blocklist_expire", "Unreachable targets are skipped by RFC 3263; no effect."),
    ignored("dst_blocklist_gc_interval", "Unreachable targets are skipped by RFC 3263; no effect."),
    // DNS.
    flag("dns_try_ipv6", "yes", "Look for IPv6 addresses too."),
    flag("dns_try_naptr", "no", "Look for NAPTR records (RFC 3263)."),
    also(flag("dns_srv_lb", "no", "Spread by SRV weights."), &["dns_srv_loadbalancing"]),
    also(
        int("dns_udp_pref", "30", "", "Preference of UDP among NAPTR records; no effect yet."),
        &["dns_udp_preference"],
    ),
    also(
        int("dns_tcp_pref", "20", "", "Preference of TCP among NAPTR records; no effect yet."),
        &["dns_tcp_preference"],
    ),
    also(
        int("dns_tls_pref", "10", "", "Preference of TLS among NAPTR records; no effect yet."),
        &["dns_tls_preference"],
    ),
    also(
        int("dns_sctp_pref", "20", "", "Preference of SCTP among NAPTR records; no effect yet."),
        &["dns_sctp_preference"],
    ),
    int("dns_retr_time", "-1", "s", "How long to wait for a name server; -1: 2 s."),
    int("dns_retr_no", "-1", "tries", "How often to ask; -1: twice."),
    int("dns_servers_no", "-1", "servers", "How many name servers to use; -1: all; no effect yet."),
    flag("dns_use_search_list", "yes", "Complete short names; no effect yet."),
    flag("dns_search_full_match", "yes", "Check names completed by the search list; no effect yet."),
    flag("dns_naptr_ignore_rfc", "yes", "Ignore the order of NAPTR records; no effect yet."),
    flag("use_dns_failover", "no", "Try the next address when one fails."),
    also(flag("use_dns_cache", "yes", "Remember answers."), &["dns_cache_init"]),
    int("dns_cache_flags", "0", "", "1: no IPv6 lookups, 2: IPv4 first, 4: IPv6 first; no effect yet."),
    int("dns_cache_negative_ttl", "60", "s", "How long at most to remember that a name does not exist."),
    int(
        "dns_cache_min_ttl",
        "0",
        "s",
        "Remember answers at least so long; 1 s at least, so that the question in hand finds its answer.",
    ),
    int("dns_cache_max_ttl", "-1", "s", "Remember answers at most so long; -1: a day."),
    int("dns_cache_mem", "500", "KB", "Memory for remembered answers; no effect yet."),
    int("dns_cache_gc_interval", "120", "s", "How often old answers are removed; no effect yet."),
    int(
        "dns_cache_del_nonexp",
        "0",
        "",
        "Whether unexpired answers may be removed when memory is short; no effect yet.",
    ),
    int("dns_cache_rec_pref", "0", "", "Which of old and new records wins; no effect yet."),
    // TCP.
    flag("disable_tcp", "no", "No TCP."),
    int("tcp_children", "8", "processes", "Workers for TCP; here a hint only."),
    int("tcp_connection_lifetime", "120", "s", "Idle connections are closed after this."),
    int("tcp_max_connections", "2048", "connections", "Bound of TCP connections."),
    int("tcp_connect_timeout", "10", "s", "How long connecting may take."),
    int("tcp_send_timeout", "10", "s", "How long a peer may refuse to read."),
    int("tcp_msg_read_timeout", "20", "s", "How long a message may take to arrive."),
    int("tcp_rd_buf_size", "16384", "bytes", "Largest message over TCP."),
    flag("tcp_accept_no_cl", "no", "HTTP is told from SIP by itself, and SIP needs Content-Length here; no effect."),
    flag("tcp_accept_aliases", "no", "Honour the alias parameter of Via (RFC 5923)."),
    flag("tcp_crlf_ping", "yes", "Answer keep-alives (RFC 5626)."),
    flag("tcp_no_connect", "no", "Only use connections that peers opened."),
    flag("tcp_keepalive", "no", "Let the system probe idle connections."),
    int("tcp_keepidle", "0", "s", "Idle time before probes; 0: as the system has it."),
    int("tcp_keepintvl", "0", "s", "Time between probes; 0: as the system has it."),
    int("tcp_keepcnt", "0", "probes", "Probes before giving up; 0: as the system has it."),
    int("tcp_syncnt", "0", "tries", "Tries to connect; 0: as the system has it."),
    int("tcp_listen_backlog", "1024", "connections", "Connections that may wait to be accepted."),
    int("tcp_accept_iplimit", "1024", "connections", "Connections of one address."),
    int("tcp_conn_wq_max", "32768", "bytes", "What may wait for one connection."),
    int("tcp_wq_max", "10485760", "bytes", "What may wait for all connections; no effect yet."),
    int("tcp_wq_blk_size", "2100", "bytes", "Accepted; no effect."),
    also(flag("tcp_async", "yes", "Never wait for a connection."), &["tcp_buf_write"]),
    flag("tcp_reuse_port", "no", "Share the port when connecting; no effect yet."),
    flag("tcp_close_rst", "no", "Close by reset; no effect yet."),
    text("tcp_source_ipv4", "", "Address to connect from."),
    text("tcp_source_ipv6", "", "Address to connect from."),
    int("tcp_accept_unique", "0", "", "1: one connection for each address and port; no effect yet."),
    int("tcp_connection_match", "0", "", "1: reuse connections only for the same local address; no effect yet."),
    int("tcp_wait_data", "5000", "ms", "How long a new connection may stay silent; no effect yet."),
    int("tcp_linger2", "0", "s", "Time in the state FIN-WAIT-2; 0: as the system has it."),
    int("tcp_defer_accept", "0", "s", "Accept only when data is there; 0: at once."),
    ignored("tcp_delayed_ack", "Left to the system; no effect."),
    ignored("tcp_fd_cache", PROCESSES),
    ignored("tcp_clone_rcvbuf", MEMORY),
    ignored("tcp_poll_method", "The best method is chosen; no effect."),
    ignored("poll_method", "The best method is chosen; no effect."),
    ignored("tcp_script_mode", "No effect."),
    ignored("tcp_check_timer", "No effect."),
    flag("tcp_accept_hep3", "no", "Accept HEP over TCP; no effect yet."),
    flag("tcp_accept_haproxy", "no", "Accept the header of a load balancer; no effect yet."),
    ignored("tcp_accept_protocols", "No effect."),
    // TLS.
    also(flag("enable_tls", "no", "TLS."), &["tls_enable"]),
    also(flag("disable_tls", "no", "No TLS."), &["tls_disable"]),
    int("tls_port_no", "5061", "", "Port of TLS addresses that name none."),
    int("tls_max_connections", "2048", "connections", "Bound of TLS connections; no effect yet."),
    text("tls_method", "TLSv1", "Oldest version; below 1.2 none is offered; no effect yet."),
    flag("tls_verify", "no", "Verify certificates of peers."),
    flag("tls_require_certificate", "no", "Demand a certificate of clients."),
    text("tls_certificate", "", "File with the certificate."),
    text("tls_private_key", "", "File with the private key."),
    text("tls_ca_list", "", "File with trusted roots."),
    int("tls_handshake_timeout", "30", "s", "How long a handshake may take."),
    int("tls_send_timeout", "30", "s", "How long a peer may refuse to read; no effect yet."),
    also(ignored("tls_log", "No effect."), &["tlslog"]),
    flag("tls_connection_match_domain", "no", "Reuse connections only within one profile; no effect yet."),
    ignored("enable_sctp", "There is no SCTP; no effect."),
    ignored("disable_sctp", "There is no SCTP; no effect."),
    ignored("sctp_children", "There is no SCTP; no effect."),
    // Management.
    text("fifo", "", "Path of the control FIFO."),
    int("fifo_mode", "432", "", "Permissions of the control FIFO."),
    text("fifo_dir", "/tmp/", "Directory for reply FIFOs."),
    text("fifo_user", "", "Owner of the control FIFO."),
    text("fifo_group", "", "Group of the control FIFO."),
    text("fifo_db_url", "", "Database of the FIFO's db commands."),
    text("unixsock", "", "Path of the control socket."),
    text("statistics", "", "File for statistics; no effect yet."),
    text("version_table", "version", "Table with the versions of the others."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_defaults_fit_their_kinds() {
        let mut all: Vec<&str> = names().collect();
        all.sort_unstable();
        let twice = all.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None);
        for parameter in CORE_PARAMETERS {
            let fits = match parameter.kind {
                CoreKind::Int => parameter.default.parse::<i64>().is_ok(),
                CoreKind::Bool => boolean(parameter.default).is_some(),
                CoreKind::Text | CoreKind::Ignored => true,
            };
            assert!(fits, "{}", parameter.name);
            assert!(parameter.doc.ends_with('.') || parameter.doc.contains(';'), "{}", parameter.name);
        }
    }
}
