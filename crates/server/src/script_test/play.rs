//! Plays one test: phones act, time passes, and what arrives is compared with what is expected.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use engine::Identity;

use super::grammar::{Action, Detail, Setting, Step, Test};
use super::pattern::{self, Kept};
use super::phone::Phone;
use crate::commands::ScriptArguments;
use crate::simulate::message::Text;
use crate::simulate::record::Note;
use crate::simulate::{BEGIN, Hosts, Props, Registration, Stage};

/// What came of a test.
pub(super) struct Played {
    /// Why it failed.
    pub(super) failure: Option<Failure>,
    /// The stage, for the trace and the coverage; none when it could not be set up.
    pub(super) stage: Option<Stage>,
}

/// Why a test failed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// The line of the step.
    pub(super) line: usize,
    /// What was expected.
    pub(super) expected: String,
    /// What came instead.
    pub(super) got: String,
}

/// Plays `test` of a file in `folder`.
pub(super) fn play(test: &Test, common: &Setting, file: &Path, script: &ScriptArguments) -> Played {
    let setting = joined(common, &test.setting);
    let stage = match set_up(&setting, file, script) {
        Ok(stage) => stage,
        Err(error) => {
            let got = format!("{error:#}");
            let failure = Failure { line: test.line, expected: "the script starts".into(), got };
            return Played { failure: Some(failure), stage: None };
        }
    };
    let phones = setting.phones.iter().map(Phone::new).collect();
    let domain = setting.domains.first().cloned().or_else(|| domain_of(&stage.network.shared().identity));
    let domain = domain.unwrap_or_else(|| "example.com".to_owned());
    let mut player = Player { stage, phones, kept: Kept::new(), domain, logs_seen: 0, strays: Vec::new() };
    let failure = player.steps(&test.steps);
    Played { failure, stage: Some(player.stage) }
}

/// The script that a test runs: as it says, else the file beside it with the ending `.cfg`.
pub(super) fn script_of(setting: &Setting, file: &Path) -> PathBuf {
    match &setting.script {
        Some(script) => file.parent().unwrap_or(Path::new("")).join(script),
        None => file.with_extension("cfg"),
    }
}

fn joined(common: &Setting, own: &Setting) -> Setting {
    let mut all = common.clone();
    all.script = own.script.clone().or(all.script);
    all.clock = own.clock.or(all.clock);
    all.defines.extend(own.defines.iter().cloned());
    all.listen.extend(own.listen.iter().cloned());
    all.domains.extend(own.domains.iter().cloned());
    all.phones.extend(own.phones.iter().cloned());
    all.hosts.extend(own.hosts.iter().cloned());
    all.users.extend(own.users.iter().cloned());
    all.registered.extend(own.registered.iter().cloned());
    all
}

fn set_up(setting: &Setting, file: &Path, script: &ScriptArguments) -> Result<Stage> {
    let mut arguments = script.for_file(Some(script_of(setting, file)));
    arguments.define.extend(setting.defines.iter().cloned());
    arguments.listen.extend(setting.listen.iter().cloned());
    arguments.alias.extend(setting.domains.iter().cloned());
    let registered = |(aor, contact): &(String, String)| Registration { aor: aor.clone(), contact: contact.clone() };
    let props = Props {
        users: setting.users.clone(),
        registrations: setting.registered.iter().map(registered).collect(),
        hosts: Hosts::new(&setting.hosts, false)?,
        begin: setting.clock.map_or(BEGIN, Duration::from_secs),
    };
    Stage::set_up(&arguments, props).context("setting up")
}

fn domain_of(identity: &Identity) -> Option<String> {
    identity.aliases.first().map(|alias| alias.host.clone())
}

struct Player {
    stage: Stage,
    phones: Vec<Phone>,
    kept: Kept,
    domain: String,
    /// How many log lines were looked at.
    logs_seen: usize,
    /// What left for an address where no phone is.
    strays: Vec<String>,
}

/// Why a step did not go as written: what was expected, and what came.
type Wrong = (String, String);

impl Player {
    fn steps(&mut self, steps: &[Step]) -> Option<Failure> {
        for step in steps {
            if let Err((expected, got)) = self.step(step) {
                return Some(Failure { line: step.line, expected, got });
            }
        }
        let line = steps.last().map_or(0, |step| step.line);
        self.leftovers().err().map(|(expected, got)| Failure { line, expected, got })
    }

    /// What nobody looked at is what a test did not expect.
    fn leftovers(&mut self) -> Result<(), Wrong> {
        let quiet = "nothing more happens than the test expects";
        if let Some(stray) = self.strays.first() {
            return Err((quiet.into(), stray.clone()));
        }
        for phone in &self.phones {
            if let Some(text) = phone.inbox.iter().find(|text| !is_noise(text)) {
                return Err((quiet.into(), format!("{} got {}", phone.name, text.start)));
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), Wrong> {
        match &step.action {
            Action::Send { who, method, uri } => self.send(who, method, uri.as_deref(), &step.details),
            Action::Repeat { who } => {
                let at = self.phone(who)?;
                let text = self.phones[at].sent.clone();
                let text = text.ok_or_else(|| cannot(format!("{who} has sent nothing yet")))?;
                self.emit(at, &text)
            }
            Action::Register { who, contact, password } => {
                self.register(who, contact.as_deref(), password.as_deref(), &step.details)
            }
            Action::Authenticate { who, password } => {
                let at = self.phone(who)?;
                let text = self.phones[at].authenticated(password).map_err(cannot)?;
                let text = self.changed(text, &step.details)?;
                self.emit(at, &text)
            }
            Action::Cancel { who } => {
                let at = self.phone(who)?;
                let invite = self.phones[at].sent.clone().filter(|sent| sent.method() == "INVITE");
                let invite = invite.ok_or_else(|| cannot(format!("{who} has sent no INVITE")))?;
                self.emit(at, &invite.cancel())
            }
            Action::Reply { who, status } => self.reply(who, status, &step.details),
            Action::ExpectRequest { who, method, uri } => {
                let what = Expectation { method: Some(method), uri: uri.as_deref(), status: None };
                self.expect(who, &what, step)
            }
            Action::ExpectReply { who, status } => {
                let what = Expectation { method: None, uri: None, status: Some(*status) };
                self.expect(who, &what, step)
            }
            Action::ExpectNothing { who } => {
                let at = self.phone(who)?;
                match self.phones[at].inbox.iter().find(|text| !is_noise(text)) {
                    Some(text) => Err((step.text.clone(), format!("{who} got:\n{}", shown(text)))),
                    None => Ok(()),
                }
            }
            Action::Unreachable { who } => {
                let at = self.phone(who)?;
                self.phones[at].is_unreachable = true;
                Ok(())
            }
            Action::After(time) => {
                self.stage.network.advance(*time);
                self.deliver()
            }
            Action::ExpectLog(pattern) => self.expect_log(pattern, step),
        }
    }

    fn phone(&self, name: &str) -> Result<usize, Wrong> {
        let at = self.phones.iter().position(|phone| phone.name == name);
        at.ok_or_else(|| {
            let names: Vec<&str> = self.phones.iter().map(|phone| phone.name.as_str()).collect();
            cannot(format!("there is no phone `{name}`; there are: {}", names.join(", ")))
        })
    }

    fn send(&mut self, who: &str, method: &str, uri: Option<&str>, details: &[Detail]) -> Result<(), Wrong> {
        let at = self.phone(who)?;
        let text = match uri {
            Some(uri) => {
                let uri = pattern::fill(uri, &self.kept).map_err(cannot)?;
                self.phones[at].request(method, &crate::explain::uri(&uri), &self.domain.clone())
            }
            None => self.phones[at].request_in_call(method).map_err(cannot)?,
        };
        let text = self.changed(text, details)?;
        self.emit(at, &text)
    }

    /// A REGISTER, and where it is challenged, another with the password: it must end in 200.
    fn register(
        &mut self,
        who: &str,
        contact: Option<&str>,
        password: Option<&str>,
        details: &[Detail],
    ) -> Result<(), Wrong> {
        let at = self.phone(who)?;
        let domain = self.domain.clone();
        let mut text = self.phones[at].request("REGISTER", &format!("sip:{domain}"), &domain);
        if let Some(contact) = contact {
            text.set("Contact", &format!("<{}>", crate::explain::uri(contact)));
        }
        let text = self.changed(text, details)?;
        self.emit(at, &text)?;
        if let Some(password) = password {
            let challenge = self.phones[at].inbox.pop_back();
            if self.phones[at].challenge.is_none() {
                let got = challenge.map_or_else(|| "nothing".to_owned(), |text| shown(&text));
                return Err(("a challenge (401 or 407)".into(), got));
            }
            let again = self.phones[at].authenticated(password).map_err(cannot)?;
            self.emit(at, &again)?;
        }
        match self.phones[at].inbox.pop_back() {
            Some(text) if text.status() == Some(200) => Ok(()),
            Some(text) => Err(("the registration gets 200".into(), shown(&text))),
            None => Err(("the registration gets 200".into(), "nothing".into())),
        }
    }

    fn reply(&mut self, who: &str, status: &str, details: &[Detail]) -> Result<(), Wrong> {
        let at = self.phone(who)?;
        let phone = &self.phones[at];
        let asked = phone.asked.as_ref().ok_or_else(|| cannot(format!("{who} has expected no request yet")))?;
        let text = asked.reply(status, &phone.tag(), &phone.contact());
        let text = self.changed(text, details)?;
        self.emit(at, &text)
    }

    /// With the lines that stand under the step.
    fn changed(&self, mut text: Text, details: &[Detail]) -> Result<Text, Wrong> {
        for detail in details {
            match detail {
                Detail::Header(name, value) => text.set(name, &pattern::fill(value, &self.kept).map_err(cannot)?),
                Detail::Without(name) => {
                    text.headers.retain(|(other, _)| !crate::simulate::message::is_same(other, name));
                }
                Detail::Body(body) => {
                    text.body = pattern::fill(body, &self.kept).map_err(cannot)?;
                    if text.header("Content-Type").is_none() {
                        text.set("Content-Type", "application/sdp");
                    }
                }
            }
        }
        Ok(text)
    }

    fn emit(&mut self, at: usize, text: &Text) -> Result<(), Wrong> {
        self.phones[at].note_sent(text);
        let (from, transport) = (self.phones[at].address, self.phones[at].transport);
        self.stage.send(from, transport, &text.to_wire()).map_err(|error| cannot(format!("{error:#}")))?;
        self.deliver()
    }

    /// Brings what has left the server to the phones, until their own answers bring nothing more.
    fn deliver(&mut self) -> Result<(), Wrong> {
        loop {
            let sent = self.stage.take_sent();
            if sent.is_empty() {
                return Ok(());
            }
            for one in sent {
                let at = self.phones.iter().position(|phone| phone.address == one.to);
                let Some(at) = at else {
                    let start = one.text.lines().next().unwrap_or_default();
                    self.strays.push(format!("a message left for {}, where no phone is: {start}", one.to));
                    continue;
                };
                if self.phones[at].is_unreachable {
                    self.stage.network.unreachable(&one.to.to_string());
                    self.stage.network.settle();
                    continue;
                }
                if let Some(answer) = self.phones[at].take(&one) {
                    let (from, transport) = (one.to, one.transport);
                    self.stage
                        .send(from, transport, &answer.to_wire())
                        .map_err(|error| cannot(format!("{error:#}")))?;
                }
            }
        }
    }

    fn expect(&mut self, who: &str, what: &Expectation<'_>, step: &Step) -> Result<(), Wrong> {
        let at = self.phone(who)?;
        let expected = step.text.clone();
        let Some(text) = self.next(at, what) else {
            return Err((expected, format!("nothing arrived at {who}")));
        };
        let mut kept = self.kept.clone();
        if let Err(got) = what.is_met_by(&text, &mut kept).and_then(|()| details_met(&text, &step.details, &mut kept)) {
            return Err((expected, format!("{got}\n{}", shown(&text))));
        }
        self.kept = kept;
        // A CANCEL has had its 200; what is left to answer is the INVITE.
        if text.is_request() && text.method() != "CANCEL" {
            self.phones[at].asked = Some(text);
        }
        Ok(())
    }

    /// The next message that is not beside the point.
    fn next(&mut self, at: usize, what: &Expectation<'_>) -> Option<Text> {
        let inbox = &mut self.phones[at].inbox;
        while inbox.front().is_some_and(|text| is_noise(text) && !what.is_about(text)) {
            inbox.pop_front();
        }
        inbox.pop_front()
    }

    fn expect_log(&mut self, wanted: &str, step: &Step) -> Result<(), Wrong> {
        let notes = self.stage.record.notes();
        let lines = notes.iter().filter_map(|note| match note {
            Note::Log(_, line) => Some(line.as_str()),
            _ => None,
        });
        let lines: Vec<&str> = lines.skip(self.logs_seen).collect();
        let found = lines.iter().position(|line| pattern::matches(wanted, line, &mut self.kept));
        match found {
            Some(at) => {
                self.logs_seen += at + 1;
                Ok(())
            }
            None if lines.is_empty() => Err((step.text.clone(), "nothing more was logged".into())),
            None => Err((step.text.clone(), format!("logged was:\n{}", lines.join("\n")))),
        }
    }
}

/// The first line that a message shall have.
struct Expectation<'a> {
    method: Option<&'a str>,
    uri: Option<&'a str>,
    status: Option<u16>,
}

impl Expectation<'_> {
    /// Whether it speaks of a message of this kind, though maybe of another one.
    fn is_about(&self, text: &Text) -> bool {
        match (self.method, self.status) {
            (Some(method), _) => text.is_request() && text.method() == method,
            (None, status) => text.status() == status,
        }
    }

    fn is_met_by(&self, text: &Text, kept: &mut Kept) -> Result<(), String> {
        if !self.is_about(text) {
            return Err(format!("what arrived is {}", text.start));
        }
        match self.uri {
            Some(uri) if !pattern::matches(uri, text.uri(), kept) => {
                Err(format!("the Request-URI is {}, not {uri}", text.uri()))
            }
            _ => Ok(()),
        }
    }
}

fn details_met(text: &Text, details: &[Detail], kept: &mut Kept) -> Result<(), String> {
    for detail in details {
        match detail {
            Detail::Header(name, wanted) => {
                let values: Vec<&str> = text.all(name).collect();
                if !values.iter().any(|value| pattern::matches(wanted, value, kept)) {
                    return Err(match values[..] {
                        [] => format!("there is no header {name}"),
                        _ => format!("header {name} is {}, not {wanted}", values.join(" and ")),
                    });
                }
            }
            Detail::Without(name) => {
                if let Some(value) = text.header(name) {
                    return Err(format!("there is a header {name}: {value}"));
                }
            }
            Detail::Body(wanted) => {
                let body = text.body.replace("\r\n", "\n");
                if !pattern::matches(wanted, body.trim_end(), kept) {
                    return Err("the body is another".to_owned());
                }
            }
        }
    }
    Ok(())
}

/// What a transaction layer keeps to itself: it counts only where a test asks for it.
fn is_noise(text: &Text) -> bool {
    match text.status() {
        Some(status) => status == 100 || text.method() == "CANCEL",
        None => text.method() == "ACK",
    }
}

fn cannot(what: impl Into<String>) -> Wrong {
    ("the step can be done".into(), what.into())
}

fn shown(text: &Text) -> String {
    text.to_wire().replace("\r\n", "\n").trim_end().to_owned()
}
