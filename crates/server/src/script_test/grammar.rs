//! The language of test files (docs/script-tests.md): text to tests, with every error by line.

use std::net::SocketAddr;
use std::time::Duration;

use sip_message::Transport;

use crate::explain::with_reason;

/// A test file, read.
#[derive(Debug, Default)]
pub(super) struct TestFile {
    /// What holds for every test.
    pub(super) setting: Setting,
    /// The tests.
    pub(super) tests: Vec<Test>,
}

/// What is there before the first step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) script: Option<String>,
    pub(super) defines: Vec<String>,
    pub(super) listen: Vec<String>,
    pub(super) domains: Vec<String>,
    pub(super) phones: Vec<PhoneLine>,
    pub(super) hosts: Vec<(String, String)>,
    pub(super) users: Vec<(String, String)>,
    /// Address-of-record and contact.
    pub(super) registered: Vec<(String, String)>,
    /// Seconds since 1970.
    pub(super) clock: Option<u64>,
}

/// A simulated phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PhoneLine {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
}

/// One test.
#[derive(Debug, Clone)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) setting: Setting,
    pub(super) steps: Vec<Step>,
}

/// One step of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) line: usize,
    /// As it is written.
    pub(super) text: String,
    pub(super) action: Action,
    /// Lines under it.
    pub(super) details: Vec<Detail>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// `NAME sends METHOD URI`; without URI within the call that the phone has.
    Send { who: String, method: String, uri: Option<String> },
    /// `NAME sends the same again`.
    Repeat { who: String },
    /// `NAME registers [at CONTACT] [with PASSWORD]`.
    Register { who: String, contact: Option<String>, password: Option<String> },
    /// `NAME answers the challenge with PASSWORD`.
    Authenticate { who: String, password: String },
    /// `NAME cancels`.
    Cancel { who: String },
    /// `NAME replies STATUS`.
    Reply { who: String, status: String },
    /// `NAME expects METHOD [URI]`.
    ExpectRequest { who: String, method: String, uri: Option<String> },
    /// `NAME expects STATUS`.
    ExpectReply { who: String, status: u16 },
    /// `NAME expects nothing`.
    ExpectNothing { who: String },
    /// `NAME is unreachable`.
    Unreachable { who: String },
    /// `after TIME`.
    After(Duration),
    /// `log expects PATTERN`.
    ExpectLog(String),
}

/// A line under a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Detail {
    /// `Name: value`.
    Header(String, String),
    /// `no Name`.
    Without(String),
    /// `body: text`, in which `\n` is a line end.
    Body(String),
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) line: usize,
    pub(super) what: String,
}

/// Reads a test file.
///
/// # Errors
/// Every line that cannot be read.
pub(super) fn parse(text: &str) -> Result<TestFile, Vec<Mistake>> {
    let mut file = TestFile::default();
    let mut mistakes = Vec::new();
    for (n, raw) in text.lines().enumerate() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Err(what) = take_line(&mut file, n + 1, line) {
            mistakes.push(Mistake { line: n + 1, what });
        }
    }
    for test in file.tests.iter().filter(|test| test.steps.is_empty()) {
        mistakes.push(Mistake { line: test.line, what: format!("test \"{}\" has no steps", test.name) });
    }
    if mistakes.is_empty() { Ok(file) } else { Err(mistakes) }
}

fn take_line(file: &mut TestFile, number: usize, line: &str) -> Result<(), String> {
    if let Some(name) = line.strip_prefix("test ") {
        let name = name.trim().trim_matches('"').to_owned();
        file.tests.push(Test { name, line: number, setting: Setting::default(), steps: Vec::new() });
        return Ok(());
    }
    let has_steps = file.tests.last().is_some_and(|test| !test.steps.is_empty());
    if has_steps && let Some(detail) = detail(line) {
        let step = file.tests.last_mut().and_then(|test| test.steps.last_mut());
        step.expect("just seen").details.push(detail);
        return Ok(());
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let setting = file.tests.last_mut().map_or(&mut file.setting, |test| &mut test.setting);
    if is_setting(words[0]) {
        if has_steps {
            return Err(format!("`{}` must stand before the first step of its test", words[0]));
        }
        return take_setting(setting, &words, line);
    }
    let action = action(&words)?;
    let step = Step { line: number, text: line.to_owned(), action, details: Vec::new() };
    match file.tests.last_mut() {
        Some(test) => test.steps.push(step),
        None => return Err("a step must belong to a test; begin one with: test \"what shall happen\"".to_owned()),
    }
    Ok(())
}

/// `Name: value`, `no Name` or `body: text`.
fn detail(line: &str) -> Option<Detail> {
    if let Some(name) = line.strip_prefix("no ") {
        return Some(Detail::Without(name.trim().to_owned()));
    }
    let (name, value) = line.split_once(':')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let value = value.trim();
    match is_name {
        true if name == "body" => Some(Detail::Body(value.replace("\\r", "").replace("\\n", "\n"))),
        true => Some(Detail::Header(name.to_owned(), value.to_owned())),
        false => None,
    }
}

fn is_setting(word: &str) -> bool {
    SETTINGS.iter().any(|(name, _)| *name == word)
}

const SETTINGS: &[(&str, &str)] = &[
    ("script", "script FILE"),
    ("define", "define NAME or define NAME=VALUE"),
    ("listen", "listen PROTO:HOST:PORT"),
    ("domain", "domain NAME"),
    ("phone", "phone NAME IP:PORT [TRANSPORT]"),
    ("host", "host NAME IP"),
    ("user", "user NAME@DOMAIN PASSWORD"),
    ("registered", "registered USER@DOMAIN CONTACT"),
    ("clock", "clock 2026-01-31T12:00:00Z"),
];

fn take_setting(setting: &mut Setting, words: &[&str], line: &str) -> Result<(), String> {
    let rest = line[words[0].len()..].trim().to_owned();
    match words {
        ["script", _, ..] => setting.script = Some(rest),
        ["define", _, ..] => setting.defines.push(rest),
        ["listen", address] => setting.listen.push((*address).to_owned()),
        ["domain", name] => setting.domains.push((*name).to_owned()),
        ["phone", name, address] => setting.phones.push(phone(name, address, "udp")?),
        ["phone", name, address, transport] => setting.phones.push(phone(name, address, transport)?),
        ["host", name, address] => setting.hosts.push(((*name).to_owned(), (*address).to_owned())),
        ["user", name, password] => setting.users.push(((*name).to_owned(), (*password).to_owned())),
        ["registered", aor, contact] => {
            setting.registered.push((crate::explain::uri(aor), crate::explain::uri(contact)));
        }
        ["clock", time] => setting.clock = Some(clock(time)?),
        _ => {
            let form = SETTINGS.iter().find(|(name, _)| *name == words[0]).map_or("", |(_, form)| form);
            return Err(format!("this must look like: {form}"));
        }
    }
    Ok(())
}

fn phone(name: &str, address: &str, transport: &str) -> Result<PhoneLine, String> {
    let with_port = address.parse::<SocketAddr>().ok();
    let address = with_port
        .or_else(|| address.parse().ok().map(|ip| SocketAddr::new(ip, 5060)))
        .ok_or_else(|| format!("`{address}` is no address; write IP or IP:PORT"))?;
    let transport =
        Transport::from_token(transport.as_bytes()).ok_or_else(|| format!("`{transport}` is no transport"))?;
    Ok(PhoneLine { name: name.to_owned(), address, transport })
}

fn action(words: &[&str]) -> Result<Action, String> {
    let owned = |text: &str| text.to_owned();
    let who = owned(words[0]);
    Ok(match words {
        ["after", time] => Action::After(duration(time)?),
        ["log", "expects", ..] if words.len() > 2 => Action::ExpectLog(words[2..].join(" ")),
        [_, "sends", "the", "same", "again"] => Action::Repeat { who },
        [_, "sends", method, "in", "the", "call"] => Action::Send { who, method: owned(method), uri: None },
        [_, "sends", method, uri] => Action::Send { who, method: owned(method), uri: Some(owned(uri)) },
        [_, "registers"] => Action::Register { who, contact: None, password: None },
        [_, "registers", "at", contact] => Action::Register { who, contact: Some(owned(contact)), password: None },
        [_, "registers", "with", password] => Action::Register { who, contact: None, password: Some(owned(password)) },
        [_, "registers", "at", contact, "with", password] => {
            Action::Register { who, contact: Some(owned(contact)), password: Some(owned(password)) }
        }
        [_, "answers", "the", "challenge", "with", password] => Action::Authenticate { who, password: owned(password) },
        [_, "cancels"] => Action::Cancel { who },
        [_, "replies", ..] if words.len() > 2 => Action::Reply { who, status: with_reason(&words[2..].join(" "))? },
        [_, "is", "unreachable"] => Action::Unreachable { who },
        [_, "expects", "nothing"] => Action::ExpectNothing { who },
        [_, "expects", what] if what.starts_with(|c: char| c.is_ascii_digit()) => {
            let status = what.parse().map_err(|_| format!("`{what}` is no status code"))?;
            Action::ExpectReply { who, status }
        }
        [_, "expects", method] => Action::ExpectRequest { who, method: owned(method), uri: None },
        [_, "expects", method, uri] => Action::ExpectRequest { who, method: owned(method), uri: Some(owned(uri)) },
        _ => {
            return Err(
                "this is no step; one looks like `alice sends INVITE sip:bob@example.com`, `bob expects INVITE`, `bob \
                 replies 486`, `alice expects 486`, `after 5s` (see docs/script-tests.md)"
                    .to_owned(),
            );
        }
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: Option<u64> = text[..digits].parse().ok().filter(|number| *number <= 10_000_000);
    match (number, &text[digits..]) {
        (Some(number), "ms") => Ok(Duration::from_millis(number)),
        (Some(number), "s") => Ok(Duration::from_secs(number)),
        (Some(number), "m") => Ok(Duration::from_secs(60 * number)),
        (Some(number), "h") => Ok(Duration::from_secs(3600 * number)),
        _ => Err(format!("`{text}` is no time; write 500ms, 5s, 2m or 1h")),
    }
}

/// Reads `2026-01-31T12:00:00Z` into seconds since 1970.
fn clock(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no time; write 2026-01-31T12:00:00Z");
    let numbers: Vec<u64> = text
        .trim_end_matches('Z')
        .split(['-', 'T', ':'])
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    let [year, month, day, hour, minute, second] = numbers[..] else { return Err(wrong()) };
    let is_valid = (1970..=2200).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !is_valid {
        return Err(wrong());
    }
    // Days since 1970, with the year beginning in March so that the leap day comes last.
    let (shifted, moved) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + (moved * 153 + 2) / 5 + day - 1;
    Ok((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "script a.cfg\nphone alice 192.0.2.1\n\ntest \"a call\"\n  registered bob@h sip:bob@192.0.2.2\n  \
                        alice sends INVITE sip:bob@h\n    Subject: hi\n    no Contact\n  after 1500ms\n  alice expects 404\n";

    #[test]
    fn a_file_is_read_with_settings_for_all_and_for_one() {
        let file = parse(GOOD).expect("it is right");
        assert_eq!(file.setting.script.as_deref(), Some("a.cfg"));
        assert_eq!(file.setting.phones[0].address, "192.0.2.1:5060".parse().expect("a literal"));
        let test = &file.tests[0];
        assert_eq!((test.name.as_str(), test.line), ("a call", 4));
        assert_eq!(test.setting.registered, [("sip:bob@h".to_owned(), "sip:bob@192.0.2.2".to_owned())]);
        let details = [Detail::Header("Subject".into(), "hi".into()), Detail::Without("Contact".into())];
        assert_eq!(test.steps[0].details, details);
        assert_eq!(test.steps[1].action, Action::After(Duration::from_millis(1500)));
        assert_eq!(test.steps[2].action, Action::ExpectReply { who: "alice".into(), status: 404 });
    }

    fn check_mistake(text: &str, line: usize, part: &str) {
        let mistakes = parse(text).err().unwrap_or_else(|| panic!("{text} is read"));
        assert_eq!(mistakes[0].line, line, "{mistakes:?}");
        assert!(mistakes[0].what.contains(part), "{mistakes:?}");
    }

    #[test]
    fn what_cannot_be_read_is_named_by_line() {
        check_mistake("alice sends INVITE sip:b@h\n", 1, "belong to a test");
        check_mistake("test \"a\"\n  alice greets bob\n", 2, "is no step");
        check_mistake("phone alice somewhere\n", 1, "is no address");
        check_mistake("test \"a\"\n  after soon\n", 2, "is no time");
        check_mistake("test \"a\"\n  after 1s\n  phone bob 192.0.2.1\n", 3, "before the first step");
        check_mistake("test \"nothing\"\n", 1, "has no steps");
    }

    #[test]
    fn a_clock_is_seconds_since_1970() {
        assert_eq!(clock("2026-01-01T00:00:00Z"), Ok(1_767_225_600));
        assert_eq!(clock("1970-01-01T00:00:01Z"), Ok(1));
        assert_eq!(clock("2024-02-29T12:00:00Z"), Ok(1_709_208_000));
        assert!(clock("noon").is_err());
    }
}
