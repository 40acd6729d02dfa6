//! Times that come again (RFC 2445 sections 4.3.10 and 4.8.5.4), in the form of module tmrec.

use module_api::calendar::{day_number_of, is_leap};
use module_api::{Calendar, Zone};

/// Something that lasts a while and comes again: `DTSTART|DURATION|FREQ|UNTIL|INTERVAL|BYDAY|BYMONTHDAY|BYYEARDAY|BYWEEKNO|BYMONTH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recurrence {
    /// The first day, counted from 1970, and the second of each day at which it begins.
    start: (i64, i64),
    /// In seconds.
    duration: i64,
    frequency: Option<Frequency>,
    /// The last day and second at which it may begin.
    until: Option<(i64, i64)>,
    interval: i64,
    /// Weekdays from 0 for Sunday, each the n-th, from the end where it is below zero; 0 for every one.
    by_day: Vec<(i64, i64)>,
    by_month_day: Vec<i64>,
    by_year_day: Vec<i64>,
    by_week: Vec<i64>,
    by_month: Vec<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// Longest duration, in days: how far one looks back for a beginning.
const LONGEST: i64 = 366;

impl Recurrence {
    /// Reads a recurrence; `separator` stands between its fields.
    pub(crate) fn parse(text: &str, separator: char) -> Result<Recurrence, String> {
        let fields: Vec<&str> = text.split(separator).map(str::trim).collect();
        if fields.len() > 10 {
            return Err(format!("`{text}` has more than 10 fields"));
        }
        let field = |n: usize| fields.get(n).copied().unwrap_or_default();
        let list = |n: usize, bound: i64| numbers(field(n), bound);
        Ok(Recurrence {
            start: moment(field(0)).ok_or_else(|| format!("`{}` is no time such as 20240101T080000", field(0)))?,
            duration: duration(field(1)).ok_or_else(|| format!("`{}` is no duration such as PT10H", field(1)))?,
            frequency: match field(2).to_ascii_lowercase().as_str() {
                "" => None,
                "daily" => Some(Frequency::Daily),
                "weekly" => Some(Frequency::Weekly),
                "monthly" => Some(Frequency::Monthly),
                "yearly" => Some(Frequency::Yearly),
                other => return Err(format!("`{other}` is not daily, weekly, monthly or yearly")),
            },
            until: match field(3) {
                "" => None,
                text => Some(moment(text).ok_or_else(|| format!("`{text}` is no time such as 20240101T080000"))?),
            },
            interval: match field(4) {
                "" => 1,
                text => {
                    let number: Option<i64> = text.parse().ok().filter(|number| *number >= 0);
                    number.ok_or_else(|| format!("`{text}` is no interval"))?.max(1)
                }
            },
            by_day: weekdays(field(5))?,
            by_month_day: list(6, 31)?,
            by_year_day: list(7, 366)?,
            by_week: list(8, 53)?,
            by_month: list(9, 12)?,
        })
    }

    /// Whether it goes on at `now`.
    ///
    /// An occurrence that lasts beyond midnight counts to its end. Kamailio 5.6 cuts it at midnight, and counts months and
    /// days of the year from 0, against RFC 2445.
    pub(crate) fn covers(&self, now: &Calendar) -> bool {
        let back = (self.duration / 86_400 + 1).min(LONGEST);
        (now.day_number - back..=now.day_number).any(|day| {
            let passed = (now.day_number - day) * 86_400 + now.second_of_day - self.start.1;
            (0..self.duration).contains(&passed) && self.begins_on(day)
        })
    }

    fn begins_on(&self, day: i64) -> bool {
        if day < self.start.0 || self.until.is_some_and(|until| (day, self.start.1) > until) {
            return false;
        }
        let Some(frequency) = self.frequency else { return day == self.start.0 };
        let (first, at) = (date(self.start.0), date(day));
        let months = |date: &Calendar| date.year * 12 + date.month;
        // A week begins on Monday (RFC 2445 section 4.3.10).
        let week = |number: i64| (number + 3).div_euclid(7);
        let periods = match frequency {
            Frequency::Daily => day - self.start.0,
            Frequency::Weekly => week(day) - week(self.start.0),
            Frequency::Monthly => months(&at) - months(&first),
            Frequency::Yearly => at.year - first.year,
        };
        periods % self.interval == 0 && self.is_by(frequency, &first, &at)
    }

    /// Whether the parts BY... let it begin on a day; what none of them says is as on the first day.
    fn is_by(&self, frequency: Frequency, first: &Calendar, at: &Calendar) -> bool {
        let is_yearly = frequency == Frequency::Yearly;
        let year_length = if is_leap(at.year) { 366 } else { 365 };
        let month_length = length_of_month(at.year, at.month);
        let fits = |list: &[i64], from_start: i64, length: i64| {
            list.is_empty() || list.iter().any(|n| *n == from_start || *n == from_start - length - 1)
        };
        if !fits(&self.by_month, at.month, 12)
            || !fits(&self.by_month_day, at.day, month_length)
            || !fits(&self.by_year_day, at.day_of_year + 1, year_length)
            || (is_yearly && !fits(&self.by_week, week_of_year(at), weeks_of(at.year)))
        {
            return false;
        }
        // The n-th of a weekday counts within the month, or within the year where no month is named.
        let (place, length) = match frequency {
            Frequency::Yearly if self.by_month.is_empty() => (at.day_of_year, year_length),
            _ => (at.day - 1, month_length),
        };
        let counts = matches!(frequency, Frequency::Monthly | Frequency::Yearly);
        let is_day = self.by_day.iter().any(|(weekday, n)| {
            let is_nth = *n == place / 7 + 1 || *n == -((length - 1 - place) / 7 + 1);
            *weekday == at.weekday && (*n == 0 || !counts || is_nth)
        });
        if !self.by_day.is_empty() {
            return is_day;
        }
        let has_day = !self.by_month_day.is_empty() || !self.by_year_day.is_empty();
        match frequency {
            Frequency::Daily => true,
            Frequency::Weekly => has_day || at.weekday == first.weekday,
            Frequency::Monthly => has_day || at.day == first.day,
            Frequency::Yearly if !self.by_week.is_empty() => has_day || at.weekday == first.weekday,
            Frequency::Yearly if has_day => true,
            Frequency::Yearly => at.day == first.day && (!self.by_month.is_empty() || at.month == first.month),
        }
    }
}

fn date(day_number: i64) -> Calendar {
    Calendar::at(day_number * 86_400, Zone::utc())
}

fn length_of_month(year: i64, month: i64) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    day_number_of(next_year, next, 1) - day_number_of(year, month, 1)
}

/// The week of ISO 8601: the first is the one with the first Thursday.
fn week_of_year(at: &Calendar) -> i64 {
    let from_monday = (at.weekday + 6) % 7;
    let week = (at.day_of_year - from_monday + 10) / 7;
    match week {
        0 => weeks_of(at.year - 1),
        53 if weeks_of(at.year) == 52 => 1,
        week => week,
    }
}

fn weeks_of(year: i64) -> i64 {
    let weekday = |day: i64| (day + 4).rem_euclid(7);
    let (first, last) = (day_number_of(year, 1, 1), day_number_of(year, 12, 31));
    // 53 where the year begins or ends with a Thursday.
    if weekday(first) == 4 || weekday(last) == 4 { 53 } else { 52 }
}

/// `20240101T080000`: the day's number and the second of the day.
fn moment(text: &str) -> Option<(i64, i64)> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let (date, time) = (text.get(..8)?, text.get(8..)?);
    let time = time.strip_prefix(['T', 't'])?;
    if time.len() != 6 || !date.bytes().chain(time.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |part: &str| part.parse::<i64>().ok();
    let (year, month, day) = (number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?);
    let (hour, minute, second) = (number(&time[..2])?, number(&time[2..4])?, number(&time[4..])?);
    let is_sound = (1..=12).contains(&month) && (1..=length_of_month(year, month)).contains(&day);
    let is_sound = is_sound && hour < 24 && minute < 60 && second < 60;
    is_sound.then(|| (day_number_of(year, month, day), hour * 3600 + minute * 60 + second))
}

/// `P1DT2H3M4S` or `P2W` in seconds.
fn duration(text: &str) -> Option<i64> {
    let text = text.to_ascii_uppercase();
    let rest = text.strip_prefix('+').unwrap_or(&text).strip_prefix('P')?;
    let (mut seconds, mut number, mut is_time) = (0_i64, None, false);
    for c in rest.chars() {
        match c {
            'T' if !is_time && number.is_none() => is_time = true,
            '0'..='9' => {
                let digit = i64::from(c as u8 - b'0');
                number = Some(number.unwrap_or(0_i64).checked_mul(10)?.checked_add(digit)?);
            }
            unit => {
                let length = match (unit, is_time) {
                    ('W', false) => 604_800,
                    ('D', false) => 86_400,
                    ('H', true) => 3600,
                    ('M', true) => 60,
                    ('S', true) => 1,
                    _ => return None,
                };
                seconds = seconds.checked_add(number.take()?.checked_mul(length)?)?;
            }
        }
    }
    (number.is_none() && !rest.is_empty() && seconds <= LONGEST * 86_400).then_some(seconds)
}

/// Numbers from 1 to `bound`, or counted from the end.
fn numbers(text: &str, bound: i64) -> Result<Vec<i64>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let number = |item: &str| {
        let number: Option<i64> = item.strip_prefix('+').unwrap_or(item).parse().ok();
        number.filter(|n| (1..=bound).contains(&n.abs())).ok_or_else(|| format!("`{item}` is not from 1 to {bound}"))
    };
    items.map(number).collect()
}

const WEEKDAYS: [&str; 7] = ["SU", "MO", "TU", "WE", "TH", "FR", "SA"];

fn weekdays(text: &str) -> Result<Vec<(i64, i64)>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let weekday = |item: &str| {
        let wrong = || format!("`{item}` is not a day of the week such as MO or -1FR");
        let at = item.len().checked_sub(2).filter(|at| item.is_char_boundary(*at)).ok_or_else(wrong)?;
        let (number, name) = item.split_at(at);
        let place = WEEKDAYS.iter().position(|known| known.eq_ignore_ascii_case(name)).ok_or_else(wrong)?;
        let number = match number {
            "" => 0,
            number => {
                let number: Option<i64> = number.strip_prefix('+').unwrap_or(number).parse().ok();
                number.filter(|n| (1..=53).contains(&n.abs())).ok_or_else(wrong)?
            }
        };
        Ok((place as i64, number))
    };
    items.map(weekday).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Calendar {
        let (day, second) = moment(time).expect("a test's time");
        Calendar::at(day * 86_400 + second, Zone::utc())
    }

    fn check(rule: &str, time: &str, expected: bool) {
        let recurrence = Recurrence::parse(&format!("20230101T080000|{rule}"), '|');
        assert_eq!(recurrence.expect(rule).covers(&at(time)), expected, "{rule} at {time}");
    }

    /// Each as Kamailio 5.6.3 answers.
    #[test]
    fn what_comes_again_is_what_kamailio_takes_for_it() {
        for (rule, time, expected) in [
            ("PT10H|daily", "20231114T120000", true),
            ("PT10H|daily", "20231114T180000", false),
            ("PT10H|daily", "20231114T080000", true),
            ("PT10H|daily", "20231114T075959", false),
            ("PT10h|DAILY", "20231114T120000", true),
            ("PT36000S|daily", "20231114T120000", true),
            ("PT0H|daily", "20231114T080000", false),
            ("PT10H|daily||0", "20231114T080000", true),
            ("PT10H|weekly|||MO,TU,WE", "20231114T120000", true),
            ("PT10H|weekly|||tu", "20231114T120000", true),
            ("PT10H|weekly|||MO,WE", "20231114T120000", false),
            ("PT10H|weekly", "20231114T120000", false),
            ("PT10H|weekly", "20231112T120000", true),
            ("PT10H|daily||3", "20230104T120000", true),
            ("PT10H|daily||3", "20230105T120000", false),
            ("PT10H|weekly||2|SU", "20230108T120000", false),
            ("PT10H|weekly||2|SU", "20230115T120000", true),
            ("PT10H|weekly||2|MO", "20230102T120000", false),
            ("PT10H|weekly||2|MO", "20230109T120000", true),
            ("PT10H|monthly", "20231101T120000", true),
            ("PT10H|monthly", "20231102T120000", false),
            ("PT10H|monthly|||1MO", "20231106T120000", true),
            ("PT10H|monthly|||2MO", "20231106T120000", false),
            ("PT10H|monthly|||+2TU", "20231114T120000", true),
            ("PT10H|monthly||||14", "20231114T120000", true),
            ("PT10H|monthly||||-17", "20231114T120000", true),
            ("PT10H|monthly||2||14", "20231114T120000", true),
            ("PT10H|yearly", "20240101T120000", true),
            ("PT10H|yearly", "20240102T120000", false),
            ("PT10H|yearly||||14", "20231114T120000", true),
            ("PT10H|yearly|||||-48", "20231114T120000", true),
            ("PT10H|yearly|||2MO", "20231113T120000", false),
            ("PT10H|yearly|||SU,46TU", "20231114T120000", true),
            ("PT10H|daily||||||47", "20231114T120000", true),
            ("PT10H|daily|20230601T000000", "20231114T120000", false),
            ("PT10H", "20230101T120000", true),
            ("PT10H", "20230102T120000", false),
            ("P1DT2H3M", "20230102T100000", true),
        ] {
            check(rule, time, expected);
        }
    }

    /// As RFC 2445 sections 4.3.10 and 4.8.5.4 have it.
    #[test]
    fn what_kamailio_gets_wrong_is_as_in_the_rfc() {
        for (rule, time, expected) in [
            ("PT10H|monthly|||-1MO", "20231127T120000", true),
            ("PT10H|monthly|||-3TU", "20231114T120000", true),
            ("PT10H|yearly|||-7TU", "20231114T120000", true),
            ("PT10H|daily|||||||11", "20231114T120000", true),
            ("PT10H|yearly|||||||11", "20231101T120000", true),
            ("PT10H|yearly|||||318", "20231114T120000", true),
            ("PT10H|yearly|||TU|||46", "20231114T120000", true),
            ("PT10H|yearly|||TU|||45", "20231114T120000", false),
            ("PT10H|yearly|||4TH||||11", "20231123T120000", true),
            ("PT30H|daily", "20231114T060000", true),
            ("PT10H|daily|20230601T000000", "20230601T080001", false),
        ] {
            check(rule, time, expected);
        }
    }

    #[test]
    fn what_is_none_is_told() {
        for text in [
            "",
            "20230101",
            "20230230T080000|PT1H",
            "20230101T250000|PT1H",
            "20230101T080000",
            "20230101T080000|10H|daily",
            "20230101T080000|PT|hourly",
            "20230101T080000|P1Y|daily",
            "20230101T080000|P99999999999999999999D|daily",
            "20230101T080000|P400D|daily",
            "20230101T080000|PT1H|hourly",
            "20230101T080000|PT1H|daily||x",
            "20230101T080000|PT1H|daily|||XX",
            "20230101T080000|PT1H|daily|||é",
            "20230101T080000|PT1H|daily|||99MO",
            "20230101T080000|PT1H|monthly||||32",
            "1|2|3|4|5|6|7|8|9|10|11",
            "ééééééééé",
        ] {
            assert!(Recurrence::parse(text, '|').is_err(), "{text}");
        }
    }

    #[test]
    fn weeks_are_those_of_iso_8601() {
        // `date -d DAY +%V`
        for (day, week) in [("20231114", 46), ("20210103", 53), ("20201231", 53), ("20240101", 1), ("20241230", 1)] {
            assert_eq!(week_of_year(&at(&format!("{day}T000000"))), week, "{day}");
        }
    }
}
