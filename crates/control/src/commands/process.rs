//! `core.*` and what SER called `uptime`, `ps`, `version`, ...; ending and reloading the server.

use std::fs;

use module_api::{Answer, ArgumentKind, Command, CommandCall, CommandError, CommandParam, Data};

use super::{SettingValue, StoppedBy, calendar, server};

pub(super) static COMMANDS: &[Command] = &[
    Command {
        name: "core.uptime",
        doc: "Tells how long the server has been running.",
        result: "`now` and `up_since` as UTC times, `uptime` in seconds.",
        example: "core.uptime",
        run: |call| {
            let (now, since, seconds) = uptime(call);
            Data::of([("now", now.into()), ("up_since", since.into()), ("uptime", seconds.into())]).into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "uptime",
        doc: "Tells how long the server has been running, in SER's words.",
        result: "lines `Now`, `Up Since` and `Up time`.",
        example: "uptime",
        run: |call| {
            let (now, since, seconds) = uptime(call);
            let up = format!("{seconds} [sec]");
            Data::of([("Now", now.into()), ("Up Since", since.into()), ("Up time", up.into())]).into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.version",
        doc: "Tells the server's name and version.",
        result: "one text.",
        example: "core.version",
        run: |call| server(call).version().into(),
        ..Command::EMPTY
    },
    Command {
        name: "version",
        doc: "Tells the server's name and version, in SER's words.",
        result: "a line `Server`.",
        example: "version",
        run: |call| Data::of([("Server", server(call).version().into())]).into(),
        ..Command::EMPTY
    },
    Command {
        name: "core.info",
        doc: "Tells with what the server was built.",
        result: "`version`, `compiler`, `target`, `pid`, `manager` (`systemd` when that started it, else `none`), and `failed_upgrade`: \
                 why the newer program of the last upgrade could not be run, else empty.",
        example: "core.info",
        run: |call| {
            let target = format!("{}/{}", std::env::consts::ARCH, std::env::consts::OS);
            Data::of([
                ("version", server(call).version().into()),
                ("compiler", "rustc".into()),
                ("target", target.into()),
                ("pid", std::process::id().into()),
                ("manager", if std::env::var_os("NOTIFY_SOCKET").is_some() { "systemd" } else { "none" }.into()),
                // Set by the process before, for the one that it became instead.
                ("failed_upgrade", std::env::var("SER_FAILED_UPGRADE").unwrap_or_default().into()),
            ])
            .into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.runinfo",
        doc: "Tells which program runs, and since when.",
        result: "`name`, `version`, `pid`, `time_now`, `time_started` and `uptime_secs`.",
        example: "core.runinfo",
        run: |call| {
            let started = server(call).started();
            let now = call.unix_time;
            let name = std::env::args().next().unwrap_or_default();
            Data::of([
                ("name", name.rsplit('/').next().unwrap_or_default().into()),
                ("version", server(call).version().into()),
                ("pid", std::process::id().into()),
                ("time_now", super::calendar(now).into()),
                ("time_started", super::calendar(started).into()),
                ("uptime_secs", now.saturating_sub(started).as_secs().into()),
            ])
            .into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.modules",
        doc: "Lists the modules of the script in use.",
        result: "a list of names.",
        example: "core.modules",
        run: |call| server(call).modules().into_iter().collect::<Data>().into(),
        ..Command::EMPTY
    },
    Command {
        name: "core.aliases_list",
        aliases: &["corex.list_aliases"],
        params: &[],
        doc: "Lists the names that are this server's own beside the addresses at which it listens.",
        result: "`address`, `port` and `proto` of each, where they matter.",
        example: "core.aliases_list",
        run: |call| Data::List(server(call).aliases()).into(),
    },
    Command {
        name: "core.tcp_options",
        doc: "Shows the settings of stream connections.",
        result: "a struct of names and values.",
        example: "core.tcp_options",
        run: |call| {
            let of_tcp = |setting: SettingValue| {
                let name = setting.name.strip_prefix("tcp_")?.to_owned();
                Some((name.into(), setting.value))
            };
            Data::Struct(server(call).settings().into_iter().filter_map(of_tcp).collect()).into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.ps",
        doc: "Lists the threads that do the work.",
        result: "number and description of each, one after the other.",
        example: "core.ps",
        run: |call| {
            let threads = server(call).threads().into_iter();
            Data::List(threads.flat_map(|(id, text)| [id.into(), text.into()]).collect()).into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.psx",
        aliases: &["core.psa"],
        params: &[],
        doc: "Lists the threads that do the work, with names for the figures.",
        result: "a struct of `IDX`, `PID` and `DSC` for each.",
        example: "core.psx",
        run: |call| {
            let threads = server(call).threads().into_iter().enumerate();
            let shown =
                threads.map(|(n, (id, text))| Data::of([("IDX", n.into()), ("PID", id.into()), ("DSC", text.into())]));
            shown.collect::<Data>().into()
        },
    },
    Command {
        name: "ps",
        doc: "Lists the threads that do the work, in SER's form.",
        result: "a line of place, number and description for each, with tabs between.",
        example: "ps",
        run: |call| {
            let threads = server(call).threads().into_iter().enumerate();
            threads.map(|(n, (id, text))| format!("{n}\t{id}\t{text}")).collect::<Data>().into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.arg",
        aliases: &["arg"],
        doc: "Shows the command line with which the server was started.",
        result: "a list of texts.",
        example: "core.arg",
        run: |_| {
            let words = std::env::args_os();
            words.map(|word| word.to_string_lossy().into_owned()).collect::<Data>().into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.pwd",
        aliases: &["pwd"],
        doc: "Shows the server's working directory.",
        result: "one text.",
        example: "core.pwd",
        run: |_| match std::env::current_dir() {
            Ok(path) => path.to_string_lossy().into_owned().into(),
            Err(error) => Answer::error(500, format!("the working directory is not known: {error}")),
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.echo",
        aliases: &["jsonrpc.echo", "core.prints", "core.printi"],
        params: &[CommandParam::optional("things", ArgumentKind::Rest, "What comes back.")],
        doc: "Gives its arguments back: a test of the way to the server.",
        result: "the arguments.",
        example: "core.echo hello",
        run: |call| Answer::Now(Ok(Data::List(call.args.to_vec()))),
    },
    Command {
        name: "core.shmmem",
        doc: "Shows the server's memory. There is one kind here, so this is what the whole process holds.",
        result: "`total` and `free` of the machine, `used` and `max_used` of the process, in bytes.",
        example: "core.shmmem",
        run: |_| Answer::Now(memory()),
        ..Command::EMPTY
    },
    Command {
        name: "core.tcp_info",
        doc: "Counts the stream connections.",
        result: "`max_connections` and `opened_connections`.",
        example: "core.tcp_info",
        run: |call| {
            let connections = server(call).connections();
            let tls = connections.list.iter().filter(|one| one.protocol == "tls" || one.protocol == "wss").count();
            Data::of([
                ("max_connections", connections.most.into()),
                ("opened_connections", connections.open.into()),
                ("opened_tls_connections", tls.into()),
            ])
            .into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.tcp_list",
        doc: "Lists stream connections, a thousand at most.",
        result: "a struct of `id`, `type`, `src_ip` and `src_port` for each.",
        example: "core.tcp_list",
        run: |call| {
            let list = server(call).connections().list.into_iter().map(|one| {
                Data::of([
                    ("id", one.id.into()),
                    ("type", one.protocol.to_uppercase().into()),
                    ("src_ip", one.peer.ip().to_string().into()),
                    ("src_port", u32::from(one.peer.port()).into()),
                ])
            });
            list.collect::<Data>().into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.sockets_list",
        aliases: &["corex.list_sockets"],
        doc: "Lists where the server listens.",
        result: "a struct of `proto`, `address` and `port` for each.",
        example: "core.sockets_list",
        run: |call| {
            let list = call.sockets.iter().map(|socket| {
                Data::of([
                    ("proto", socket.transport.uri_param().into()),
                    ("address", socket.address.ip().to_string().into()),
                    ("port", u32::from(socket.address.port()).into()),
                ])
            });
            list.collect::<Data>().into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.kill",
        aliases: &["kill"],
        params: &[CommandParam::optional("signal", ArgumentKind::Int, "9 ends it at once; all else drains first.")],
        doc: "Ends the server as SIGTERM does: new requests get 503, open ones are finished first.",
        result: "nothing.",
        example: "core.kill",
        run: |call| {
            let how = if call.int(0) == Some(9) { StoppedBy::Kill } else { StoppedBy::Drain };
            server(call).stop(how);
            Data::Null.into()
        },
    },
    Command {
        name: "core.drain",
        aliases: &["drain"],
        doc: "Ends the server once what is open is finished; new requests get 503.",
        result: "nothing.",
        example: "core.drain",
        run: |call| {
            server(call).stop(StoppedBy::Drain);
            Data::Null.into()
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.upgrade",
        doc: "Lets the program that lies where this one was started from take over, with the same options and on the same \
              sockets, which stay open: no datagram is lost and no connection refused. What is open is finished first, \
              and new requests get 503 meanwhile. A program that would not start changes nothing.",
        result: "nothing.",
        example: "core.upgrade",
        run: |call| {
            let rehearsal = server(call).rehearse();
            let state = call.shared_state::<super::OfServer>();
            Answer::later(async move {
                if let Err(error) = rehearsal.await {
                    return Err(CommandError::new(500, format!("{}; the server goes on as before", error.0)));
                }
                state.server.stop(StoppedBy::Successor);
                Ok(Data::Null)
            })
        },
        ..Command::EMPTY
    },
    Command {
        name: "core.reload",
        aliases: &["reload", "tls.reload"],
        doc: "Loads script and certificates again. What does not load changes nothing.",
        result: "nothing.",
        example: "core.reload",
        run: |call| {
            let reload = server(call).reload();
            Answer::later(async move {
                match reload.await {
                    Ok(()) => Ok(Data::Null),
                    Err(error) => Err(CommandError::new(500, format!("{}; the server goes on as before", error.0))),
                }
            })
        },
        ..Command::EMPTY
    },
];

fn uptime(call: &CommandCall<'_>) -> (String, String, u64) {
    let started = server(call).started();
    (calendar(call.unix_time), calendar(started), call.unix_time.saturating_sub(started).as_secs())
}

fn memory() -> Result<Data, CommandError> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|error| CommandError::new(500, format!("{path} cannot be read: {error}")))
    };
    let (machine, process) = (read("/proc/meminfo")?, read("/proc/self/status")?);
    let (used, max_used) = (kilobytes(&process, "VmRSS:"), kilobytes(&process, "VmHWM:"));
    Ok(Data::of([
        ("total", kilobytes(&machine, "MemTotal:").into()),
        ("free", kilobytes(&machine, "MemAvailable:").into()),
        ("used", used.into()),
        ("real_used", used.into()),
        ("max_used", max_used.into()),
        ("fragments", 0.into()),
    ]))
}

/// The figure behind `name` in bytes; the kernel counts in units of 1024.
fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let figure = line.split_whitespace().next().and_then(|figure| figure.parse::<u64>().ok());
    figure.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read_in_bytes() {
        assert_eq!(kilobytes("Name:\tser\nVmRSS:\t    2048 kB\nVmHWM:\t 4 kB\n", "VmRSS:"), 2_097_152);
        assert_eq!(kilobytes("", "VmRSS:"), 0);
    }
}
