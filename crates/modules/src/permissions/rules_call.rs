//! Functions that ask the files of rules.

use bytes::Bytes;
use module_api::{Answer, ArgumentKind, Call, Command, CommandParam, Function, Outcome, Param, ParamKind, Routes};
use sip_message::{HeaderName, Uri};

use super::Permissions;

const FILES: &[Param] = &[Param::optional("allow", ParamKind::Str), Param::optional("deny", ParamKind::Str)];
const NAMED_FILES: &[Param] = &[Param::required("allow", ParamKind::Str), Param::optional("deny", ParamKind::Str)];

pub(super) const ROUTING: Function = Function {
    name: "allow_routing",
    params: FILES,
    routes: Routes::ANY,
    doc: "True when From may call the Request-URI and each further target: a pair that a file allows, or that none denies. \
          The files are the default ones, those of a base name, or two that are named.",
    example: "if (!allow_routing(\"rules.allow\", \"rules.deny\")) sl_send_reply(\"403\", \"Forbidden\");",
    run: |call| {
        let Ok(from) = call.context.message.from().map(|from| from.uri.to_vec()) else { return Outcome::FALSE };
        let mut uris = vec![call.context.target.uri.clone()];
        if call.state::<Permissions>().checks_all_branches {
            uris.extend(call.context.branches.iter().map(|branch| branch.uri.clone()));
        }
        let files = files(call, 0);
        check(call, &files, &from, &uris, false)
    },
};

pub(super) const REGISTER: Function = Function {
    name: "allow_register",
    params: NAMED_FILES,
    routes: Routes::REQUESTS,
    doc: "True when To may register each of the Contacts, by the files of a base name or two that are named.",
    example: "if (!allow_register(\"register\")) sl_send_reply(\"403\", \"Forbidden\");",
    run: |call| register(call, false),
};

pub(super) const REGISTER_WITH_PORT: Function = Function {
    name: "allow_register_include_port",
    params: NAMED_FILES,
    routes: Routes::REQUEST,
    doc: "As allow_register(); the rules see the ports of the Contacts.",
    example: "if (!allow_register_include_port(\"register\")) sl_send_reply(\"403\", \"Forbidden\");",
    run: |call| register(call, true),
};

pub(super) const URI: Function = Function {
    name: "allow_uri",
    params: &[Param::required("files", ParamKind::Str), Param::required("uri", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when From may have to do with a URI, by the files of a base name.",
    example: "if (!allow_uri(\"refer\", \"$var(target)\")) exit;",
    run: |call| {
        let Ok(from) = call.context.message.from().map(|from| from.uri.to_vec()) else { return Outcome::FALSE };
        let files = vec![String::from_utf8_lossy(&call.text(0)).into_owned()];
        check(call, &files, &from, &[call.text(1)], false)
    },
};

pub(super) const REFER_TO: Function = Function {
    name: "allow_refer_to",
    params: NAMED_FILES,
    routes: Routes::REQUEST,
    doc: "True when From may refer to the URI of Refer-To, by the files of a base name or two that are named.",
    example: "if (is_method(\"REFER\") && !allow_refer_to(\"refer\")) exit;",
    run: |call| {
        let message = std::sync::Arc::clone(&call.context.message);
        let uris = message.from().and_then(|from| Ok((from, message.address(HeaderName::ReferTo)?)));
        let Ok((from, refer_to)) = uris else { return Outcome::FALSE };
        let files = files(call, 0);
        check(call, &files, from.uri, &[Bytes::copy_from_slice(refer_to.uri)], false)
    },
};

pub(super) const TEST: Command = Command {
    name: "permissions.testUri",
    aliases: &["permissions.allowUri", "allow_uri"],
    params: &[
        CommandParam::required("files", ArgumentKind::Str, "The base name of the files."),
        CommandParam::required("uri", ArgumentKind::Str, "The URI that something comes from."),
        CommandParam::required("contact", ArgumentKind::Str, "The URI that it is about."),
    ],
    doc: "Tells whether the files of a base name allow a pair of URIs.",
    result: "`Allowed` or `Denied`.",
    example: "permissions.testUri register sip:alice@example.com sip:alice@192.0.2.7",
    run: |call| {
        let [files, uri, contact] = [0, 1, 2].map(|n| call.text(n).unwrap_or_default());
        let contact = [Bytes::copy_from_slice(contact.as_bytes())];
        match judge(call.state::<Permissions>(), &[files.to_owned()], uri.as_bytes(), &contact, false) {
            Ok(is_allowed) => if is_allowed { "Allowed" } else { "Denied" }.into(),
            Err(cause) => Answer::error(400, cause),
        }
    },
};

fn files(call: &Call<'_>, first: usize) -> Vec<String> {
    (first..call.arg_count()).map(|n| String::from_utf8_lossy(&call.text(n)).into_owned()).collect()
}

fn register(call: &mut Call<'_>, with_port: bool) -> Outcome {
    let message = std::sync::Arc::clone(&call.context.message);
    let Ok(to) = message.to() else { return Outcome::FALSE };
    let contacts = message.contacts().filter_map(|contact| contact.ok()?.address());
    // `*` and a query name no Contact, and so nothing that could be forbidden.
    let contacts: Vec<Bytes> = contacts.map(|contact| message.slice(contact.uri_span)).collect();
    let files = files(call, 0);
    check(call, &files, to.uri, &contacts, with_port)
}

/// What is allowed is allowed, of the rest what is denied is denied, and what nobody names is allowed.
fn check(call: &Call<'_>, files: &[String], left: &[u8], right: &[Bytes], with_port: bool) -> Outcome {
    match judge(call.state::<Permissions>(), files, left, right, with_port) {
        Ok(is_allowed) => is_allowed.into(),
        Err(cause) => Outcome::fail(cause),
    }
}

fn judge(
    permissions: &Permissions,
    files: &[String],
    left: &[u8],
    right: &[Bytes],
    with_port: bool,
) -> Result<bool, String> {
    let (allow, deny) = permissions.files.pair(files)?;
    let Some(left) = plain(left, false) else { return Ok(false) };
    for uri in right {
        let Some(uri) = plain(uri, with_port) else { return Ok(false) };
        if !allow.match_pair(&left, &uri) && deny.match_pair(&left, &uri) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `sip:user@host`, without what could be varied to get past a rule.
fn plain(written: &[u8], with_port: bool) -> Option<Vec<u8>> {
    let uri = Uri::parse(written).ok()?;
    if !uri.is_sip() {
        return Some(written.to_vec());
    }
    let mut text = b"sip:".to_vec();
    if let Some(user) = uri.user {
        text.extend_from_slice(user);
        text.push(b'@');
    }
    text.extend_from_slice(uri.host_text);
    if let Some(port) = uri.port.filter(|_| with_port) {
        text.extend_from_slice(format!(":{port}").as_bytes());
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, started};
    use module_api::Target;

    /// A module whose rules lie in files of the test's own.
    fn bench(message: &str, allow: &str, deny: &str) -> (Bench, String) {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("ser-rules-{}-{number}", std::process::id()));
        let base = base.to_str().unwrap().to_owned();
        std::fs::write(format!("{base}.allow"), allow).unwrap();
        std::fs::write(format!("{base}.deny"), deny).unwrap();
        (Bench::with_state(message, started(&MODULE, &[])), base)
    }

    fn cleaned(base: &str) {
        for ending in ["allow", "deny"] {
            std::fs::remove_file(format!("{base}.{ending}")).unwrap();
        }
    }

    #[test]
    fn every_target_of_a_call_must_be_allowed() {
        let (mut bench, base) = bench(INVITE, "ALL : \"^sip:bob@example\\.com$\"\n", "ALL : ALL\n");
        assert_eq!(bench.run(&MODULE, "allow_routing", &[&base]), 1);
        bench.context.set_uri("sip:bob@example.com:5070;x=y".into());
        assert_eq!(bench.run(&MODULE, "allow_routing", &[&base]), 1);
        bench.context.branches.push(Target::new("sip:+900@gateway".into()));
        assert_eq!(bench.run(&MODULE, "allow_routing", &[&base]), -1);
        assert_eq!(bench.run(&MODULE, "allow_routing", &[&format!("{base}.allow"), &format!("{base}.none")]), 1);
        assert_eq!(bench.run(&MODULE, "allow_uri", &[&base, "sip:bob@example.com"]), 1);
        cleaned(&base);
    }

    #[test]
    fn contacts_that_are_denied_cannot_be_registered() {
        let register = INVITE.replace("INVITE", "REGISTER");
        let (mut bench, base) = bench(&register, "", "ALL : \"^sip:.*@198\\.51\\.100\\.7$\"\n");
        assert_eq!(bench.run(&MODULE, "allow_register", &[&base]), -1);
        assert_eq!(bench.run(&MODULE, "allow_register_include_port", &[&base]), 1);
        cleaned(&base);
    }

    #[test]
    fn without_files_everything_is_allowed_and_a_wrong_file_is_not() {
        let (mut bench, base) = bench(INVITE, "nonsense\n", "");
        assert_eq!(bench.run(&MODULE, "allow_routing", &[]), 1);
        assert_eq!(bench.run(&MODULE, "allow_routing", &[&base]), -1);
        cleaned(&base);
    }
}
