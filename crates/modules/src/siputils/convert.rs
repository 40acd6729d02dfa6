//! URIs, header names and dates turned into each other or compared.

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};
use sip_message::{HeaderName, Scheme, Uri};

use crate::rewrite;

const TEL: &[Param] = &[
    Param::required("uri", ParamKind::Format),
    Param::required("host", ParamKind::Format),
    Param::required("variable", ParamKind::Output),
];

pub(super) const TEL2SIP: Function = Function {
    name: "tel2sip",
    params: TEL,
    routes: Routes::ANY,
    doc: "Puts the SIP URI of a tel URI (RFC 3261 section 19.1.6) into a variable, without the separators of its number. 2 \
          when it is no tel URI.",
    example: "tel2sip(\"$ru\", \"example.com\", \"$ru\");",
    run: |call| {
        let (uri, host) = (call.text(0), call.text(1));
        let Ok(parsed) = Uri::parse(&uri) else { return Outcome::FALSE };
        if parsed.scheme != Scheme::Tel {
            return Outcome::Value(2);
        }
        let number = parsed.user.unwrap_or_default();
        let mut new = b"sip:".to_vec();
        new.extend(number.iter().filter(|byte| !b"-.()".contains(byte)));
        new.extend_from_slice(parsed.params.text());
        new.push(b'@');
        new.extend_from_slice(&host);
        new.extend_from_slice(b";user=phone");
        if Uri::parse(&new).is_err() {
            return Outcome::FALSE;
        }
        write(call, 2, new.into())
    },
};

pub(super) const SET_URI_USER: Function = Function {
    name: "set_uri_user",
    params: &[Param::required("uri", ParamKind::Output), Param::required("user", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Gives the URI in a variable another user.",
    example: "set_uri_user(\"$var(uri)\", \"alice\");",
    run: |call| {
        let user = call.text(1);
        change(call, |uri| rewrite::with_user(uri, Some(&user)))
    },
};

pub(super) const SET_URI_HOST: Function = Function {
    name: "set_uri_host",
    params: &[Param::required("uri", ParamKind::Output), Param::required("host", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Gives the URI in a variable another host.",
    example: "set_uri_host(\"$var(uri)\", \"example.com\");",
    run: |call| {
        let host = call.text(1);
        change(call, |uri| rewrite::with_host(uri, &host))
    },
};

pub(super) const CMP_HDR_NAME: Function = Function {
    name: "cmp_hdr_name",
    params: &[Param::required("name", ParamKind::Format), Param::required("other", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when both names mean the same header, whatever the case, in long or compact form.",
    example: "if (cmp_hdr_name(\"$hfitname(i)\", \"Via\")) xlog(\"a Via\\n\");",
    run: |call| {
        let (one, other) = (call.text(0), call.text(1));
        match (HeaderName::from_token(&one), HeaderName::from_token(&other)) {
            (HeaderName::Other, HeaderName::Other) => one.eq_ignore_ascii_case(&other).into(),
            (one, other) => (one == other).into(),
        }
    },
};

pub(super) const IS_GRUU: Function = Function {
    name: "is_gruu",
    params: &[Param::optional("uri", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "1 when a URI, or the Request-URI, is a public GRUU, 2 when it is a temporary one (RFC 5627), else false.",
    example: "if (is_gruu()) xlog(\"one device\\n\");",
    run: |call| {
        let uri = if call.arg_count() == 0 { call.context.target.uri.clone() } else { call.text(0) };
        match Uri::parse(&uri).ok().and_then(|uri| uri.param("gr")) {
            Some(Some(value)) if !value.is_empty() => Outcome::Value(1),
            Some(_) => Outcome::Value(2),
            None => Outcome::FALSE,
        }
    },
};

pub(super) const IS_HTTP: Function = Function {
    name: "is_http",
    params: &[],
    routes: Routes::ANY,
    doc: "False: nothing but SIP reaches a script.",
    example: "if (is_http()) exit;",
    run: |_| false.into(),
};

pub(super) const PARSE_HEADERS: Function = Function {
    name: "sip_parse_headers",
    params: &[],
    routes: Routes::ANY,
    doc: "True when every header can be read.",
    example: "if (!sip_parse_headers()) exit;",
    run: |call| call.context.message.validate().is_ok().into(),
};

pub(super) const DATE_CHECK: Function = Function {
    name: "hdr_date_check",
    params: &[Param::required("seconds", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "True when the Date header is not older than so many seconds. False without one that can be read.",
    example: "if (!hdr_date_check(300)) exit;",
    run: |call| {
        let message = &call.context.message;
        let Some(date) = message.value(HeaderName::Date).and_then(unix_seconds) else {
            return Outcome::FALSE;
        };
        let now = call.host.unix_time().as_secs() as i64;
        (now - date <= call.int(0).unwrap_or(0)).into()
    },
};

/// `Tue, 14 Nov 2023 22:13:20 GMT` (RFC 3261 section 20.17) in seconds since 1970.
fn unix_seconds(date: &[u8]) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = std::str::from_utf8(date).ok()?;
    let mut words = text.split_once(',')?.1.split_whitespace();
    let day: i64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month =
        words.next().and_then(|word| MONTHS.iter().position(|name| name.eq_ignore_ascii_case(word)))? as i64 + 1;
    let year: i64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    // Days from 1970 in the Gregorian calendar, with years that begin in March so that a leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some(days * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

/// Writes a variable and is true.
fn write(call: &mut Call<'_>, n: usize, value: Bytes) -> Outcome {
    match call.write_output(n, Value::Str(value)) {
        Ok(()) => Outcome::TRUE,
        Err(fault) => Outcome::Fail(fault),
    }
}

/// Changes the URI in the variable of argument 0.
fn change(call: &mut Call<'_>, new: impl Fn(&[u8]) -> Option<Bytes>) -> Outcome {
    let old = call.read_output(0).to_bytes();
    match new(&old) {
        Some(uri) => write(call, 0, uri),
        None => Outcome::FALSE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, text};
    use module_api::{Arg, Index, OutputVariable, State};
    use std::sync::Arc;

    fn variable() -> Arg {
        let variable = crate::pv::MODULE.variables.iter().find(|variable| variable.name == "var").unwrap();
        let state: Arc<dyn State> = Arc::new(());
        Arg::Variable(OutputVariable { variable, key: Some(Bytes::from_static(b"x")), index: Index::Default, state })
    }

    // The URIs and codes are those of Kamailio 5.6.3.
    #[test]
    fn a_tel_uri_becomes_a_sip_uri() {
        let convert = |uri: &str| {
            let mut bench = Bench::invite();
            let args = [Arg::Value(text(uri)), Arg::Value(text("h.org")), variable()];
            let code = bench.run_args(&MODULE, "tel2sip", &args);
            (code, bench.context.vars.first(b"x").cloned())
        };
        assert_eq!(convert("tel:+1-201-555-0123"), (1, Some(text("sip:+12015550123@h.org;user=phone"))));
        let with_params = text("sip:+1201;ext=5;phone-context=a.b@h.org;user=phone");
        assert_eq!(convert("tel:+1-201;ext=5;phone-context=a.b"), (1, Some(with_params)));
        assert_eq!(convert("sip:x@y"), (2, None));
    }

    #[test]
    fn a_uri_in_a_variable_gets_another_user_and_host() {
        let mut bench = Bench::invite();
        bench.context.vars.replace("x".into(), text("sip:a@b:5070;x=y"));
        assert_eq!(bench.run_args(&MODULE, "set_uri_user", &[variable(), Arg::Value(text("new"))]), 1);
        assert_eq!(bench.run_args(&MODULE, "set_uri_host", &[variable(), Arg::Value(text("h"))]), 1);
        assert_eq!(bench.context.vars.first(b"x"), Some(&text("sip:new@h:5070;x=y")));
    }

    #[test]
    fn names_and_gruus_are_recognized() {
        let ask = |function: &str, args: &[&str]| Bench::invite().run(&MODULE, function, args);
        assert_eq!((ask("cmp_hdr_name", &["v", "Via"]), ask("cmp_hdr_name", &["From", "to"])), (1, -1));
        assert_eq!((ask("cmp_hdr_name", &["X-a", "x-A"]), ask("cmp_hdr_name", &["X-a", "x-b"])), (1, -1));
        assert_eq!(
            (ask("is_gruu", &["sip:a@b;gr"]), ask("is_gruu", &["sip:a@b;gr=urn"]), ask("is_gruu", &[])),
            (2, 1, -1)
        );
    }

    #[test]
    fn an_old_date_is_found() {
        // The host of the tests has 2023-11-14 22:13:20.
        assert_eq!(unix_seconds(b"Tue, 14 Nov 2023 22:13:20 GMT"), Some(1_700_000_000));
        assert_eq!(unix_seconds(b"Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(unix_seconds(b"Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        let check = |date: &str| {
            let text = INVITE.replace("Subject", &format!("Date: {date}\r\nSubject"));
            Bench::new(&text).run(&MODULE, "hdr_date_check", &["10"])
        };
        assert_eq!((check("Tue, 14 Nov 2023 22:13:11 GMT"), check("Tue, 14 Nov 2023 22:13:09 GMT")), (1, -1));
        assert_eq!((check("yesterday"), Bench::invite().run(&MODULE, "hdr_date_check", &["10"])), (-1, -1));
    }
}
