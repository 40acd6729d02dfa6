//! Rules and what they make of a text.

use std::collections::HashMap;

use bytes::Bytes;
use module_api::{Call, Data};
use regex::bytes::{Captures, Regex, RegexBuilder};

use crate::glob;
use crate::rows::Row;
use crate::text_variable::Template;

/// Sets of rules, each in order of priority.
#[derive(Default)]
pub(super) struct Plan(HashMap<i64, Vec<Rule>>);

/// One rule.
pub(super) struct Rule {
    priority: i64,
    condition: Condition,
    /// The length that a text must have; 0 for any.
    length: usize,
    pattern: Option<Regex>,
    replacement: Option<Vec<Piece>>,
    attributes: Option<Bytes>,
}

enum Condition {
    Is(Vec<u8>),
    Matches(Regex),
    Glob(Vec<u8>),
}

/// A part of a replacement.
enum Piece {
    Text(Template),
    Group(usize),
}

/// What a rule made of a text.
pub(super) struct Translated {
    /// None where the rule only matches.
    pub(super) text: Option<Bytes>,
    pub(super) attributes: Option<Bytes>,
}

impl Plan {
    /// Takes rows of set, priority, operator, expression, length, pattern, replacement and attributes.
    pub(super) fn from_rows(rows: &[Row]) -> Result<Plan, String> {
        let mut plan = Plan::default();
        for (number, row) in rows.iter().enumerate() {
            let wrong = |cause: String| format!("rule {}: {cause}", number + 1);
            let set = number_of(row, 0).map_err(wrong)?;
            plan.0.entry(set).or_default().push(Rule::from_row(row).map_err(wrong)?);
        }
        for rules in plan.0.values_mut() {
            // A stable sort: of equal priorities the row that comes first counts.
            rules.sort_by_key(|rule| rule.priority);
        }
        Ok(plan)
    }

    pub(super) fn set(&self, number: i64) -> Option<&[Rule]> {
        self.0.get(&number).map(Vec::as_slice)
    }
}

impl Rule {
    fn from_row(row: &Row) -> Result<Rule, String> {
        let cell = |n: usize| row[n].as_deref().filter(|cell| !cell.is_empty());
        let expression = cell(3).ok_or("the expression is missing")?;
        let condition = match number_of(row, 2)? {
            0 => Condition::Is(expression.as_bytes().to_vec()),
            1 => Condition::Matches(compile(expression)?),
            2 => Condition::Glob(expression.as_bytes().to_vec()),
            other => {
                return Err(format!("operator {other}: there are 0 (equal), 1 (expression) and 2 (shell pattern)"));
            }
        };
        let length = usize::try_from(number_of(row, 4)?).map_err(|_| "the length is below 0".to_owned())?;
        let pattern = cell(5).map(compile).transpose()?;
        let replacement = cell(6).map(pieces).transpose()?;
        let groups = pattern.as_ref().map_or(1, Regex::captures_len);
        let most = replacement
            .iter()
            .flatten()
            .filter_map(|piece| if let Piece::Group(n) = piece { Some(*n) } else { None })
            .max();
        if most.is_some_and(|most| most >= groups) {
            return Err(format!("the replacement names group {} of {}", most.unwrap_or(0), groups - 1));
        }
        let attributes = cell(7).map(|text| Bytes::copy_from_slice(text.as_bytes()));
        Ok(Rule { priority: number_of(row, 1)?, condition, length, pattern, replacement, attributes })
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        let is_length = self.length == 0 || self.length == text.len();
        is_length
            && match &self.condition {
                Condition::Is(own) => own == text,
                Condition::Matches(regex) => regex.is_match(text),
                Condition::Glob(pattern) => glob::matches(text, pattern),
            }
    }

    /// As an operator may see it.
    pub(super) fn shown(&self) -> Data {
        let (operator, expression) = match &self.condition {
            Condition::Is(text) => (0, Data::text(text)),
            Condition::Matches(regex) => (1, regex.as_str().into()),
            Condition::Glob(pattern) => (2, Data::text(pattern)),
        };
        Data::of([
            ("priority", self.priority.into()),
            ("match_op", operator.into()),
            ("match_exp", expression),
            ("match_len", self.length.into()),
            ("subst_exp", self.pattern.as_ref().map_or(Data::Null, |pattern| pattern.as_str().into())),
            ("attrs", Data::text(self.attributes())),
        ])
    }

    /// Its attributes, empty where it has none.
    pub(super) fn attributes(&self) -> &[u8] {
        self.attributes.as_deref().unwrap_or_default()
    }

    pub(super) fn translate(&self, call: &mut Call<'_>, text: &[u8]) -> Translated {
        let attributes = self.attributes.clone();
        let Some(replacement) = &self.replacement else { return Translated { text: None, attributes } };
        let groups = self.pattern.as_ref().and_then(|pattern| pattern.captures(text));
        // A pattern that does not fit leaves the text as it is; without one the replacement is all.
        if self.pattern.is_some() && groups.is_none() {
            return Translated { text: None, attributes };
        }
        let new = filled(replacement, call, groups.as_ref());
        Translated { text: Some(new.into()), attributes }
    }
}

fn filled(replacement: &[Piece], call: &mut Call<'_>, groups: Option<&Captures<'_>>) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in replacement {
        match piece {
            Piece::Text(template) => out.extend_from_slice(&template.fill(call)),
            Piece::Group(number) => {
                let group = groups.and_then(|groups| groups.get(*number));
                out.extend_from_slice(group.map_or(&[][..], |group| group.as_bytes()));
            }
        }
    }
    out
}

/// `+49\1$fU` as text with variables, and groups.
fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some(digit @ '0'..='9')) => {
                pieces.push(Piece::Text(Template::parse(&std::mem::take(&mut plain))?));
                pieces.push(Piece::Group(digit as usize - '0' as usize));
            }
            ('\\', Some(other)) => plain.push(other),
            (c, _) => plain.push(c),
        }
    }
    pieces.push(Piece::Text(Template::parse(&plain)?));
    Ok(pieces)
}

fn number_of(row: &Row, n: usize) -> Result<i64, String> {
    let text = row[n].as_deref().map_or("0", str::trim);
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

fn compile(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).unicode(false).size_limit(1 << 20).build();
    built.map_err(|error| format!("`{text}`: {}", error.to_string().lines().last().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(cells: [&str; 8]) -> Result<Plan, String> {
        Plan::from_rows(&[cells.iter().map(|cell| Some((*cell).to_owned()).filter(|cell| !cell.is_empty())).collect()])
    }

    #[test]
    fn a_wrong_rule_is_named() {
        for (cells, cause) in [
            (["1", "1", "1", "(", "0", "", "", ""], "rule 1: `(`"),
            (["1", "1", "3", "a", "0", "", "", ""], "rule 1: operator 3"),
            (["1", "1", "0", "a", "0", "(a)", "\\2", ""], "rule 1: the replacement names group 2 of 1"),
            (["x", "1", "0", "a", "0", "", "", ""], "rule 1: `x` is not a number"),
            (["1", "1", "0", "a", "0", "", "$nope", ""], "rule 1: `$nope`"),
        ] {
            let found = plan(cells).err().unwrap();
            assert!(found.starts_with(cause), "{found}");
        }
    }

    #[test]
    fn rules_stand_in_order_of_priority() {
        let row = |priority: &str, attributes: &str| -> Row {
            ["1", priority, "0", "a", "0", "", "", attributes].iter().map(|cell| Some((*cell).to_owned())).collect()
        };
        let plan = Plan::from_rows(&[row("2", "late"), row("1", "early")]).unwrap();
        let order: Vec<_> = plan.set(1).unwrap().iter().map(|rule| rule.attributes.clone().unwrap()).collect();
        assert_eq!(order, ["early", "late"]);
    }
}
