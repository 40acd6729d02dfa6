//! `$branch`: the targets beside the Request-URI.

use module_api::{Call, Fault, Function, Index, KeyRule, Outcome, Routes, Selector, Socket, Target, Value, Variable};
use sip_message::Uri;

use super::header::nth;
use super::plain;

pub(super) const BRANCH: Variable = Variable {
    name: "branch",
    key: KeyRule::Optional,
    routes: Routes::ANY,
    doc: "An added target: $branch(count) is how many there are, $(branch(uri)[n]) the n-th; besides uri there are \
          dst_uri, path, q (0 to 1000), flags and send_socket.",
    example: "if ($branch(count) > 0) xlog(\"$(branch(uri)[0])\\n\");",
    read,
    write: Some(write),
};

pub(super) const FLAGS: Variable = Variable {
    write: Some(set_flags),
    ..plain("bf", "The branch flags of the Request-URI as a number.", "xlog(\"$bf\\n\");", |call, _| {
        Value::Int(call.context.target.flags.into())
    })
};
pub(super) const FLAGS_HEX: Variable = Variable {
    write: Some(set_flags),
    ..plain("bF", "The branch flags of the Request-URI in hexadecimal.", "xlog(\"$bF\\n\");", |call, _| {
        super::text(format!("{:08X}", call.context.target.flags))
    })
};

pub(super) const URIS: Variable = plain(
    "bR",
    "The URIs of the added targets, one behind the other: URI, or <URI>;q=Q, between commas.",
    "xlog(\"also to $bR\\n\");",
    |call, _| {
        let uris = call.context.branches.iter().map(|branch| {
            let uri = String::from_utf8_lossy(&branch.uri);
            match branch.q {
                Some(1000) => format!("<{uri}>;q=1"),
                Some(q) => format!("<{uri}>;q={}", format!("0.{q:03}").trim_end_matches('0').trim_end_matches('.')),
                None => uri.into_owned(),
            }
        });
        let uris: Vec<String> = uris.collect();
        if uris.is_empty() { Value::Null } else { super::text(uris.join(", ")) }
    },
);

/// Noted while a script puts a target together with `$sbranch(...)`.
#[derive(Default)]
struct Prepared(Target);

pub(super) const PREPARED: Variable = Variable {
    name: "sbranch",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A target in preparation, to be added by sbranch_append(): uri, dst_uri, path, q, flags and send_socket.",
    example: "$sbranch(uri) = \"sip:bob@example.com\";",
    read: |call, selector| {
        let sockets = call.host.sockets();
        call.context.note::<Prepared>().map_or(Value::Null, |prepared| field(&prepared.0, selector.key(), sockets))
    },
    write: Some(|call, selector, value| {
        let mut target = call.context.note::<Prepared>().map(|prepared| prepared.0.clone()).unwrap_or_default();
        set_field(call, &mut target, selector.key(), &value)?;
        call.context.set_note(Prepared(target));
        Ok(())
    }),
};

pub(super) const PREPARED_APPEND: Function = Function {
    name: "sbranch_append",
    params: &[],
    routes: Routes::ANY,
    doc: "Adds the target that $sbranch(...) has put together. False when it has no URI.",
    example: "sbranch_append();",
    run: |call| match call.context.note::<Prepared>() {
        Some(prepared) if !prepared.0.uri.is_empty() => {
            let target = prepared.0.clone();
            crate::core::append(call.context, target).into()
        }
        _ => Outcome::FALSE,
    },
};
pub(super) const PREPARED_RESET: Function = Function {
    name: "sbranch_reset",
    params: &[],
    routes: Routes::ANY,
    doc: "Forgets what $sbranch(...) has put together.",
    example: "sbranch_reset();",
    run: |call| {
        call.context.set_note(Prepared::default());
        Outcome::TRUE
    },
};
pub(super) const PREPARED_SET: Function = Function {
    name: "sbranch_set_ruri",
    params: &[],
    routes: Routes::ANY,
    doc: "Sends the request itself to the target that $sbranch(...) has put together. False when it has no URI.",
    example: "sbranch_set_ruri();",
    run: |call| match call.context.note::<Prepared>() {
        Some(prepared) if !prepared.0.uri.is_empty() => {
            call.context.target = prepared.0.clone();
            call.context.is_target_fresh = true;
            Outcome::TRUE
        }
        _ => Outcome::FALSE,
    },
};

fn read(call: &mut Call<'_>, selector: &Selector<'_>) -> Value {
    let branches = &call.context.branches;
    if selector.key() == b"count" {
        return Value::Int(branches.len() as i64);
    }
    let at = match selector.index {
        Index::At(n) => nth(branches.len(), n),
        Index::Default | Index::All => nth(branches.len(), 0),
    };
    at.map_or(Value::Null, |at| field(&branches[at], selector.key(), call.host.sockets()))
}

fn write(call: &mut Call<'_>, selector: &Selector<'_>, value: Value) -> Result<(), Fault> {
    let count = call.context.branches.len();
    let at = match selector.index {
        Index::At(n) => nth(count, n),
        Index::Default | Index::All => nth(count, 0),
    };
    let at = at.ok_or(Fault { code: -1, cause: "there is no such branch".into() })?;
    let mut target = call.context.branches[at].clone();
    set_field(call, &mut target, selector.key(), &value)?;
    call.context.branches[at] = target;
    Ok(())
}

fn set_flags(call: &mut Call<'_>, _: &Selector<'_>, value: Value) -> Result<(), Fault> {
    call.context.target.flags = value.to_int() as u32;
    Ok(())
}

fn set_field(call: &Call<'_>, target: &mut Target, name: &[u8], value: &Value) -> Result<(), Fault> {
    let fault = |cause: &'static str| Fault { code: -1, cause: cause.into() };
    let text = (!value.is_null()).then(|| value.to_bytes()).filter(|text| !text.is_empty());
    match name {
        b"" | b"uri" => {
            target.uri = text.filter(|uri| Uri::parse(uri).is_ok()).ok_or(fault("that is not a URI"))?;
        }
        b"dst_uri" if text.as_ref().is_none_or(|uri| Uri::parse(uri).is_ok()) => target.destination = text,
        b"dst_uri" => return Err(fault("that is not a URI")),
        b"path" => target.path = text,
        b"q" => target.q = text.map(|_| value.to_int().clamp(0, 1000) as u16),
        b"flags" => target.flags = value.to_int() as u32,
        b"send_socket" => {
            target.socket = match text {
                Some(name) => Some(crate::core::socket_named(call, &name).ok_or(fault("there is no such socket"))?),
                None => None,
            };
        }
        _ => return Err(fault("a branch has uri, dst_uri, path, q, flags and send_socket")),
    }
    Ok(())
}

fn field(target: &Target, name: &[u8], sockets: &[Socket]) -> Value {
    match name {
        b"" | b"uri" => Value::Str(target.uri.clone()),
        b"dst_uri" => target.destination.clone().into(),
        b"path" => target.path.clone().into(),
        b"q" => target.q.map_or(Value::Null, |q| Value::Int(q.into())),
        b"flags" => Value::Int(target.flags.into()),
        b"send_socket" => match target.socket.and_then(|id| sockets.get(usize::from(id.0))) {
            Some(socket) => super::text(socket.to_string()),
            None => Value::Null,
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};
    use bytes::Bytes;

    #[test]
    fn the_uris_of_all_added_targets_are_told_at_once() {
        let mut bench = Bench::invite();
        assert_eq!(bench.read(&MODULE, "bR", None), Value::Null);
        bench.context.branches.push(Target::new("sip:a@192.0.2.1".into()));
        for (uri, q) in [("sip:b@192.0.2.2", 500), ("sip:c@192.0.2.3", 1000)] {
            bench.context.branches.push(Target { q: Some(q), ..Target::new(uri.into()) });
        }
        let all = "sip:a@192.0.2.1, <sip:b@192.0.2.2>;q=0.5, <sip:c@192.0.2.3>;q=1";
        assert_eq!(bench.read(&MODULE, "bR", None), text(all));
    }

    #[test]
    fn added_targets_are_counted_and_read() {
        let mut bench = Bench::invite();
        assert_eq!(bench.read(&MODULE, "branch", Some("count")), Value::Int(0));
        assert_eq!(bench.read(&MODULE, "branch", Some("uri")), Value::Null);
        bench.context.branches.push(Target { q: Some(300), ..Target::new(Bytes::from_static(b"sip:a@h")) });
        assert_eq!(bench.read(&MODULE, "branch", Some("uri")), text("sip:a@h"));
        assert_eq!(bench.read(&MODULE, "branch", Some("q")), Value::Int(300));
        bench.write(&MODULE, "branch", Some("dst_uri"), text("sip:hop"));
        assert_eq!(bench.context.branches[0].destination.as_deref(), Some(&b"sip:hop"[..]));
    }

    #[test]
    fn a_target_is_put_together_and_added() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "sbranch_append", &[]), -1);
        bench.write(&MODULE, "sbranch", Some("uri"), text("sip:a@h"));
        bench.write(&MODULE, "sbranch", Some("send_socket"), text("tcp:192.0.2.1:5060"));
        assert_eq!(bench.run(&MODULE, "sbranch_append", &[]), 1);
        assert_eq!(&bench.context.branches[0].uri[..], b"sip:a@h");
        assert_eq!(bench.run(&MODULE, "sbranch_set_ruri", &[]), 1);
        assert_eq!(bench.uri(), "sip:a@h");
        bench.run(&MODULE, "sbranch_reset", &[]);
        assert_eq!(bench.run(&MODULE, "sbranch_append", &[]), -1);
    }
}
