//! Dates for `{s.ftime}`.

/// Seconds since 1970 in a format of strftime(), UTC. What is not known stays as it is written.
pub(super) fn format(seconds: i64, format: &str) -> String {
    use std::fmt::Write;
    let date = Date::of(seconds);
    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        let result = match if c == '%' { rest.next() } else { None } {
            None => write!(out, "{c}"),
            Some('Y') => write!(out, "{}", date.year),
            Some('y') => write!(out, "{:02}", date.year.rem_euclid(100)),
            Some('m') => write!(out, "{:02}", date.month),
            Some('d') => write!(out, "{:02}", date.day),
            Some('H') => write!(out, "{:02}", date.second / 3600),
            Some('M') => write!(out, "{:02}", date.second / 60 % 60),
            Some('S') => write!(out, "{:02}", date.second % 60),
            Some('F') => write!(out, "{}-{:02}-{:02}", date.year, date.month, date.day),
            Some('T') => {
                write!(out, "{:02}:{:02}:{:02}", date.second / 3600, date.second / 60 % 60, date.second % 60)
            }
            Some('s') => write!(out, "{seconds}"),
            Some('Z') => write!(out, "UTC"),
            Some('z') => write!(out, "+0000"),
            Some('%') => write!(out, "%"),
            Some(other) => write!(out, "%{other}"),
        };
        result.expect("writing to a string cannot fail");
    }
    out
}

struct Date {
    year: i64,
    month: i64,
    day: i64,
    second: i64,
}

impl Date {
    /// By eras of 400 years, each of the same length, counted from a first of March so that leap days come last.
    fn of(seconds: i64) -> Date {
        let days = seconds.div_euclid(86_400) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Date { year, month, day: day_of_year - (153 * shifted + 2) / 5 + 1, second: seconds.rem_euclid(86_400) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // `date -u -d @SECONDS +'%F %T'`
        assert_eq!(format(1_700_000_000, "%F %T"), "2023-11-14 22:13:20");
        assert_eq!(format(951_782_400, "%Y-%m-%d"), "2000-02-29");
        assert_eq!(format(-1, "%F %T %q%%"), "1969-12-31 23:59:59 %q%");
    }
}
