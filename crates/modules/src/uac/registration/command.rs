//! What an operator can ask and tell about registrations with other servers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use module_api::{Answer, ArgumentKind, Command, CommandCall, CommandError, CommandParam, Data, Job};

use super::super::Settings;
use super::function::enable;
use super::record::{COLUMNS, Plan, Record};
use super::{Registrations, send};

const UUID: CommandParam = CommandParam::required("l_uuid", ArgumentKind::Str, "The registration.");
const BY_COLUMN: &[CommandParam] = &[
    CommandParam::required("column", ArgumentKind::Str, "l_uuid, l_username, r_username or auth_username."),
    CommandParam::required("value", ArgumentKind::Str, "What stands there."),
];

const fn field(name: &'static str) -> CommandParam {
    CommandParam::required(name, ArgumentKind::Str, "The column of that name; a dot for none.")
}

pub(in super::super) static COMMANDS: [Command; 10] = [
    Command {
        name: "uac.reg_dump",
        doc: "Shows the registrations with other servers.",
        result: "For each its columns but for passwords, how it stands (`flags`: 1 disabled, 2 on its way, 4 known to the peer), and \
                 seconds until it is made again.",
        example: "uac.reg_dump",
        run: |call| {
            with(call, |registrations| {
                Ok(registrations.all().values().map(|record| shown(record, call)).collect::<Data>())
            })
        },
        ..Command::EMPTY
    },
    Command {
        name: "uac.reg_info",
        params: BY_COLUMN,
        doc: "Shows one registration.",
        result: "As uac.reg_dump has it.",
        example: "uac.reg_info l_uuid trunk1",
        run: |call| on_record(call, |_, record, call| Ok(shown(record, call))),
        ..Command::EMPTY
    },
    Command {
        name: "uac.reg_enable",
        params: BY_COLUMN,
        doc: "Lets a registration be made again.",
        result: "Nothing.",
        example: "uac.reg_enable l_uuid trunk1",
        run: |call| {
            on_record(call, |_, record, call| {
                enable(record, call.unix_time);
                Ok(Data::Null)
            })
        },
        ..Command::EMPTY
    },
    Command {
        name: "uac.reg_disable",
        params: BY_COLUMN,
        doc: "Takes a registration back and makes it no more.",
        result: "Nothing.",
        example: "uac.reg_disable l_uuid trunk1",
        run: |call| {
            on_record(call, |registrations, record, call| {
                record.standing().is_disabled = true;
                take_back(call, registrations, record)
            })
        },
        ..Command::EMPTY
    },
    Command {
        name: "uac.reg_unregister",
        params: BY_COLUMN,
        doc: "Takes a registration back from the peer, until it is enabled.",
        result: "Nothing.",
        example: "uac.reg_unregister l_uuid trunk1",
        run: |call| on_record(call, |registrations, record, call| take_back(call, registrations, record)),
        ..Command::EMPTY
    },
    Command {
        name: "uac.reg_reload",
        doc: "Reads the registrations again. Those that stay keep their state, those that are gone are taken back; when the \
              table cannot be read, all stays as it is.",
        result: "Nothing.",
        example: "uac.reg_reload",
        run: |call| reload(call, None),
        ..Command::EMPTY
    },
    Command {
        name: "uac.reg_refresh",
        params: &[UUID],
        doc: "Reads the registrations again and makes one now.",
        result: "Nothing; error 404 when it is not in the table.",
        example: "uac.reg_refresh trunk1",
        run: |call| reload(call, call.text(0).map(ToOwned::to_owned)),
        ..Command::EMPTY
    },
    Command {
        name: "uac.reg_remove",
        params: &[UUID],
        doc: "Takes a registration back and forgets it; the database is not changed.",
        result: "Nothing; error 404 when there is none.",
        example: "uac.reg_remove trunk1",
        run: |call| {
            with(call, |registrations| {
                let record = registrations.remove(call.text(0).unwrap_or_default()).ok_or_else(none)?;
                take_back(call, registrations, &record)
            })
        },
        ..Command::EMPTY
    },
    Command {
        name: "uac.reg_add",
        params: &[
            field("l_uuid"),
            field("l_username"),
            field("l_domain"),
            field("r_username"),
            field("r_domain"),
            field("realm"),
            field("auth_username"),
            field("auth_password"),
            field("auth_ha1"),
            field("auth_proxy"),
            field("expires"),
            field("flags"),
            field("reg_delay"),
            field("contact_addr"),
            field("socket"),
        ],
        doc: "Adds a registration, until the server ends; the database is not changed.",
        result: "Nothing; error 409 when it is there.",
        example: "uac.reg_add t1 bob here.example 4930 peer.example . 4930 secret . . 600 0 0 . .",
        run: |call| {
            with(call, |registrations| {
                let row = (0..COLUMNS.len())
                    .map(|n| call.text(n).filter(|text| *text != ".").map(ToOwned::to_owned))
                    .collect();
                let plan = Plan::from_row(&row).map_err(|cause| CommandError::new(400, cause))?;
                if registrations.find(&plan.uuid).is_some() {
                    return Err(CommandError::new(409, "it is there already"));
                }
                match registrations.put(Arc::new(Record::new(plan, call.unix_time))) {
                    true => Ok(Data::Null),
                    false => Err(CommandError::new(507, "there are too many")),
                }
            })
        },
        ..Command::EMPTY
    },
    Command {
        name: "uac.reg_active",
        params: &[CommandParam::required("mode", ArgumentKind::Int, "1 to register, 0 not to.")],
        doc: "Lets registrations be sent, or holds all of them back.",
        result: "Nothing.",
        example: "uac.reg_active 0",
        run: |call| {
            with(call, |registrations| {
                registrations.is_active.store(call.int(0) != Some(0), Ordering::Relaxed);
                Ok(Data::Null)
            })
        },
        ..Command::EMPTY
    },
];

fn none() -> CommandError {
    CommandError::new(404, "there is no such registration; uac.reg_dump shows all")
}

fn registrations(call: &CommandCall<'_>) -> Result<Arc<Registrations>, CommandError> {
    let found = call.state::<Settings>().registrations.clone();
    found.ok_or_else(|| CommandError::new(400, "there are no registrations; set reg_db_url of module uac"))
}

fn with(call: &CommandCall<'_>, act: impl Fn(&Arc<Registrations>) -> Result<Data, CommandError>) -> Answer {
    Answer::Now(registrations(call).and_then(|registrations| act(&registrations)))
}

fn on_record(
    call: &CommandCall<'_>,
    act: impl Fn(&Arc<Registrations>, &Arc<Record>, &CommandCall<'_>) -> Result<Data, CommandError>,
) -> Answer {
    with(call, |registrations| {
        let (column, value) = (call.text(0).unwrap_or_default(), call.text(1).unwrap_or_default());
        let record = registrations.by_column(column, value).ok_or_else(none)?;
        act(registrations, &record, call)
    })
}

fn job(registrations: &Arc<Registrations>, record: &Arc<Record>) -> Job {
    let (registrations, record) = (Arc::clone(registrations), Arc::clone(record));
    Box::new(move |host| send(&registrations, &record, host, 0))
}

/// Has a worker tell the peer, where it knows us.
fn take_back(
    call: &CommandCall<'_>,
    registrations: &Arc<Registrations>,
    record: &Arc<Record>,
) -> Result<Data, CommandError> {
    if !record.standing().is_online(call.unix_time) {
        return Ok(Data::Null);
    }
    let posted = call.server.post(record.plan.uuid.as_bytes(), job(registrations, record));
    posted.map(|()| Data::Null).map_err(|_| CommandError::new(503, "the server is too busy"))
}

fn reload(call: &CommandCall<'_>, refreshed: Option<String>) -> Answer {
    let registrations = match registrations(call) {
        Ok(registrations) => registrations,
        Err(error) => return Answer::Now(Err(error)),
    };
    let (now, server) = (call.unix_time, Arc::clone(call.server));
    Answer::later(async move {
        let gone = registrations.reload(now).await.map_err(|cause| CommandError::new(500, cause))?;
        for record in gone.iter().filter(|record| record.standing().is_online(now)) {
            // A peer that is not told forgets us when the time is up.
            let _ = server.post(record.plan.uuid.as_bytes(), job(&registrations, record));
        }
        if let Some(uuid) = refreshed {
            enable(&*registrations.find(&uuid).ok_or_else(none)?, now);
        }
        Ok(Data::Null)
    })
}

fn shown(record: &Arc<Record>, call: &CommandCall<'_>) -> Data {
    let (plan, standing) = (&record.plan, record.standing().clone());
    let left = standing.due.saturating_sub(call.unix_time).as_secs();
    let text = |text: &str| Data::from(text);
    Data::of([
        ("l_uuid", text(&plan.uuid)),
        ("l_username", text(&plan.local_user)),
        ("l_domain", text(&plan.local_domain)),
        ("r_username", text(&plan.remote_user)),
        ("r_domain", text(&plan.remote_domain)),
        ("realm", text(&plan.realm)),
        ("auth_username", text(&plan.auth_user)),
        ("auth_proxy", text(&plan.proxy)),
        ("expires", plan.expires.into()),
        ("flags", standing.flags(call.unix_time).into()),
        ("diff_expires", if standing.due.as_secs() == u64::MAX { Data::Int(-1) } else { left.into() }),
        ("reg_delay", plan.delay.into()),
        ("contact_addr", text(&plan.contact)),
        ("socket", text(&plan.socket)),
        ("last_code", i64::from(standing.code).into()),
        ("failures", standing.failures.into()),
    ])
}
