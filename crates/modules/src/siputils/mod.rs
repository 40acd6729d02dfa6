//! Questions about requests and URIs.

mod charging;
mod contact;
mod contact_param;
mod convert;
mod message;
mod number;
mod options;
mod rpid;
mod uri;

use module_api::{Module, Parameter, SettingKind};

pub(crate) use number::is_e164;

/// Questions about requests and URIs.
pub static MODULE: Module = Module {
    name: "siputils",
    doc: "Answers questions about requests and URIs.",
    parameters: &[
        text("options_accept", "*/*", "The Accept header of options_reply()."),
        text("options_accept_language", "en", "The Accept-Language header of options_reply()."),
        text("options_accept_encoding", "", "The Accept-Encoding header of options_reply(); none when empty."),
        text("options_support", "", "The Supported header of options_reply(); none when empty."),
        text("rpid_avp", "$avp(s:rpid)", "The attribute with the URI that append_rpid_hf() writes."),
        crate::rpid::PREFIX,
        crate::rpid::SUFFIX,
        ignored("e164_max_len", "Has no effect: a number has up to 15 digits (E.164)."),
        text("contact_flds_separator", "*", "The character between the parts of an encoded Contact."),
    ],
    functions: &[
        message::HAS_TOTAG,
        message::IS_REQUEST,
        message::IS_REPLY,
        message::IS_FIRST_HOP,
        message::IS_SIP,
        message::IS_USER,
        message::IS_SUPPORTED,
        options::REPLY,
        uri::IS_URI,
        uri::IS_USER_E164,
        uri::HAS_PARAM,
        uri::HAS_PARAM_VALUE,
        uri::HAS_PARAM_ANY,
        uri::ADD_PARAM,
        uri::GET_PARAM,
        uri::REMOVE_PARAM,
        uri::CMP_URI,
        uri::CMP_AOR,
        number::IS_E164,
        number::IS_TEL_NUMBER,
        number::IS_NUMERIC,
        number::IS_ALPHANUM,
        number::IS_ALPHANUMEX,
        contact::ENCODE,
        contact::DECODE,
        contact::DECODE_HEADER,
        contact_param::ENCODE,
        contact_param::ENCODE_ALIAS,
        contact_param::DECODE,
        contact_param::DECODE_RURI,
        contact_param::REMOVE,
        contact_param::CHECK,
        charging::VECTOR,
        rpid::APPEND,
        rpid::APPEND_WITH,
        rpid::IS_E164,
        convert::TEL2SIP,
        crate::also("tel2sip2", convert::TEL2SIP),
        convert::SET_URI_USER,
        convert::SET_URI_HOST,
        convert::CMP_HDR_NAME,
        convert::IS_GRUU,
        convert::IS_HTTP,
        convert::PARSE_HEADERS,
        convert::DATE_CHECK,
    ],
    variables: &[charging::PCV],
    make: options::make,
    ..Module::EMPTY
};

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Str, default, doc }
}

const fn ignored(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc }
}
