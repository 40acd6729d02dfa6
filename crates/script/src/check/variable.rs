//! `$`-variables, format strings, transformations, selects.

use bytes::Bytes;
use module_api::{Index, KeyRule, Other, Value, Variable};

use super::Checker;
use super::expression::placeholder;
use super::operand::null;
use super::reach::Use;
use super::tree::{Expression, ExpressionKind, Type};
use crate::diagnostic::{Diagnostic, codes};
use crate::lex::Marker;
use crate::program::{ConfigValue, IndexUse, Source, Text, TextPiece, VariableUse};
use crate::source::Span;
use crate::syntax::tree::Word;
use crate::syntax::{Piece, VariableTree, parse_text, parse_variable};
use crate::transform::{self, Transform};

/// How deep variables may stand in the keys of others.
const NESTING: usize = 16;

impl Checker<'_, '_> {
    /// A variable that is read.
    pub(super) fn read(&mut self, text: &str, span: Span) -> Expression {
        let Some(variable) = self.variable(text, span) else { return placeholder(span) };
        if matches!(variable.source, Source::Null) && variable.transforms.is_empty() {
            return null(span);
        }
        Expression { kind: ExpressionKind::Read(variable), ty: Type::Any, span }
    }

    /// A variable that is written.
    pub(super) fn target(&mut self, word: &Word) -> Option<VariableUse> {
        let variable = self.variable(&word.text, word.span)?;
        let why = match variable.source {
            Source::Module { variable: entry, .. } if entry.write.is_none() => "is read-only",
            Source::ReturnCode | Source::Null | Source::Config(_) | Source::Of(_) | Source::Count => "is read-only",
            _ if !variable.transforms.is_empty() => "cannot be written through a transformation",
            _ => return Some(variable),
        };
        let text = format!("`{}` {why}", word.text);
        self.report(Diagnostic::error(codes::READ_ONLY, word.span, text));
        None
    }

    /// Resolves a variable as written, `$` included.
    pub(super) fn variable(&mut self, text: &str, span: Span) -> Option<VariableUse> {
        let tree = match parse_variable(text) {
            Ok(tree) => tree,
            Err(cause) => {
                let message = format!("`{text}` cannot be read: {cause}");
                self.report(Diagnostic::error(codes::VARIABLE_FORM, span, message));
                return None;
            }
        };
        self.depth += 1;
        let resolved = if self.depth > NESTING {
            self.report(Diagnostic::error(codes::TOO_DEEP, span, "variables are nested too deeply in each other"));
            None
        } else {
            self.resolve(&tree, text, span)
        };
        self.depth -= 1;
        resolved
    }

    fn resolve(&mut self, tree: &VariableTree, text: &str, span: Span) -> Option<VariableUse> {
        let of = self.other(&tree.name);
        let mut key = match &tree.key {
            Some(key) if of.is_some() && !key.starts_with('$') => Some(self.text(&format!("$({key})"), span)?),
            Some(key) => Some(self.text(key, span)?),
            None => None,
        };
        let source = match tree.name.as_str() {
            "null" => Source::Null,
            "rc" | "retcode" | "?" => Source::ReturnCode,
            "def" | "defn" | "defv" | "defs" if tree.key.is_some() => self.definition(tree, span),
            "env" | "envn" if tree.key.is_some() => self.environment(tree),
            "sel" if tree.key.as_ref().is_some_and(|key| key.starts_with("cfg_get.")) => self.config(tree, span),
            "ccp"
                if tree.key.as_ref().is_some_and(|key| !key.contains('$')) && self.scope.variable("ccp").is_some() =>
            {
                self.config(tree, span)
            }
            "cnt"
                if tree.key.as_ref().is_some_and(|key| key.starts_with('$'))
                    && self.scope.variable("cnt").is_some() =>
            {
                Source::Count
            }
            "cfg" if tree.key.is_some() && self.scope.variable("cfg").is_some() => self.own_place(tree, span)?,
            name => match self.scope.variable(name) {
                Some((_, variable)) if of.is_some() => {
                    self.check_key(variable, key.is_some(), span)?;
                    self.note_use(variable, text, span);
                    Source::Of(of?)
                }
                Some((module, variable)) => {
                    if let (Some(header), true) = (&tree.key, name.starts_with("hdr") || name.starts_with("hfl")) {
                        self.header(header, span);
                    }
                    if let (Some(path), "sel") = (&tree.key, name) {
                        self.select_root(path, span)?;
                    }
                    self.check_key(variable, key.is_some(), span)?;
                    self.note_use(variable, text, span);
                    Source::Module { variable, module }
                }
                None => {
                    let (module, variable) = self.attribute(name, key.is_some(), span)?;
                    key = Some(Text::Constant(Bytes::from(name.to_owned())));
                    Source::Module { variable, module }
                }
            },
        };
        let index = match tree.index.as_deref() {
            None => IndexUse::Fixed(Index::Default),
            Some("*") => IndexUse::Fixed(Index::All),
            Some(index) => match index.parse() {
                Ok(number) => IndexUse::Fixed(Index::At(number)),
                Err(_) => IndexUse::Computed(self.text(index, span)?),
            },
        };
        let mut transforms = Vec::new();
        for one in &tree.transformations {
            transforms.push(self.transform(&one.name, &one.arguments, span)?);
        }
        Some(VariableUse { source, key, index, transforms: transforms.into() })
    }

    /// The message that a variable of variables is about.
    fn other(&self, name: &str) -> Option<Other> {
        match self.scope.variable(name)?.1.key {
            KeyRule::Of(other) => Some(other),
            _ => None,
        }
    }

    /// `$def(NAME)`: what the preprocessor defined.
    fn definition(&mut self, tree: &VariableTree, span: Span) -> Source {
        let name = tree.key.as_deref().unwrap_or("");
        if let Some((_, value)) = self.input.defines.iter().find(|(known, _)| known == name) {
            let value = value.trim().trim_matches('"').to_owned();
            return self.config_value(ConfigValue {
                group: Bytes::new(),
                value: Value::Str(value.into()),
                instances: Vec::new(),
            });
        }
        let found = Diagnostic::warning(codes::UNDEFINED, span, format!("`{name}` is not defined"));
        let found = found.label("always `$null`");
        self.report(found.suggest(name, self.input.defines.iter().map(|(known, _)| known.as_str())));
        Source::Null
    }

    /// `$env(NAME)`: the environment as it is at load.
    fn environment(&mut self, tree: &VariableTree) -> Source {
        match self.input.options.reader.environment(tree.key.as_deref().unwrap_or("")) {
            Some(value) => self.config_value(ConfigValue {
                group: Bytes::new(),
                value: Value::Str(value.into()),
                instances: Vec::new(),
            }),
            None => Source::Null,
        }
    }

    /// `$sel(cfg_get.group.name)`: what the script sets with `group.name = value`.
    fn config(&mut self, tree: &VariableTree, span: Span) -> Source {
        let path = tree.key.as_deref().unwrap_or("").trim_start_matches("cfg_get.");
        if let Some(value) = self.scope.config(path) {
            return self.config_value(value);
        }
        if let Some(name) = path.strip_prefix("core.").filter(|name| self.input.settings.knows(name)) {
            let value = self.input.settings.value(name);
            return self.config_value(ConfigValue { group: Bytes::new(), value, instances: Vec::new() });
        }
        let text = format!("no line of this script sets `{path}`");
        let found = Diagnostic::warning(codes::UNDEFINED, span, text).label("always `$null`");
        let found = found.suggest(path, self.scope.config_names());
        self.report(if found.help.is_none() {
            found.help(format!("add `{path} = \"...\"` at the top"))
        } else {
            found
        });
        Source::Null
    }

    /// `$cfg(line)` and its kin: where the variable stands in the script.
    fn own_place(&mut self, tree: &VariableTree, span: Span) -> Option<Source> {
        let value = match tree.key.as_deref().unwrap_or("") {
            "line" => Value::Int(self.input.sources.position(span).line.into()),
            "file" | "name" => Value::Str(self.input.sources.path(span.file).to_owned().into()),
            "route" => Value::Str(self.route_name.clone().into()),
            key => {
                let text = format!("`$cfg({key})` is not known");
                let found = Diagnostic::error(codes::UNKNOWN_VARIABLE, span, text);
                self.report(found.help("there are `$cfg(line)`, `$cfg(file)`, `$cfg(name)` and `$cfg(route)`"));
                return None;
            }
        };
        Some(self.config_value(ConfigValue { group: Bytes::new(), value, instances: Vec::new() }))
    }

    /// The first word of a select is one of a list, or a header that is known.
    fn select_root(&mut self, path: &str, span: Span) -> Option<()> {
        let path = path.trim().trim_start_matches('@');
        let root = path.split(['.', '[']).next().unwrap_or("");
        let header = root.replace('_', "-");
        let is_known = path.contains('$')
            || SELECT_ROOTS.contains(&root)
            || sip_message::HeaderName::from_token(header.as_bytes()) != sip_message::HeaderName::Other
            || super::argument::is_header(&header);
        if is_known {
            return Some(());
        }
        let found = Diagnostic::error(codes::UNKNOWN_VARIABLE, span, format!("no select begins with `{root}`"));
        let found = found.suggest(root, SELECT_ROOTS.iter().copied());
        self.report(if found.help.is_none() {
            found.help(format!("a header of that name is `msg.header[\"{root}\"]`"))
        } else {
            found
        });
        None
    }

    fn config_value(&mut self, value: ConfigValue) -> Source {
        let at = self.values.iter().position(|known| *known == value).unwrap_or(self.values.len());
        if at == self.values.len() {
            self.values.push(value);
        }
        Source::Config(at as u32)
    }

    fn check_key(&mut self, variable: &Variable, has_key: bool, span: Span) -> Option<()> {
        let text = match (variable.key, has_key) {
            (KeyRule::None, true) => format!("`${}` takes no key in parentheses", variable.name),
            (KeyRule::Required | KeyRule::Of(_), false) => format!("`${}` needs a key in parentheses", variable.name),
            _ => return Some(()),
        };
        let found = Diagnostic::error(codes::VARIABLE_FORM, span, text);
        self.report(found.help(format!("for instance `{}`", variable.example)));
        None
    }

    fn note_use(&mut self, variable: &Variable, text: &str, span: Span) {
        let (route, is_guarded) = (self.route, self.conditions > 0);
        let (allowed, name) = (variable.routes, format!("`{text}`"));
        self.reach.used(Use { route, allowed, name, is_variable: true, is_guarded, span });
    }

    /// An unknown name: in scripts of SER 2 an attribute, else a mistake.
    fn attribute(&mut self, name: &str, has_key: bool, span: Span) -> Option<(u16, &'static Variable)> {
        let attributes = self.scope.variable("avp");
        let may_be_attribute = self.input.marker != Some(Marker::Kamailio) && !has_key;
        if let (Some(found), true) = (attributes, may_be_attribute) {
            if self.input.marker != Some(Marker::Ser) && !name.contains('.') {
                let text = format!("unknown variable `${name}` is taken for the attribute `$avp({name})`");
                let warning = Diagnostic::warning(codes::UNKNOWN_VARIABLE, span, text);
                self.report(warning.suggest_variable(name, self.scope.variable_names()));
            }
            return Some(found);
        }
        let is_here = self.scope.owner_of_variable(name).is_some();
        if let (false, Some(owner)) = (is_here, self.absent.owner_of_variable(name, self.input.options.catalog)) {
            let catalog = self.input.options.catalog;
            self.absent.name(owner, &format!("${name}"), span, catalog, self.diagnostics);
            return None;
        }
        let found = Diagnostic::error(codes::UNKNOWN_VARIABLE, span, format!("unknown variable `${name}`"));
        self.report(match self.scope.owner_of_variable(name) {
            Some(module) => found.help(format!("it belongs to module `{module}`: add `loadmodule \"{module}.so\"`")),
            None => found.suggest_variable(name, self.scope.variable_names()),
        });
        None
    }

    fn transform(&mut self, name: &str, arguments: &[String], span: Span) -> Option<Transform> {
        if name == "re.subst" {
            let rule = arguments.first().map_or("", String::as_str);
            return match Transform::substitute(rule) {
                Ok(transform) => Some(transform),
                Err(cause) => {
                    self.bad_regex(rule, &cause, span);
                    None
                }
            };
        }
        let Some(operation) = transform::find(name) else {
            let text = format!("unknown transformation `{{{name}}}`");
            let found = Diagnostic::error(codes::UNKNOWN_TRANSFORMATION, span, text);
            self.report(found.suggest(name, transform::names()));
            return None;
        };
        let joined = comma_as_last(arguments, operation.most);
        let arguments = joined.as_deref().unwrap_or(arguments);
        if !(operation.least..=operation.most).contains(&arguments.len()) {
            let wanted = match (operation.least, operation.most) {
                (0, 0) => "no arguments".to_owned(),
                (least, most) if least == most => format!("{least} argument{}", if least == 1 { "" } else { "s" }),
                (least, most) => format!("{least} to {most} arguments"),
            };
            let text = format!("`{{{name}}}` takes {wanted}, not {}", arguments.len());
            self.report(Diagnostic::error(codes::ARGUMENT_COUNT, span, text));
            return None;
        }
        let mut texts = Vec::new();
        for argument in arguments {
            texts.push(self.text(argument, span)?);
        }
        Some(Transform::new(operation, texts))
    }

    /// A format string: text with variables in it.
    pub(super) fn text(&mut self, text: &str, span: Span) -> Option<Text> {
        let mut pieces = Vec::new();
        for piece in parse_text(text) {
            pieces.push(match piece {
                Piece::Text(text) => TextPiece::Text(Bytes::from(text)),
                Piece::Variable(text) => TextPiece::Variable(self.variable(&text, span)?),
            });
        }
        Some(join(pieces))
    }

    /// A format string of SER's xlog, where `%ci` is what `$ci` became later.
    pub(super) fn percent_text(&mut self, text: &str, span: Span) -> Option<Text> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            plain.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix('%') {
                plain.push('%');
                rest = behind;
                continue;
            }
            let Some((specifier, name)) = SPECIFIERS.iter().find(|(specifier, _)| rest.starts_with(specifier)) else {
                plain.push('%');
                continue;
            };
            pieces.push(TextPiece::Text(Bytes::from(std::mem::take(&mut plain))));
            pieces.push(TextPiece::Variable(self.variable(name, span)?));
            rest = &rest[specifier.len()..];
        }
        plain.push_str(rest);
        pieces.push(TextPiece::Text(Bytes::from(plain)));
        pieces.retain(|piece| !matches!(piece, TextPiece::Text(text) if text.is_empty()));
        Some(join(pieces))
    }

    /// `@a.b.c`, which later scripts write `$sel(a.b.c)`.
    pub(super) fn select(&mut self, path: &str, span: Span) -> Expression {
        let is_config = path.starts_with("@cfg_get.");
        if is_config || self.scope.variable("sel").is_some() {
            return self.read(&format!("$sel({})", path.trim_start_matches('@')), span);
        }
        let found = Diagnostic::error(codes::UNKNOWN_VARIABLE, span, format!("the select `{path}` is not known here"));
        self.report(found.help("a variable says the same: `@to.tag` is `$tt`, `@ruri.user` is `$rU`"));
        placeholder(span)
    }
}

fn join(pieces: Vec<TextPiece>) -> Text {
    match pieces.as_slice() {
        [] => Text::Constant(Bytes::new()),
        [TextPiece::Text(text)] => Text::Constant(text.clone()),
        _ => Text::Pieces(pieces.into()),
    }
}

/// What a select can begin with beside the name of a header.
const SELECT_ROOTS: &[&str] = &[
    "method",
    "ruri",
    "request_uri",
    "dst_uri",
    "next_hop",
    "src",
    "dst",
    "msg",
    "sys",
    "hf_value",
    "cfg_get",
    "from",
    "to",
    "via",
    "v",
    "cseq",
    "rpid",
    "rr",
    "call_id",
    "callid",
];

/// What SER's xlog calls the variables.
const SPECIFIERS: &[(&str, &str)] = &[
    ("ct", "$ct"),
    ("ci", "$ci"),
    ("cs", "$cs"),
    ("fu", "$fu"),
    ("ft", "$ft"),
    ("tu", "$tu"),
    ("tt", "$tt"),
    ("mi", "$mi"),
    ("pp", "$pp"),
    ("rm", "$rm"),
    ("ru", "$ru"),
    ("rs", "$rs"),
    ("rr", "$rr"),
    ("Ts", "$Ts"),
    ("Tf", "$Tf"),
    ("is", "$si"),
];

/// The arguments with a comma as the last of them, where `{s.select,0,,}` means that.
fn comma_as_last(arguments: &[String], most: usize) -> Option<Vec<String>> {
    let head = arguments.strip_suffix(&[String::new(), String::new()])?;
    let is_one_too_many = arguments.len() == most + 1;
    is_one_too_many.then(|| head.iter().cloned().chain([",".to_owned()]).collect())
}
