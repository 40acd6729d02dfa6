//! Pseudo-variables: the message, its target and the script's own values.

mod address;
mod arrival;
mod attribute;
mod branch;
mod credentials;
mod function;
mod header;
mod message;
mod target;
mod time;

use bytes::Bytes;
use module_api::{Call, KeyRule, Module, Parameter, Routes, Selector, SettingKind, Value, Variable};

pub(crate) use time::sip_date;

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
    functions: &[function::ISSET, function::UNSET, function::IS_INT, function::NOT_EMPTY, function::TYPEOF],
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
        target::SOCKET,
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
        address::CT,
        address::CT_URI,
        address::AI,
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
        header::HDR,
        header::HDR_COUNT,
        arrival::SOURCE_IP,
        named("src_ip", arrival::SOURCE_IP),
        arrival::SOURCE_IP_BRACKETS,
        arrival::SOURCE_PORT,
        arrival::SOURCE_URI,
        arrival::SOURCE_PLACE,
        arrival::RECEIVED_IP,
        arrival::RECEIVED_PORT,
        arrival::RECEIVED_URI,
        arrival::PROTOCOL,
        named("pr", arrival::PROTOCOL),
        arrival::FAMILY,
        arrival::PROCESS,
        arrival::MESSAGE_ID,
        attribute::VAR,
        attribute::AVP,
        attribute::SHARED,
        attribute::NULL,
        branch::BRANCH,
        named("br", branch::BRANCH),
        branch::FLAGS,
        credentials::USER,
        credentials::USER_PART,
        credentials::REALM,
        credentials::DOMAIN,
        credentials::NONCE,
        credentials::RESPONSE,
        credentials::URI,
        credentials::ALGORITHM,
        time::UNIX,
        time::TEXT,
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
