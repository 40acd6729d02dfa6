//! Matching the time of day, week and year.

mod period;
mod recurrence;

use std::sync::Arc;

use module_api::calendar::is_leap;
use module_api::{Call, Function, Module, Outcome, Param, ParamKind, Routes, Setup, SetupError, State};

use crate::setting::text;
pub(crate) use recurrence::Recurrence;

/// Matching the time of day, week and year.
pub static MODULE: Module = Module {
    name: "tmrec",
    doc: "Tells opening hours, holidays and other times that come again, by the clock on the wall where the server is.",
    parameters: &[text("separator", "|", "The character between the fields of a recurrence.")],
    functions: &[MATCH, PERIOD, LEAP],
    make,
    ..Module::EMPTY
};

const MATCH: Function = Function {
    name: "tmrec_match",
    params: &[Param::required("recurrence", ParamKind::Format), Param::optional("time", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "True when a time that comes again is now, or at a time in seconds since 1970. Its fields are those of RFC 2445 section \
          4.3.10: DTSTART|DURATION|FREQ|UNTIL|INTERVAL|BYDAY|BYMONTHDAY|BYYEARDAY|BYWEEKNO|BYMONTH, where those at the end may \
          be left out. An occurrence lasts its duration, beyond midnight too.",
    example: "if (tmrec_match(\"20240101T080000|PT10H|weekly|||MO,TU,WE,TH,FR\")) xlog(\"open\\n\");",
    run: |call| {
        let separator = call.state::<Settings>().separator;
        match Recurrence::parse(&String::from_utf8_lossy(&call.text(0)), separator) {
            Ok(recurrence) => recurrence.covers(&time(call, 1)).into(),
            Err(cause) => Outcome::fail(format!("tmrec_match: {cause}")),
        }
    },
};

const PERIOD: Function = Function {
    name: "time_period_match",
    params: &[Param::required("period", ParamKind::Format), Param::optional("time", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "True when now, or a time in seconds since 1970, lies in a period such as `wd {Mon-Fri} hr {9am-4pm}`: scales yr, mo, wk \
          (of the month), yd, md, wd (1 for Sunday), hr, min and sec, which must all fit; periods are separated by commas. A \
          range holds its last unit: hr {9am-4pm} ends at 5 in the afternoon.",
    example: "if (time_period_match(\"wd {Mon-Fri} hr {9am-4pm}\")) xlog(\"open\\n\");",
    run: |call| match period::covers(&String::from_utf8_lossy(&call.text(0)), &time(call, 1)) {
        Ok(is_in) => is_in.into(),
        Err(cause) => Outcome::fail(format!("time_period_match: {cause}")),
    },
};

const LEAP: Function = Function {
    name: "is_leap_year",
    params: &[Param::optional("year", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "True when the year, or this one, has a 29th of February.",
    example: "if (is_leap_year()) xlog(\"a day more\\n\");",
    run: |call| is_leap(call.int(0).unwrap_or_else(|| call.local_time().year)).into(),
};

struct Settings {
    separator: char,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let text = setup.text("separator");
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(separator), None) if !separator.is_alphanumeric() && !matches!(separator, '-' | '+' | ',') => {
            Ok(Arc::new(Settings { separator }))
        }
        _ => {
            let cause = "must be one character that is no part of a field".to_owned();
            Err(SetupError::Setting { name: "separator", cause })
        }
    }
}

/// The time that argument `n` gives, else now.
fn time(call: &Call<'_>, n: usize) -> module_api::Calendar {
    call.int(n).map_or_else(|| call.local_time(), |unix| call.local_time_of(unix))
}

#[cfg(test)]
mod tests {
    use super::MODULE;
    use crate::testing::{Bench, INVITE, started, try_start};

    #[test]
    fn times_are_those_of_the_clock_on_the_wall() {
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &[("separator", "/")]));
        // 2023-11-14 22:13:20 in UTC.
        assert_eq!(bench.run(&MODULE, "tmrec_match", &["20230101T220000/PT1H/daily"]), 1);
        assert_eq!(bench.run(&MODULE, "time_period_match", &["hr {10pm}"]), 1);
        assert_eq!(bench.run(&MODULE, "time_period_match", &["hr {10pm}", "1700003600"]), -1);
        bench.host.zone.offset = 3600;
        assert_eq!(bench.run(&MODULE, "tmrec_match", &["20230101T220000/PT1H/daily"]), -1);
        assert_eq!(bench.run(&MODULE, "tmrec_match", &["20230101T230000/PT1H/daily"]), 1);
        assert_eq!(bench.run(&MODULE, "is_leap_year", &[]), -1);
        assert_eq!(bench.run(&MODULE, "is_leap_year", &["2000"]), 1);
        assert_eq!(bench.run(&MODULE, "is_leap_year", &["1900"]), -1);
        assert_eq!(bench.run(&MODULE, "tmrec_match", &["nonsense"]), -1);
        assert!(try_start(&MODULE, &[("separator", "")]).is_err());
        assert!(try_start(&MODULE, &[("separator", "T")]).is_err());
    }
}
