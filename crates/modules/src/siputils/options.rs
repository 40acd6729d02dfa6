//! The answer to OPTIONS that asks the server itself (RFC 3261 section 11.2).

use std::sync::Arc;

use module_api::{Call, Function, Outcome, Reply, Routes, Setup, SetupError, State};
use sip_message::{Method, Uri};

use crate::contact_code::Separator;
use crate::rpid::RemoteParty;

/// Header lines of the answer to OPTIONS, and how Contacts are encoded.
pub(super) struct Settings {
    capabilities: String,
    /// Between the parts of an encoded Contact.
    pub(super) separator: Separator,
    /// How Remote-Party-ID is written.
    pub(super) remote_party: RemoteParty,
}

pub(super) const REPLY: Function = Function {
    name: "options_reply",
    params: &[],
    routes: Routes::REQUEST,
    doc: "Answers an OPTIONS that asks this server: 200 with what it accepts. False for other methods, and when the \
          Request-URI names a user.",
    example: "if (is_method(\"OPTIONS\") && uri==myself) options_reply();",
    run: reply,
};

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let headers = [
        ("Accept", "options_accept"),
        ("Accept-Encoding", "options_accept_encoding"),
        ("Accept-Language", "options_accept_language"),
        ("Supported", "options_support"),
    ];
    let mut lines = String::new();
    for (header, parameter) in headers {
        let value = setup.text(parameter);
        if value.contains(['\r', '\n']) {
            return Err(SetupError::Setting { name: parameter, cause: "must be one line".into() });
        }
        if !value.is_empty() {
            lines.push_str(&format!("{header}: {value}\r\n"));
        }
    }
    let separator = Separator::parse(&setup.text("contact_flds_separator"));
    let separator = separator.map_err(|cause| SetupError::Setting { name: "contact_flds_separator", cause })?;
    let remote_party = RemoteParty::new(setup, &setup.text("rpid_avp"));
    Ok(Arc::new(Settings { capabilities: lines, separator, remote_party }))
}

fn reply(call: &mut Call<'_>) -> Outcome {
    let is_asked = Uri::parse(&call.context.target.uri).is_ok_and(|uri| uri.user.is_none());
    if call.context.message.method() != Method::Options || !is_asked {
        return Outcome::FALSE;
    }
    let headers = &call.state::<Settings>().capabilities;
    let reply = Reply { code: 200, reason: b"OK", headers: headers.as_bytes() };
    let result = match call.context.transaction {
        Some(_) => call.host.reply(call.context, &reply),
        None => call.host.reply_stateless(call.context, &reply),
    };
    result.is_ok().into()
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, make};
    use module_api::Dialect;

    #[test]
    fn only_options_to_the_server_itself_is_answered() {
        let state = make(&MODULE, &[], Dialect::Kamailio, &|_| None).unwrap();
        let text =
            INVITE.replace("INVITE sip:bob@example.com", "OPTIONS sip:example.com").replace("1 INVITE", "1 OPTIONS");
        let mut bench = Bench::with_state(&text, state.clone());
        assert_eq!(bench.run(&MODULE, "options_reply", &[]), 1);
        assert_eq!(bench.host.done, ["stateless 200 OK Accept: */*|Accept-Language: en|"]);
        let text = INVITE.replace("INVITE", "OPTIONS");
        assert_eq!(Bench::with_state(&text, state.clone()).run(&MODULE, "options_reply", &[]), -1);
        assert_eq!(Bench::with_state(INVITE, state).run(&MODULE, "options_reply", &[]), -1);
    }
}
