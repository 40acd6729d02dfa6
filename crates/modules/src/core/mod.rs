//! What every script can use without `loadmodule`: classic statements and operands.

mod branch;
mod command;
mod delivery;
mod event;
mod flag;
mod forward;
mod operand;
mod request_uri;
mod setting;
mod trace;

use module_api::Module;

pub(crate) use branch::append;
pub(crate) use forward::{socket_named, socket_of};

/// The module that is always there.
pub static MODULE: Module = Module {
    name: "core",
    doc: "Statements and operands that need no loadmodule.",
    functions: &[
        request_uri::SETURI,
        crate::also("rewriteuri", request_uri::SETURI),
        request_uri::SETHOST,
        crate::also("rewritehost", request_uri::SETHOST),
        crate::also("seth", request_uri::SETHOST),
        request_uri::SETHOSTPORT,
        crate::also("rewritehostport", request_uri::SETHOSTPORT),
        crate::also("sethp", request_uri::SETHOSTPORT),
        request_uri::SETHOSTPORTTRANS,
        crate::also("rewritehostporttrans", request_uri::SETHOSTPORTTRANS),
        crate::also("sethpt", request_uri::SETHOSTPORTTRANS),
        request_uri::SETUSER,
        crate::also("rewriteuser", request_uri::SETUSER),
        crate::also("setu", request_uri::SETUSER),
        request_uri::SETUSERPASS,
        crate::also("rewriteuserpass", request_uri::SETUSERPASS),
        crate::also("setup", request_uri::SETUSERPASS),
        request_uri::SETPORT,
        crate::also("rewriteport", request_uri::SETPORT),
        crate::also("setp", request_uri::SETPORT),
        request_uri::PREFIX,
        request_uri::STRIP,
        request_uri::STRIP_TAIL,
        request_uri::REVERT_URI,
        request_uri::USERPHONE,
        branch::APPEND_BRANCH,
        branch::REMOVE_BRANCH,
        branch::CLEAR_BRANCHES,
        flag::SETFLAG,
        flag::RESETFLAG,
        flag::ISFLAGSET,
        forward::FORWARD,
        forward::FORWARD_UDP,
        forward::FORWARD_TCP,
        forward::FORWARD_TLS,
        forward::SEND,
        forward::SEND_TCP,
        forward::FORCE_RPORT,
        crate::also("add_rport", forward::FORCE_RPORT),
        forward::FORCE_SEND_SOCKET,
        delivery::ADVERTISED_ADDRESS,
        delivery::ADVERTISED_PORT,
        delivery::LOCAL_RPORT,
        delivery::REPLY_NO_CONNECT,
        delivery::REPLY_CLOSE,
        delivery::FORWARD_NO_CONNECT,
        delivery::FORWARD_CLOSE,
        delivery::TCP_ALIAS,
        crate::also("add_tcp_alias", delivery::TCP_ALIAS),
        delivery::MTU_TRANSPORT,
        setting::SELECT,
        setting::RESET,
        command::EXEC,
        flag::SETAVPFLAG,
        flag::RESETAVPFLAG,
        flag::ISAVPFLAGSET,
        trace::LOG,
        trace::LOG_AT,
        trace::ERROR,
        operand::LEN_GT,
    ],
    variables: &operand::ALL,
    events: &event::ALL,
    ..Module::EMPTY
};
