//! Records that the script asks for.

use module_api::{Call, Function, Outcome, Param, ParamKind, Routes};
use store::TableName;

use super::facts::{Event, Occasion};
use super::journal;
use super::settings::{Accounting, Sinks};

pub(super) const LOG: Function = Function {
    name: "acc_log_request",
    params: &[Param::required("comment", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Writes a record of this request to the log. The comment is a status code and a reason, or words alone.",
    example: "acc_log_request(\"403 Not allowed\");",
    run: |call| {
        let comment = call.text(0);
        account(call, &comment, Sinks { log: true, database: false }, None)
    },
};

pub(super) const DB: Function = Function {
    name: "acc_db_request",
    params: &[Param::required("comment", ParamKind::Format), Param::required("table", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Writes a record of this request to a table of the accounting database, which gets it exactly once. The comment \
          is a status code and a reason, or words alone. False without a database (db_url, db_flag).",
    example: "acc_db_request(\"404 Not found\", \"missed_calls\");",
    run: |call| {
        let (comment, table) = (call.text(0), call.text(1));
        account(call, &comment, Sinks { log: false, database: true }, Some(&table))
    },
};

pub(super) const BOTH: Function = Function {
    name: "acc_request",
    params: &[Param::required("comment", ParamKind::Format), Param::required("table", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "As acc_log_request(), and as acc_db_request() where there is an accounting database.",
    example: "acc_request(\"200 Redirected\", \"acc\");",
    run: |call| {
        let (comment, table) = (call.text(0), call.text(1));
        let database = call.state::<Accounting>().spool.is_some();
        account(call, &comment, Sinks { log: true, database }, Some(&table))
    },
};

fn account(call: &mut Call<'_>, comment: &[u8], sinks: Sinks, table: Option<&[u8]>) -> Outcome {
    let state = call.state::<Accounting>();
    if sinks.database && state.spool.is_none() {
        return Outcome::fail("there is no accounting database; set db_url of module acc");
    }
    let named = match table {
        Some(name) => match TableName::new(&String::from_utf8_lossy(name)) {
            Ok(name) => Some(name),
            Err(error) => return Outcome::fail(error.to_string()),
        },
        None => None,
    };
    let (code, reason) = split(comment);
    let event = Event { occasion: Occasion::Requested, code, reason, to_tag: None };
    journal::write(call, &event, sinks, named.as_ref().unwrap_or(&state.acc_table));
    Outcome::TRUE
}

/// `404 Not found` is a code and a reason; anything else is a reason.
pub(super) fn split(comment: &[u8]) -> (u16, &[u8]) {
    let digits = comment.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match (digits, comment.get(3)) {
        (Some(code), None | Some(b' ')) => (code, comment.get(4..).unwrap_or_default()),
        _ => (0, comment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_begins_with_a_status_code_or_is_all_reason() {
        for (comment, expected) in [
            ("404 Not found", (404, "Not found")),
            ("486", (486, "")),
            ("went wrong", (0, "went wrong")),
            ("4040 x", (0, "4040 x")),
            ("", (0, "")),
        ] {
            let (code, reason) = split(comment.as_bytes());
            assert_eq!((code, std::str::from_utf8(reason).expect("it is text")), expected, "{comment}");
        }
    }
}
