//! Rules that translate numbers and names.

mod rule;
mod settings;

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use module_api::{Call, Command, Function, Module, Outcome, Param, ParamKind, Routes, Value};
use sip_message::Uri;

use crate::rewrite;
use crate::rows::Source;
use crate::text_variable::TextVariable;
use rule::{Plan, Translated};

/// Rules that translate numbers and names.
pub static MODULE: Module = Module {
    name: "dialplan",
    doc: "Translates numbers and names by rules, which are kept in sets.",
    parameters: settings::PARAMETERS,
    functions: &[TRANSLATE, TRANSLATE_BETWEEN, MATCH, REPLACE, RELOAD],
    commands: &[
        Command {
            name: "dialplan.reload",
            aliases: &["dp_reload"],
            doc: "Reads the rules again. When one of them is wrong, those that are there stay.",
            result: "Nothing.",
            example: "dialplan.reload",
            run: |call| settings::reload_command(call.shared_state::<Dialplan>()),
            ..Command::EMPTY
        },
        settings::TRANSLATE,
        settings::DUMP,
    ],
    make: settings::make,
    ..Module::EMPTY
};

const SET: Param = Param::required("set", ParamKind::Int);

const TRANSLATE: Function = Function {
    name: "dp_translate",
    params: &[SET],
    routes: Routes::ANY,
    doc: "Translates the user of the Request-URI by a set of rules. -1 when no rule matches, -2 when there is no such set.",
    example: "dp_translate(\"1\");",
    run: |call| {
        let uri = call.context.target.uri.clone();
        let user = Uri::parse(&uri).ok().and_then(|uri| uri.user).unwrap_or_default();
        let translated = match translate(call, user) {
            Ok(translated) => translated,
            Err(outcome) => return outcome,
        };
        if let Some(new) = &translated.text {
            match rewrite::with_user(&uri, Some(new)) {
                Some(uri) => call.context.set_uri(uri),
                None => return Outcome::fail("dp_translate: the result is no user of a URI"),
            }
        }
        attributes(call, &translated)
    },
};

const TRANSLATE_BETWEEN: Function = Function {
    name: "dp_translate",
    params: &[SET, Param::required("variables", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Translates one variable into another by a set of rules: $var(in)/$var(out), where the second may be left out. -1 \
          when no rule matches, -2 when there is no such set.",
    example: "dp_translate(\"1\", \"$fU/$var(caller)\");",
    run: |call| {
        let text = String::from_utf8_lossy(&call.text(1)).into_owned();
        let (input, output) =
            text.split_once('/').map_or((text.as_str(), None), |(input, output)| (input, Some(output)));
        let variables =
            TextVariable::parse(input).and_then(|input| Ok((input, output.map(TextVariable::parse).transpose()?)));
        let (input, output) = match variables {
            Ok(variables) => variables,
            Err(cause) => return Outcome::fail(format!("dp_translate: {cause}")),
        };
        let value = input.read(call).to_bytes();
        let translated = match translate(call, &value) {
            Ok(translated) => translated,
            Err(outcome) => return outcome,
        };
        let output = output.or_else(|| input.is_writable().then_some(input));
        if let (Some(output), Some(new)) = (output, &translated.text)
            && let Err(fault) = output.write(call, Value::Str(new.clone()))
        {
            return Outcome::Fail(fault);
        }
        attributes(call, &translated)
    },
};

const MATCH: Function = Function {
    name: "dp_match",
    params: &[SET, Param::required("text", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "True when a rule of a set matches the text; its attributes go where attrs_pvar says.",
    example: "if (dp_match(1, \"$rU\")) xlog(\"$avp(attrs)\\n\");",
    run: |call| {
        let text = call.text(1);
        match translate(call, &text) {
            Ok(translated) => attributes(call, &translated),
            Err(outcome) => outcome,
        }
    },
};

const REPLACE: Function = Function {
    name: "dp_replace",
    params: &[SET, Param::required("text", ParamKind::Format), Param::required("variable", ParamKind::Output)],
    routes: Routes::ANY,
    doc: "Translates a text by a set of rules into a variable.",
    example: "dp_replace(1, \"$rU\", \"$var(number)\");",
    run: |call| {
        let text = call.text(1);
        let translated = match translate(call, &text) {
            Ok(translated) => translated,
            Err(outcome) => return outcome,
        };
        let new = translated.text.clone().unwrap_or(text);
        match call.write_output(2, Value::Str(new)) {
            Ok(()) => attributes(call, &translated),
            Err(fault) => Outcome::Fail(fault),
        }
    },
};

const RELOAD: Function = Function {
    name: "dp_reload",
    params: &[],
    routes: Routes::ANY,
    doc: "Reads the rules again. False when one of them is wrong; those that are there stay then.",
    example: "dp_reload();",
    run: |call| {
        let plan = call.shared_state::<Dialplan>();
        Outcome::wait(async move { plan.reload().await }, |_, done| match done {
            Ok(()) => Outcome::TRUE,
            Err(cause) => Outcome::fail(cause),
        })
    },
};

/// The state of module dialplan.
struct Dialplan {
    source: Source,
    plan: RwLock<Arc<Plan>>,
    attributes: Option<TextVariable>,
}

impl Dialplan {
    fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn reload(&self) -> Result<(), String> {
        let plan = Arc::new(Plan::from_rows(&self.source.read().await?)?);
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
        Ok(())
    }
}

/// What the set in argument 0 makes of a text.
fn translate(call: &mut Call<'_>, text: &[u8]) -> Result<Translated, Outcome> {
    let plan = call.state::<Dialplan>().plan();
    let set = call.int(0).and_then(|set| plan.set(set)).ok_or(Outcome::Value(-2))?;
    set.iter().find(|rule| rule.is_match(text)).map(|rule| rule.translate(call, text)).ok_or(Outcome::FALSE)
}

fn attributes(call: &mut Call<'_>, translated: &Translated) -> Outcome {
    let variable = call.state::<Dialplan>().attributes.clone();
    let value: Option<Bytes> = translated.attributes.clone();
    if let (Some(variable), Some(value)) = (variable, value)
        && let Err(fault) = variable.write(call, Value::Str(value))
    {
        return Outcome::Fail(fault);
    }
    Outcome::TRUE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, Scratch, started, text};

    pub(super) const ROWS: &str = "id(int,auto) dpid(int) pr(int) match_op(int) match_exp(string) match_len(int) subst_exp(string,null) repl_exp(string,null) attrs(string,null)\n\
         1:1:1:0:exact:0:exact:ex2:attr1\n\
         2:1:2:1:^00([0-9]+)$:0:^00([0-9]+)$:+\\\\1:attr2\n\
         3:1:3:1:^9:5:^9(.*)$:8\\\\1:len5\n\
         4:1:4:2:a*z:0:::glob\n\
         5:3:1:1:^5(.*)$:0:^5(.*)$:s\\:\\\\1\\:$fU:spec\n";

    fn bench() -> Bench {
        let files = Scratch::new(&[("dialplan", ROWS)]);
        let state = started(&MODULE, &[("db_url", &files.url()), ("attrs_pvar", "$avp(at)")]);
        Bench::with_state(INVITE, state)
    }

    // Each as Kamailio 5.6.3 translates it.
    #[test]
    fn the_user_of_the_request_uri_is_translated() {
        for (user, new, attributes) in [("exact", "ex2", "attr1"), ("00123", "+123", "attr2")] {
            let mut bench = bench();
            bench.context.set_uri(format!("sip:{user}@h").into());
            assert_eq!(bench.run(&MODULE, "dp_translate", &["1"]), 1);
            assert_eq!(bench.uri(), format!("sip:{new}@h"));
            assert_eq!(bench.context.avps.first(b"at"), Some(&text(attributes)));
        }
    }

    #[test]
    fn variables_are_translated() {
        let run = |set: &str, input: &str| {
            let mut bench = bench();
            bench.context.vars.replace("s".into(), text(input));
            let code = bench.run(&MODULE, "dp_translate", &[set, "$var(s)/$var(o)"]);
            (code, bench.context.vars.first(b"o").cloned())
        };
        assert_eq!(run("1", "00777"), (1, Some(text("+777"))));
        assert_eq!(run("1", "91234"), (1, Some(text("81234"))));
        assert_eq!(run("1", "912345"), (-1, None));
        assert_eq!(run("1", "EXACT"), (-1, None));
        assert_eq!(run("3", "5ab"), (1, Some(text("s:ab:alice"))));
        assert_eq!(run("9", "5ab"), (-2, None));
    }

    #[test]
    fn a_rule_without_replacement_only_matches() {
        let mut bench = bench();
        assert_eq!(bench.run(&MODULE, "dp_match", &["1", "abcz"]), 1);
        assert_eq!(bench.context.avps.first(b"at"), Some(&text("glob")));
        assert_eq!(bench.run(&MODULE, "dp_match", &["1", "nomatch"]), -1);
        assert_eq!(bench.run(&MODULE, "dp_translate", &["1", "$nope"]), -1);
    }

    #[test]
    fn a_reload_that_fails_leaves_the_rules_as_they_are() {
        let files = Scratch::new(&[("dialplan", ROWS)]);
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &[("db_url", &files.url())]));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        files.write("dialplan", "dpid,pr,match_op,match_exp\n1,1,1,(\n");
        assert_eq!(bench.run_waiting(&MODULE, "dp_reload", &[], &runtime), -1);
        assert_eq!(bench.run(&MODULE, "dp_match", &["1", "exact"]), 1);
        files.write("dialplan", "dpid,pr,match_op,match_exp\n7,1,0,new\n");
        assert_eq!(bench.run_waiting(&MODULE, "dp_reload", &[], &runtime), 1);
        assert_eq!(bench.run(&MODULE, "dp_match", &["7", "new"]), 1);
        assert_eq!(bench.run(&MODULE, "dp_match", &["1", "exact"]), -2);
    }
}
