//! Functions that ask for addresses.

use std::net::IpAddr;

use module_api::{Call, Function, Outcome, Param, ParamKind, Routes};
use sip_message::Transport;

use super::Permissions;
use super::address::Peer;
use super::trusted::Asked;
use crate::network;

pub(super) const SOURCE: Function = Function {
    name: "allow_source_address",
    params: &[Param::optional("group", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "True when the message came from an address of the group, which is 1 where none is given.",
    example: "if (!allow_source_address(\"1\")) exit;",
    run: |call| {
        let group = call.int(0).unwrap_or(1);
        let source = call.context.arrival.source;
        is_member(call, group, Peer::Address(source.ip()), source.port())
    },
};

pub(super) const GIVEN: Function = Function {
    name: "allow_address",
    params: &[
        Param::required("group", ParamKind::Int),
        Param::required("address", ParamKind::Format),
        Param::required("port", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "True when an address or domain, with its port, is in the group. Port 0 stands for any.",
    example: "if (allow_address(\"1\", \"$si\", \"$sp\")) xlog(\"a peer\\n\");",
    run: |call| {
        let group = call.int(0).unwrap_or(-1);
        let text = String::from_utf8_lossy(&call.text(1)).into_owned();
        let port = port(call, 2);
        is_member(call, group, peer(&text), port)
    },
};

pub(super) const SOURCE_GROUP: Function = Function {
    name: "allow_source_address_group",
    params: &[],
    routes: Routes::ANY,
    doc: "The group of the address that the message came from; false when it is in none.",
    example: "$var(group) = allow_source_address_group();",
    run: |call| {
        let source = call.context.arrival.source;
        group_of(call, Peer::Address(source.ip()), source.port())
    },
};

pub(super) const GIVEN_GROUP: Function = Function {
    name: "allow_address_group",
    params: &[Param::required("address", ParamKind::Format), Param::required("port", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "The group of an address or domain; false when it is in none.",
    example: "$var(group) = allow_address_group(\"$si\", \"$sp\");",
    run: |call| {
        let text = String::from_utf8_lossy(&call.text(0)).into_owned();
        let port = port(call, 1);
        group_of(call, peer(&text), port)
    },
};

pub(super) const TRUSTED: Function = Function {
    name: "allow_trusted",
    params: &[
        Param::optional("address", ParamKind::Format),
        Param::optional("transport", ParamKind::Format),
        Param::optional("from", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "True when the request came from a trusted peer over its transport, and From and Request-URI match what the peer \
          may send. Address, transport and From may be given instead.",
    example: "if (allow_trusted()) setflag(1);",
    run: |call| {
        let message = std::sync::Arc::clone(&call.context.message);
        let given = (call.arg_count() > 0).then(|| call.text(0));
        let address = match &given {
            Some(text) => network::address(text),
            None => Some(call.context.arrival.source.ip()),
        };
        let transport = match call.arg_count() {
            0 | 1 => Some(call.context.arrival.transport),
            _ => Transport::from_token(&call.text(1)),
        };
        let from = match call.arg_count() {
            0..=2 => message.from().map(|from| from.uri.to_vec()).unwrap_or_default(),
            _ => call.text(2).to_vec(),
        };
        let uri = call.context.target.uri.clone();
        let Some(address) = address else { return Outcome::fail("allow_trusted: not an address") };
        let permissions = call.state::<Permissions>();
        let trusted = permissions.trusted();
        match trusted.find(&Asked { address, transport, from: &from, uri: &uri }) {
            Some(tag) => {
                permissions.note_tag(call, tag);
                Outcome::TRUE
            }
            None => Outcome::FALSE,
        }
    },
};

fn peer(text: &str) -> Peer<'_> {
    network::address(text.as_bytes()).map_or(Peer::Domain(text), |address: IpAddr| Peer::Address(address))
}

fn port(call: &Call<'_>, n: usize) -> u16 {
    call.int(n).and_then(|port| u16::try_from(port).ok()).unwrap_or(0)
}

fn is_member(call: &mut Call<'_>, group: i64, peer: Peer<'_>, port: u16) -> Outcome {
    let Ok(group) = u32::try_from(group) else { return Outcome::FALSE };
    let permissions = call.state::<Permissions>();
    match permissions.addresses().find(Some(group), peer, port) {
        Some(member) => {
            permissions.note_tag(call, &member.tag);
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    }
}

fn group_of(call: &mut Call<'_>, peer: Peer<'_>, port: u16) -> Outcome {
    let permissions = call.state::<Permissions>();
    match permissions.addresses().find(None, peer, port) {
        // Group 0 as a code would end the script.
        Some(member) if member.group > 0 => {
            permissions.note_tag(call, &member.tag);
            Outcome::Value(i64::from(member.group))
        }
        _ => Outcome::FALSE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, started};
    use module_api::Value;

    fn bench(files: &[(&str, &str)], settings: &[(&str, &str)]) -> Bench {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("ser-permissions-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            std::fs::write(directory.join(name), text).unwrap();
        }
        let directory = directory.to_str().unwrap().to_owned();
        let settings: Vec<(&str, String)> =
            settings.iter().map(|(name, value)| (*name, value.replace("DIR", &directory))).collect();
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let bench = Bench::with_state(INVITE, started(&MODULE, &settings));
        std::fs::remove_dir_all(&directory).unwrap();
        bench
    }

    #[test]
    fn the_source_is_looked_for_in_a_file_of_addresses() {
        let file = ("peers", "1 198.51.100.0/24 32 0 edge\n2 198.51.100.7 32 5070\n3 gw.example.com\n");
        let mut bench = bench(&[file], &[("address_file", "DIR/peers"), ("peer_tag_avp", "$avp(tag)")]);
        assert_eq!(bench.run(&MODULE, "allow_source_address", &[]), 1);
        assert_eq!(bench.context.avps.first(b"tag"), Some(&Value::from_static("edge")));
        assert_eq!(bench.run(&MODULE, "allow_source_address", &["7"]), -1);
        assert_eq!(bench.run(&MODULE, "allow_source_address_group", &[]), 2);
        assert_eq!(bench.run(&MODULE, "allow_address", &["2", "198.51.100.7", "0"]), 1);
        assert_eq!(bench.run(&MODULE, "allow_address_group", &["GW.example.com", "5060"]), 3);
        assert_eq!(bench.run(&MODULE, "allow_address_group", &["192.0.2.200", "5060"]), -1);
    }

    #[test]
    fn tables_come_from_text_files() {
        let address =
            "id(int,auto) grp(int) ip_addr(string) mask(int) port(int) tag(string,null)\n1:5:198.51.100.7:32:0:\n";
        let trusted = "src_ip(string) proto(string) from_pattern(string,null) ruri_pattern(string,null) tag(string,null)\n\
                       198.51.100.7:udp:^sip\\:alice@::\n";
        let mut bench = bench(&[("address", address), ("trusted", trusted)], &[("db_url", "text://DIR")]);
        assert_eq!(bench.run(&MODULE, "allow_source_address", &["5"]), 1);
        assert_eq!(bench.run(&MODULE, "allow_trusted", &[]), 1);
        assert_eq!(bench.run(&MODULE, "allow_trusted", &["198.51.100.8", "udp"]), -1);
        assert_eq!(bench.run(&MODULE, "allow_trusted", &["198.51.100.7", "udp", "sip:mallory@example.com"]), -1);
    }
}
