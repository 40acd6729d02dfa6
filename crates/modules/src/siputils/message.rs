//! Questions about the message.

use module_api::{Function, Param, ParamKind, Routes};
use sip_message::{HeaderName, Uri, unquote};

pub(super) const HAS_TOTAG: Function = Function {
    name: "has_totag",
    params: &[],
    routes: Routes::ANY,
    doc: "True when To has a tag: the message is of a dialog that exists.",
    example: "if (has_totag()) route(WITHINDLG);",
    run: |call| call.context.message.to_tag().is_some_and(|tag| !tag.is_empty()).into(),
};

pub(super) const IS_REQUEST: Function = Function {
    name: "is_request",
    params: &[],
    routes: Routes::ANY,
    doc: "True when the message is a request.",
    example: "if (is_request()) xlog(\"$rm\\n\");",
    run: |call| call.context.message.is_request().into(),
};

pub(super) const IS_REPLY: Function = Function {
    name: "is_reply",
    params: &[],
    routes: Routes::ANY,
    doc: "True when the message is a reply.",
    example: "if (is_reply()) xlog(\"$rs\\n\");",
    run: |call| (!call.context.message.is_request()).into(),
};

pub(super) const IS_FIRST_HOP: Function = Function {
    name: "is_first_hop",
    params: &[],
    routes: Routes::ANY,
    doc: "True when a request came straight from its sender (it has one Via); for a reply, when its top Record-Route is \
          this server's.",
    example: "if (is_first_hop()) setflag(1);",
    run: |call| {
        let message = &call.context.message;
        if message.is_request() {
            return (message.vias().take(2).count() == 1).into();
        }
        let Some(Ok(top)) = message.record_routes().next() else { return false.into() };
        let is_own = |uri: Uri<'_>| call.host.is_myself(uri.host_text, uri.port, uri.transport());
        top.parsed_uri().is_ok_and(is_own).into()
    },
};

pub(super) const IS_SIP: Function = Function {
    name: "is_sip",
    params: &[],
    routes: Routes::ANY,
    doc: "True: nothing but SIP reaches a script.",
    example: "if (is_sip()) exit;",
    run: |_| true.into(),
};

pub(super) const IS_USER: Function = Function {
    name: "is_user",
    params: &[Param::required("user", ParamKind::Str)],
    routes: Routes::REQUESTS,
    doc: "True when the user name in the credentials is the given one. Only worth something once they were verified.",
    example: "if (is_user(\"alice\")) xlog(\"it is alice\\n\");",
    run: |call| {
        let wanted = call.text(0);
        let message = &call.context.message;
        let own = message.credentials(HeaderName::Authorization);
        let mut all = own.chain(message.credentials(HeaderName::ProxyAuthorization));
        let name = all.next().and_then(|credentials| credentials.find("username"));
        name.is_some_and(|name| *unquote(name) == wanted[..]).into()
    },
};

pub(super) const IS_SUPPORTED: Function = Function {
    name: "is_supported",
    params: &[Param::required("option", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "True when Supported lists the option tag.",
    example: "if (is_supported(\"path\")) xlog(\"knows Path\\n\");",
    run: |call| {
        let option = call.text(0);
        let option = std::str::from_utf8(&option).unwrap_or_default();
        call.context.message.has_token(HeaderName::Supported, option).into()
    },
};

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE};

    #[test]
    fn a_tag_in_to_tells_a_dialog() {
        assert_eq!(Bench::invite().run(&MODULE, "has_totag", &[]), -1);
        let text = INVITE.replace("To: Bob <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=x");
        assert_eq!(Bench::new(&text).run(&MODULE, "has_totag", &[]), 1);
    }

    #[test]
    fn requests_and_replies_are_told_apart() {
        assert_eq!(Bench::invite().run(&MODULE, "is_request", &[]), 1);
        assert_eq!(Bench::reply("200 OK").run(&MODULE, "is_request", &[]), -1);
        assert_eq!(Bench::reply("200 OK").run(&MODULE, "is_reply", &[]), 1);
    }

    #[test]
    fn one_via_is_the_first_hop() {
        assert_eq!(Bench::invite().run(&MODULE, "is_first_hop", &[]), 1);
        let text = INVITE.replace("Max-Forwards", "Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\nMax-Forwards");
        assert_eq!(Bench::new(&text).run(&MODULE, "is_first_hop", &[]), -1);
    }
}
