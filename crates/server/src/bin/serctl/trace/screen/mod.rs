//! Calls live in a terminal: a list, the ladder of each, and behind each arrow its message and what the script did.

mod draw;
mod model;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind, KeyModifiers};

use super::live::Live;
use super::packet::Packet;
use model::{Act, Model};

/// How often the server is asked.
const EVERY: Duration = Duration::from_millis(500);
/// How often it looks at the keyboard.
const KEYS: Duration = Duration::from_millis(50);

/// Shows packets, and with `live` those that come, until somebody has seen enough.
///
/// # Errors
/// When the terminal cannot be used.
pub(super) fn run(packets: Vec<Packet>, live: Option<Live>) -> Result<()> {
    let mut model = Model::default();
    model.add(packets);
    let mut terminal = ratatui::try_init().context("cannot use the terminal")?;
    let result = until_quit(&mut terminal, &mut model, live);
    ratatui::restore();
    result
}

fn until_quit(terminal: &mut DefaultTerminal, model: &mut Model, mut live: Option<Live>) -> Result<()> {
    let mut asked = Instant::now();
    loop {
        terminal.draw(|frame| draw::draw(frame, model)).context("cannot draw")?;
        if event::poll(KEYS).context("cannot read the keyboard")? {
            let Event::Key(key) = event::read().context("cannot read the keyboard")? else { continue };
            if key.kind != KeyEventKind::Press {
                continue;
            }
            let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
            match model.on_key(key.code, has_control) {
                Act::Stay => {}
                Act::Quit => return Ok(()),
                Act::Save(file) => model.said = save(Path::new(&file), &model.shown_packets()),
            }
        }
        if let Some(live) = live.as_mut().filter(|_| asked.elapsed() >= EVERY) {
            take_news(model, live);
            asked = Instant::now();
        }
    }
}

/// A server that does not answer may be one that starts again: the screen stays and says so.
fn take_news(model: &mut Model, live: &mut Live) {
    match live.news(0.0) {
        Ok(news) => {
            model.trouble.clear();
            model.lost += news.lost;
            model.add(news.packets);
        }
        Err(why) => model.trouble = format!("{why:#}").lines().next().unwrap_or_default().to_owned(),
    }
}

fn save(file: &Path, packets: &[Packet]) -> String {
    match super::write(file, packets) {
        Ok(()) => format!("{} messages are in {}", packets.len(), file.display()),
        Err(why) => format!("{why:#}"),
    }
}
