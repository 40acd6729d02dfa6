//! `#!ifexp` and `#!defexp`: expressions over numbers, strings and definitions.

use super::define::Defines;

/// A value of such an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Int(i64),
    Text(String),
}

impl Operand {
    pub(super) fn is_true(&self) -> bool {
        match self {
            Operand::Int(number) => *number != 0,
            Operand::Text(text) => !text.is_empty(),
        }
    }

    pub(super) fn into_text(self) -> String {
        match self {
            Operand::Int(number) => number.to_string(),
            Operand::Text(text) => text,
        }
    }

    fn int(&self) -> i64 {
        match self {
            Operand::Int(number) => *number,
            Operand::Text(text) => text.trim().parse().unwrap_or(0),
        }
    }
}

/// Evaluates `text`. An undefined name is 0, one defined without a value is 1.
pub(super) fn evaluate(text: &str, defines: &Defines) -> Result<Operand, String> {
    let mut reader = Reader { rest: text.trim(), defines, depth: 0 };
    let value = reader.binary(0)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(format!("`{}` is left over", reader.rest)) }
}

struct Reader<'a> {
    rest: &'a str,
    defines: &'a Defines,
    depth: usize,
}

impl Reader<'_> {
    fn skip(&mut self, length: usize) {
        self.rest = self.rest[length..].trim_start();
    }

    fn binary(&mut self, floor: usize) -> Result<Operand, String> {
        self.depth += 1;
        if self.depth > 64 {
            return Err("it is nested too deeply".into());
        }
        let mut left = self.unary()?;
        while let Some((symbol, level)) = OPERATORS.iter().find(|(symbol, _)| self.rest.starts_with(symbol)) {
            if *level < floor {
                break;
            }
            self.skip(symbol.len());
            let right = self.binary(level + 1)?;
            left = combine(symbol, left, &right)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Operand, String> {
        if self.rest.starts_with('!') {
            self.skip(1);
            return Ok(Operand::Int(i64::from(!self.nested()?.is_true())));
        }
        if self.rest.starts_with('-') {
            self.skip(1);
            return Ok(Operand::Int(self.nested()?.int().wrapping_neg()));
        }
        if self.rest.starts_with('(') {
            self.skip(1);
            let value = self.binary(0)?;
            if !self.rest.starts_with(')') {
                return Err("a `)` is missing".into());
            }
            self.skip(1);
            return Ok(value);
        }
        self.primary()
    }

    fn nested(&mut self) -> Result<Operand, String> {
        self.depth += 1;
        let value = if self.depth > 64 { Err("it is nested too deeply".into()) } else { self.unary() };
        self.depth -= 1;
        value
    }

    fn primary(&mut self) -> Result<Operand, String> {
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let end = self.rest[1..].find(quote).ok_or("a string is not closed")?;
            let text = self.rest[1..=end].to_owned();
            self.skip(end + 2);
            return Ok(Operand::Text(text));
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let word = self.rest[..end].to_owned();
        self.skip(end);
        if word.is_empty() {
            return Err("a value is missing".into());
        }
        Ok(super::parse_number(&word).map_or_else(|| self.name(&word), Operand::Int))
    }

    fn name(&self, word: &str) -> Operand {
        match self.defines.find(word) {
            None => Operand::Int(0),
            Some(define) if define.value.is_empty() => Operand::Int(1),
            Some(define) => match super::parse_number(&define.value) {
                Some(number) => Operand::Int(number),
                None => Operand::Text(define.value.trim_matches('"').to_owned()),
            },
        }
    }
}

fn combine(symbol: &str, left: Operand, right: &Operand) -> Result<Operand, String> {
    let yes = |yes: bool| Ok(Operand::Int(i64::from(yes)));
    let (a, b) = (left.int(), right.int());
    match symbol {
        "||" => yes(left.is_true() || right.is_true()),
        "&&" => yes(left.is_true() && right.is_true()),
        "==" => yes(equal(&left, right)),
        "!=" => yes(!equal(&left, right)),
        "=~" => {
            super::substitute::Substitution::parse(&format!("/{}//i", right.clone().into_text().replace('/', "\\/")))
                .map(|rule| {
                    Operand::Int(i64::from(matches!(rule.apply(&left.into_text()), std::borrow::Cow::Owned(_))))
                })
        }
        "<=" => yes(a <= b),
        ">=" => yes(a >= b),
        "<" => yes(a < b),
        ">" => yes(a > b),
        "+" => match left {
            Operand::Int(a) => Ok(Operand::Int(a.wrapping_add(b))),
            Operand::Text(text) => Ok(Operand::Text(text + &right.clone().into_text())),
        },
        "-" => Ok(Operand::Int(a.wrapping_sub(b))),
        "*" => Ok(Operand::Int(a.wrapping_mul(b))),
        _ => a.checked_div(b).map(Operand::Int).ok_or_else(|| "it divides by zero".into()),
    }
}

fn equal(left: &Operand, right: &Operand) -> bool {
    match (left, right) {
        (Operand::Int(a), b) => *a == b.int(),
        (Operand::Text(a), b) => *a == b.clone().into_text(),
    }
}

/// Longer ones first; the number is the precedence.
const OPERATORS: &[(&str, usize)] = &[
    ("||", 1),
    ("&&", 2),
    ("==", 3),
    ("!=", 3),
    ("=~", 3),
    ("<=", 4),
    (">=", 4),
    ("<", 4),
    (">", 4),
    ("+", 5),
    ("-", 5),
    ("*", 6),
    ("/", 6),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_is_zero_and_defined_without_value_is_one() {
        let mut defines = Defines::default();
        defines.set("A", String::new(), None);
        defines.set("N", "5".into(), None);
        for (text, value) in [("A && !B", 1), ("N * 2 + 1 == 11", 1), ("B || (N > 7)", 0), ("\"abc\" =~ \"B\"", 1)] {
            assert_eq!(evaluate(text, &defines), Ok(Operand::Int(value)), "{text}");
        }
        assert!(evaluate("1 +", &defines).is_err());
        assert!(evaluate(&"(".repeat(1000), &defines).is_err());
    }
}
