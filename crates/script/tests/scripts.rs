//! What the top of a script sets, and what the preprocessor makes of it.

mod world;

use module_api::{Dialect, Value};
use script::{Alias, Listen};
use sip_message::Transport;
use world::{Files, World, configuration, load_files, told};

fn listen(transport: Option<Transport>, host: &str, port: Option<u16>) -> Listen {
    Listen { transport, host: host.into(), port, advertise: None, name: None }
}

#[test]
fn listen_takes_a_list_with_options() {
    let text = "listen=192.0.2.1 udp:192.0.2.2:5080\n tls:[2001:db8::1]:5061 advertise sip.example.com:443 name \"out\"\n\
                listen=tcp:eth0\nalias=example.com tcp:example.net:5070 \"example.org\"\nport=5062\nroute { break; }";
    let settings = configuration(text).settings;
    let secure = Listen {
        advertise: Some(("sip.example.com".into(), 443)),
        name: Some("out".into()),
        ..listen(Some(Transport::Tls), "2001:db8::1", Some(5061))
    };
    assert_eq!(
        settings.listen,
        [
            listen(None, "192.0.2.1", None),
            listen(Some(Transport::Udp), "192.0.2.2", Some(5080)),
            secure,
            listen(Some(Transport::Tcp), "eth0", None),
        ]
    );
    let alias = |transport, host: &str, port| Alias { transport, host: host.into(), port };
    assert_eq!(
        settings.aliases,
        [
            alias(None, "example.com", None),
            alias(Some(Transport::Tcp), "example.net", Some(5070)),
            alias(None, "example.org", None),
        ]
    );
    assert_eq!(settings.int("port"), 5062);
}

#[test]
fn definitions_stand_in_addresses() {
    let text = "#!define IP \"192.0.2.7\"\n#!define ALL udp:IP:5060\nlisten=ALL\nlisten=tcp:IP:5070\nlisten=IP:5080\nrequest_route { exit; }";
    let expected = [
        listen(Some(Transport::Udp), "192.0.2.7", Some(5060)),
        listen(Some(Transport::Tcp), "192.0.2.7", Some(5070)),
        listen(None, "192.0.2.7", Some(5080)),
    ];
    assert_eq!(configuration(text).settings.listen, expected);
}

#[test]
fn parameters_have_defaults_synonyms_and_notations() {
    let settings = configuration("#!KAMAILIO\nenable_tls=yes\nmem_log=3\nfifo_mode=0666\nlog_facility=LOG_LOCAL0\nmpath \"/x\"\nrequest_route { exit; }").settings;
    assert!(settings.flag("enable_tls") && settings.flag("fork") && !settings.flag("log_stderror"));
    assert_eq!((settings.int("fifo_mode"), settings.int("children"), settings.int("debug")), (0o666, 8, 0));
    assert_eq!(settings.text("log_facility"), "LOG_LOCAL0");
    assert!(settings.is_set("fifo_mode") && !settings.is_set("children"));
}

#[test]
fn modules_come_in_order_with_their_settings() {
    let text = "#!KAMAILIO\nloadmodule \"/usr/lib/ser/modules/tm.so\"\nloadmodule(\"sl\")\n\
                modparam(\"tm|sl\", \"fr_timer\", 5)\nrequest_route { exit; }";
    assert!(world::load_text(text).diagnostics.has_errors(), "every module that matches must have the parameter");
    let text = text.replace("tm|sl", "^t.$");
    let modules = configuration(&text).modules;
    assert_eq!(modules.iter().map(|loaded| loaded.module.name).collect::<Vec<_>>(), ["core", "pv", "tm", "sl"]);
    assert_eq!(modules[2].settings[0].value, Value::Int(5));
}

#[test]
fn conditions_choose_parts_and_included_files_join_in() {
    let files = Files::one(
        "#!KAMAILIO\nloadmodule \"probe\"\n#!ifdef MOD_probe\n#!define WITH_B\n#!endif\ninclude_file \"b.cfg\"\n\
         request_route {\n#!ifdef WITH_A\ntell(\"a\");\n#!else\ntell(\"not a\");\n#!endif\n#!ifndef WITH_B\n#!ifdef X\n#!else\ntell(\"no\");\n#!endif\n\
         #!endif\n#!ifexp KAMAILIO_VERSION >= 5000000 && !NOPE\ntell(\"new\");\n#!endif\nroute(B);\n}",
    )
    .and("b.cfg", "#!substdef \"/WHO/bob/\"\nroute[B] { tell(\"hello WHO\"); }\n");
    let run = |defines: &[&str]| {
        let loaded = load_files(&files, defines);
        assert!(loaded.configuration.is_some(), "{}", loaded.diagnostics.render(false));
        World::of(loaded.configuration.unwrap()).told()
    };
    assert_eq!(run(&[]), ["not a", "new", "hello bob"]);
    assert_eq!(run(&["WITH_A"]), ["a", "new", "hello bob"]);
}

#[test]
fn the_family_is_told_from_what_only_one_can_say() {
    for (text, dialect) in [
        ("#!KAMAILIO\nroute { break; }", Dialect::Kamailio),
        ("route { if (method==\"INVITE\") { break; }; }", Dialect::Ser),
        ("fifo=\"/tmp/f\"\nroute { }", Dialect::Ser),
        ("route { if (method==\"BYE\") log(\"a\") else log(\"b\"); }", Dialect::Ser),
        ("route { if (method==\"BYE\") { exit; } }", Dialect::Kamailio),
        ("route { while ($var(x)) { break; } }", Dialect::Kamailio),
        ("request_route { }", Dialect::Kamailio),
    ] {
        assert_eq!(configuration(text).dialect, dialect, "{text}");
    }
}

#[test]
fn flags_are_declared_with_or_without_numbers() {
    let text = "#!KAMAILIO\nflags A:3, B;\nloadmodule \"probe\"\nrequest_route { setflag(A); setflag(B); \
                if (isflagset(3) && isflagset(31) && isflagset(\"A\")) tell(\"both\"); }";
    assert_eq!(told(text), ["both"]);
}

#[test]
fn forward_takes_parts_of_the_uri_addresses_and_names() {
    let text = "route { forward(uri:host, uri:port); forward(192.0.2.9, 5062); forward(gw.example.com); break; }";
    assert_eq!(
        told(text),
        [
            "forward b\"uri:host\" b\"uri:port\"",
            "forward b\"192.0.2.9\" b\"5062\"",
            "forward b\"gw.example.com\" b\"\""
        ]
    );
}

#[test]
fn settings_of_the_script_are_read_with_their_types() {
    let text = "#!KAMAILIO\npstn.gw = \"192.0.2.9\" desc \"the gateway\"\npstn.most = 5\npstn[2].gw = \"192.0.2.10\"\n\
                loadmodule \"probe.so\"\n\
                request_route { tell(\"$sel(cfg_get.pstn.gw)\"); if ($sel(cfg_get.pstn.most) + 1 == 6) tell(\"six\"); \
                if (@cfg_get.pstn.gw == \"192.0.2.9\") tell(\"same\"); tell(\"$sel(cfg_get.core.children)\"); }";
    assert_eq!(told(text), ["192.0.2.9", "six", "same", "8"]);
}

#[test]
fn a_request_can_select_an_instance_of_a_group() {
    let text = "#!KAMAILIO\npstn.gw = \"a\"\npstn[2].gw = \"b\"\nloadmodule \"probe.so\"\n\
                request_route { tell(\"$sel(cfg_get.pstn.gw)\"); }";
    let mut world = World::new(text);
    world.context.set_note(module_api::SelectedInstances(vec![("pstn".into(), 2)]));
    assert_eq!(world.told(), ["b"]);
}

#[test]
fn definitions_and_the_environment_can_be_read() {
    let text = "#!KAMAILIO\n#!define GATEWAY \"192.0.2.9\"\nloadmodule \"probe.so\"\n\
                request_route { tell(\"$def(GATEWAY)\"); if ($def(NOTHING) == $null) tell(\"none\"); \
                if ($env(NO_SUCH) == $null) tell(\"unset\"); }";
    assert_eq!(told(text), ["192.0.2.9", "none", "unset"]);
}

#[test]
fn a_variable_can_be_read_of_another_message() {
    let text = "#!KAMAILIO\nloadmodule \"probe.so\"\n\
                request_route { tell(\"$hdr(Subject) $T_req($hdr(Subject)) $(T_req($rm){s.len}) $hdr(Subject)\"); }";
    let mut world = World::new(text);
    let other = world::INVITE.replace("INVITE sip", "MESSAGE sip").replace("1 INVITE", "1 MESSAGE");
    let other = other.replace("Subject: ", "Subject: other ").replace('\n', "\r\n");
    let message = sip_message::Message::parse(other.into(), &sip_message::Limits::default()).unwrap();
    world.context.request = Some(std::sync::Arc::new(message));
    assert_eq!(world.told(), ["one other one 7 one"]);
}

#[test]
fn log_lines_of_a_run_bear_the_prefix_of_its_message() {
    let text = "#!KAMAILIO\nlog_prefix=\"{$rm $ci} \"\nloadmodule \"probe.so\"\nrequest_route { fail(); exit; }";
    let mut world = World::new(text);
    world.run();
    assert_eq!(world.server.log, ["{INVITE c1@example.org} test.cfg:4: fail: the database is away"]);
    use module_api::Host;
    assert_eq!(world.server.set_log_prefix(bytes::Bytes::new()), "");
}
