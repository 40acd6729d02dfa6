//! Periods such as `wd {Mon-Fri} hr {9am-4pm}`, in the form of Perl's Time::Period.

use module_api::Calendar;

/// Whether a time lies in one of the periods of a list separated by commas.
///
/// Within a period every scale must fit; a scale that is named several times fits where one of them does.
pub(super) fn covers(text: &str, now: &Calendar) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "always" => return Ok(true),
        "never" | "none" => return Ok(false),
        _ => {}
    }
    let mut is_in = false;
    for period in text.split(',') {
        is_in |= is_in_period(period, now)?;
    }
    Ok(is_in)
}

const SCALES: [(&str, &str); 8] = [
    ("year", "yr"),
    ("month", "mo"),
    ("week", "wk"),
    ("yday", "yd"),
    ("mday", "md"),
    ("wday", "wd"),
    ("hour", "hr"),
    ("minute", "min"),
];

fn is_in_period(period: &str, now: &Calendar) -> Result<bool, String> {
    let mut fits = [None; 9];
    let mut rest = period.trim();
    while !rest.is_empty() {
        let wrong = || format!("`{rest}` is not of the form SCALE {{RANGES}}");
        let (name, after) = rest.split_once('{').ok_or_else(wrong)?;
        let (ranges, after) = after.split_once('}').ok_or_else(wrong)?;
        let name = name.trim().to_ascii_lowercase();
        let scale = match name.as_str() {
            "second" | "sec" => 8,
            name => SCALES
                .iter()
                .position(|(long, short)| name == *long || name == *short)
                .ok_or_else(|| format!("`{name}` is not yr, mo, wk, yd, md, wd, hr, min or sec"))?,
        };
        let is_in = is_in_ranges(scale, ranges, now)?;
        fits[scale] = Some(fits[scale].unwrap_or(false) || is_in);
        rest = after.trim();
    }
    Ok(fits.into_iter().flatten().all(|fits| fits))
}

fn is_in_ranges(scale: usize, ranges: &str, now: &Calendar) -> Result<bool, String> {
    let time = match scale {
        0 => now.year,
        1 => now.month,
        2 => (now.day - 1) / 7 + 1,
        3 => now.day_of_year + 1,
        4 => now.day,
        5 => now.weekday + 1,
        6 => now.second_of_day / 3600,
        7 => now.second_of_day / 60 % 60,
        _ => now.second_of_day % 60,
    };
    let mut is_in = false;
    for range in ranges.split_whitespace() {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to) = (value(scale, from)?, value(scale, to)?);
        is_in |= match from <= to {
            true => (from..=to).contains(&time),
            // Over the end of the scale, as from Friday to Monday.
            false => time >= from || time <= to,
        };
    }
    Ok(is_in)
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

fn value(scale: usize, text: &str) -> Result<i64, String> {
    let text = text.trim().to_ascii_lowercase();
    let wrong =
        || format!("`{text}` does not belong into {{...}} of `{}`", SCALES.get(scale).map_or("sec", |(_, name)| *name));
    let names: &[&str] = match scale {
        1 => &MONTHS,
        5 => &DAYS,
        _ => &[],
    };
    // A name may be cut to three letters, that of a day to two.
    let least = if scale == 5 { 2 } else { 3 };
    if let Some(place) = names.iter().position(|name| text.len() >= least && name.starts_with(&text)) {
        return Ok(place as i64 + 1);
    }
    let (digits, half) = match (scale, text.strip_suffix("am"), text.strip_suffix("pm")) {
        (6, Some(digits), _) => (digits, Some(0)),
        (6, _, Some(digits)) => (digits, Some(12)),
        _ => (text.as_str(), None),
    };
    let number: i64 = digits.trim().parse().map_err(|_| wrong())?;
    let bounds = match scale {
        0 => 0..=9999,
        1 => 1..=12,
        2 => 1..=6,
        3 => 1..=366,
        4 => 1..=31,
        5 => 1..=7,
        6 if half.is_some() => 1..=12,
        6 => 0..=23,
        _ => 0..=59,
    };
    if !bounds.contains(&number) {
        return Err(wrong());
    }
    // 12am is midnight, 12pm is noon.
    Ok(half.map_or(number, |half| number % 12 + half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use module_api::Zone;

    // 2023-11-14 12:05:00, a Tuesday.
    const NOON: i64 = 1_699_963_500;

    fn check(period: &str, expected: bool) {
        assert_eq!(covers(period, &Calendar::at(NOON, Zone::utc())), Ok(expected), "{period}");
    }

    /// Each as Kamailio 5.6.3 answers.
    #[test]
    fn periods_are_those_of_kamailio() {
        for period in [
            "",
            "always",
            "wd {Mon-Fri} hr {9am-4pm}",
            "mo {Nov}",
            "hr {12pm}",
            "yd {318}",
            "md {10-20}",
            "yr {2023}",
            "wk {2}",
            "wd {3}",
            "wd {tu}",
            "wd {Tuesday}",
            "mo {10-12}",
            "mo {Oct-Jan}",
            "wd {Sun-Tue}",
            "wd {Mon-Fri}  hr {8-10 12}",
            "wd {Tue} min {0-10}, wd{Mon}",
            "sec {0-10}",
        ] {
            check(period, true);
        }
        for period in [
            "never",
            "none",
            "wd {Sat}",
            "wk {3}",
            "yr {23}",
            "hr {0}",
            "hr {1pm}",
            "min {30}",
            "mo {Dec-Jan}",
            "wd {Fri-Mon}",
            "wd {}",
        ] {
            check(period, false);
        }
    }

    #[test]
    fn noon_is_12pm_and_a_night_goes_over_midnight() {
        check("hr {12am}", false);
        check("hr {22-3}", false);
        check("hr {22-12}", true);
    }

    #[test]
    fn what_is_no_period_is_told() {
        for period in ["wd", "xx {1}", "wd {Mon", "hr {25}", "hr {13pm}", "mo {0}", "wd {x}", "wd {Mon-}", "}"] {
            assert!(covers(period, &Calendar::at(NOON, Zone::utc())).is_err(), "{period}");
        }
    }
}
