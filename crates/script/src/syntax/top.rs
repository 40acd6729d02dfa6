//! The top level: settings, modules, flags, routes.

use module_api::{Dialect, RouteKind};

use super::cursor::{Cursor, Stuck, is_address_part};
use super::statement;
use super::tree::{ListenTree, Literal, ModParam, RouteTree, SettingTree, Tree, Word};
use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::lex::{Kind, Token, parse_number};

/// Parses a script. What cannot be read is reported and skipped.
pub(crate) fn parse(tokens: &[Token], dialect: Dialect, diagnostics: &mut Diagnostics) -> Tree {
    let mut cursor = Cursor::new(tokens, dialect, diagnostics);
    let mut tree = Tree::default();
    while !cursor.is_end() {
        if item(&mut cursor, &mut tree).is_err() {
            recover(&mut cursor);
        }
    }
    tree
}

/// The name of a module in any of its spellings: `tm`, `tm.so`, `/usr/lib/ser/modules/tm.so`.
pub(crate) fn module_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".so").unwrap_or(name)
}

fn item(cursor: &mut Cursor<'_>, tree: &mut Tree) -> Result<(), Stuck> {
    if cursor.eat(";") {
        return Ok(());
    }
    let token = cursor.peek();
    if token.kind != Kind::Word {
        let stuck = cursor.expected("a setting, `loadmodule`, `modparam` or a route");
        cursor.next();
        return Err(stuck);
    }
    if let Some(kind) = route_kind(&token.text) {
        let is_setting = cursor.ahead(1).is("=");
        if !is_setting {
            cursor.next();
            return route(cursor, tree, kind, token);
        }
    }
    match token.text.as_str() {
        "loadmodule" | "loadmodulex" => load_module(cursor, tree),
        "modparam" | "modparamx" => modparam(cursor, tree),
        "listen" => listen(cursor, tree),
        "alias" | "domain" if cursor.ahead(1).is("=") => alias(cursor, tree),
        "flags" | "bool" | "avpflags" => flags(cursor, tree),
        "mpath" | "loadpath" | "cfgengine" | "user" | "group" if cursor.ahead(1).kind == Kind::Text => {
            cursor.next();
            value_for(cursor, tree, token)
        }
        "socket" if cursor.ahead(2).is("{") => socket(cursor, tree),
        _ => setting(cursor, tree),
    }
}

/// Goes on at the next token that can begin something at the top level.
fn recover(cursor: &mut Cursor<'_>) {
    let mut depth = 0_usize;
    while !cursor.is_end() {
        let token = cursor.peek();
        if depth == 0 && begins_item(cursor, token) {
            return;
        }
        if token.is("{") {
            depth += 1;
        } else if token.is("}") {
            depth = depth.saturating_sub(1);
        }
        cursor.next();
    }
}

fn begins_item(cursor: &Cursor<'_>, token: &Token) -> bool {
    token.kind == Kind::Word
        && (cursor.ahead(1).is("=")
            || route_kind(&token.text).is_some() && (cursor.ahead(1).is("{") || cursor.ahead(1).is("["))
            || matches!(token.text.as_str(), "loadmodule" | "modparam" | "listen" | "flags"))
}

fn route_kind(word: &str) -> Option<RouteKind> {
    match word {
        "route" | "request_route" => Some(RouteKind::Request),
        "failure_route" => Some(RouteKind::Failure),
        "onreply_route" | "reply_route" => Some(RouteKind::TransactionReply),
        "branch_route" => Some(RouteKind::Branch),
        "onsend_route" => Some(RouteKind::Send),
        "event_route" => Some(RouteKind::Event),
        _ => None,
    }
}

fn route(cursor: &mut Cursor<'_>, tree: &mut Tree, kind: RouteKind, word: &Token) -> Result<(), Stuck> {
    let mut name = None;
    if cursor.eat("[") {
        let mut text = String::new();
        while !cursor.at_symbol("]") {
            if cursor.is_end() || cursor.at_symbol("{") {
                return Err(cursor.expected("`]` behind the name of the route"));
            }
            text.push_str(&cursor.next().text);
        }
        cursor.next();
        name = Some(text);
    }
    let span = word.span.to(cursor.last_span());
    cursor.expect("{", "to open the route")?;
    let body = statement::block(cursor);
    let (kind, name) = classify(cursor.dialect, kind, &word.text, name);
    tree.routes.push(RouteTree { kind, name, span, body });
    Ok(())
}

/// `route[0]` is the main route, `onreply_route[0]` the one for every reply, and SER's `reply_route[n]`
/// of before 0.8.11 is a failure route.
fn classify(dialect: Dialect, kind: RouteKind, word: &str, name: Option<String>) -> (RouteKind, Option<String>) {
    let name = name.filter(|name| name != "0");
    match kind {
        RouteKind::TransactionReply if name.is_none() => (RouteKind::Reply, None),
        RouteKind::TransactionReply if word == "reply_route" && dialect == Dialect::Ser => (RouteKind::Failure, name),
        RouteKind::Send => (kind, None),
        _ => (kind, name),
    }
}

fn text(cursor: &mut Cursor<'_>, what: &str) -> Result<Word, Stuck> {
    if cursor.peek().kind != Kind::Text {
        return Err(cursor.expected(what));
    }
    let token = cursor.next();
    let mut word = Word { text: token.text.clone(), span: token.span };
    while cursor.peek().kind == Kind::Text {
        let more = cursor.next();
        word.text.push_str(&more.text);
    }
    Ok(word)
}

fn load_module(cursor: &mut Cursor<'_>, tree: &mut Tree) -> Result<(), Stuck> {
    cursor.next();
    let in_parentheses = cursor.eat("(");
    let module = text(cursor, "the name of a module, in quotes")?;
    if in_parentheses {
        if cursor.eat(",") {
            text(cursor, "options, in quotes")?;
        }
        cursor.expect(")", "behind the name of the module")?;
    }
    let name = module_name(&module.text).to_owned();
    tree.modules.push(Word { text: name, span: module.span });
    Ok(())
}

fn modparam(cursor: &mut Cursor<'_>, tree: &mut Tree) -> Result<(), Stuck> {
    cursor.next();
    cursor.expect("(", "behind `modparam`")?;
    let module = text(cursor, "the name of a module, in quotes")?;
    cursor.expect(",", "behind the name of the module")?;
    let parameter = text(cursor, "the name of a parameter, in quotes")?;
    cursor.expect(",", "behind the name of the parameter")?;
    let start = cursor.peek().span;
    let value = literal(cursor)?;
    let value_span = start.to(cursor.last_span());
    cursor.expect(")", "behind the value")?;
    let loaded = tree.modules.len();
    tree.modparams.push(ModParam { module, parameter, value, value_span, loaded });
    Ok(())
}

fn literal(cursor: &mut Cursor<'_>) -> Result<Literal, Stuck> {
    let is_negative = cursor.eat("-");
    let token = cursor.peek();
    let next = cursor.ahead(1);
    match token.kind {
        Kind::Text if !is_negative => text(cursor, "a value").map(|word| Literal::Text(word.text)),
        Kind::Number if !(next.is_glued && (next.is(".") || next.is(":"))) => {
            let Some(number) = parse_number(&token.text) else { return Err(super::expression::bad_number(cursor)) };
            cursor.next();
            Ok(Literal::Int(if is_negative { -number } else { number }))
        }
        Kind::Word | Kind::Number if !is_negative => Ok(Literal::Word(cursor.glued().0)),
        Kind::Symbol if token.text == "[" && !is_negative => Ok(Literal::Word(cursor.glued().0)),
        _ => Err(cursor.expected("a number, a string or a word")),
    }
}

/// `name = value`, or `group.name = value`.
fn setting(cursor: &mut Cursor<'_>, tree: &mut Tree) -> Result<(), Stuck> {
    let token = cursor.peek();
    if cursor.ahead(1).is(".") || cursor.ahead(1).is("[") {
        return variable(cursor, tree);
    }
    cursor.next();
    if !cursor.at_symbol("=") {
        let text = format!("expected `=` behind `{}`, found {}", token.text, cursor.peek().describe());
        let known = ["route", "request_route", "failure_route", "loadmodule", "modparam", "listen", "include_file"];
        let found = Diagnostic::error(codes::SYNTAX, token.span, text).suggest(&token.text, known);
        cursor.diagnostics.push(found);
        return Err(Stuck);
    }
    value_for(cursor, tree, token)
}

fn value_for(cursor: &mut Cursor<'_>, tree: &mut Tree, name: &Token) -> Result<(), Stuck> {
    cursor.eat("=");
    let start = cursor.peek().span;
    let value = literal(cursor)?;
    let name = Word { text: name.text.clone(), span: name.span };
    let value_span = start.to(cursor.last_span());
    tree.settings.push(SettingTree { name, value, value_span });
    Ok(())
}

/// `group.name = value desc "text"`: a variable that scripts read by `$sel(cfg_get.group.name)`.
fn variable(cursor: &mut Cursor<'_>, tree: &mut Tree) -> Result<(), Stuck> {
    let (name, span) = cursor.glued();
    cursor.expect("=", "behind the name of the variable")?;
    let value = literal(cursor)?;
    if ["desc", "descr", "description"].iter().any(|word| cursor.eat_word(word)) {
        text(cursor, "a description, in quotes")?;
    }
    tree.variables.push((Word { text: name, span }, value));
    Ok(())
}

/// Whether another address of a list comes next, and not the name of another setting.
fn continues_list(cursor: &Cursor<'_>) -> bool {
    let token = cursor.peek();
    let is_next_item = token.kind == Kind::Word
        && (begins_item(cursor, token)
            || route_kind(&token.text).is_some()
            || cursor.ahead(1).is("=")
            || matches!(token.text.as_str(), "mpath" | "loadpath" | "alias" | "loadmodulex" | "modparamx" | "bool"));
    let is_variable = token.kind == Kind::Word && is_dotted_setting(cursor);
    !is_next_item
        && !is_variable
        && (matches!(token.kind, Kind::Word | Kind::Number | Kind::Text)
            || ["[", "(", "*", ":"].iter().any(|symbol| token.is(symbol)))
}

/// Whether `group.name = ...` comes next.
fn is_dotted_setting(cursor: &Cursor<'_>) -> bool {
    let mut n = 1;
    while cursor.ahead(n).is_glued && is_address_part(cursor.ahead(n)) && n < 64 {
        n += 1;
    }
    cursor.ahead(n).is("=")
}

fn listen(cursor: &mut Cursor<'_>, tree: &mut Tree) -> Result<(), Stuck> {
    cursor.next();
    cursor.expect("=", "behind `listen`")?;
    let first = tree.listens.len();
    while continues_list(cursor) {
        if first < tree.listens.len() && listen_option(cursor, tree)? {
            continue;
        }
        addresses(cursor, tree)?;
    }
    if tree.listens.len() == first {
        return Err(cursor.expected("an address to listen on"));
    }
    Ok(())
}

/// One address, or several in parentheses.
fn addresses(cursor: &mut Cursor<'_>, tree: &mut Tree) -> Result<(), Stuck> {
    let is_group = cursor.eat("(");
    loop {
        let address = address(cursor)?;
        tree.listens.push(ListenTree { address, advertise: None, name: None });
        if !is_group {
            return Ok(());
        }
        if cursor.eat(")") {
            return Ok(());
        }
        cursor.expect(",", "between addresses")?;
    }
}

fn address(cursor: &mut Cursor<'_>) -> Result<Word, Stuck> {
    let token = cursor.peek();
    // A string may come first, where a definition with quotes stands for the host: `IP:5060`.
    let begins = matches!(token.kind, Kind::Word | Kind::Number) || is_address_part(token);
    if !begins {
        return Err(cursor.expected("an address"));
    }
    let (text, span) = cursor.glued();
    Ok(Word { text, span })
}

/// What may follow an address of `listen`.
fn listen_option(cursor: &mut Cursor<'_>, tree: &mut Tree) -> Result<bool, Stuck> {
    if cursor.eat_word("advertise") {
        let advertise = address(cursor)?;
        tree.listens.last_mut().expect("an address came before").advertise = Some(advertise);
    } else if cursor.eat_word("name") {
        let name = text(cursor, "the name of the socket, in quotes")?;
        tree.listens.last_mut().expect("an address came before").name = Some(name.text);
    } else if !cursor.eat_word("virtual") {
        return Ok(false);
    }
    Ok(true)
}

/// `socket = { bind = ...; advertise = ...; name = "..." }`.
fn socket(cursor: &mut Cursor<'_>, tree: &mut Tree) -> Result<(), Stuck> {
    cursor.next();
    cursor.next();
    cursor.next();
    let mut listen =
        ListenTree { address: Word { text: String::new(), span: cursor.last_span() }, advertise: None, name: None };
    while !cursor.eat("}") {
        if cursor.eat(";") {
            continue;
        }
        let key = cursor.next().text.clone();
        cursor.expect("=", "behind this word")?;
        match key.as_str() {
            "bind" => listen.address = address(cursor)?,
            "advertise" => listen.advertise = Some(address(cursor)?),
            "name" => listen.name = Some(text(cursor, "the name of the socket, in quotes")?.text),
            _ => drop(literal(cursor)?),
        }
    }
    tree.listens.push(listen);
    Ok(())
}

fn alias(cursor: &mut Cursor<'_>, tree: &mut Tree) -> Result<(), Stuck> {
    cursor.next();
    cursor.next();
    let first = tree.aliases.len();
    while continues_list(cursor) {
        tree.aliases.push(address(cursor)?);
    }
    if tree.aliases.len() == first { Err(cursor.expected("a name that is to count as this server")) } else { Ok(()) }
}

/// `flags NAME, NAME:n, ...`
fn flags(cursor: &mut Cursor<'_>, tree: &mut Tree) -> Result<(), Stuck> {
    let are_message_flags = cursor.next().text != "avpflags";
    loop {
        let token = cursor.peek();
        if !matches!(token.kind, Kind::Word | Kind::Text) {
            return Err(cursor.expected("the name of a flag"));
        }
        cursor.next();
        let word = Word { text: token.text.clone(), span: token.span };
        let number = if cursor.eat(":") {
            let Literal::Int(number) = literal(cursor)? else { return Err(cursor.expected("a number")) };
            Some(number)
        } else {
            None
        };
        if are_message_flags {
            tree.flags.push((word, number));
        }
        if !cursor.eat(",") {
            return Ok(());
        }
    }
}
