//! Values by the longest prefix of a text.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use module_api::{
    Command, Function, Module, Outcome, Param, ParamKind, Parameter, Routes, Setup, SetupError, State, Value,
};

use crate::prefix_tree::PrefixTree;
use crate::rows::{DB_URL, Row, Source, Wanted, reloaded};
use crate::setting::{ignored, list, number, pairs, text};
use crate::text_variable::TextVariable;

/// Values by the longest prefix of a text.
pub static MODULE: Module = Module {
    name: "mtree",
    doc: "Trees of prefixes in memory: tariffs, gateways, routes by the longest prefix of a number.",
    parameters: PARAMETERS,
    functions: &[MATCH],
    commands: &[Command {
        name: "mtree.reload",
        aliases: &["mt_reload"],
        doc: "Reads every tree again. When one cannot be read, those that are there stay.",
        result: "Nothing.",
        example: "mtree.reload",
        run: |call| {
            let trees = call.shared_state::<Trees>();
            reloaded(async move { trees.reload().await })
        },
        ..Command::EMPTY
    }],
    make,
    ..Module::EMPTY
};

const PARAMETERS: &[Parameter] = &[
    list("mtree", "A tree: name=TREE;dbtable=TABLE;type=0. Type 0 holds texts, type 2 numbers."),
    DB_URL,
    text("db_table", "", "One table of all trees, told apart by tname_column; its trees need no dbtable."),
    text("char_list", "0123456789", "The characters that prefixes are made of."),
    text("pv_value", "$avp(s:tvalue)", "The variable that receives the value of the longest prefix."),
    text(
        "pv_values",
        "$avp(s:tvalues)",
        "The attribute that receives the values of all prefixes in mode 2, the longest first.",
    ),
    text("tname_column", "tname", "The column of the name of the tree, in a table of all trees."),
    text("tprefix_column", "tprefix", "The column of the prefix."),
    text("tvalue_column", "tvalue", "The column of the value."),
    number("mt_allow_duplicates", "0", "1: a prefix that comes again gets both values; 0: that is an error at load."),
    number("mt_ignore_duplicates", "0", "1: a prefix that comes again is passed over."),
    ignored("mt_tree_type", "Has no effect: each tree says its type."),
    ignored("item", "Has no effect: prefixes come from tables."),
    ignored("fetch_rows", "Has no effect."),
    ignored("connect_mode", "Has no effect."),
    ignored("pv_dstid", "Has no effect: there are no trees of destinations with weights."),
    ignored("pv_weight", "Has no effect: there are no trees of destinations with weights."),
    ignored("pv_count", "Has no effect: there are no trees of destinations with weights."),
];

const MATCH: Function = Function {
    name: "mt_match",
    params: &[
        Param::required("tree", ParamKind::Format),
        Param::required("text", ParamKind::Format),
        Param::required("mode", ParamKind::Int),
    ],
    routes: Routes::ANY,
    doc: "True when the tree has a prefix of the text. Its value goes to pv_value, of several prefixes that of the longest; in \
          mode 2 the values of all go to pv_values.",
    example: "if (mt_match(\"routes\", \"$rU\", 0)) $rd = $avp(tvalue);",
    run: |call| {
        let (name, text, takes_all) = (call.text(0), call.text(1), call.int(2) == Some(2));
        let trees = call.state::<Trees>();
        let Some(tree) = trees.find(&name) else { return Outcome::fail("mt_match: no such tree") };
        let found = tree.prefixes_of(&text);
        let Some((_, longest)) = found.first() else { return Outcome::FALSE };
        let written = if takes_all {
            // The newest value of an attribute is read first.
            let values = found.iter().flat_map(|(_, values)| values.iter());
            let values: Vec<Value> = values.cloned().collect();
            values.into_iter().rev().try_for_each(|value| trees.all.write(call, value))
        } else {
            trees.one.write(call, longest[0].clone())
        };
        written.map_or_else(Outcome::Fail, |()| Outcome::TRUE)
    },
};

type Tree = PrefixTree<Vec<Value>>;

/// The state of module mtree.
struct Trees {
    plans: Vec<Plan>,
    loaded: RwLock<Vec<Arc<Tree>>>,
    rules: Rules,
    one: TextVariable,
    all: TextVariable,
}

/// How a tree comes about.
struct Plan {
    name: String,
    is_number: bool,
    source: Source,
    /// Whether rows of other trees are in its table.
    shares_table: bool,
}

struct Rules {
    characters: String,
    allows_duplicates: bool,
    ignores_duplicates: bool,
}

impl Trees {
    fn find(&self, name: &[u8]) -> Option<Arc<Tree>> {
        let at = self.plans.iter().position(|plan| plan.name.as_bytes() == name)?;
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).get(at).cloned()
    }

    async fn reload(&self) -> Result<(), String> {
        let mut loaded = Vec::with_capacity(self.plans.len());
        for plan in &self.plans {
            loaded.push(plan.tree(&plan.source.read().await?, &self.rules)?);
        }
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }
}

impl Plan {
    fn tree(&self, rows: &[Row], rules: &Rules) -> Result<Arc<Tree>, String> {
        let mut tree = Tree::new(&rules.characters);
        for row in rows {
            let [prefix, value, name] = [0, 1, 2].map(|n| row.get(n).and_then(Option::as_deref).unwrap_or_default());
            if self.shares_table && name != self.name {
                continue;
            }
            let wrong = |cause: &str| format!("tree {}: prefix `{prefix}` {cause}", self.name);
            let value = match value.parse() {
                Ok(number) if self.is_number => Value::Int(number),
                Err(_) if self.is_number => return Err(wrong("has a value that is no number")),
                _ => Value::Str(Bytes::copy_from_slice(value.as_bytes())),
            };
            let place = tree.entry(prefix).ok_or_else(|| wrong("has other characters than char_list"))?;
            match place {
                None => *place = Some(vec![value]),
                Some(_) if rules.ignores_duplicates => {}
                Some(values) if rules.allows_duplicates => values.push(value),
                Some(_) => {
                    return Err(wrong("comes twice; mt_allow_duplicates or mt_ignore_duplicates says what is meant"));
                }
            }
        }
        Ok(Arc::new(tree))
    }
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let (url, shared) = (setup.text("db_url"), setup.text("db_table"));
    let columns = ["tprefix_column", "tvalue_column", "tname_column"].map(|name| setup.text(name));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut plans = Vec::new();
    for line in setup.list("mtree") {
        let line = String::from_utf8_lossy(&line).into_owned();
        let wrong = |cause: String| SetupError::Setting { name: "mtree", cause: format!("`{line}`: {cause}") };
        let (mut name, mut table, mut is_number) = (None, None, false);
        for (key, value) in pairs(&line).map_err(wrong)? {
            match (key, value) {
                ("name", value) => name = Some(value.to_owned()),
                ("dbtable", value) => table = Some(value.to_owned()),
                ("type", "0" | "2") => is_number = value == "2",
                ("multi", _) => {}
                ("type", _) => return Err(wrong("there are type=0 (texts) and type=2 (numbers)".into())),
                _ => return Err(wrong(format!("unknown {key}; there are name, dbtable and type"))),
            }
        }
        let name = name.ok_or_else(|| wrong("name= is missing".into()))?;
        let shares_table = table.is_none();
        let table = table.unwrap_or_else(|| shared.clone());
        let (columns, versions): (_, &[i64]) = if shares_table { (&columns[..], &[2]) } else { (&columns[..2], &[1]) };
        let wanted = Wanted { setting: "db_url", url: &url, table: &table, columns, order: None, versions };
        let source = Source::at(setup, &wanted)?;
        plans.push(Plan { name, is_number, source, shares_table });
    }
    let variable = |name: &'static str| {
        let found = TextVariable::parse(&setup.text(name)).and_then(|variable| match variable.is_writable() {
            true => Ok(variable),
            false => Err("cannot be written".to_owned()),
        });
        found.map_err(|cause| SetupError::Setting { name, cause })
    };
    let rules = Rules {
        characters: setup.text("char_list"),
        allows_duplicates: setup.int("mt_allow_duplicates") != 0,
        ignores_duplicates: setup.int("mt_ignore_duplicates") != 0,
    };
    let mut loaded = Vec::new();
    for plan in &plans {
        loaded.push(plan.tree(&plan.source.read_at_start(setup)?, &rules).map_err(SetupError::Unavailable)?);
    }
    let (one, all) = (variable("pv_value")?, variable("pv_values")?);
    Ok(Arc::new(Trees { plans, loaded: RwLock::new(loaded), rules, one, all }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, Scratch, started, try_start};

    const ROWS: &str = "id(int,auto) tprefix(string) tvalue(string)\n1:12:a\n2:123:b\n3:4:c\n";

    #[test]
    fn the_value_of_the_longest_prefix_is_found() {
        let files = Scratch::new(&[("routes", ROWS)]);
        let state = started(&MODULE, &[("db_url", &files.url()), ("mtree", "name=t;dbtable=routes;type=0")]);
        let mut bench = Bench::with_state(INVITE, state);
        let mut ask = |text: &str, mode: &str| bench.run(&MODULE, "mt_match", &["t", text, mode]);
        assert_eq!((ask("12399", "0"), ask("9", "0"), ask("12399", "2")), (1, -1, 1));
        assert_eq!(bench.context.avps.first(b"tvalue"), Some(&Value::from_static("b")));
        // As Kamailio 5.6.3 orders them: the longest is read first.
        let all: Vec<Value> = bench.context.avps.all(b"tvalues").cloned().collect();
        assert_eq!(all, [Value::from_static("b"), Value::from_static("a")]);
        assert_eq!(bench.run(&MODULE, "mt_match", &["nope", "1", "0"]), -1);
    }

    #[test]
    fn one_table_may_hold_several_trees() {
        let rows = "tname,tprefix,tvalue\nx,1,10\ny,1,20\n";
        let files = Scratch::new(&[("all.csv", rows)]);
        let settings =
            [("db_url", &*files.url()), ("db_table", "all"), ("mtree", "name=y;type=2"), ("pv_value", "$var(v)")];
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &settings));
        assert_eq!(bench.run(&MODULE, "mt_match", &["y", "1", "0"]), 1);
        assert_eq!(bench.context.vars.first(b"v"), Some(&Value::Int(20)));
    }

    #[test]
    fn a_prefix_that_comes_twice_is_no_accident() {
        let files = Scratch::new(&[("routes", "tprefix,tvalue\n1,a\n1,b\n"), ("odd", "tprefix,tvalue\n1x,a\n")]);
        let url = files.url();
        let tree = ("mtree", "name=t;dbtable=routes");
        assert!(try_start(&MODULE, &[("db_url", &url), tree]).err().unwrap().to_string().contains("comes twice"));
        assert!(try_start(&MODULE, &[("db_url", &url), tree, ("mt_ignore_duplicates", "1")]).is_ok());
        assert!(try_start(&MODULE, &[("db_url", &url), ("mtree", "name=t;dbtable=odd")]).is_err());
        assert!(try_start(&MODULE, &[("db_url", &url), ("mtree", "name=t;type=1")]).is_err());
    }
}
