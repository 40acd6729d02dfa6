//! Pseudo-variables: the message, its target and the script's own values.

mod address;
mod arrival;
mod attribute;
mod branch;
mod buffer;
mod calendar;
mod constant;
mod credentials;
mod departure;
mod function;
mod header;
mod identity;
mod message;
mod record;
mod record_function;
mod select;
mod target;
mod time;
mod via;

use bytes::Bytes;
use module_api::{Call, KeyRule, Module, Parameter, Routes, Selector, SettingKind, Value, Variable};

pub(crate) use calendar::sip_date;

/// The variables that scripts write with `$`.
pub static MODULE: Module = Module {
    name: "pv",
    doc: "Pseudo-variables: the message, its target and the script's own values.",
    parameters: &[Parameter {
        name: "shvset",
        kind: SettingKind::List,
        default: "",
        doc: "A first value of a shared variable: NAME=s:TEXT or NAME=i:NUMBER.",
    }],
    commands: attribute::COMMANDS,
    functions: &[
        function::ISSET,
        function::UNSET,
        function::IS_INT,
        function::NOT_EMPTY,
        function::TYPEOF,
        function::EVALX,
        record_function::REMOVE,
        record_function::REMOVE_FOLDED,
        record_function::REMOVE_ALL,
        record_function::REMOVE_ALL_FOLDED,
        record_function::FROM_VARIABLES,
        record_function::TO_VARIABLES,
        record_function::CHILD_REMOVE,
        record_function::CHILD_REMOVE_FOLDED,
        record_function::CHILD_SET_TEXT,
        record_function::CHILD_SET_NUMBER,
        record_function::CHILD_SET_TEXT_FOLDED,
        record_function::CHILD_SET_NUMBER_FOLDED,
        record_function::EXPLODE,
        record_function::EXPLODE_UNIQUE,
        record_function::EXPLODE_AT,
        record_function::IMPLODE,
        record_function::IMPLODE_QUOTED,
        record_function::IMPLODE_UNIQUE,
        record_function::LIST_EXPLODE,
        record_function::COPY,
        record_function::SHIFT,
        record_function::PRINT,
        record_function::PRINT_UNIQUE,
        record_function::PRINT_FOLDED,
        branch::PREPARED_APPEND,
        branch::PREPARED_RESET,
        branch::PREPARED_SET,
    ],
    variables: &[
        target::RU,
        named("ruri", target::RU),
        target::RU_USER,
        named("ruri.user", target::RU_USER),
        target::RU_HOST,
        named("ruri.domain", target::RU_HOST),
        target::RU_PORT,
        target::RU_PROTOCOL,
        target::RU_USER_LENGTH,
        target::DU,
        named("duri", target::DU),
        target::DU_HOST,
        target::DU_PORT,
        target::DU_PROTOCOL,
        target::OU,
        named("ouri", target::OU),
        target::OU_USER,
        target::OU_HOST,
        target::OU_PORT,
        target::OU_PROTOCOL,
        target::OU_USER_LENGTH,
        target::RU_SCHEME,
        target::RU_LENGTH,
        target::DESTINATIONS,
        target::NEXT_HOP,
        target::SOCKET,
        target::SOCKET_NAME,
        target::SOCKET_PROTOCOL,
        address::FU,
        named("from", address::FU),
        address::F_USER,
        named("from.user", address::F_USER),
        address::F_HOST,
        named("from.domain", address::F_HOST),
        address::F_NAME,
        address::F_TAG,
        address::TU,
        named("to", address::TU),
        address::T_USER,
        named("to.user", address::T_USER),
        address::T_HOST,
        named("to.domain", address::T_HOST),
        address::T_NAME,
        address::T_TAG,
        address::F_USER_LENGTH,
        address::T_USER_LENGTH,
        address::F_URI_LENGTH,
        address::T_URI_LENGTH,
        address::CT,
        address::CT_URI,
        address::AI,
        identity::PREFERRED_URI,
        identity::PREFERRED_USER,
        identity::PREFERRED_HOST,
        identity::PREFERRED_NAME,
        identity::REMOTE_PARTY,
        identity::DIVERSION,
        identity::DIVERSION_REASON,
        identity::DIVERSION_PRIVACY,
        identity::DIVERSION_COUNTER,
        message::CALL_ID,
        message::CSEQ,
        message::CSEQ_BODY,
        message::METHOD,
        message::STATUS,
        message::REASON,
        message::VERSION,
        message::USER_AGENT,
        message::CONTENT_TYPE,
        message::CONTENT_LENGTH,
        message::BODY,
        message::BODY_SIZE,
        message::BUFFER,
        message::LENGTH,
        message::TYPE,
        message::FLAGS,
        message::FLAGS_HEX,
        message::EXPIRES,
        message::TYPE_TEXT,
        message::METHOD_ID,
        message::PARTS,
        buffer::RECEIVED,
        buffer::CHARACTER,
        buffer::COUNT,
        buffer::CUSTOM,
        buffer::MESSAGE_FLAG,
        buffer::BRANCH_FLAG,
        buffer::SCRIPT_FLAG,
        buffer::SCRIPT_FLAGS,
        buffer::SCRIPT_FLAGS_HEX,
        named("mbu", message::BUFFER),
        header::HDR,
        header::HDR_COUNT,
        header::LIST,
        header::LIST_COUNT,
        via::TOP,
        via::SECOND,
        via::LAST,
        select::SELECT,
        arrival::SOURCE_IP,
        named("src_ip", arrival::SOURCE_IP),
        arrival::SOURCE_IP_BRACKETS,
        arrival::SOURCE_PORT,
        arrival::SOURCE_URI,
        arrival::SOURCE_PLACE,
        arrival::RECEIVED_IP,
        arrival::RECEIVED_PORT,
        arrival::SOURCE_URI_WHOLE,
        arrival::RECEIVED_URI,
        arrival::RECEIVED_URI_WHOLE,
        arrival::RECEIVED_PLACE,
        arrival::RECEIVED_NAME,
        arrival::ADVERTISED_IP,
        arrival::ADVERTISED_PORT,
        arrival::ADVERTISED_URI,
        arrival::ADVERTISED_URI_WHOLE,
        arrival::PROTOCOL_NUMBER,
        arrival::CONNECTION,
        arrival::PROTOCOL,
        named("pr", arrival::PROTOCOL),
        arrival::FAMILY,
        arrival::PROCESS,
        named("PID", arrival::PROCESS),
        arrival::MESSAGE_ID,
        departure::TO,
        named("snd", departure::TO),
        departure::FROM,
        attribute::VAR,
        named("vz", attribute::VAR),
        attribute::UNSET_VAR,
        attribute::AVP,
        attribute::SHARED,
        attribute::SHARED_INCREMENT,
        record::XAVP,
        record::XAVU,
        record::XAVI,
        attribute::NULL,
        branch::BRANCH,
        named("br", branch::BRANCH),
        branch::FLAGS,
        branch::FLAGS_HEX,
        branch::PREPARED,
        credentials::USER,
        credentials::WHOLE_USER,
        credentials::ACCOUNTED,
        credentials::ACCOUNTED_USER,
        credentials::CLIENT_NONCE,
        credentials::OPAQUE,
        credentials::REALM,
        credentials::DOMAIN,
        credentials::NONCE,
        credentials::RESPONSE,
        credentials::URI,
        credentials::ALGORITHM,
        constant::TRUE,
        constant::FALSE,
        constant::K,
        constant::VERSION,
        constant::HOST_NAME,
        constant::STATISTIC,
        constant::TEXT,
        time::UNIX,
        named("TS", time::UNIX),
        time::TEXT,
        named("TF", time::TEXT),
        time::STARTED,
        time::LOCAL,
        time::LOCAL_FORMAT,
        time::UTC_FORMAT,
        time::VALUE,
        time::UTC,
        time::RANDOM,
    ],
    make: attribute::make,
    ..Module::EMPTY
};

/// Code that reads a variable.
type Read = fn(&mut Call<'_>, &Selector<'_>) -> Value;

/// A variable without key that can only be read.
const fn plain(name: &'static str, doc: &'static str, example: &'static str, read: Read) -> Variable {
    Variable { name, key: KeyRule::None, routes: Routes::ANY, doc, example, read, write: None }
}

/// The same variable under its long name.
const fn named(name: &'static str, variable: Variable) -> Variable {
    Variable {
        name,
        key: variable.key,
        routes: variable.routes,
        doc: variable.doc,
        example: variable.example,
        read: variable.read,
        write: variable.write,
    }
}

/// A copy of `part` as a value. The parts of a message that are read often are short.
fn copied(part: Option<&[u8]>) -> Value {
    part.map(Bytes::copy_from_slice).into()
}

fn text(text: impl Into<String>) -> Value {
    Value::Str(text.into().into())
}
