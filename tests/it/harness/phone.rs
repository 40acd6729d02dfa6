//! Phones that other people wrote, each a process that is steered by lines: PJSIP in Python,
//! SIP.js and JsSIP over WebSocket in Node.js (`tests/peers/`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::Process;
use super::program::DOMAIN;
use super::repository_file;
use super::subject::Subject;
use super::tone::{share_of_tone, write_tone};
use super::wire::Wire;

/// Registering, ringing and hanging up take milliseconds, the audio two seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// Least share of a recording's energy that must be the tone played at the other end. G.711
/// adds noise about 38 dB below the tone; a jitter buffer may drop a packet.
const CLEAR: f64 = 0.9;

/// SIP stack of a phone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stack {
    /// Plays a tone of this frequency into its calls, and records what it hears.
    Pjsip {
        hertz: u16,
    },
    SipJs,
    JsSip,
}

/// A registered phone.
pub(crate) struct Phone {
    process: Process,
    recording: PathBuf,
}

impl Phone {
    /// Starts a phone of `user`, whose password is `secret`, and waits until it is registered.
    pub(crate) fn start(user: &str, stack: Stack, wire: Wire, server: &Subject) -> Phone {
        let recording = server.scratch().file(&format!("{user}_heard.wav"));
        let mut command = match stack {
            Stack::Pjsip { hertz } => pjsip(user, hertz, wire, server, &recording),
            Stack::SipJs => web("sipjs_phone.mjs", wire, server),
            Stack::JsSip => web("jssip_phone.mjs", wire, server),
        };
        command.args(["--user", user, "--password", "secret", "--domain", DOMAIN]);
        let phone = Phone { process: Process::start(&format!("{user} ({stack:?})"), &mut command), recording };
        phone.waits_for("registered");
        phone
    }

    /// Calls `user` of the same domain.
    pub(crate) fn calls(&self, user: &str) {
        self.process.tell(&format!("call sip:{user}@{DOMAIN}"));
    }

    /// Sends an instant message to `user` of the same domain.
    pub(crate) fn writes(&self, user: &str, text: &str) {
        self.process.tell(&format!("message sip:{user}@{DOMAIN} {text}"));
    }

    /// Ends the call it is in.
    pub(crate) fn hangs_up(&self) {
        self.process.tell("hang up");
    }

    /// Waits until the phone says that something happened.
    pub(crate) fn waits_for(&self, event: &str) {
        self.process.wait_for_line(event, PATIENCE);
    }

    /// Fails unless the recording of the call that ended is mostly this tone.
    pub(crate) fn has_heard(&self, hertz: u16) {
        let share = share_of_tone(&self.recording, f64::from(hertz));
        if share < CLEAR {
            self.process.fail(&format!("heard the {hertz} Hz tone with a share of {share:.3} only"));
        }
    }
}

fn pjsip(user: &str, hertz: u16, wire: Wire, server: &Subject, recording: &Path) -> Command {
    let tone = server.scratch().file(&format!("{user}_says.wav"));
    write_tone(&tone, f64::from(hertz), 1);
    let mut command = Command::new(repository_file("tests/peers/.venv/bin/python"));
    command.arg(repository_file("tests/peers/phone.py"));
    command.args(["--server", &server.address(wire).to_string(), "--transport", wire.transport()]);
    command.arg("--play").arg(&tone).arg("--record").arg(recording);
    command.arg("--trust").arg(server.certificate());
    command
}

fn web(program: &str, wire: Wire, server: &Subject) -> Command {
    let mut command = Command::new("node");
    command.arg(repository_file("tests/peers").join(program));
    command.args(["--server", &format!("{}://{}", wire.transport(), server.address(wire))]);
    command.env("NODE_EXTRA_CA_CERTS", server.certificate());
    command
}
