//! Modules that scripts load and that are built in here, or that nothing is left of.
//!
//! Each of them may be loaded and configured without effect. Where a script calls a function of
//! such a module the checker still says that there is no such function: nothing is pretended.

use module_api::{Function, Level, Module, Outcome, Param, ParamKind, Parameter, Routes, SettingKind};

macro_rules! passive {
    ($ident:ident, $name:literal, $doc:literal, [$($parameter:literal),*]) => {
        #[doc = $doc]
        pub static $ident: Module = Module {
            name: $name,
            doc: $doc,
            parameters: &[$(ignored($parameter)),*],
            ..Module::EMPTY
        };
    };
}

passive!(
    MI_DATAGRAM,
    "mi_datagram",
    "Has no effect: the server is controlled through its own socket.",
    [
        "socket_name",
        "children_count",
        "unix_socket_mode",
        "unix_socket_group",
        "unix_socket_user",
        "socket_timeout",
        "reply_indent"
    ]
);
passive!(
    MI_XMLRPC,
    "mi_xmlrpc",
    "Has no effect: the server is controlled through its own socket.",
    ["port", "log_file", "reply_option", "buffer_size", "escape_cr"]
);
passive!(
    STUN,
    "stun",
    "Has no effect: STUN Binding requests are answered at every UDP socket (RFC 5626 section 8).",
    ["stun_active", "stun_allow_stun", "stun_allow_fp", "stun_refresh_interval"]
);
passive!(CFG_RPC, "cfg_rpc", "Has no effect: the commands `cfg.*` are always there.", []);
passive!(MI_RPC, "mi_rpc", "Has no effect: the server is controlled through its own socket.", ["rpc_url"]);
passive!(
    DB_MYSQL,
    "db_mysql",
    "Has no effect: a db_url says which database is used.",
    [
        "ping_interval",
        "timeout_interval",
        "auto_reconnect",
        "insert_delayed",
        "update_affected_found",
        "connect_timeout",
        "send_timeout",
        "receive_timeout",
        "retries",
        "server_timezone",
        "unsigned_type",
        "opt_ssl_mode",
        "opt_ssl_ca"
    ]
);
passive!(MYSQL, "mysql", "Has no effect: a db_url says which database is used.", ["ping_interval", "auto_reconnect"]);
passive!(
    DB_POSTGRES,
    "db_postgres",
    "Has no effect: a db_url says which database is used.",
    ["retries", "lockset", "timeout", "tcp_keepalive", "bytea_output_escape", "con_param"]
);
passive!(POSTGRES, "postgres", "Has no effect: a db_url says which database is used.", []);
passive!(
    DB_SQLITE,
    "db_sqlite",
    "Has no effect: SQLite is built in, and a db_url says which file is used.",
    ["db_set_readonly", "db_set_journal_mode"]
);
passive!(
    DB_TEXT,
    "db_text",
    "Has no effect: a db_url says which database is used.",
    ["db_mode", "emptystring", "file_buffer_size", "max_result_rows", "default_connection", "db_delim"]
);
passive!(DBTEXT, "dbtext", "Has no effect: a db_url says which database is used.", ["db_mode"]);

/// SER's example module.
pub static PRINT: Module = Module {
    name: "print",
    doc: "Writes text to the log.",
    parameters: &[ignored("str_param"), ignored("int_param"), ignored("string_param")],
    functions: &[Function {
        name: "print",
        params: &[Param::required("text", ParamKind::Str)],
        routes: Routes::ANY,
        doc: "Writes text to the log at info level.",
        example: "print(\"a request came\\n\");",
        run: |call| {
            let text = call.text(0);
            call.host.log(Level::Info, &text);
            Outcome::TRUE
        },
    }],
    ..Module::EMPTY
};

const fn ignored(name: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc: "Has no effect." }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn text_is_printed_to_the_log() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&PRINT, "print", &["hello"]), 1);
        assert_eq!(bench.host.logged, [(Level::Info, "hello".to_owned())]);
    }
}
