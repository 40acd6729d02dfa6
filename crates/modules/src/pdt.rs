//! Prefixes of numbers that stand for domains.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use module_api::{
    ArgumentKind, Call, Command, CommandParam, Data, Dialect, Function, Module, Outcome, Param, ParamKind, Parameter,
    Routes, Setup, SetupError, State,
};
use sip_message::Uri;

use crate::prefix_tree::PrefixTree;
use crate::rewrite;
use crate::rows::{Row, Source, Wanted, reloaded};
use crate::setting::{ignored, text};

/// Prefixes of numbers that stand for domains.
pub static MODULE: Module = Module {
    name: "pdt",
    doc: "Sends numbers to the domain that their prefix stands for.",
    parameters: PARAMETERS,
    functions: &[PREFIX2DOMAIN, TRANSLATE],
    commands: &[
        Command {
            name: "pdt.reload",
            aliases: &["pdt_reload"],
            doc: "Reads the prefixes again. When they cannot be read, those that are there stay.",
            result: "Nothing.",
            example: "pdt.reload",
            run: |call| {
                let prefixes = call.shared_state::<Prefixes>();
                reloaded(async move { prefixes.reload().await })
            },
            ..Command::EMPTY
        },
        LIST,
    ],
    make,
    ..Module::EMPTY
};

const PARAMETERS: &[Parameter] = &[
    text(
        "db_url",
        "",
        "The database of the table, or a directory of text files: text:///path. By default ser.db in the data directory.",
    ),
    text("db_table", "pdt", "The table of prefixes. SER's had the name domains."),
    text("prefix", "", "What a number begins with before its prefix, such as 00; other numbers are left alone."),
    text("char_list", "0123456789", "The characters that prefixes are made of."),
    text("sdomain_column", "sdomain", "The column of the domain for whose callers a prefix counts; * for all."),
    text("prefix_column", "prefix", "The column of the prefix."),
    text("domain_column", "domain", "The column of the domain that it stands for."),
    ignored("fetch_rows", "Has no effect."),
    ignored("check_domain", "Has no effect: prefixes may share a domain."),
    ignored("mode", "Has no effect."),
    ignored("hsize_2pow", "Has no effect."),
    ignored("start_range", "Has no effect: prefixes are not assigned."),
    ignored("terminator", "Has no effect."),
];

const PREFIX2DOMAIN: Function = Function {
    name: "prefix2domain",
    params: &[Param::optional("rewrite", ParamKind::Int), Param::optional("domains", ParamKind::Int)],
    routes: Routes::REQUESTS,
    doc: "Replaces the domain of the Request-URI by the one that the prefix of its user stands for. Mode 0 takes the prefix \
          off, 1 and 2 leave the user. Prefixes count for all callers (0), for those of the From domain (1), or for those and \
          then all (2). False when no prefix fits; true in SER, and for users who do not begin with the setting's prefix.",
    example: "prefix2domain(\"0\", \"2\");",
    run: |call| {
        let from = call.context.message.from().ok().and_then(|from| from.parsed_uri().ok());
        let from = from.map(|uri| uri.host_text.to_ascii_lowercase()).unwrap_or_default();
        let keeps_user = call.int(0).unwrap_or(0) != 0;
        match call.int(1).unwrap_or(0) {
            1 => translate(call, &[&from], keeps_user),
            2 => translate(call, &[&from, b"*"], keeps_user),
            _ => translate(call, &[b"*"], keeps_user),
        }
    },
};

const TRANSLATE: Function = Function {
    name: "pd_translate",
    params: &[Param::required("domain", ParamKind::Format), Param::required("rewrite", ParamKind::Int)],
    routes: Routes::REQUESTS,
    doc: "As prefix2domain(), with the prefixes that count for callers of a given domain.",
    example: "pd_translate(\"$fd\", 0);",
    run: |call| {
        let domain = call.text(0).to_ascii_lowercase();
        let keeps_user = call.int(1).unwrap_or(0) != 0;
        translate(call, &[&domain], keeps_user)
    },
};

const LIST: Command = Command {
    name: "pdt.list",
    aliases: &["pdt_list"],
    params: &[CommandParam::optional(
        "callers",
        ArgumentKind::Str,
        "Only what counts for callers of this domain; * for all.",
    )],
    doc: "Shows the prefixes, 10,000 at most.",
    result: "For each the domain for whose callers it counts (`sdomain`), `prefix` and `domain`.",
    example: "pdt.list",
    run: |call| {
        let table = call.state::<Prefixes>().table();
        let is_wanted = |callers: &[u8]| call.text(0).is_none_or(|wanted| wanted.as_bytes() == callers);
        let mut rows: Vec<(&[u8], String, &Bytes)> = Vec::new();
        for (callers, tree) in table.iter().filter(|(callers, _)| is_wanted(callers)) {
            rows.extend(tree.all().into_iter().map(|(prefix, domain)| (&**callers, prefix, domain)));
        }
        rows.sort_unstable();
        let row = |(callers, prefix, domain): (&[u8], String, &Bytes)| {
            Data::of([("sdomain", Data::text(callers)), ("prefix", prefix.into()), ("domain", Data::text(domain))])
        };
        rows.into_iter().take(SHOWN).map(row).collect::<Data>().into()
    },
};

/// How many prefixes are shown at once.
const SHOWN: usize = 10_000;

type Table = HashMap<Vec<u8>, PrefixTree<Bytes>>;

/// The state of module pdt.
struct Prefixes {
    source: Source,
    characters: String,
    prefix: Bytes,
    table: RwLock<Arc<Table>>,
}

impl Prefixes {
    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn reload(&self) -> Result<(), String> {
        let table = table_of(&self.source.read().await?, &self.characters)?;
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        Ok(())
    }
}

fn table_of(rows: &[Row], characters: &str) -> Result<Table, String> {
    let mut table = Table::new();
    for row in rows {
        let [prefix, domain, callers] = [0, 1, 2].map(|n| row[n].as_deref().unwrap_or_default().trim());
        // SER's table has no such column: its prefixes count for all.
        let callers = if callers.is_empty() { "*" } else { callers };
        let tree = table.entry(callers.to_ascii_lowercase().into_bytes());
        let tree = tree.or_insert_with(|| PrefixTree::new(characters));
        if rewrite::with_host_port(b"sip:x@y", domain.as_bytes()).is_none() {
            return Err(format!("prefix `{prefix}`: `{domain}` is not a domain"));
        }
        let place = tree.entry(prefix);
        let place = place.ok_or_else(|| format!("prefix `{prefix}` has other characters than char_list"))?;
        *place = Some(Bytes::copy_from_slice(domain.as_bytes()));
    }
    Ok(table)
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let columns = ["prefix_column", "domain_column", "sdomain_column"].map(|name| setup.text(name));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let (url, table) = (setup.text("db_url"), setup.text("db_table"));
    let wanted = Wanted { setting: "db_url", url: &url, table: &table, columns: &columns, order: None, versions: &[1] };
    let source = Source::at(setup, &wanted)?;
    let characters = setup.text("char_list");
    let table = table_of(&source.read_at_start(setup)?, &characters).map_err(SetupError::Unavailable)?;
    let table = RwLock::new(Arc::new(table));
    Ok(Arc::new(Prefixes { source, characters, prefix: setup.text("prefix").into(), table }))
}

fn translate(call: &mut Call<'_>, callers: &[&[u8]], keeps_user: bool) -> Outcome {
    let prefixes = call.state::<Prefixes>();
    let uri = call.context.target.uri.clone();
    let Some(user) = Uri::parse(&uri).ok().and_then(|uri| uri.user) else { return Outcome::FALSE };
    let Some(number) = user.strip_prefix(&prefixes.prefix[..]) else { return Outcome::TRUE };
    let table = prefixes.table();
    let found = callers.iter().find_map(|callers| {
        let tree = table.get(*callers)?;
        tree.prefixes_of(number).first().map(|(length, domain)| (*length, (*domain).clone()))
    });
    let Some((length, domain)) = found else { return (call.dialect() == Dialect::Ser).into() };
    let new = rewrite::with_host_port(&uri, &domain);
    let new = match keeps_user {
        true => new,
        false => new.and_then(|uri| rewrite::with_user(&uri, Some(&number[length..]))),
    };
    match new {
        Some(uri) => {
            call.context.set_uri(uri);
            Outcome::TRUE
        }
        None => Outcome::FALSE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, Scratch, started, try_start};

    const ROWS: &str = "id(int,auto) sdomain(string) prefix(string) domain(string)\n\
                        1:*:12:alpha.com\n2:*:123:beta.com\n3:example.com:12:gamma.com\n";

    fn translated(function: &str, args: &[&str], settings: &[(&str, &str)], user: &str) -> (i64, String) {
        let files = Scratch::new(&[("pdt", ROWS)]);
        let url = files.url();
        let settings: Vec<(&str, &str)> = settings.iter().copied().chain([("db_url", url.as_str())]).collect();
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &settings));
        bench.context.set_uri(format!("sip:{user}@old.org").into());
        let code = bench.run(&MODULE, function, args);
        (code, bench.uri())
    }

    // The URIs are those that Kamailio 5.6.3 makes.
    #[test]
    fn the_longest_prefix_decides() {
        let run = |args: &[&str], user: &str| translated("prefix2domain", args, &[], user);
        assert_eq!(run(&[], "12345"), (1, "sip:45@beta.com".into()));
        assert_eq!(run(&["1"], "12345"), (1, "sip:12345@beta.com".into()));
        assert_eq!(run(&["0", "1"], "12345"), (1, "sip:345@gamma.com".into()));
        assert_eq!(run(&["0", "2"], "12345"), (1, "sip:345@gamma.com".into()));
        assert_eq!(run(&["0"], "99"), (-1, "sip:99@old.org".into()));
        let given = |domain: &str| translated("pd_translate", &[domain, "0"], &[], "12345");
        assert_eq!(given("Example.com"), (1, "sip:345@gamma.com".into()));
        assert_eq!(given("nope.org"), (-1, "sip:12345@old.org".into()));
    }

    #[test]
    fn numbers_without_the_leading_digits_are_left_alone() {
        let run = |user: &str| translated("prefix2domain", &[], &[("prefix", "00")], user);
        assert_eq!(run("0012345"), (1, "sip:45@beta.com".into()));
        assert_eq!(run("12345"), (1, "sip:12345@old.org".into()));
    }

    #[test]
    fn a_wrong_row_is_named() {
        let files = Scratch::new(&[("pdt", "prefix,domain\n12,a b\n"), ("domains", "prefix,domain\n1a,x.org\n")]);
        let url = files.url();
        assert!(try_start(&MODULE, &[("db_url", &url)]).err().unwrap().to_string().contains("`a b` is not a domain"));
        assert!(try_start(&MODULE, &[("db_url", &url), ("db_table", "domains")]).is_err());
        assert!(try_start(&MODULE, &[("db_url", &url), ("db_table", "none")]).is_err());
    }
}
