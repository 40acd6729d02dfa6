//! What the core parameters of a script mean to the engine, to connections and to sockets.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::tz::TimeZone;
use module_api::Socket;
use net::dns::DnsSettings;
use net::stream::{KernelOptions, StreamSettings};
use net::tls::TlsClient;
use net::udp::UdpOptions;
use script::Settings as ScriptSettings;

use crate::start_modules::Started;

/// A text parameter, where the script gives one.
pub(crate) fn given(settings: &ScriptSettings, name: &str) -> Option<String> {
    settings.is_set(name).then(|| settings.text(name)).filter(|text| !text.is_empty())
}

/// A number that the script gives, kept within what makes sense.
fn number(settings: &ScriptSettings, name: &str, bounds: std::ops::RangeInclusive<i64>) -> Option<usize> {
    let number = settings.is_set(name).then(|| settings.int(name).clamp(*bounds.start(), *bounds.end()))?;
    usize::try_from(number).ok()
}

fn seconds(settings: &ScriptSettings, name: &str) -> Option<Duration> {
    number(settings, name, 1..=86_400).map(|seconds| Duration::from_secs(seconds as u64))
}

/// The type of service of what is sent: a number, or a name of RFC 1349.
///
/// # Errors
/// What the script says is neither.
pub(crate) fn type_of_service(settings: &ScriptSettings) -> Result<Option<u8>> {
    let Some(given) = given(settings, "tos") else { return Ok(None) };
    let named = match given.to_ascii_uppercase().trim_start_matches("IPTOS_") {
        "LOWDELAY" => Some(0x10),
        "THROUGHPUT" => Some(0x08),
        "RELIABILITY" => Some(0x04),
        "LOWCOST" | "MINCOST" => Some(0x02),
        number => number.parse().ok(),
    };
    let wrong = || format!("tos: `{given}` is neither a number from 0 to 255 nor IPTOS_LOWDELAY or one of its kin");
    named.with_context(wrong).map(Some)
}

/// How UDP sockets are opened, one for each of so many workers.
///
/// # Errors
/// As [`type_of_service`].
pub(crate) fn udp(settings: &ScriptSettings, worker_count: usize) -> Result<UdpOptions> {
    let defaults = UdpOptions::default();
    Ok(UdpOptions {
        reuse_port: worker_count > 1,
        receive_buffer: number(settings, "maxbuffer", 4096..=1 << 30).or(defaults.receive_buffer),
        send_buffer: number(settings, "maxsndbuffer", 4096..=1 << 30).or(defaults.send_buffer),
        type_of_service: type_of_service(settings)?,
        discovers_mtu: settings.int("pmtu_discovery") == 1,
        binds_foreign: settings.int("ip_free_bind") != 0,
        multicast_hops: number(settings, "mcast_ttl", 0..=255)
            .filter(|_| settings.int("mcast_ttl") >= 0)
            .map(|hops| hops as u32),
        hears_own_multicast: !settings.is_set("mcast_loopback") || settings.flag("mcast_loopback"),
        ..defaults
    })
}

/// What the kernel shall do with connections.
///
/// # Errors
/// As [`type_of_service`], and where an address to connect from is none.
fn kernel(settings: &ScriptSettings) -> Result<KernelOptions> {
    let defaults = KernelOptions::default();
    // 0 leaves each as the system has it.
    let time = |name| seconds(settings, name).filter(|_| settings.int(name) > 0);
    let count = |name| number(settings, name, 1..=127).filter(|_| settings.int(name) > 0);
    let source = |name| {
        given(settings, name)
            .map(|text| text.parse::<IpAddr>().with_context(|| format!("{name}: `{text}` is no address")))
    };
    Ok(KernelOptions {
        type_of_service: type_of_service(settings)?,
        probes_idle: settings.flag("tcp_keepalive"),
        probe_after: time("tcp_keepidle"),
        probe_interval: time("tcp_keepintvl"),
        probe_count: count("tcp_keepcnt").map(|count| count as u32),
        connect_tries: count("tcp_syncnt").map(|count| count as u8),
        lingers: time("tcp_linger2"),
        accepts_with_data: time("tcp_defer_accept"),
        backlog: number(settings, "tcp_listen_backlog", 1..=65_535).map_or(defaults.backlog, |count| count as i32),
        source_v4: source("tcp_source_ipv4").transpose()?,
        source_v6: source("tcp_source_ipv6").transpose()?,
        binds_foreign: settings.int("ip_free_bind") != 0,
    })
}

/// Settings of connections.
///
/// # Errors
/// A setting of the kernel's that is none.
pub(crate) fn streams(settings: &ScriptSettings, tls_client: Option<Arc<TlsClient>>) -> Result<StreamSettings> {
    let defaults = StreamSettings::default();
    let lifetime = settings.int("tcp_connection_lifetime");
    let max_connections = settings.int("tcp_max_connections");
    Ok(StreamSettings {
        never_connects: settings.flag("tcp_no_connect"),
        kernel: kernel(settings)?,
        idle_timeout: Duration::from_secs(lifetime.clamp(1, 86_400) as u64),
        max_connections: max_connections.clamp(1, 1 << 20) as usize,
        connect_timeout: seconds(settings, "tcp_connect_timeout").unwrap_or(defaults.connect_timeout),
        handshake_timeout: seconds(settings, "tls_handshake_timeout").unwrap_or(defaults.handshake_timeout),
        message_timeout: seconds(settings, "tcp_msg_read_timeout").unwrap_or(defaults.message_timeout),
        write_timeout: seconds(settings, "tcp_send_timeout").unwrap_or(defaults.write_timeout),
        write_queue_bytes: number(settings, "tcp_conn_wq_max", 4096..=1 << 30).unwrap_or(defaults.write_queue_bytes),
        max_per_peer: number(settings, "tcp_accept_iplimit", 1..=1 << 20).unwrap_or(defaults.max_per_peer),
        max_message_bytes: number(settings, "tcp_rd_buf_size", 4096..=1 << 20).unwrap_or(defaults.max_message_bytes),
        tls_client,
        ..defaults
    })
}

/// How names are resolved. `servers` are those of the command line; without any it is the system's.
pub(crate) fn dns(settings: &ScriptSettings, servers: Vec<SocketAddr>) -> DnsSettings {
    let defaults = DnsSettings::default();
    let min_ttl = seconds(settings, "dns_cache_min_ttl").unwrap_or(defaults.min_ttl);
    // Where the script says -1, it is as if it said nothing.
    let positive = |name| seconds(settings, name).filter(|_| settings.int(name) > 0);
    DnsSettings {
        servers,
        timeout: positive("dns_retr_time").unwrap_or(defaults.timeout),
        attempts: number(settings, "dns_retr_no", 1..=10)
            .filter(|_| settings.int("dns_retr_no") > 0)
            .unwrap_or(defaults.attempts),
        min_ttl,
        max_ttl: positive("dns_cache_max_ttl").unwrap_or(defaults.max_ttl).max(min_ttl),
        max_negative_ttl: positive("dns_cache_negative_ttl").unwrap_or(defaults.max_negative_ttl),
        ..defaults
    }
}

/// Settings of the engine.
pub(crate) fn engine(settings: &ScriptSettings, started: &Started) -> engine::Settings {
    let mut engine = engine::Settings::default();
    if settings.is_set("server_header") {
        engine.server_header = Some(settings.text("server_header"));
    }
    if settings.is_set("user_agent_header") {
        engine.user_agent_header = Some(settings.text("user_agent_header"));
    }
    if !settings.flag("server_signature") {
        engine.server_header = None;
        engine.user_agent_header = None;
    }
    engine.forces_rport = settings.flag("force_rport");
    engine.asks_rport = settings.flag("local_rport");
    engine.replies_to_via = settings.int("reply_to_via") != 0;
    engine.zone = Some(zone);
    engine.source_toward = settings.flag("mhomed").then_some(net::udp::source_toward as _);
    engine.server_id = u32::try_from(settings.int("server_id")).unwrap_or(0);
    engine.via_records = engine::ViaRecords {
        params: settings.text("xavp_via_params").into(),
        fields: settings.text("xavp_via_fields").into(),
    };
    // 0 leaves it at what RFC 3261 section 18.1.1 says.
    if settings.int("udp_mtu") > 0 {
        engine.udp_mtu = number(settings, "udp_mtu", 576..=65_535).unwrap_or(engine.udp_mtu);
    }
    if let Some(most) = number(settings, "max_branches", 1..=60) {
        engine.max_branches = most as u16;
    }
    if let Some(most) = number(settings, "msg_recv_max_size", 1024..=65_536) {
        engine.limits.message_bytes = most;
    }
    if let Some(tm) = started.of::<modules::tm::Settings>("tm") {
        let timers = &mut engine.timers;
        timers.t1 = tm.t1.unwrap_or(timers.t1);
        timers.t2 = tm.t2.unwrap_or(timers.t2);
        timers.invite_timeout = tm.no_reply.unwrap_or(timers.invite_timeout);
        timers.request_timeout = tm.no_reply.unwrap_or(timers.request_timeout);
        timers.ringing_timeout = tm.no_final.unwrap_or(timers.ringing_timeout);
        engine.auto_trying = !tm.no_auto_trying;
        engine.forgets = match tm.failure_reply_mode {
            0 => engine::Forgets::Nothing,
            2 => engine::Forgets::Latest,
            _ => engine::Forgets::Earlier,
        };
    }
    engine
}

/// Has every socket that is not advertised otherwise be advertised as the script says for all of them.
pub(crate) fn advertise(settings: &ScriptSettings, sockets: &mut [Socket]) {
    let (host, port) = (given(settings, "advertised_address"), settings.int("advertised_port"));
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    if host.is_none() && port.is_none() {
        return;
    }
    for socket in sockets.iter_mut().filter(|socket| socket.advertised.is_none()) {
        let own = socket.address.ip();
        let host = host.clone().unwrap_or_else(|| if own.is_ipv6() { format!("[{own}]") } else { own.to_string() });
        socket.advertised = Some((Bytes::from(host), port.unwrap_or(socket.address.port())));
    }
}

/// How clocks on the wall stand to UTC. Read once: the environment variable TZ, else what the system says; UTC where
/// neither names a zone that is known.
fn zone(unix: i64) -> module_api::Zone {
    static ZONE: LazyLock<TimeZone> = LazyLock::new(|| TimeZone::try_system().unwrap_or(TimeZone::UTC));
    let Ok(time) = jiff::Timestamp::from_second(unix) else { return module_api::Zone::utc() };
    let found = ZONE.to_offset_info(time);
    module_api::Zone {
        offset: found.offset().seconds(),
        is_summer: found.dst().is_dst(),
        name: found.abbreviation().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use script::{LoadOptions, Reader};
    use sip_message::Transport;

    struct One(&'static str);

    impl Reader for One {
        fn read(&self, _: &str) -> std::io::Result<String> {
            Ok(format!("#!KAMAILIO\n{}\nrequest_route {{ exit; }}\n", self.0))
        }
    }

    fn settings(text: &'static str) -> ScriptSettings {
        let options = LoadOptions { defines: Vec::new(), catalog: modules::catalog(), reader: &One(text) };
        script::load("t.cfg", &options).configuration.expect("the lines of a test are right").settings
    }

    #[test]
    fn limits_of_connections_come_from_the_script() {
        let streams = streams(
            &settings(
                "tcp_connect_timeout=3\ntcp_send_timeout=4\ntcp_rd_buf_size=8192\ntcp_accept_iplimit=7\ntcp_connection_lifetime=60",
            ),
            None,
        )
        .expect("the lines of a test are right");
        assert_eq!(streams.connect_timeout, Duration::from_secs(3));
        assert_eq!(streams.write_timeout, Duration::from_secs(4));
        assert_eq!((streams.max_message_bytes, streams.max_per_peer), (8192, 7));
        assert_eq!(streams.idle_timeout, Duration::from_secs(60));
    }

    #[test]
    fn the_kernel_is_told_what_the_script_says() {
        let text = "tos=IPTOS_LOWDELAY\nmaxbuffer=100000\npmtu_discovery=1\nip_free_bind=1\nmcast_ttl=3\n\
                    mcast_loopback=no\ntcp_keepalive=yes\ntcp_keepidle=60\ntcp_keepcnt=4\ntcp_linger2=30\n\
                    tcp_listen_backlog=77\ntcp_no_connect=yes\ntcp_source_ipv4=192.0.2.5";
        let told = udp(&settings(text), 2).expect("the lines of a test are right");
        assert_eq!((told.type_of_service, told.receive_buffer), (Some(0x10), Some(100_000)));
        assert!(told.discovers_mtu && told.binds_foreign && told.reuse_port && !told.hears_own_multicast);
        assert_eq!(told.multicast_hops, Some(3));
        let told = streams(&settings(text), None).expect("the lines of a test are right");
        assert!(told.never_connects && told.kernel.probes_idle && told.kernel.binds_foreign);
        assert_eq!((told.kernel.probe_after, told.kernel.probe_count), (Some(Duration::from_secs(60)), Some(4)));
        assert_eq!((told.kernel.lingers, told.kernel.backlog), (Some(Duration::from_secs(30)), 77));
        assert_eq!(told.kernel.source_v4, Some([192, 0, 2, 5].into()));
        let silent = streams(&settings("tcp_keepidle=0"), None).expect("the lines of a test are right").kernel;
        assert_eq!((silent.probe_after, silent.probes_idle, silent.backlog), (None, false, 1024));
        assert!(udp(&settings("tos=0xb8"), 1).is_ok_and(|told| told.type_of_service == Some(0xb8)));
        assert!(udp(&settings("tos=QUICKLY"), 1).is_err());
    }

    #[test]
    fn names_are_resolved_as_the_script_says() {
        let told = dns(
            &settings("dns_retr_time=3\ndns_retr_no=4\ndns_cache_max_ttl=60\ndns_cache_negative_ttl=5"),
            Vec::new(),
        );
        assert_eq!((told.timeout, told.attempts), (Duration::from_secs(3), 4));
        assert_eq!((told.max_ttl, told.max_negative_ttl), (Duration::from_secs(60), Duration::from_secs(5)));
        let usual = DnsSettings::default();
        let silent = dns(&settings("dns_retr_time=-1\ndns_retr_no=-1\ndns_cache_max_ttl=-1"), Vec::new());
        assert_eq!((silent.timeout, silent.attempts, silent.max_ttl), (usual.timeout, usual.attempts, usual.max_ttl));
    }

    #[test]
    fn the_engine_is_told_what_the_script_says() {
        let text = "server_header=\"Server: home\"\nuser_agent_header=\"User-Agent: home\"\nforce_rport=yes\nudp_mtu=1400\nmax_branches=5";
        let told = engine(&settings(text), &Started::default());
        assert_eq!(told.server_header.as_deref(), Some("Server: home"));
        assert_eq!(told.user_agent_header.as_deref(), Some("User-Agent: home"));
        assert!(told.forces_rport && !told.asks_rport);
        assert_eq!((told.udp_mtu, told.max_branches), (1400, 5));
        let silent = engine(&settings("server_signature=no\nudp_mtu=0"), &Started::default());
        assert_eq!((silent.server_header, silent.user_agent_header, silent.udp_mtu), (None, None, 1300));
    }

    #[test]
    fn all_sockets_are_advertised_alike_unless_they_say_otherwise() {
        let socket = |advertised| Socket {
            transport: Transport::Udp,
            address: ([192, 0, 2, 1], 5060).into(),
            advertised,
            name: None,
        };
        let mut sockets = [socket(None), socket(Some((Bytes::from_static(b"own.example.com"), 5062)))];
        advertise(&settings("advertised_address=\"sip.example.com\""), &mut sockets);
        assert_eq!(sockets[0].advertised, Some((Bytes::from_static(b"sip.example.com"), 5060)));
        assert_eq!(sockets[1].advertised, Some((Bytes::from_static(b"own.example.com"), 5062)));
    }
}
