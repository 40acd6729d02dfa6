//! Whatever the text, loading answers and does not panic.

mod world;

use proptest::prelude::*;
use world::load_text;

fn piece() -> impl Strategy<Value = String> {
    let words = [
        "route",
        "request_route",
        "failure_route",
        "if",
        "else",
        "while",
        "switch",
        "case",
        "default",
        "break",
        "exit",
        "return",
        "drop",
        "loadmodule",
        "modparam",
        "listen",
        "alias",
        "flags",
        "uri",
        "method",
        "status",
        "myself",
        "src_ip",
        "msg",
        "len",
        "not",
        "and",
        "or",
        "mod",
        "defined",
        "strlen",
        "selval",
        "int",
        "str",
        "tell",
        "code",
        "t_relay",
        "yes",
        "udp",
        "debug",
        "socket",
        "bind",
        "avpflags",
        "include_file",
        "A",
    ];
    let symbols = [
        "(", ")", "{", "}", "[", "]", ";", ",", "=", "==", "!=", "=~", "<", ">", "!", "+", "-", "*", "/", "&", "|",
        "^", "~", ":", ".", "\n", "#", "//", "/*", "*/", "'", "\"", "\\", "@", "%", "<<", "$", "$(", "é", "\u{0}",
    ];
    let texts = [
        "\"tm.so\"",
        "\"x\"",
        "$ru",
        "$var(x)",
        "$(ru{uri.host})",
        "$(var(x)[*]{s.substr,0,-1})",
        "$avp(s:x)",
        "1",
        "0x1F",
        "10.0.0.1",
        "10.0.0.0/8",
        "[::1]",
        "9999999999999999999",
        "\"[\"",
        "\"$var($var($ru))\"",
        "\n#!ifdef A\n",
        "\n#!ifndef A\n",
        "\n#!else\n",
        "\n#!endif\n",
        "\n#!define A A B\n",
        "\n#!undef A\n",
        "\n#!subst \"/a/b/\"\n",
        "\n#!substdef \"!A!\\1!\"\n",
        "\n#!ifexp A == 1 && (2\n",
        "\n#!KAMAILIO\n",
        "include_file \"test.cfg\"\n",
        "1-",
        "-",
        "\"%ru\"",
        "@a.b[1]",
    ];
    prop_oneof![
        proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        proptest::sample::select(symbols.to_vec()).prop_map(str::to_owned),
        proptest::sample::select(texts.to_vec()).prop_map(str::to_owned),
        "[ -~]{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_soup_of_tokens_is_answered(pieces in proptest::collection::vec(piece(), 0..80), in_route in any::<bool>()) {
        let soup = pieces.join(" ");
        let text = if in_route { format!("loadmodule \"probe\"\nroute {{ {soup} }}") } else { soup };
        let loaded = load_text(&text);
        let told = loaded.diagnostics.render(true).len() + loaded.diagnostics.to_json().len();
        prop_assert!(loaded.configuration.is_some() || told > 2);
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        load_text(&text).diagnostics.render(false);
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    for (open, close) in [("(", ")"), ("!", ""), ("$var(", ")"), ("-", "")] {
        let inner = format!("{}1{}", open.repeat(50_000), close.repeat(50_000));
        assert!(load_text(&format!("route {{ if ({inner}) exit; }}")).diagnostics.has_errors(), "{open}");
    }
    let blocks = format!("route {{ {} }}", "if (1) {".repeat(50_000));
    assert!(load_text(&blocks).diagnostics.has_errors());
    let sum = format!("route {{ $var(x) = 1{}; }}", " + 1".repeat(50_000));
    assert!(load_text(&sum).diagnostics.has_errors());
    let nested = format!(
        "#!KAMAILIO\nroute {{ $var(x) = \"a\"; if ($avp({}x{})) exit; }}",
        "$avp(".repeat(5_000),
        ")".repeat(5_000)
    );
    assert!(load_text(&nested).diagnostics.has_errors());
}

#[test]
fn definitions_cannot_grow_without_bound() {
    let mut text = String::from("#!define A0 1 1 1 1 1 1 1 1\n");
    for n in 1..30 {
        let before = format!("A{} ", n - 1).repeat(8);
        text.push_str(&format!("#!define A{n} {before}\n"));
    }
    text.push_str("route { x(A9, A29); }");
    assert!(load_text(&text).diagnostics.has_errors());
}

#[test]
fn deep_switches_and_long_chains_of_routes_are_walked_once() {
    let mut switches = "tell(\"x\");".to_owned();
    for _ in 0..14 {
        let cases: String = (0..10).map(|n| format!("case {n}: {} ", if n == 0 { &*switches } else { ";" })).collect();
        switches = format!("switch ($rc) {{ {cases} }}");
    }
    let chain: String = (0..3000).map(|n| format!("route[r{n}] {{ route(r{}); }}\n", n + 1)).collect();
    let script = format!(
        "#!KAMAILIO\nloadmodule \"probe.so\"\nrequest_route {{ {switches} route(r0); }}\n{chain}route[r3000] {{ exit; }}"
    );
    assert!(load_text(&script).configuration.is_some(), "{}", load_text(&script).diagnostics.render(false));
}
