//! Following redirections in the caller's place: module uac_redirect.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use module_api::{
    Call, Function, Module, Outcome, Param, ParamKind, Parameter, Routes, SettingKind, Setup, SetupError, State, Target,
};
use regex::bytes::Regex;
use sip_message::{HeaderName, Message, NameAddr, Uri};

/// Turns the Contacts of redirections into branches.
pub static MODULE: Module = Module {
    name: "uac_redirect",
    doc: "Follows redirections (3xx) in the caller's place, as far as filters allow.",
    parameters: &[
        text("default_filter", "accept", "What becomes of a contact that no filter matches: accept or deny."),
        text("accept_filter", "", "A regular expression; contacts that match it are followed."),
        text("deny_filter", "", "A regular expression; contacts that match it are not followed."),
        Parameter { name: "bflags", kind: SettingKind::Int, default: "0", doc: "Branch flags of the new branches." },
        Parameter {
            name: "q_value",
            kind: SettingKind::Int,
            default: "10",
            doc: "The preference of a contact without q, in hundredths.",
        },
        ignored("acc_function"),
        ignored("acc_db_table"),
        ignored("flags_hdr_mode"),
    ],
    functions: &[GET_REDIRECTS, GET_REDIRECTS_FOR, SET_DENY, SET_ACCEPT],
    make,
    ..Module::EMPTY
};

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Str, default, doc }
}

const fn ignored(name: &'static str) -> Parameter {
    Parameter {
        name,
        kind: SettingKind::Ignored,
        default: "",
        doc: "Has no effect: acc accounts for transactions by itself.",
    }
}

struct Settings {
    accept: Option<Regex>,
    deny: Option<Regex>,
    accepts_others: bool,
    bflags: u32,
    q: u16,
    /// Filters of scripts, compiled once each.
    compiled: Mutex<Vec<(Bytes, Regex)>>,
}

/// Filters that the script has set for this request, and what has been tried: a redirection to what was tried
/// already would go round for ever (RFC 3261 section 8.3).
#[derive(Clone, Default)]
struct Redirects {
    accept: Option<Regex>,
    deny: Option<Regex>,
    tried: Vec<Bytes>,
    followed: usize,
}

/// Most contacts that are followed for one request, whatever the script allows.
const MOST: usize = 32;
/// Most different filters that a script can make at run time.
const MOST_FILTERS: usize = 256;

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let compile = |name: &'static str| {
        let pattern = setup.text(name);
        if pattern.is_empty() {
            return Ok(None);
        }
        Regex::new(&pattern).map(Some).map_err(|error| SetupError::Setting { name, cause: error.to_string() })
    };
    let default = setup.text("default_filter");
    if !matches!(default.as_str(), "accept" | "deny") {
        let cause = format!("`{default}` is neither accept nor deny");
        return Err(SetupError::Setting { name: "default_filter", cause });
    }
    Ok(Arc::new(Settings {
        accept: compile("accept_filter")?,
        deny: compile("deny_filter")?,
        accepts_others: default == "accept",
        bflags: setup.int("bflags") as u32,
        q: u16::try_from(setup.int("q_value")).unwrap_or(10).min(100) * 10,
        compiled: Mutex::default(),
    }))
}

const GET_REDIRECTS: Function = Function {
    name: "get_redirects",
    params: &[Param::required("limit", ParamKind::Format)],
    routes: Routes::FAILURE,
    doc: "Makes branches of the Contacts of all redirections, best preference first: at most so many, with max:per also at \
          most so many of each reply; * means all. Contacts that were tried already are left out. False when none is left.",
    example: "failure_route[MOVED] { if (t_check_status(\"3..\") && get_redirects(\"3:1\")) t_relay(); }",
    run: follow,
};

const GET_REDIRECTS_FOR: Function = Function {
    name: "get_redirects",
    params: &[Param::required("limit", ParamKind::Format), Param::required("reason", ParamKind::Format)],
    routes: Routes::FAILURE,
    doc: "As get_redirects(limit); the reason was for accounting and is without effect.",
    example: "get_redirects(\"*\", \"Redirected\");",
    run: follow,
};

const FILTER: &[Param] = &[Param::required("filter", ParamKind::Format), Param::required("flags", ParamKind::Format)];

const SET_DENY: Function = Function {
    name: "set_deny_filter",
    params: FILTER,
    routes: Routes::FAILURE,
    doc: "Contacts that match the regular expression are not followed for this request; with the flag reset_all the module's \
          own filter does not count.",
    example: "set_deny_filter(\"@10\\.\", \"reset_all\");",
    run: |call| set_filter(call, |redirects, filter| redirects.deny = filter),
};

const SET_ACCEPT: Function = Function {
    name: "set_accept_filter",
    params: FILTER,
    routes: Routes::FAILURE,
    doc: "Contacts that match the regular expression are followed for this request.",
    example: "set_accept_filter(\"@example\\.com\", \"reset_all\");",
    run: |call| set_filter(call, |redirects, filter| redirects.accept = filter),
};

fn set_filter(call: &mut Call<'_>, set: fn(&mut Redirects, Option<Regex>)) -> Outcome {
    let pattern = call.text(0);
    let settings = call.shared_state::<Settings>();
    let filter = match compiled(&settings, &pattern) {
        Ok(filter) => filter,
        Err(cause) => return Outcome::fail(cause),
    };
    let mut redirects = call.context.note::<Redirects>().cloned().unwrap_or_default();
    set(&mut redirects, Some(filter));
    call.context.set_note(redirects);
    Outcome::TRUE
}

fn compiled(settings: &Settings, pattern: &Bytes) -> Result<Regex, String> {
    let mut compiled = settings.compiled.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, regex)) = compiled.iter().find(|(known, _)| known == pattern) {
        return Ok(regex.clone());
    }
    let regex = Regex::new(&String::from_utf8_lossy(pattern)).map_err(|error| format!("bad filter: {error}"))?;
    if compiled.len() < MOST_FILTERS {
        compiled.push((pattern.clone(), regex.clone()));
    }
    Ok(regex)
}

fn follow(call: &mut Call<'_>) -> Outcome {
    let Some((most, per_reply)) = limits(&call.text(0)) else {
        return Outcome::fail("get_redirects takes max or max:per, numbers or *");
    };
    let settings = call.shared_state::<Settings>();
    let mut redirects = call.context.note::<Redirects>().cloned().unwrap_or_default();
    let replies = call.host.standing(call.context).map(|standing| standing.replies).unwrap_or_default();
    let replies = replies.into_iter().flatten().filter(|reply| reply.status().is_some_and(|code| code / 100 == 3));
    let mut found: Vec<Target> = Vec::new();
    if redirects.tried.is_empty() {
        redirects.tried.push(Bytes::copy_from_slice(call.context.message.request_uri()));
        redirects.tried.push(call.context.target.uri.clone());
    }
    for reply in replies {
        let mut contacts = contacts(&reply, &settings);
        contacts.retain(|contact| {
            is_wanted(&settings, &redirects, &contact.uri) && !is_tried(&redirects.tried, &contact.uri)
        });
        contacts.truncate(per_reply);
        redirects.tried.extend(contacts.iter().map(|contact| contact.uri.clone()));
        found.extend(contacts);
    }
    found.sort_by_key(|target| std::cmp::Reverse(target.q));
    found.truncate(most.min(MOST - redirects.followed.min(MOST)));
    redirects.followed += found.len();
    call.context.set_note(redirects);
    if found.is_empty() {
        return Outcome::FALSE;
    }
    call.context.branches.extend(found);
    Outcome::TRUE
}

/// `3`, `3:1`, `*:2`.
fn limits(text: &[u8]) -> Option<(usize, usize)> {
    let text = std::str::from_utf8(text).ok()?;
    let number = |text: &str| match text.trim() {
        "" | "*" | "0" => Some(MOST),
        text => text.parse().ok(),
    };
    match text.split_once(':') {
        Some((most, per)) => Some((number(most)?, number(per)?)),
        None => Some((number(text)?, MOST)),
    }
}

fn contacts(reply: &Message, settings: &Settings) -> Vec<Target> {
    let values = reply.values_of(HeaderName::Contact);
    let mut contacts: Vec<Target> = values
        .filter_map(|value| {
            let name = NameAddr::parse(value.text).ok()?;
            // The proxy can only follow where SIP leads (16.5).
            Uri::parse(name.uri).ok().filter(Uri::is_sip)?;
            let q = if name.params.has("q") { name.q() } else { settings.q };
            let uri = Bytes::copy_from_slice(name.uri);
            Some(Target { q: Some(q), flags: settings.bflags, ..Target::new(uri) })
        })
        .collect();
    contacts.sort_by_key(|target| std::cmp::Reverse(target.q));
    contacts
}

fn is_wanted(settings: &Settings, redirects: &Redirects, uri: &[u8]) -> bool {
    let matches = |filters: [&Option<Regex>; 2]| filters.into_iter().flatten().any(|filter| filter.is_match(uri));
    if matches([&redirects.deny, &settings.deny]) {
        return false;
    }
    settings.accepts_others || matches([&redirects.accept, &settings.accept])
}

fn is_tried(tried: &[Bytes], uri: &[u8]) -> bool {
    let Ok(uri) = Uri::parse(uri) else { return true };
    tried.iter().any(|known| Uri::parse(known).is_ok_and(|known| known.equivalent(&uri)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_written() {
        assert_eq!(limits(b"3"), Some((3, MOST)));
        assert_eq!(limits(b"3:1"), Some((3, 1)));
        assert_eq!(limits(b"*:2"), Some((MOST, 2)));
        assert_eq!(limits(b"x"), None);
    }
}
