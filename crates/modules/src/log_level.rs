//! How loud a log line shall be, as scripts of both families write it.

use module_api::{Dialect, Level};

/// Reads a level: a number on the scale of the script's family, or a name such as `L_ERR`.
///
/// None when it is neither.
pub(crate) fn parse(text: &[u8], dialect: Dialect) -> Option<Level> {
    let text = std::str::from_utf8(text).ok()?.trim();
    match text.parse::<i64>() {
        Ok(number) => Some(of_number(number, dialect)),
        Err(_) => of_name(text),
    }
}

/// A level of the numeric scale; SER's begins one higher for all that is less than an error.
pub(crate) fn of_number(number: i64, dialect: Dialect) -> Level {
    let above_error = match dialect {
        Dialect::Ser => number - 1,
        Dialect::Kamailio => number,
    };
    match number {
        ..=-3 => Level::Alert,
        -2 => Level::Critical,
        -1 => Level::Error,
        _ => match above_error {
            ..=0 => Level::Warning,
            1 => Level::Notice,
            2 => Level::Info,
            _ => Level::Debug,
        },
    }
}

fn of_name(name: &str) -> Option<Level> {
    let name = name.strip_prefix("L_").unwrap_or(name);
    const NAMES: [(&str, Level); 12] = [
        ("ALERT", Level::Alert),
        ("BUG", Level::Alert),
        ("CRIT2", Level::Critical),
        ("CRIT", Level::Critical),
        ("ERR", Level::Error),
        ("ERROR", Level::Error),
        ("WARN", Level::Warning),
        ("WARNING", Level::Warning),
        ("NOTICE", Level::Notice),
        ("INFO", Level::Info),
        ("DBG", Level::Debug),
        ("DEBUG", Level::Debug),
    ];
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_scale_of_their_family() {
        let ser = [(-3, Level::Alert), (-1, Level::Error), (1, Level::Warning), (2, Level::Notice), (4, Level::Debug)];
        for (number, level) in ser {
            assert_eq!(of_number(number, Dialect::Ser), level, "{number}");
        }
        let kamailio =
            [(-5, Level::Alert), (-1, Level::Error), (0, Level::Warning), (1, Level::Notice), (3, Level::Debug)];
        for (number, level) in kamailio {
            assert_eq!(of_number(number, Dialect::Kamailio), level, "{number}");
        }
    }

    #[test]
    fn names_are_read_with_and_without_their_prefix() {
        assert_eq!(parse(b"L_INFO", Dialect::Kamailio), Some(Level::Info));
        assert_eq!(parse(b"err", Dialect::Kamailio), Some(Level::Error));
        assert_eq!(parse(b"-1", Dialect::Ser), Some(Level::Error));
        assert_eq!(parse(b"loud", Dialect::Ser), None);
    }
}
