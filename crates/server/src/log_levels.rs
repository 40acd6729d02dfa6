//! How loud each part of the server may be, changed while it runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::ArcSwap;
use module_api::{Answer, ArgumentKind, Command, CommandParam, Data, Level};

use crate::running::Running;

/// A level for all, and others for some.
pub(crate) struct Levels {
    all: AtomicU8,
    some: ArcSwap<BTreeMap<String, u8>>,
    /// The loudest of them: what is beyond is not even looked at.
    loudest: AtomicU8,
}

impl Levels {
    pub(crate) fn new(all: Level) -> Levels {
        Levels { all: AtomicU8::new(all as u8), some: ArcSwap::default(), loudest: AtomicU8::new(all as u8) }
    }

    /// Whether a line of `source` is written.
    pub(crate) fn lets_through(&self, source: &str, level: Level) -> bool {
        let level = level as u8;
        if level > self.loudest.load(Ordering::Relaxed) {
            return false;
        }
        let own = self.some.load().get(source).copied();
        level <= own.unwrap_or_else(|| self.all.load(Ordering::Relaxed))
    }

    /// Sets the level of all that have none of their own.
    pub(crate) fn set_all(&self, level: Level) {
        self.all.store(level as u8, Ordering::Relaxed);
        self.find_loudest();
    }

    /// Gives `source` a level of its own, or takes it away.
    pub(crate) fn set(&self, source: &str, level: Option<Level>) {
        let mut some = BTreeMap::clone(&self.some.load());
        match level {
            Some(level) => drop(some.insert(source.to_owned(), level as u8)),
            None => drop(some.remove(source)),
        }
        self.some.store(std::sync::Arc::new(some));
        self.find_loudest();
    }

    fn find_loudest(&self) {
        let some = self.some.load();
        let loudest = some.values().copied().chain([self.all.load(Ordering::Relaxed)]).max();
        self.loudest.store(loudest.unwrap_or(0), Ordering::Relaxed);
    }

    fn shown(&self) -> Data {
        let all = [("all".into(), name(self.all.load(Ordering::Relaxed)).into())];
        let some = self.some.load();
        let some = some.iter().map(|(source, level)| (source.clone().into(), name(*level).into()));
        Data::Struct(all.into_iter().chain(some).collect())
    }
}

/// Levels by name, the quietest first.
const NAMES: [(&str, Level); 7] = [
    ("alert", Level::Alert),
    ("critical", Level::Critical),
    ("error", Level::Error),
    ("warning", Level::Warning),
    ("notice", Level::Notice),
    ("info", Level::Info),
    ("debug", Level::Debug),
];

fn name(level: u8) -> &'static str {
    NAMES.iter().find(|(_, known)| *known as u8 == level).map_or("?", |(name, _)| name)
}

/// Commands about the log. Their state is the running server.
pub(crate) static COMMANDS: &[Command] = &[Command {
    name: "log.level",
    aliases: &["log"],
    params: &[
        CommandParam::optional(
            "source",
            ArgumentKind::Str,
            "`all`, `core`, `script` (what the script's functions log), `control`, or a module.",
        ),
        CommandParam::optional(
            "level",
            ArgumentKind::Str,
            "alert, critical, error, warning, notice, info or debug; `default` makes it follow `all` again.",
        ),
    ],
    doc: "Shows how much is logged, or changes it, for the whole server or for one source.",
    result: "the level of all, and those of sources that have their own.",
    example: "log.level usrloc debug",
    run: |call| {
        let running = call.state::<Running>();
        let levels = running.log_levels();
        let (source, level) = (call.text(0), call.text(1).map(str::to_ascii_lowercase));
        if let (Some(source), Some(level)) = (source, level) {
            let found = NAMES.iter().find(|(name, _)| *name == level).map(|(_, level)| *level);
            match (source, found) {
                ("all", Some(level)) => levels.set_all(level),
                (source, Some(level)) if running.is_source(source) => levels.set(source, Some(level)),
                (source, None) if level == "default" => levels.set(source, None),
                (source, Some(_)) => {
                    let text =
                        format!("nothing called `{source}` logs; there are all, core, script, control and modules");
                    return Answer::error(404, text);
                }
                (_, None) => {
                    let names = NAMES.map(|(name, _)| name).join(", ");
                    return Answer::error(400, format!("`{level}` is no level; there are {names} and default"));
                }
            }
        }
        levels.shown().into()
    },
}];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_may_be_louder_or_quieter_than_the_others() {
        let levels = Levels::new(Level::Notice);
        assert!(levels.lets_through("core", Level::Notice) && !levels.lets_through("core", Level::Debug));
        levels.set("usrloc", Some(Level::Debug));
        levels.set("pike", Some(Level::Error));
        assert!(levels.lets_through("usrloc", Level::Debug) && !levels.lets_through("core", Level::Debug));
        assert!(!levels.lets_through("pike", Level::Warning));
        levels.set("usrloc", None);
        assert!(!levels.lets_through("usrloc", Level::Debug));
        levels.set_all(Level::Debug);
        assert!(levels.lets_through("usrloc", Level::Debug) && !levels.lets_through("pike", Level::Debug));
        assert_eq!(levels.shown().to_text(), "{all: debug, pike: error}");
    }
}
