//! Where the rules come from, and what an operator can ask.

use std::sync::{Arc, RwLock};

use module_api::{Answer, ArgumentKind, Command, CommandParam, Data, Parameter, Setup, SetupError, State};

use super::Dialplan;
use super::rule::{Plan, Rule};
use crate::rows::{Source, Wanted, reloaded};
use crate::setting::{ignored, text};
use crate::text_variable::TextVariable;

pub(super) const PARAMETERS: &[Parameter] = &[
    text(
        "db_url",
        "",
        "The database of the rules, or a directory of text files: text:///path. By default ser.db in the data directory.",
    ),
    text("table_name", "dialplan", "The table of rules."),
    text("attrs_pvar", "", "The variable that receives the attributes of the rule that matched, as $avp(NAME)."),
    text("dpid_col", "dpid", "The column of the set."),
    text("pr_col", "pr", "The column of the priority; the lowest comes first."),
    text("match_op_col", "match_op", "The column of the operator: 0 equal, 1 regular expression, 2 shell pattern."),
    text("match_exp_col", "match_exp", "The column of what a text is compared with."),
    text("match_len_col", "match_len", "The column of the length that a text must have; 0 for any."),
    text("subst_exp_col", "subst_exp", "The column of the expression whose groups the replacement uses."),
    text("repl_exp_col", "repl_exp", "The column of the replacement, with \\\\1 to \\\\9 and variables in it."),
    text("attrs_col", "attrs", "The column of the attributes."),
    ignored("fetch_rows", "Has no effect."),
    ignored("match_dynamic", "Has no effect: expressions hold no variables; replacements may."),
    ignored("append_branch", "Has no effect."),
    ignored("reload_delta", "Has no effect."),
];

pub(super) const TRANSLATE: Command = Command {
    name: "dialplan.translate",
    aliases: &["dp_translate"],
    params: &[
        CommandParam::required("set", ArgumentKind::Int, "The set of rules."),
        CommandParam::required("text", ArgumentKind::Str, "The text."),
    ],
    doc: "Says which rule of a set matches a text.",
    result: "The attributes of the rule.",
    example: "dialplan.translate 1 0049301234",
    run: |call| {
        let plan = call.state::<Dialplan>().plan();
        let (set, text) = (call.int(0).unwrap_or(0), call.text(1).unwrap_or_default());
        let Some(rules) = plan.set(set) else { return Answer::error(404, "no such set") };
        match rules.iter().find(|rule| rule.is_match(text.as_bytes())) {
            Some(rule) => Data::of([("attributes", Data::text(rule.attributes()))]).into(),
            None => Answer::error(404, "no rule matches"),
        }
    },
};

pub(super) const DUMP: Command = Command {
    name: "dialplan.dump",
    params: &[CommandParam::required("set", ArgumentKind::Int, "The set of rules.")],
    doc: "Shows the rules of a set, in the order in which they are tried.",
    result: "For each: priority, operator (0 equal, 1 expression, 2 shell pattern), expression, length, pattern and attributes.",
    example: "dialplan.dump 1",
    run: |call| match call.state::<Dialplan>().plan().set(call.int(0).unwrap_or(0)) {
        Some(rules) => rules.iter().map(Rule::shown).collect::<Data>().into(),
        None => Answer::error(404, "no such set"),
    },
    ..Command::EMPTY
};

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let names = [
        "dpid_col",
        "pr_col",
        "match_op_col",
        "match_exp_col",
        "match_len_col",
        "subst_exp_col",
        "repl_exp_col",
        "attrs_col",
    ];
    let columns: Vec<String> = names.iter().map(|name| setup.text(name)).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let (url, table) = (setup.text("db_url"), setup.text("table_name"));
    let wanted = Wanted {
        setting: "db_url",
        url: &url,
        table: &table,
        columns: &columns,
        order: Some(columns[1]),
        versions: &[2],
    };
    let source = Source::at(setup, &wanted)?;
    let attributes = match setup.text("attrs_pvar") {
        text if text.is_empty() => Ok(None),
        text => TextVariable::parse(&text).map(Some),
    };
    let attributes = attributes.map_err(|cause| SetupError::Setting { name: "attrs_pvar", cause })?;
    if attributes.as_ref().is_some_and(|variable| !variable.is_writable()) {
        return Err(SetupError::Setting { name: "attrs_pvar", cause: "cannot be written".into() });
    }
    let plan = Plan::from_rows(&source.read_at_start(setup)?).map_err(SetupError::Unavailable)?;
    Ok(Arc::new(Dialplan { source, plan: RwLock::new(Arc::new(plan)), attributes }))
}

/// Reads the rules again beside the workers.
pub(super) fn reload_command(dialplan: Arc<Dialplan>) -> Answer {
    reloaded(async move { dialplan.reload().await })
}
