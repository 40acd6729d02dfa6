//! Words of `kamctl` that are commands of the running server under another name.

use anyhow::{Result, bail};

/// Word, its second word where it has one, and the command; what follows is the command's arguments.
const WORDS: &[(&str, &str, &str)] = &[
    ("address", "dump", "permissions.addressDump"),
    ("address", "list", "permissions.addressDump"),
    ("address", "reload", "permissions.addressReload"),
    ("address", "show", "permissions.addressDump"),
    ("dialog", "end", "dlg.end_dlg"),
    ("dialog", "show", "dlg.list"),
    ("dialog", "terminate", "dlg.terminate_dlg"),
    ("dialplan", "reload", "dialplan.reload"),
    ("dialplan", "show", "dialplan.dump"),
    ("dispatcher", "add", "dispatcher.add"),
    ("dispatcher", "dump", "dispatcher.list"),
    ("dispatcher", "reload", "dispatcher.reload"),
    ("dispatcher", "rm", "dispatcher.remove"),
    ("dispatcher", "show", "dispatcher.list"),
    ("dispatcher", "state", "dispatcher.set_state"),
    ("trusted", "dump", "permissions.trustedDump"),
    ("trusted", "reload", "permissions.trustedReload"),
    ("trusted", "show", "permissions.trustedDump"),
    ("kill", "", "core.kill"),
    ("pike", "list", "pike.list"),
    ("tls", "list", "tls.list"),
    ("tls", "reload", "tls.reload"),
    ("trap", "", "core.psx"),
    ("uptime", "", "core.uptime"),
    ("version", "", "core.version"),
];

/// The command and its arguments that `words` mean: a word of `kamctl`, or else the command itself.
///
/// # Errors
/// When the word is known and what follows it is not.
pub(crate) fn command(words: &[String]) -> Result<Vec<String>> {
    let word = |n: usize| words.get(n).map_or("", String::as_str);
    // `ping URI` as kamctl has it: an OPTIONS, and what comes back.
    if word(0) == "ping" && words.len() == 2 {
        let (uri, empty) = (word(1), ".");
        let headers = format!("From: <sip:daemon@localhost>\r\nTo: <{uri}>\r\nContact: <sip:daemon@localhost>\r\n");
        return Ok(["tm.t_uac_wait", "OPTIONS", uri, empty, empty, &headers].map(str::to_owned).into());
    }
    let known: Vec<_> = WORDS.iter().filter(|(first, ..)| *first == word(0)).collect();
    if let Some((_, second, command)) = known.iter().find(|(_, second, _)| second.is_empty() || *second == word(1)) {
        let rest = words.iter().skip(if second.is_empty() { 1 } else { 2 }).cloned();
        return Ok(std::iter::once((*command).to_owned()).chain(rest).collect());
    }
    if known.is_empty() {
        return Ok(words.to_vec());
    }
    let there: Vec<&str> = known.iter().map(|(_, second, _)| *second).collect();
    bail!("`{}` is followed by one of: {}", word(0), there.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, meant: &str) {
        let words: Vec<String> = given.split(' ').map(str::to_owned).collect();
        assert_eq!(command(&words).map(|words| words.join(" ")).map_err(|why| why.to_string()), Ok(meant.to_owned()));
    }

    #[test]
    fn words_of_kamctl_are_commands() {
        check("dispatcher show", "dispatcher.list");
        check("dispatcher add 1 sip:192.0.2.7", "dispatcher.add 1 sip:192.0.2.7");
        check("dialog show", "dlg.list");
        check("kill 9", "core.kill 9");
        // What it does not know is a command by its own name.
        check("ul.lookup location alice", "ul.lookup location alice");
        let wrong = command(&["dispatcher".to_owned(), "paint".to_owned()]).expect_err("there is no such word");
        assert_eq!(wrong.to_string(), "`dispatcher` is followed by one of: add, dump, reload, rm, show, state");
    }
}
