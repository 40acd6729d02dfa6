//! Text work on messages: searching, replacing, headers and bodies.

mod body;
mod body_part;
mod header;
mod method;
mod plain;
mod search;
mod strings;
mod substitute;

use module_api::Module;

pub(crate) use body::REMOVE_BODY;
pub(crate) use substitute::expression;

/// Text work on messages.
///
/// What is changed leaves with the message; what is read, here and in variables, stays what was received.
pub static MODULE: Module = Module {
    name: "textops",
    doc: "Searches and changes the text of messages. Changes leave with the message; reading still shows what came.",
    functions: &[
        method::IS_METHOD,
        header::APPEND_HF,
        header::INSERT_HF,
        header::REMOVE_HF,
        header::REMOVE_HF_RE,
        header::REMOVE_HF_IDX,
        header::IS_PRESENT_HF,
        header::IS_PRESENT_HF_RE,
        header::APPEND_TO_REPLY,
        header::APPEND_URIHF,
        header::APPEND_TIME,
        header::APPEND_TIME_TO_REQUEST,
        header::IS_PRIVACY,
        search::SEARCH,
        search::SEARCH_BODY,
        search::SEARCH_HF,
        search::SEARCH_APPEND,
        search::REPLACE,
        search::REPLACE_ALL,
        search::REPLACE_BODY,
        search::REPLACE_BODY_ALL,
        search::REPLACE_HDRS,
        plain::REPLACE_STR,
        plain::REPLACE_HDRS_STR,
        plain::REPLACE_BODY_STR,
        plain::REGEX_SUBSTRING,
        plain::SEARCH_APPEND_BODY,
        plain::REMOVE_HF_EXP,
        crate::also("remove_hf_exp_pv", plain::REMOVE_HF_EXP),
        crate::also("remove_hf_pv", header::REMOVE_HF),
        crate::also("remove_hf_re_pv", header::REMOVE_HF_RE),
        crate::also("is_present_hf_pv", header::IS_PRESENT_HF),
        crate::also("is_present_hf_re_pv", header::IS_PRESENT_HF_RE),
        crate::also("replace_body_atonce", search::REPLACE_BODY),
        plain::VIA_PARAM_RM,
        plain::IS_AUDIO_ON_HOLD,
        strings::STR_ANY_IN,
        strings::STR_ALL_IN,
        substitute::SUBST_V,
        substitute::SUBST,
        substitute::SUBST_BODY,
        substitute::SUBST_URI,
        substitute::SUBST_USER,
        substitute::SUBST_HF,
        body::HAS_BODY,
        body::SET_BODY,
        body::SET_REPLY_BODY,
        body::SET_BODY_HEX,
        body::SET_REPLY_BODY_HEX,
        body::REMOVE_BODY,
        body_part::CONVERT,
        body_part::SET,
        body_part::APPEND,
        body_part::APPEND_HEX,
        body_part::REMOVE,
        body_part::GET,
        body_part::GET_RAW,
        body_part::FILTER,
        header::REMOVE_HF_MATCH,
        strings::STARTS_WITH,
        strings::ENDS_WITH,
        strings::IN_LIST,
        strings::IN_LIST_PREFIX,
        strings::CMP_STR,
        strings::CMP_ISTR,
        strings::STR_FIND,
        strings::STR_IFIND,
        strings::SEARCH_STR,
    ],
    ..Module::EMPTY
};

/// Text of a script that must be whole header lines: each ends with CRLF.
///
/// SER took any text; a script that forgot the line end had its header run into the next one, which
/// is never what was meant, so it is completed.
pub(crate) fn header_lines(text: &[u8]) -> Option<Vec<u8>> {
    let mut lines = Vec::with_capacity(text.len() + 2);
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        // A folded line belongs to the one before.
        let is_fold = matches!(line[0], b' ' | b'\t') && !lines.is_empty();
        let colon = line.iter().position(|byte| *byte == b':');
        let name = colon.map_or(&[][..], |colon| line[..colon].trim_ascii_end());
        let has_name = sip_message::is_token(name);
        if !(is_fold || has_name) || line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return None;
        }
        lines.extend_from_slice(line);
        lines.extend_from_slice(b"\r\n");
    }
    (!lines.is_empty()).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Option<String> {
        header_lines(text.as_bytes()).map(|lines| String::from_utf8(lines).unwrap())
    }

    #[test]
    fn header_text_becomes_whole_lines() {
        assert_eq!(lines("P-hint: x\r\n").as_deref(), Some("P-hint: x\r\n"));
        assert_eq!(lines("P-hint: x\n").as_deref(), Some("P-hint: x\r\n"));
        assert_eq!(lines("A: 1\r\nB: 2").as_deref(), Some("A: 1\r\nB: 2\r\n"));
        assert_eq!(lines("A: 1\r\n fold\r\n").as_deref(), Some("A: 1\r\n fold\r\n"));
    }

    #[test]
    fn text_that_is_no_header_is_refused() {
        assert_eq!(lines("no colon"), None);
        assert_eq!(lines(""), None);
        assert_eq!(lines("A: 1\r\n\r\n").as_deref(), Some("A: 1\r\n"));
        assert_eq!(lines(" : x"), None);
    }
}
