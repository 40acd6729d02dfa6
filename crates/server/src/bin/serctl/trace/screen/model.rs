//! What the screen shows, and what keys do to it.

use std::collections::{HashMap, VecDeque};

use ratatui::crossterm::event::KeyCode;

use crate::trace::filter::Filter;
use crate::trace::packet::Packet;

/// A call: its messages in the order in which they were seen.
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) packets: Vec<Packet>,
}

/// What is on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum View {
    #[default]
    Calls,
    /// The ladder of the call with this number.
    Ladder(u64),
    /// A message of it.
    Message(u64, usize),
}

/// What is being typed at the bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prompt {
    Filter(String),
    File(String),
}

/// What a key asks for that the model cannot do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    Stay,
    Quit,
    /// Write what is shown to this file.
    Save(String),
}

/// Everything the screen knows.
#[derive(Default)]
pub(super) struct Model {
    calls: VecDeque<Call>,
    /// The number of the call with a Call-ID.
    numbers: HashMap<String, u64>,
    next: u64,
    packets: usize,
    pub(super) view: View,
    /// The call that is chosen in the list; none stands for the newest.
    chosen: Option<u64>,
    /// The arrow that is chosen in the ladder.
    pub(super) arrow: usize,
    /// How far a message is scrolled.
    pub(super) scroll: usize,
    filter: Filter,
    pub(super) filter_text: String,
    pub(super) prompt: Option<Prompt>,
    /// What came of the last key, where that must be said.
    pub(super) said: String,
    /// What keeps the server from answering.
    pub(super) trouble: String,
    /// Messages that the server could not keep until it was asked.
    pub(super) lost: u64,
}

/// Most messages that are held; the oldest calls go first.
const MOST: usize = 20_000;
/// How far a page is.
const PAGE: usize = 10;

impl Model {
    /// Takes messages that have come.
    pub(super) fn add(&mut self, packets: Vec<Packet>) {
        for packet in packets {
            let next = self.next;
            let number = *self.numbers.entry(packet.call_id.clone()).or_insert(next);
            if number == next {
                self.next += 1;
                self.calls.push_back(Call { number, packets: Vec::new() });
            }
            if let Some(call) = self.calls.iter_mut().rev().find(|call| call.number == number) {
                call.packets.push(packet);
                self.packets += 1;
            }
        }
        while self.packets > MOST && self.calls.len() > 1 {
            let Some(oldest) = self.calls.pop_front() else { break };
            self.packets -= oldest.packets.len();
            self.numbers.remove(oldest.packets.first().map_or("", |packet| &packet.call_id));
        }
        if let View::Ladder(number) | View::Message(number, _) = self.view
            && self.call(number).is_none()
        {
            self.view = View::Calls;
            self.said = "that call is older than what is held here".into();
        }
    }

    /// The calls that pass the filter, the oldest first.
    pub(super) fn shown(&self) -> Vec<&Call> {
        let is_shown = |call: &&Call| call.packets.iter().any(|packet| packet.passes(&self.filter));
        self.calls.iter().filter(is_shown).collect()
    }

    /// The messages of the call at hand, or of all calls that are shown.
    pub(super) fn shown_packets(&self) -> Vec<Packet> {
        let mut packets: Vec<Packet> = match self.view {
            View::Calls => self.shown().into_iter().flat_map(|call| call.packets.clone()).collect(),
            View::Ladder(number) | View::Message(number, _) => {
                self.call(number).map(|call| call.packets.clone()).unwrap_or_default()
            }
        };
        packets.sort_by_key(|packet| packet.sighting.at);
        packets
    }

    pub(super) fn call(&self, number: u64) -> Option<&Call> {
        self.calls.iter().find(|call| call.number == number)
    }

    /// The place of the chosen call in the list.
    pub(super) fn place(&self, shown: &[&Call]) -> usize {
        let last = shown.len().saturating_sub(1);
        self.chosen.and_then(|chosen| shown.iter().position(|call| call.number == chosen)).unwrap_or(last)
    }

    pub(super) fn on_key(&mut self, key: KeyCode, has_control: bool) -> Act {
        if has_control && key == KeyCode::Char('c') {
            return Act::Quit;
        }
        self.said.clear();
        if let Some(prompt) = self.prompt.take() {
            return self.on_prompt(prompt, key);
        }
        match key {
            KeyCode::Char('q') => return Act::Quit,
            KeyCode::Char('/') => self.prompt = Some(Prompt::Filter(self.filter_text.clone())),
            KeyCode::Char('s') => self.prompt = Some(Prompt::File("trace.pcapng".into())),
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => self.back(),
            KeyCode::Enter | KeyCode::Right => self.open(),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-(PAGE as isize)),
            KeyCode::PageDown => self.step(PAGE as isize),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            _ => {}
        }
        Act::Stay
    }

    fn on_prompt(&mut self, prompt: Prompt, key: KeyCode) -> Act {
        let (mut text, is_filter) = match prompt {
            Prompt::Filter(text) => (text, true),
            Prompt::File(text) => (text, false),
        };
        match key {
            KeyCode::Esc => return Act::Stay,
            KeyCode::Enter if is_filter => {
                match Filter::parse(text.split_whitespace().map(str::to_owned)) {
                    Ok(filter) => (self.filter, self.filter_text, self.view) = (filter, text, View::Calls),
                    Err(why) => self.said = why,
                }
                return Act::Stay;
            }
            KeyCode::Enter => return Act::Save(text),
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(c) => text.push(c),
            _ => {}
        }
        self.prompt = Some(if is_filter { Prompt::Filter(text) } else { Prompt::File(text) });
        Act::Stay
    }

    fn back(&mut self) {
        self.view = match self.view {
            View::Message(number, arrow) => {
                self.arrow = arrow;
                View::Ladder(number)
            }
            View::Ladder(_) | View::Calls => View::Calls,
        };
    }

    fn open(&mut self) {
        match self.view {
            View::Calls => {
                let shown = self.shown();
                let Some(number) = shown.get(self.place(&shown)).map(|call| call.number) else { return };
                (self.view, self.chosen, self.arrow) = (View::Ladder(number), Some(number), 0);
            }
            View::Ladder(number) => (self.view, self.scroll) = (View::Message(number, self.arrow), 0),
            View::Message(..) => {}
        }
    }

    fn step(&mut self, by: isize) {
        let moved = |at: usize, count: usize| at.saturating_add_signed(by).min(count.saturating_sub(1));
        match self.view {
            View::Calls => {
                let shown = self.shown();
                let place = moved(self.place(&shown), shown.len());
                // At the end the choice goes on with what comes.
                self.chosen = shown.get(place).filter(|_| place + 1 < shown.len()).map(|call| call.number);
            }
            View::Ladder(number) => {
                self.arrow = moved(self.arrow, self.call(number).map_or(0, |call| call.packets.len()));
            }
            View::Message(..) => self.scroll = self.scroll.saturating_add_signed(by).min(10_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::ladder::tests::call;

    fn typed(model: &mut Model, text: &str) -> Act {
        text.chars().map(|c| model.on_key(KeyCode::Char(c), false)).last().unwrap_or(Act::Stay)
    }

    fn with_calls(count: usize) -> Model {
        let mut model = Model::default();
        for number in 0..count {
            model.add(call().into_iter().map(|packet| Packet { call_id: number.to_string(), ..packet }).collect());
        }
        model
    }

    #[test]
    fn a_call_opens_to_its_ladder_and_an_arrow_to_its_message_and_back() {
        let mut model = with_calls(3);
        model.on_key(KeyCode::Up, false);
        model.on_key(KeyCode::Enter, false);
        assert_eq!(model.view, View::Ladder(1));
        model.on_key(KeyCode::Down, false);
        model.on_key(KeyCode::Enter, false);
        assert_eq!(model.view, View::Message(1, 1));
        model.on_key(KeyCode::Esc, false);
        assert_eq!((model.view, model.arrow), (View::Ladder(1), 1));
        model.on_key(KeyCode::Esc, false);
        assert_eq!(model.view, View::Calls);
        assert_eq!(model.on_key(KeyCode::Char('q'), false), Act::Quit);
    }

    #[test]
    fn the_newest_call_is_chosen_until_another_is() {
        let mut model = with_calls(2);
        assert_eq!(model.place(&model.shown()), 1);
        model.on_key(KeyCode::Home, false);
        model.add(call());
        assert_eq!((model.shown().len(), model.place(&model.shown())), (3, 0));
        model.on_key(KeyCode::End, false);
        assert_eq!(model.place(&model.shown()), 2);
    }

    #[test]
    fn a_filter_is_typed_and_what_is_none_is_said() {
        let mut model = with_calls(2);
        typed(&mut model, "/method=BYEE");
        model.on_key(KeyCode::Backspace, false);
        model.on_key(KeyCode::Enter, false);
        assert!(model.prompt.is_none() && model.filter_text == "method=BYE");
        let shown = model.shown().len();
        typed(&mut model, "/ nonsense");
        model.on_key(KeyCode::Enter, false);
        assert!(model.said.contains("nonsense") && model.shown().len() == shown, "{}", model.said);
        typed(&mut model, "/");
        model.on_key(KeyCode::Esc, false);
        assert_eq!(model.filter_text, "method=BYE");
    }

    #[test]
    fn what_is_shown_is_saved_under_a_name() {
        let mut model = with_calls(2);
        let all = model.shown_packets().len();
        model.on_key(KeyCode::Enter, false);
        assert_eq!(model.shown_packets().len(), all / 2);
        assert_eq!(typed(&mut model, "s"), Act::Stay);
        assert_eq!(model.on_key(KeyCode::Enter, false), Act::Save("trace.pcapng".into()));
    }

    #[test]
    fn the_oldest_calls_go_when_too_many_messages_are_held() {
        let mut model = with_calls(1);
        model.on_key(KeyCode::Enter, false);
        let count = MOST / call().len() + 1;
        for number in 1..=count {
            model.add(call().into_iter().map(|packet| Packet { call_id: number.to_string(), ..packet }).collect());
        }
        assert!(model.packets <= MOST && model.call(0).is_none() && model.call(count as u64).is_some());
        assert_eq!(model.view, View::Calls);
    }
}
