//! Serial forking: the destination set tried group by group, best preference first.

use bytes::Bytes;
use module_api::{
    Call, Context, Flow, Function, Outcome, Param, ParamKind, RouteKind, Routes, SocketId, Target, Value,
};

use super::Settings;

pub(super) const NEXT_CONTACT_FLOW: Function = Function {
    name: "t_next_contact_flow",
    params: &[],
    routes: Routes::REQUEST.or(Routes::FAILURE).or(Routes::of(RouteKind::Event)),
    doc: "-2, always: where a flow of a contact fails, the server itself tries the next one of the same instance (RFC 5626 \
          section 7).",
    example: "if (t_next_contact_flow()) t_relay();",
    run: |_| Outcome::Value(NONE_LEFT),
};

pub(super) const LOAD_CONTACTS: Function = Function {
    name: "t_load_contacts",
    params: &[Param::optional("mode", ParamKind::Str)],
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Takes the destination set away and keeps it, ordered by preference, for t_next_contacts().",
    example: "lookup(\"location\"); t_load_contacts(); t_next_contacts(); t_relay();",
    run: load,
};

pub(super) const NEXT_CONTACTS: Function = Function {
    name: "t_next_contacts",
    params: &[],
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Makes the kept contacts of the highest preference the destination set. -2 when none are left.",
    example: "if (t_next_contacts()) { t_on_failure(\"SERIAL\"); t_relay(); }",
    run: next,
};

fn load(call: &mut Call<'_>) -> Outcome {
    let name = Bytes::copy_from_slice(&call.state::<Settings>().contacts);
    let context = &mut *call.context;
    let mut targets = Vec::with_capacity(context.branches.len() + 1);
    targets.push(context.target.clone());
    targets.append(&mut context.branches);
    // Stable, so that contacts of one preference keep their order. The last pushed is read first.
    targets.sort_by_key(|target| target.q.unwrap_or(HIGHEST));
    context.avps.remove(&name);
    for target in targets.iter() {
        if !context.avps.push(name.clone(), Value::Str(pack(target))) {
            return Outcome::fail("too many attributes");
        }
    }
    Outcome::TRUE
}

fn next(call: &mut Call<'_>) -> Outcome {
    let name = call.state::<Settings>().contacts.clone();
    let context = &mut *call.context;
    let Some(first) = pop(context, &name) else { return Outcome::Value(NONE_LEFT) };
    let preference = first.q.unwrap_or(HIGHEST);
    context.target = first;
    context.is_target_fresh = true;
    context.branches.clear();
    while peek(context, &name).is_some_and(|target| target.q.unwrap_or(HIGHEST) == preference) {
        let Some(target) = pop(context, &name) else { break };
        context.branches.push(target);
    }
    Outcome::TRUE
}

const HIGHEST: u16 = 1000;
const NONE_LEFT: i64 = -2;

fn peek(context: &Context, name: &[u8]) -> Option<Target> {
    unpack(&context.avps.first(name)?.to_bytes())
}

fn pop(context: &mut Context, name: &[u8]) -> Option<Target> {
    unpack(&context.avps.pop(name)?.to_bytes())
}

/// A target and its further flows as the text of an attribute, one field per line: attributes follow the
/// transaction, and no URI or path can hold a control character.
fn pack(target: &Target) -> Bytes {
    let all = std::iter::once(target).chain(&target.flows).map(pack_one).collect::<Vec<_>>();
    all.join(&BETWEEN_FLOWS).into()
}

/// ASCII's record separator.
const BETWEEN_FLOWS: u8 = 0x1e;

fn pack_one(target: &Target) -> Vec<u8> {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default().into_bytes();
    let optional = |text: &Option<Bytes>| text.as_deref().unwrap_or_default().to_vec();
    let flow = match target.flow {
        None => "",
        Some(Flow::Registered) => "registered",
        Some(Flow::Token) => "token",
    };
    [
        target.uri.to_vec(),
        optional(&target.destination),
        optional(&target.path),
        number(target.q.map(u64::from)),
        number(Some(target.flags.into())),
        number(target.socket.map(|socket| socket.0.into())),
        number(target.connection),
        flow.into(),
    ]
    .join(&b'\n')
}

fn unpack(text: &Bytes) -> Option<Target> {
    let mut all = text.split(|byte| *byte == BETWEEN_FLOWS).map(|one| unpack_one(&text.slice_ref(one)));
    let mut first = all.next()??;
    first.flows = all.collect::<Option<_>>()?;
    Some(first)
}

fn unpack_one(text: &Bytes) -> Option<Target> {
    let mut fields = text.split(|byte| *byte == b'\n').map(|field| text.slice_ref(field));
    let mut next = || fields.next();
    let number = |field: Bytes| std::str::from_utf8(&field).ok()?.parse::<u64>().ok();
    let filled = |field: Bytes| (!field.is_empty()).then_some(field);
    Some(Target {
        uri: next()?,
        destination: filled(next()?),
        path: filled(next()?),
        q: number(next()?).and_then(|q| u16::try_from(q).ok()),
        flags: number(next()?).and_then(|flags| u32::try_from(flags).ok()).unwrap_or(0),
        socket: number(next()?).and_then(|socket| u16::try_from(socket).ok()).map(SocketId),
        connection: number(next()?),
        flow: match &next()?[..] {
            b"registered" => Some(Flow::Registered),
            b"token" => Some(Flow::Token),
            _ => None,
        },
        flows: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE};
    use std::sync::Arc;

    fn target(uri: &'static str, q: u16) -> Target {
        Target { q: Some(q), ..Target::new(Bytes::from_static(uri.as_bytes())) }
    }

    #[test]
    fn contacts_are_tried_by_preference_and_equals_together() {
        let settings = Settings { contacts: b"c".to_vec(), ..Settings::default() };
        let mut bench = Bench::with_state(INVITE, Arc::new(settings));
        bench.context.target = target("sip:low@h", 100);
        bench.context.branches = vec![target("sip:high@h", 900), target("sip:low2@h", 100)];
        assert_eq!(bench.run(&MODULE, "t_load_contacts", &[]), 1);
        assert!(bench.context.branches.is_empty());

        assert_eq!(bench.run(&MODULE, "t_next_contacts", &[]), 1);
        assert_eq!(bench.uri(), "sip:high@h");
        assert!(bench.context.branches.is_empty());

        assert_eq!(bench.run(&MODULE, "t_next_contacts", &[]), 1);
        assert_eq!(bench.context.branches.len(), 1);
        assert_eq!(bench.run(&MODULE, "t_next_contacts", &[]), -2);
    }

    #[test]
    fn nothing_of_a_target_is_lost_on_the_way() {
        let full = Target {
            uri: Bytes::from_static(b"sip:a@h"),
            destination: Some(Bytes::from_static(b"sip:hop")),
            path: Some(Bytes::from_static(b"<sip:p;lr>")),
            q: Some(5),
            flags: 64,
            socket: Some(SocketId(2)),
            connection: Some(77),
            flow: Some(Flow::Registered),
            flows: vec![Target { flow: Some(Flow::Token), ..target("sip:a@two", 5) }, target("sip:a@three", 5)],
        };
        let read = unpack(&pack(&full)).unwrap();
        assert_eq!(format!("{read:?}"), format!("{full:?}"));
    }
}
