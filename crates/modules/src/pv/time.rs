//! `$Ts`, `$Tf`, `$TV`: clock and chance.

use module_api::calendar::{Calendar, date, format};
use module_api::{KeyRule, Routes, Value, Variable};

use super::{plain, text};

pub(super) const UNIX: Variable = plain("Ts", "Seconds since 1970.", "xlog(\"$Ts\\n\");", |call, _| {
    Value::Int(call.host.unix_time().as_secs() as i64)
});
pub(super) const TEXT: Variable =
    plain("Tf", "Date and time in words, where the server is.", "xlog(\"$Tf\\n\");", |call, _| {
        text(date(&call.local_time()))
    });
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
    read: |call, selector| Calendar::utc(call.host.unix_time()).part(selector.key()).map_or(Value::Null, Value::Int),
    write: None,
};
pub(super) const LOCAL: Variable = Variable {
    name: "time",
    doc: "A part of the time where the server is: sec, min, hour, mday, mon (1 to 12), year, wday (1 for Sunday), yday (from \
          1) or isdst (1 in summer time). The environment variable TZ says where that is, else the system.",
    example: "if ($time(hour) < 8) exit;",
    read: |call, selector| call.local_time().part(selector.key()).map_or(Value::Null, Value::Int),
    ..UTC
};
pub(super) const UTC_FORMAT: Variable = Variable {
    name: "utimef",
    doc: "The time in UTC in a format of strftime().",
    example: "xlog(\"$utimef(%Y-%m-%d %H:%M:%S)\\n\");",
    read: |call, selector| {
        let wanted = String::from_utf8_lossy(selector.key());
        text(format(&Calendar::utc(call.host.unix_time()), &wanted))
    },
    ..UTC
};
pub(super) const LOCAL_FORMAT: Variable = Variable {
    name: "timef",
    doc: "The time where the server is, in a format of strftime().",
    example: "xlog(\"$timef(%Y-%m-%d %H:%M:%S)\\n\");",
    read: |call, selector| {
        let wanted = String::from_utf8_lossy(selector.key());
        text(format(&call.local_time(), &wanted))
    },
    ..UTC_FORMAT
};
pub(super) const STARTED: Variable =
    plain("Tb", "When the server started, in seconds since 1970.", "xlog(\"$Tb\\n\");", |call, _| {
        Value::Int(call.state::<super::attribute::Shared>().started)
    });
pub(super) const RANDOM: Variable =
    plain("RANDOM", "A number from 0 to 2147483647.", "$var(x) = $RANDOM;", |call, _| {
        Value::Int((call.host.random() >> 33) as i64)
    });

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, text};
    use std::time::Duration;

    #[test]
    fn the_clock_is_read_in_several_shapes() {
        let mut bench = Bench::invite();
        bench.host.unix_time = Duration::from_micros(1_700_000_000_000_042);
        assert_eq!(bench.read(&MODULE, "Ts", None), Value::Int(1_700_000_000));
        assert_eq!(bench.read(&MODULE, "Tf", None), text("Tue Nov 14 22:13:20 2023"));
        assert_eq!(bench.read(&MODULE, "TV", Some("Sn")), text("1700000000.000042"));
        assert_eq!(bench.read(&MODULE, "utime", Some("hour")), Value::Int(22));
        assert_eq!(bench.read(&MODULE, "time", Some("isdst")), Value::Int(0));
        assert_eq!(bench.read(&MODULE, "utimef", Some("%Y-%m-%dT%H:%M:%SZ")), text("2023-11-14T22:13:20Z"));
    }

    #[test]
    fn local_time_is_that_of_the_clock_on_the_wall() {
        let mut bench = Bench::invite();
        bench.host.unix_time = Duration::from_secs(1_700_000_000);
        bench.host.zone = module_api::Zone { offset: 7200, is_summer: true, name: "CEST".to_owned() };
        assert_eq!(bench.read(&MODULE, "Tf", None), text("Wed Nov 15 00:13:20 2023"));
        assert_eq!(bench.read(&MODULE, "time", Some("hour")), Value::Int(0));
        assert_eq!(bench.read(&MODULE, "time", Some("isdst")), Value::Int(1));
        assert_eq!(bench.read(&MODULE, "timef", Some("%H %Z")), text("00 CEST"));
        assert_eq!(bench.read(&MODULE, "utimef", Some("%H %Z")), text("22 UTC"));
    }
}
