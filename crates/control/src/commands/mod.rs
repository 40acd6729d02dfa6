//! The commands of the server itself: those that belong to no module.

mod figures;
mod introspection;
mod process;
mod settings;
mod statistics;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use module_api::{Command, CommandCall, Data, PeerFigures, State, Statistics};

use crate::dispatch::Owner;

pub(crate) use introspection::{INTROSPECTION, Myself};

/// What the commands need of the server.
pub trait Server: Send + Sync + 'static {
    /// When it started, as wall-clock time.
    fn started(&self) -> Duration;

    /// The program's name and version.
    fn version(&self) -> String;

    /// Threads that do its work, each with its number and what it does.
    fn threads(&self) -> Vec<(i64, String)>;

    /// Ends the server.
    fn stop(&self, how: StoppedBy);

    /// Whether the program that lies in the place of this one would start with the same options.
    fn rehearse(&self) -> Pin<Box<dyn Future<Output = Result<(), ServerError>> + Send>>;

    /// Loads script and certificates again; what does not load changes nothing.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), ServerError>> + Send>>;

    /// The modules of the script in use.
    fn modules(&self) -> Vec<&'static str>;

    /// Names that are its own, each as a struct.
    fn aliases(&self) -> Vec<Data>;

    /// Whether it takes new work.
    fn is_ready(&self) -> bool;

    /// What it counts.
    fn statistics(&self) -> &Statistics;

    /// The peers that send most, `most` at most.
    fn peers(&self, most: usize) -> Vec<PeerFigures>;

    /// Stream connections, up to a bound, and how many there are.
    fn connections(&self) -> Connections;

    /// Settings with their values.
    fn settings(&self) -> Vec<SettingValue>;

    /// Changes a setting while the server runs.
    ///
    /// # Errors
    /// When there is no such setting, when it is read at start only, or when the value does not do.
    fn set(&self, group: &str, name: &str, value: &Data) -> Result<(), ServerError>;
}

/// How the server is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppedBy {
    /// New work is refused and open calls' transactions are finished first, as SIGTERM asks.
    Drain,
    /// At once.
    Kill,
    /// As drained; then the program that lies in its place takes over, on the same sockets.
    Successor,
}

/// Why the server did not do what a command asked of it, and what would cure it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError(pub String);

/// Stream connections of the server.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    /// How many are open.
    pub open: usize,
    /// The most that may be open.
    pub most: usize,
    /// Some of them, or all.
    pub list: Vec<Connection>,
}

/// One stream connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its number.
    pub id: u64,
    /// What it speaks: `tcp`, `tls`, `ws`, `wss`.
    pub protocol: String,
    /// The other side.
    pub peer: std::net::SocketAddr,
}

/// One setting and its value.
#[derive(Debug, Clone)]
pub struct SettingValue {
    /// Its group: `core`, or a module.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Data,
    /// What it means.
    pub doc: String,
    /// Whether it can be changed while the server runs.
    pub is_live: bool,
}

/// The state of the commands here.
pub(crate) struct OfServer {
    pub(crate) server: Arc<dyn Server>,
    /// Changes of settings that wait to be made together: group, name and value.
    pub(crate) pending: Mutex<Vec<(String, String, Data)>>,
}

fn server<'a>(call: &CommandCall<'a>) -> &'a dyn Server {
    &*call.state::<OfServer>().server
}

/// The commands of the server itself.
pub fn core_commands(server: Arc<dyn Server>) -> Vec<Owner> {
    let state: Arc<dyn State> = Arc::new(OfServer { server, pending: Mutex::default() });
    [process::COMMANDS, settings::COMMANDS, statistics::COMMANDS, figures::COMMANDS]
        .map(|commands: &'static [Command]| (commands, Arc::clone(&state)))
        .into()
}

/// Every command that belongs to no module, for descriptions.
pub fn server_commands() -> impl Iterator<Item = &'static Command> {
    [process::COMMANDS, settings::COMMANDS, statistics::COMMANDS, figures::COMMANDS, INTROSPECTION]
        .into_iter()
        .flatten()
}

/// `Mon Nov 30 20:39:52 2026` in UTC.
fn calendar(unix_time: Duration) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = unix_time.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March put the leap day at their end.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 2 } else { shifted_month - 10 };
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let (weekday, month) = (DAYS[(days % 7) as usize], MONTHS[month as usize]);
    format!("{weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_both_families_show_them() {
        for (seconds, shown) in [
            (0, "Thu Jan  1 00:00:00 1970"),
            (951_782_400, "Tue Feb 29 00:00:00 2000"),
            (1_000_000_000, "Sun Sep  9 01:46:40 2001"),
            (1_735_689_599, "Tue Dec 31 23:59:59 2024"),
        ] {
            assert_eq!(calendar(Duration::from_secs(seconds)), shown);
        }
    }
}
