//! Dates: seconds since 1970 in the words of the Gregorian calendar, in UTC or where the server is.

use std::time::Duration;

/// How clocks on the wall stand to UTC at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Seconds that they are ahead of UTC; below zero to the west.
    pub offset: i32,
    /// Whether it is summer time.
    pub is_summer: bool,
    /// What `%Z` shows: `CET`.
    pub name: String,
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Zone {
        Zone { offset: 0, is_summer: false, name: "UTC".to_owned() }
    }
}

/// A moment in the Gregorian calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// Seconds since 1970, UTC.
    pub unix: i64,
    /// The year.
    pub year: i64,
    /// From 1 for January.
    pub month: i64,
    /// From 1.
    pub day: i64,
    /// From 0 for the first of January.
    pub day_of_year: i64,
    /// From 0 for Sunday.
    pub weekday: i64,
    /// Seconds since midnight as the clock shows it.
    pub second_of_day: i64,
    /// Days from 1970-01-01 as the clock shows it.
    pub day_number: i64,
    zone: Zone,
}

impl Calendar {
    /// What a clock in UTC shows.
    pub fn utc(time: Duration) -> Calendar {
        Calendar::at(i64::try_from(time.as_secs()).unwrap_or(i64::MAX), Zone::utc())
    }

    /// What a clock in `zone` shows at `unix`, seconds since 1970.
    pub fn at(unix: i64, zone: Zone) -> Calendar {
        // Beyond this many years numbers would not fit; no clock shows such a time.
        let shown = unix.clamp(-LATEST, LATEST) + i64::from(zone.offset);
        let day_number = shown.div_euclid(86_400);
        let (year, month, day) = date_of(day_number);
        Calendar {
            unix,
            year,
            month,
            day,
            day_of_year: day_number - day_number_of(year, 1, 1),
            // 1970-01-01 was a Thursday.
            weekday: (day_number + 4).rem_euclid(7),
            second_of_day: shown.rem_euclid(86_400),
            day_number,
            zone,
        }
    }

    /// A part by its name: `sec`, `min`, `hour`, `mday`, `mon`, `year`, `wday`, `yday` (all from 1 where a calendar begins
    /// with 1, Sunday being 1) and `isdst`.
    pub fn part(&self, name: &[u8]) -> Option<i64> {
        Some(match name {
            b"sec" => self.second_of_day % 60,
            b"min" => self.second_of_day / 60 % 60,
            b"hour" => self.second_of_day / 3600,
            b"mday" => self.day,
            b"mon" => self.month,
            b"year" => self.year,
            b"wday" => self.weekday + 1,
            b"yday" => self.day_of_year + 1,
            b"isdst" => self.zone.is_summer.into(),
            _ => return None,
        })
    }
}

/// Some 30,000 years.
const LATEST: i64 = 1_000_000_000_000;

/// The date of a day counted from 1970-01-01: by eras of 400 years, each of the same length, and from a first of March so
/// that leap days come last.
fn date_of(day_number: i64) -> (i64, i64, i64) {
    let days = day_number + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// The number of a day from 1970-01-01.
pub fn day_number_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Whether a year has a 29th of February.
pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
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
pub fn format(moment: &Calendar, format: &str) -> String {
    use std::fmt::Write;
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
            Some('c') => write!(out, "{}", date(moment)),
            Some('s') => write!(out, "{}", moment.unix),
            Some('Z') => write!(out, "{}", moment.zone.name),
            Some('z') => {
                let (sign, ahead) =
                    if moment.zone.offset < 0 { ('-', -moment.zone.offset) } else { ('+', moment.zone.offset) };
                write!(out, "{sign}{:02}{:02}", ahead / 3600, ahead / 60 % 60)
            }
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
pub fn date(moment: &Calendar) -> String {
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
pub fn sip_date(time: Duration) -> String {
    let moment = Calendar::utc(time);
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
        assert_eq!(date(&Calendar::utc(Duration::from_secs(1_709_164_800))), "Thu Feb 29 00:00:00 2024");
        assert_eq!(sip_date(Duration::from_secs(951_782_400)), "Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn formats_are_those_of_the_c_library() {
        // `date -u -d @1700000000 +...`
        let check = |pattern: &str, expected: &str| {
            assert_eq!(format(&Calendar::utc(Duration::from_secs(1_700_000_000)), pattern), expected)
        };
        check("%a %A %b %B %d %e %j %H %I %M %S %p", "Tue Tuesday Nov November 14 14 318 22 10 13 20 PM");
        check("%F %T %D %u %w %y %s %%", "2023-11-14 22:13:20 11/14/23 2 2 23 1700000000 %");
        check("%Q 100%", "%Q 100%");
    }

    #[test]
    fn a_clock_on_the_wall_is_ahead_of_utc_in_the_east() {
        // `TZ=Europe/Berlin date -d @1700000000 +...` and `TZ=America/St_Johns date -d @1719792000 +...`
        let zone = |offset, is_summer, name: &str| Zone { offset, is_summer, name: name.to_owned() };
        let berlin = Calendar::at(1_700_000_000, zone(3600, false, "CET"));
        assert_eq!(format(&berlin, "%c %z %Z %j"), "Tue Nov 14 23:13:20 2023 +0100 CET 318");
        let island = Calendar::at(1_719_792_000, zone(-9000, true, "NDT"));
        assert_eq!(format(&island, "%F %T %z %Z"), "2024-06-30 21:30:00 -0230 NDT");
        assert_eq!((island.part(b"isdst"), island.part(b"yday")), (Some(1), Some(182)));
    }

    #[test]
    fn days_are_counted_to_and_from() {
        for (year, month, day, number) in [(1970, 1, 1, 0), (2000, 2, 29, 11_016), (1969, 12, 31, -1)] {
            assert_eq!((day_number_of(year, month, day), date_of(number)), (number, (year, month, day)));
        }
        // `date -u -d @SECONDS +'%F %T'`
        assert_eq!(format(&Calendar::at(-1, Zone::utc()), "%F %T %q%%"), "1969-12-31 23:59:59 %q%");
        format(&Calendar::at(i64::MIN, Zone::utc()), "%c");
    }
}
