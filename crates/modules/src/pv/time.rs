//! `$Ts`, `$Tf`, `$TV`: clock and chance.

use std::time::Duration;

use module_api::{KeyRule, Routes, Value, Variable};

use super::{plain, text};

pub(super) const UNIX: Variable = plain("Ts", "Seconds since 1970.", "xlog(\"$Ts\\n\");", |call, _| {
    Value::Int(call.host.unix_time().as_secs() as i64)
});
pub(super) const TEXT: Variable =
    plain("Tf", "Date and time in words, UTC.", "xlog(\"$Tf\\n\");", |call, _| text(date(call.host.unix_time())));
pub(super) const VALUE: Variable = Variable {
    name: "TV",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "The time: $TV(s) seconds since 1970, $TV(u) microseconds within the second, $TV(Sn) both with a dot between.",
    example: "xlog(\"$TV(Sn)\\n\");",
    read: |call, selector| {
        let now = call.host.unix_time();
        match selector.key() {
            b"s" | b"sn" => Value::Int(now.as_secs() as i64),
            b"u" | b"un" => Value::Int(now.subsec_micros().into()),
            b"Sn" => text(format!("{}.{:06}", now.as_secs(), now.subsec_micros())),
            _ => Value::Null,
        }
    },
    write: None,
};
pub(super) const UTC: Variable = Variable {
    name: "utime",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A part of the time in UTC: sec, min, hour, mday, mon (1 to 12), year, wday (1 for Sunday) or yday (from 1).",
    example: "if ($utime(hour) < 8) exit;",
    read: |call, selector| Calendar::of(call.host.unix_time()).part(selector.key()).map_or(Value::Null, Value::Int),
    write: None,
};
pub(super) const RANDOM: Variable =
    plain("RANDOM", "A number from 0 to 2147483647.", "$var(x) = $RANDOM;", |call, _| {
        Value::Int((call.host.random() >> 33) as i64)
    });

/// A moment in the Gregorian calendar, UTC.
struct Calendar {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    weekday: i64,
    second_of_day: i64,
}

impl Calendar {
    fn of(time: Duration) -> Calendar {
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

    fn part(&self, name: &[u8]) -> Option<i64> {
        Some(match name {
            b"sec" => self.second_of_day % 60,
            b"min" => self.second_of_day / 60 % 60,
            b"hour" => self.second_of_day / 3600,
            b"mday" => self.day,
            b"mon" => self.month,
            b"year" => self.year,
            b"wday" => self.weekday + 1,
            b"yday" => self.day_of_year + 1,
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
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

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
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};

    #[test]
    fn the_clock_is_read_in_several_shapes() {
        let mut bench = Bench::invite();
        bench.host.unix_time = Duration::from_micros(1_700_000_000_000_042);
        assert_eq!(bench.read(&MODULE, "Ts", None), Value::Int(1_700_000_000));
        assert_eq!(bench.read(&MODULE, "Tf", None), text("Tue Nov 14 22:13:20 2023"));
        assert_eq!(bench.read(&MODULE, "TV", Some("Sn")), text("1700000000.000042"));
        assert_eq!(bench.read(&MODULE, "utime", Some("hour")), Value::Int(22));
    }

    #[test]
    fn leap_days_are_kept() {
        // `date -u -d @1709164800` and `date -u -d @951782400`.
        assert_eq!(date(Duration::from_secs(1_709_164_800)), "Thu Feb 29 00:00:00 2024");
        assert_eq!(sip_date(Duration::from_secs(951_782_400)), "Tue, 29 Feb 2000 00:00:00 GMT");
    }
}
