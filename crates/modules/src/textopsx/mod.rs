//! More text work on messages: applying edits, values of list headers, walks through headers and bodies.

mod message;
mod value;
mod value_edit;
mod walk;

use module_api::Module;

/// More text work on messages.
pub static MODULE: Module = Module {
    name: "textopsx",
    doc: "Applies changes so that the script sees them, changes single values of headers, and walks through headers and \
          bodies.",
    functions: &[
        message::APPLY_CHANGES,
        message::CHANGED_ROUTE,
        message::SET_BUFFER,
        message::REPLY_STATUS,
        message::REPLY_STATUS_CODE,
        message::KEEP_HF,
        crate::textops::REMOVE_BODY,
        message::FNMATCH,
        value_edit::APPEND,
        value_edit::INSERT,
        value_edit::ASSIGN,
        value_edit::ASSIGN_PARAM,
        value_edit::REMOVE,
        value_edit::REMOVE_PARAM,
        value_edit::INCLUDE,
        value_edit::EXCLUDE,
        value_edit::EXISTS,
        walk::HEADER_START,
        walk::HEADER_NEXT,
        walk::HEADER_PREVIOUS,
        walk::HEADER_END,
        walk::HEADER_REMOVE,
        walk::HEADER_APPEND,
        walk::HEADER_INSERT,
        walk::LINE_START,
        walk::LINE_NEXT,
        walk::LINE_END,
        walk::LINE_REMOVE,
        walk::LINE_APPEND,
        walk::LINE_INSERT,
    ],
    variables: &[walk::HEADER_NAME, walk::HEADER_BODY, walk::LINE_VALUE],
    ..Module::EMPTY
};

/// Whether text may stand in a start line or a header: a line end would smuggle in another header.
fn is_one_line(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}
