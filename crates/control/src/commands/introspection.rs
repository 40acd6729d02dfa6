//! Commands about commands: what can be called, and how.

use std::sync::Weak;

use module_api::{Answer, ArgumentKind, Command, CommandCall, CommandParam, Data};

use crate::dispatch::{Commands, Inner};

/// The state of the commands here: the table in which they stand.
pub(crate) struct Myself(pub(crate) Weak<Inner>);

pub(crate) static INTROSPECTION: &[Command] = &[
    Command {
        name: "system.listMethods",
        aliases: &["which", "core.commands"],
        doc: "Lists every command that can be called, under each of its names.",
        result: "a list of names.",
        example: "which",
        run: |call| with(call, |commands| commands.names().into_iter().collect::<Data>().into()),
        ..Command::EMPTY
    },
    Command {
        name: "system.methodHelp",
        aliases: &["help"],
        params: &[CommandParam::required("command", ArgumentKind::Str, "The name of a command.")],
        doc: "Explains a command.",
        result: "a text: what it does, how it is called, what it returns.",
        example: "help ul.lookup",
        run: |call| {
            let name = call.text(0).unwrap_or_default();
            with(call, |commands| match commands.find(name) {
                Some(command) => help(command).into(),
                None => Answer::Now(Err(commands.unknown(name))),
            })
        },
    },
    Command {
        name: "system.methodSignature",
        params: &[CommandParam::required("command", ArgumentKind::Str, "The name of a command.")],
        doc: "Shows how a command is called.",
        result: "a line with the command's name and its arguments.",
        example: "system.methodSignature ul.lookup",
        run: |call| {
            let name = call.text(0).unwrap_or_default();
            with(call, |commands| match commands.find(name) {
                Some(command) => command.usage().into(),
                None => Answer::Now(Err(commands.unknown(name))),
            })
        },
        ..Command::EMPTY
    },
];

fn with(call: &CommandCall<'_>, answer: impl FnOnce(Commands) -> Answer) -> Answer {
    match call.state::<Myself>().0.upgrade() {
        Some(inner) => answer(Commands::of(inner)),
        None => Answer::error(500, "the server ends"),
    }
}

fn help(command: &Command) -> String {
    let mut text = format!("{}\n{}\n", command.usage(), command.doc);
    for param in command.params {
        text += &format!("  {}: {}. {}\n", param.name.to_uppercase(), param.kind, param.doc);
    }
    if !command.aliases.is_empty() {
        text += &format!("Also called {}.\n", command.aliases.join(", "));
    }
    text + &format!("Returns: {}\nExample: serctl {}", command.result, command.example)
}

#[cfg(test)]
mod tests {
    use crate::dispatch::tests::examples;

    #[tokio::test]
    async fn a_command_is_explained() {
        let commands = examples();
        let names = commands.call("which", vec![]).await.expect("it lists");
        assert!(names.to_text().contains("test.lookup"), "{names:?}");
        let help = commands.call("help", vec!["test.lookup".into()]).await.expect("it explains");
        assert_eq!(
            help.to_text(),
            "test.lookup TABLE [MOST]\nFinds one thing.\n  TABLE: text. Where to look.\n  MOST: an integer. How many.\n\
             Returns: a struct.\nExample: serctl test.lookup location"
        );
        assert_eq!(commands.call("help", vec!["nothing".into()]).await.expect_err("no such").code, 404);
    }
}
