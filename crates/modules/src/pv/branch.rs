//! `$branch`: the targets beside the Request-URI.

use module_api::{Call, Index, KeyRule, Routes, Selector, Target, Value, Variable};

use super::header::nth;
use super::plain;

pub(super) const BRANCH: Variable = Variable {
    name: "branch",
    key: KeyRule::Optional,
    routes: Routes::ANY,
    doc: "An added target: $branch(count) is how many there are, $(branch(uri)[n]) the n-th; besides uri there are \
          dst_uri, path, q and flags.",
    example: "if ($branch(count) > 0) xlog(\"$(branch(uri)[0])\\n\");",
    read,
    write: None,
};

pub(super) const FLAGS: Variable =
    plain("bf", "The branch flags of the Request-URI as a number.", "xlog(\"$bf\\n\");", |call, _| {
        Value::Int(call.context.target.flags.into())
    });

fn read(call: &mut Call<'_>, selector: &Selector<'_>) -> Value {
    let branches = &call.context.branches;
    if selector.key() == b"count" {
        return Value::Int(branches.len() as i64);
    }
    let at = match selector.index {
        Index::At(n) => nth(branches.len(), n),
        Index::Default | Index::All => nth(branches.len(), 0),
    };
    at.map_or(Value::Null, |at| field(&branches[at], selector.key()))
}

fn field(target: &Target, name: &[u8]) -> Value {
    match name {
        b"" | b"uri" => Value::Str(target.uri.clone()),
        b"dst_uri" => target.destination.clone().into(),
        b"path" => target.path.clone().into(),
        b"q" => target.q.map_or(Value::Null, |q| Value::Int(q.into())),
        b"flags" => Value::Int(target.flags.into()),
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
    fn added_targets_are_counted_and_read() {
        let mut bench = Bench::invite();
        assert_eq!(bench.read(&MODULE, "branch", Some("count")), Value::Int(0));
        assert_eq!(bench.read(&MODULE, "branch", Some("uri")), Value::Null);
        bench.context.branches.push(Target { q: Some(300), ..Target::new(Bytes::from_static(b"sip:a@h")) });
        assert_eq!(bench.read(&MODULE, "branch", Some("uri")), text("sip:a@h"));
        assert_eq!(bench.read(&MODULE, "branch", Some("q")), Value::Int(300));
    }
}
