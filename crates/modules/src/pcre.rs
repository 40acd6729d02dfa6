//! Regular expressions in the notation of Perl, from scripts and from a file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use module_api::{
    Answer, Command, CommandError, Data, Function, Module, Outcome, Param, ParamKind, Routes, Setup, SetupError, State,
};
use regex::bytes::{Regex, RegexBuilder};

use crate::setting::{file, ignored, number};

/// Regular expressions in the notation of Perl.
pub static MODULE: Module = Module {
    name: "regex",
    doc: "Matches regular expressions in the notation of Perl, from the script or from a file of groups. Matching takes time \
          in proportion to the text, whatever the expression, so there are no back references and no look-around.",
    parameters: &[
        file(
            "file",
            "",
            "The file of groups: [0], [1] and so on each begin one, and each line of a group is an expression.",
        ),
        number("max_groups", "20", "Most groups in the file."),
        number("pcre_caseless", "0", "1: the case of letters does not matter."),
        number("pcre_multiline", "0", "1: ^ and $ match at lines."),
        number("pcre_dotall", "0", "1: the dot matches line ends."),
        number("pcre_extended", "0", "1: white space and comments in expressions are skipped."),
        ignored("group_max_size", "Has no effect: a compiled group takes up to 10 MiB."),
    ],
    functions: &[MATCH, MATCH_GROUP],
    commands: &[Command {
        name: "regex.reload",
        aliases: &["regex_reload"],
        doc: "Reads the file of groups again. When it is wrong, the groups that are there stay.",
        result: "Nothing.",
        example: "regex.reload",
        run: |call| {
            let state = call.shared_state::<Expressions>();
            Answer::later(async move {
                let done = tokio::task::spawn_blocking(move || state.reload()).await;
                let done = done.unwrap_or_else(|_| Err("interrupted".into()));
                done.map(|()| Data::Null).map_err(|cause| CommandError::new(500, cause))
            })
        },
        ..Command::EMPTY
    }],
    make,
    ..Module::EMPTY
};

const MATCH: Function = Function {
    name: "pcre_match",
    params: &[Param::required("text", ParamKind::Format), Param::required("expression", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "True when the expression matches somewhere in the text.",
    example: "if (pcre_match(\"$ua\", \"(?i)scanner\")) drop;",
    run: |call| {
        let (subject, expression) = (call.text(0), call.text(1));
        match call.state::<Expressions>().compiled(&expression) {
            Ok(regex) => regex.is_match(&subject).into(),
            Err(cause) => Outcome::fail(cause),
        }
    },
};

const MATCH_GROUP: Function = Function {
    name: "pcre_match_group",
    params: &[Param::required("text", ParamKind::Format), Param::optional("group", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "True when an expression of a group of the file matches; group 0 where none is given.",
    example: "if (pcre_match_group(\"$rU\", 1)) xlog(\"a service\\n\");",
    run: |call| {
        let subject = call.text(0);
        let group = call.int(1).unwrap_or(0);
        let groups = call.state::<Expressions>().groups();
        match usize::try_from(group).ok().and_then(|group| groups.get(group)) {
            Some(regex) => regex.is_match(&subject).into(),
            None => Outcome::fail(format!("pcre_match_group: the file has no group {group}")),
        }
    },
};

/// How expressions are meant.
#[derive(Debug, Clone, Copy, Default)]
struct Notation {
    ignores_case: bool,
    is_multi_line: bool,
    dot_takes_line_ends: bool,
    skips_space: bool,
}

impl Notation {
    fn compile(self, text: &str) -> Result<Regex, String> {
        let mut builder = RegexBuilder::new(text);
        builder
            .unicode(false)
            .case_insensitive(self.ignores_case)
            .multi_line(self.is_multi_line)
            .dot_matches_new_line(self.dot_takes_line_ends)
            .ignore_whitespace(self.skips_space);
        builder.build().map_err(|error| format!("`{text}`: {}", error.to_string().lines().last().unwrap_or_default()))
    }
}

/// The state of module regex.
struct Expressions {
    file: Option<PathBuf>,
    notation: Notation,
    most_groups: usize,
    groups: RwLock<Arc<Vec<Regex>>>,
    /// Those of the script, which are constants nearly always.
    compiled: Mutex<HashMap<Bytes, Arc<Regex>>>,
}

/// Computed expressions could be without number.
const MOST_COMPILED: usize = 256;

impl Expressions {
    fn groups(&self) -> Arc<Vec<Regex>> {
        Arc::clone(&self.groups.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn compiled(&self, expression: &Bytes) -> Result<Arc<Regex>, String> {
        let lock = || self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(expression) {
            return Ok(Arc::clone(known));
        }
        let text = std::str::from_utf8(expression).map_err(|_| "the expression is not UTF-8".to_owned())?;
        let regex = Arc::new(Notation::default().compile(text)?);
        let mut compiled = lock();
        if compiled.len() >= MOST_COMPILED {
            compiled.clear();
        }
        compiled.insert(expression.clone(), Arc::clone(&regex));
        Ok(regex)
    }

    fn reload(&self) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let groups = parse(&text, self.notation, self.most_groups);
        let groups = groups.map_err(|cause| format!("{}:{cause}", file.display()))?;
        *self.groups.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(groups);
        Ok(())
    }
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let file = setup.text("file");
    let expressions = Expressions {
        file: (!file.is_empty()).then(|| file.into()),
        notation: Notation {
            ignores_case: setup.int("pcre_caseless") != 0,
            is_multi_line: setup.int("pcre_multiline") != 0,
            dot_takes_line_ends: setup.int("pcre_dotall") != 0,
            skips_space: setup.int("pcre_extended") != 0,
        },
        most_groups: usize::try_from(setup.int("max_groups")).unwrap_or(0),
        groups: RwLock::default(),
        compiled: Mutex::default(),
    };
    expressions.reload().map_err(SetupError::Unavailable)?;
    Ok(Arc::new(expressions))
}

/// The groups of a file, each as one expression; an error begins with the number of its line.
fn parse(text: &str, notation: Notation, most: usize) -> Result<Vec<Regex>, String> {
    let mut groups: Vec<Vec<&str>> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let (number, line) = (number + 1, line.trim());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let head = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::parse::<usize>);
        if let Some(Ok(group)) = head {
            if group != groups.len() || group >= most {
                return Err(format!("{number}: group [{group}] where [{}] is due, of {most}", groups.len()));
            }
            groups.push(Vec::new());
            continue;
        }
        let Some(group) = groups.last_mut() else {
            return Err(format!("{number}: a group begins with a line such as [0]"));
        };
        notation.compile(line).map_err(|cause| format!("{number}: {cause}"))?;
        group.push(line);
    }
    let whole = |lines: Vec<&str>| {
        // An empty group matches nothing, where an empty expression would match all.
        let text = if lines.is_empty() { "[^\\x00-\\xff]".to_owned() } else { format!("(?:{})", lines.join(")|(?:")) };
        notation.compile(&text)
    };
    groups.into_iter().map(whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, Scratch, started, try_start};

    #[test]
    fn expressions_of_the_script_mind_the_case() {
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &[]));
        // As Kamailio 5.6.3 answers.
        assert_eq!(bench.run(&MODULE, "pcre_match", &["ABC", "abc"]), -1);
        assert_eq!(bench.run(&MODULE, "pcre_match", &["xabcx", "b.x"]), 1);
        assert_eq!(bench.run(&MODULE, "pcre_match", &["ABC", "(?i)abc"]), 1);
        assert_eq!(bench.run(&MODULE, "pcre_match", &["a", "(?=a)"]), -1);
    }

    #[test]
    fn groups_come_from_a_file() {
        let files = Scratch::new(&[("groups", "# numbers\n[0]\n^00\n^\\+\n\n[1]\n[2]\n^9\n")]);
        let path = &*files.path("groups");
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &[("file", path)]));
        let mut ask = |args: &[&str]| bench.run(&MODULE, "pcre_match_group", args);
        assert_eq!((ask(&["0049"]), ask(&["+49"]), ask(&["49"])), (1, 1, -1));
        assert_eq!((ask(&["9", "2"]), ask(&["9", "1"]), ask(&["9", "3"])), (1, -1, -1));
        files.write("groups", "[0]\n(");
        assert!(try_start(&MODULE, &[("file", path)]).err().unwrap().to_string().contains(":2: `(`"));
        assert!(try_start(&MODULE, &[("file", &files.path("none"))]).is_err());
    }

    #[test]
    fn groups_stand_in_order() {
        let parse = |text: &str| parse(text, Notation::default(), 2).err();
        assert_eq!(parse("[1]\n").as_deref(), Some("1: group [1] where [0] is due, of 2"));
        assert_eq!(parse("a\n").as_deref(), Some("1: a group begins with a line such as [0]"));
        assert!(parse("[0]\n[1]\n[2]\n").is_some());
    }
}
