//! Dates: seconds since 1970 in the words of the Gregorian calendar.

use std::time::Duration;

/// A moment in the Gregorian calendar, UTC.
pub(super) struct Calendar {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    weekday: i64,
    second_of_day: i64,
}

impl Calendar {
    pub(super) fn of(time: Duration) -> Calendar {
        let seconds = time.as_secs() as i64;
        let days = seconds / 86_400;
        // 1970-01-01 was a Thursday.
        let weekday = (days + 4) % 7;
        let (mut year, mut rest) = (1970, days);
        while rest >= days_of(year) {
            rest -= days_of(year);
            year += 1;
        }
        let day_of_year = rest;
        let mut month = 0;
        while rest >= month_length(year, month) {
            rest -= month_length(year, month);
            month += 1;
        }
        Calendar { year, month: month + 1, day: rest + 1, day_of_year, weekday, second_of_day: seconds % 86_400 }
    }

    pub(super) fn part(&self, name: &[u8]) -> Option<i64> {
        Some(match name {
            b"sec" => self.second_of_day % 60,
            b"min" => self.second_of_day / 60 % 60,
            b"hour" => self.second_of_day / 3600,
            b"mday" => self.day,
            b"mon" => self.month,
            b"year" => self.year,
            b"wday" => self.weekday + 1,
            b"yday" => self.day_of_year + 1,
            b"isdst" => 0,
            _ => return None,
        })
    }
}

fn days_of(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_length(year: i64, month: i64) -> i64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const LONG_DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const LONG_MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// In a format of strftime(). What is not known stays as it is written.
pub(super) fn format(time: Duration, format: &str) -> String {
    use std::fmt::Write;
    let moment = Calendar::of(time);
    let (day, month) = (DAYS[moment.weekday as usize], MONTHS[moment.month as usize - 1]);
    let (hour, minute, second) =
        (moment.second_of_day / 3600, moment.second_of_day / 60 % 60, moment.second_of_day % 60);
    let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        let result = match if c == '%' { rest.next() } else { None } {
            None => write!(out, "{c}"),
            Some('Y') => write!(out, "{}", moment.year),
            Some('y') => write!(out, "{:02}", moment.year % 100),
            Some('C') => write!(out, "{:02}", moment.year / 100),
            Some('m') => write!(out, "{:02}", moment.month),
            Some('d') => write!(out, "{:02}", moment.day),
            Some('e') => write!(out, "{:2}", moment.day),
            Some('j') => write!(out, "{:03}", moment.day_of_year + 1),
            Some('H') => write!(out, "{hour:02}"),
            Some('I') => write!(out, "{twelve:02}"),
            Some('M') => write!(out, "{minute:02}"),
            Some('S') => write!(out, "{second:02}"),
            Some('p') => write!(out, "{}", if hour < 12 { "AM" } else { "PM" }),
            Some('a') => write!(out, "{day}"),
            Some('A') => write!(out, "{}", LONG_DAYS[moment.weekday as usize]),
            Some('b' | 'h') => write!(out, "{month}"),
            Some('B') => write!(out, "{}", LONG_MONTHS[moment.month as usize - 1]),
            Some('u') => write!(out, "{}", if moment.weekday == 0 { 7 } else { moment.weekday }),
            Some('w') => write!(out, "{}", moment.weekday),
            Some('F') => write!(out, "{}-{:02}-{:02}", moment.year, moment.month, moment.day),
            Some('T') => write!(out, "{hour:02}:{minute:02}:{second:02}"),
            Some('R') => write!(out, "{hour:02}:{minute:02}"),
            Some('D') => write!(out, "{:02}/{:02}/{:02}", moment.month, moment.day, moment.year % 100),
            Some('c') => write!(out, "{}", date(time)),
            Some('s') => write!(out, "{}", time.as_secs()),
            Some('Z') => write!(out, "UTC"),
            Some('z') => write!(out, "+0000"),
            Some('n') => writeln!(out),
            Some('t') => write!(out, "\t"),
            Some('%') => write!(out, "%"),
            Some(other) => write!(out, "%{other}"),
        };
        result.expect("writing to a string cannot fail");
    }
    out
}

/// As `Wed Nov 15 01:46:40 2023`.
pub(crate) fn date(time: Duration) -> String {
    let moment = Calendar::of(time);
    let (day, month) = (DAYS[moment.weekday as usize], MONTHS[moment.month as usize - 1]);
    let second = moment.second_of_day;
    format!(
        "{day} {month} {:2} {:02}:{:02}:{:02} {}",
        moment.day,
        second / 3600,
        second / 60 % 60,
        second % 60,
        moment.year
    )
}

/// As a Date header wants it (RFC 3261 section 20.17).
pub(crate) fn sip_date(time: Duration) -> String {
    let moment = Calendar::of(time);
    let (day, month) = (DAYS[moment.weekday as usize], MONTHS[moment.month as usize - 1]);
    let second = moment.second_of_day;
    format!(
        "{day}, {:02} {month} {} {:02}:{:02}:{:02} GMT",
        moment.day,
        moment.year,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_days_are_kept() {
        // `date -u -d @1709164800` and `date -u -d @951782400`.
        assert_eq!(date(Duration::from_secs(1_709_164_800)), "Thu Feb 29 00:00:00 2024");
        assert_eq!(sip_date(Duration::from_secs(951_782_400)), "Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn formats_are_those_of_the_c_library() {
        // `date -u -d @1700000000 +...`
        let check =
            |pattern: &str, expected: &str| assert_eq!(format(Duration::from_secs(1_700_000_000), pattern), expected);
        check("%a %A %b %B %d %e %j %H %I %M %S %p", "Tue Tuesday Nov November 14 14 318 22 10 13 20 PM");
        check("%F %T %D %u %w %y %s %%", "2023-11-14 22:13:20 11/14/23 2 2 23 1700000000 %");
        check("%Q 100%", "%Q 100%");
    }
}
