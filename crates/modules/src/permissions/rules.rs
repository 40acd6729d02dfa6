//! Files of rules: which pairs of URIs are allowed, and which are denied.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use regex::bytes::{Regex, RegexBuilder};

/// The rules of one file, in its order.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    left: Expression,
    right: Expression,
}

/// What one side of a rule matches: some patterns, or all, except others.
#[derive(Debug)]
struct Expression {
    /// None stands for all.
    patterns: Option<Vec<Regex>>,
    except: Vec<Regex>,
}

impl Expression {
    fn is_match(&self, text: &[u8]) -> bool {
        let is_any = |patterns: &[Regex]| patterns.iter().any(|pattern| pattern.is_match(text));
        self.patterns.as_deref().is_none_or(is_any) && !is_any(&self.except)
    }
}

impl Rules {
    /// Reads lines of `LEFT : RIGHT`, each side `ALL` or patterns in quotes, separated by commas, with an optional
    /// `EXCEPT` and more patterns.
    ///
    /// # Errors
    /// Number of the line, and what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Rules, String> {
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let tokens = tokens(line).map_err(|cause| format!("{}: {cause}", number + 1))?;
            if tokens.is_empty() {
                continue;
            }
            let rule = rule(&tokens).map_err(|cause| format!("{}: {cause}", number + 1))?;
            rules.push(rule);
        }
        Ok(Rules(rules))
    }

    /// Whether a rule is about this pair.
    pub(super) fn match_pair(&self, left: &[u8], right: &[u8]) -> bool {
        self.0.iter().any(|rule| rule.left.is_match(left) && rule.right.is_match(right))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    Pattern(&'a str),
    Comma,
    Colon,
    All,
    Except,
}

fn tokens(line: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (token, after) = match rest.as_bytes()[0] {
            b',' => (Token::Comma, &rest[1..]),
            b':' => (Token::Colon, &rest[1..]),
            b'"' => {
                let end = rest[1..].find('"').ok_or("a quote is not closed")?;
                (Token::Pattern(&rest[1..=end]), &rest[end + 2..])
            }
            _ => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                match &rest[..end] {
                    "ALL" => (Token::All, &rest[end..]),
                    "EXCEPT" => (Token::Except, &rest[end..]),
                    _ => return Err(format!("`{rest}`: write ALL, EXCEPT or a pattern in quotes")),
                }
            }
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn rule(tokens: &[Token<'_>]) -> Result<Rule, String> {
    let colon = tokens.iter().position(|token| *token == Token::Colon).ok_or("a rule has a colon between its sides")?;
    Ok(Rule { left: expression(&tokens[..colon])?, right: expression(&tokens[colon + 1..])? })
}

fn expression(tokens: &[Token<'_>]) -> Result<Expression, String> {
    let except = tokens.iter().position(|token| *token == Token::Except).unwrap_or(tokens.len());
    let patterns = match &tokens[..except] {
        [Token::All] => None,
        tokens => Some(list(tokens)?),
    };
    let except = if except < tokens.len() { list(&tokens[except + 1..])? } else { Vec::new() };
    Ok(Expression { patterns, except })
}

fn list(tokens: &[Token<'_>]) -> Result<Vec<Regex>, String> {
    let pattern = |tokens: &[Token<'_>]| match tokens {
        [Token::Pattern(text)] => compile(text),
        _ => Err("between commas stands one pattern in quotes".to_owned()),
    };
    tokens.split(|token| *token == Token::Comma).map(pattern).collect()
}

/// A pattern of a rule; the case of letters does not matter.
pub(super) fn compile(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).case_insensitive(true).unicode(false).size_limit(1 << 20).build();
    built.map_err(|error| format!("`{text}`: {}", error.to_string().lines().last().unwrap_or("not an expression")))
}

/// The files of rules that a script names, each read once.
pub(super) struct Files {
    names: [String; 4],
    directory: PathBuf,
    read: Mutex<HashMap<PathBuf, Result<Arc<Rules>, String>>>,
}

/// Names of files may be computed.
const MOST_FILES: usize = 256;

impl Files {
    /// `names`: the default files of what is allowed and denied, and the endings of pairs.
    pub(super) fn new(names: [String; 4], directory: PathBuf) -> Files {
        Files { names, directory, read: Mutex::default() }
    }

    /// Reads the default files, for what is wrong in them.
    pub(super) fn check_defaults(&self) -> Result<(), String> {
        self.pair(&[]).map(drop)
    }

    /// The rules of what is allowed and of what is denied: the default ones, those of a base name, or of two names.
    pub(super) fn pair(&self, names: &[String]) -> Result<(Arc<Rules>, Arc<Rules>), String> {
        let [allow, deny, allow_ending, deny_ending] = &self.names;
        let (allow, deny) = match names {
            [] => (allow.clone(), deny.clone()),
            [base] => (format!("{base}{allow_ending}"), format!("{base}{deny_ending}")),
            [allow, deny, ..] => (allow.clone(), deny.clone()),
        };
        Ok((self.rules(&allow)?, self.rules(&deny)?))
    }

    /// What a file says: read the first time, which costs a worker one look at a small file.
    fn rules(&self, name: &str) -> Result<Arc<Rules>, String> {
        let path = self.directory.join(name);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.get(&path) {
            return known.clone();
        }
        let rules = read_rules(&path).map(Arc::new);
        if read.len() < MOST_FILES {
            read.insert(path, rules.clone());
        }
        rules
    }
}

/// A file that is not there holds no rules, as in both families.
fn read_rules(path: &Path) -> Result<Rules, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Rules::parse(&text).map_err(|cause| format!("{}:{cause}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Rules::default()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_pairs_of_patterns() {
        let rules = Rules::parse(
            "# who may call whom\n\
             ALL : \"^sip:361[0-9]*@abc\\.com$\", \"^sip:.*@def\\.com$\"\n\
             \"@ghi\\.com$\" EXCEPT \"^sip:guest@\" : ALL\n",
        )
        .unwrap();
        let is = |left: &str, right: &str| rules.match_pair(left.as_bytes(), right.as_bytes());
        assert!(is("sip:x@y", "sip:3615@abc.com") && is("sip:x@y", "SIP:b@DEF.com"));
        assert!(!is("sip:x@y", "sip:3625@abc.com"));
        assert!(is("sip:x@ghi.com", "sip:any@where") && !is("sip:guest@ghi.com", "sip:any@where"));
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, cause) in [
            ("ALL : ALL\nALL", "2: a rule has a colon"),
            ("ALL : \"(\"", "1: `(`: "),
            ("some : ALL", "1: `some : ALL`: write ALL"),
            ("\"a : ALL", "1: a quote"),
            ("\"a\" \"b\" : ALL", "1: between commas"),
        ] {
            let found = Rules::parse(text).unwrap_err();
            assert!(found.starts_with(cause), "{found}");
        }
    }
}
