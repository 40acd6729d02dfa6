//! Modules that open ways to the server's commands: jsonrpcs, ctl, mi_fifo, fifo.
//!
//! Here stands only what a script asks for; the server opens it once everything has started.

use std::sync::Arc;

use module_api::{Module, Parameter, SettingKind, Setup, SetupError, State};

use crate::json_rpc;

/// The ways in that a module's settings ask for; its state.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Doors {
    /// To be opened.
    pub open: Vec<Door>,
    /// Asked for and not to be had here, with the reason.
    pub refused: Vec<String>,
    /// Whether JSON that scripts ask for is indented.
    pub is_pretty: bool,
}

/// One way in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Door {
    /// What is spoken there.
    pub kind: DoorKind,
    /// Its path; none: a name of its kind in the directory for run-time files, and no harm if it cannot be opened.
    pub path: Option<String>,
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub user: Option<String>,
    /// Group.
    pub group: Option<String>,
    /// Where clients of a FIFO have theirs for the reply.
    pub reply_dir: String,
    /// Whether JSON is indented.
    pub is_pretty: bool,
}

/// What is spoken at a [`Door`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DoorKind {
    /// SER's text protocol over a FIFO.
    #[default]
    Fifo,
    /// JSON-RPC over a FIFO.
    JsonFifo,
    /// JSON-RPC over a Unix datagram socket.
    JsonDatagram,
    /// binrpc over a Unix stream socket, for `kamcmd`.
    Binrpc,
}

impl DoorKind {
    /// Its name where the script gives no path: that of Kamailio, so that its tools find it.
    pub fn default_name(self) -> &'static str {
        match self {
            DoorKind::Fifo => "kamailio_fifo",
            DoorKind::JsonFifo => "kamailio_rpc.fifo",
            DoorKind::JsonDatagram => "kamailio_rpc.sock",
            DoorKind::Binrpc => "kamailio_ctl",
        }
    }
}

/// Kamailio's JSON-RPC over FIFO and datagram socket.
pub static JSONRPCS: Module = Module {
    name: "jsonrpcs",
    doc: "Takes commands as JSON-RPC 2.0 from a FIFO, from a Unix datagram socket, from scripts, and through them over HTTP.",
    functions: &[json_rpc::DISPATCH, json_rpc::EXEC],
    variables: &[json_rpc::REPLY],
    parameters: &[
        int(
            "transport",
            "6",
            "Where it listens, as a sum: 2 is the FIFO, 4 the datagram socket; 0 is both. HTTP (1) needs only the route \
             that calls jsonrpc_dispatch().",
        ),
        int("pretty_format", "1", "Whether answers are indented."),
        text(
            "fifo_name",
            "kamailio_rpc.fifo",
            "The FIFO; a name without `/` lies in the directory for run-time files.",
        ),
        int("fifo_mode", "432", "Permissions of the FIFO; the default is 0660."),
        text("fifo_user", "", "Owner of the FIFO."),
        text("fifo_group", "", "Group of the FIFO."),
        text("fifo_reply_dir", "/tmp/", "Where clients have the FIFOs for their replies."),
        text("dgram_socket", "kamailio_rpc.sock", "The datagram socket, as `fifo_name`."),
        int("dgram_mode", "432", "Permissions of the datagram socket; the default is 0660."),
        text("dgram_user", "", "Owner of the datagram socket."),
        text("dgram_group", "", "Group of the datagram socket."),
        ignored("dgram_workers", "Has no effect: requests are served beside each other."),
        ignored("dgram_timeout", "Has no effect: a client that does not read is given up after 5 seconds."),
        ignored("tcp_socket", "Has no effect: option --http of the server serves JSON-RPC to programs elsewhere."),
    ],
    make: |setup| {
        let transport = match setup.int("transport") {
            0 => 6,
            some => some,
        };
        let is_pretty = setup.int("pretty_format") != 0;
        let mut doors = Doors { is_pretty, ..Doors::default() };
        if transport & 2 != 0 {
            let kind = DoorKind::JsonFifo;
            doors.open.push(Door { is_pretty, ..door(setup, kind, &FIFO_NAMES)? });
        }
        if transport & 4 != 0 {
            let kind = DoorKind::JsonDatagram;
            doors.open.push(Door { is_pretty, ..door(setup, kind, &DATAGRAM_NAMES)? });
        }
        Ok(Arc::new(doors))
    },
    ..Module::EMPTY
};

/// Kamailio's binrpc, and the FIFO of SER 2.
pub static CTL: Module = Module {
    name: "ctl",
    doc: "Takes commands from `kamcmd` over a Unix socket, and in SER's text form from a FIFO.",
    parameters: &[
        list("binrpc", "A Unix stream socket: `unix:PATH`, `unixs:PATH` or a path. Others cannot be had here."),
        list("fifo", "A FIFO for SER's text form: `fifo:PATH` or a path."),
        int("mode", "384", "Permissions of all of them; the default is 0600."),
        text("user", "", "Owner of all of them."),
        text("group", "", "Group of all of them."),
        ignored("autoconversion", "Has no effect: arguments are always read as what they must be."),
        ignored("binrpc_max_body_size", "Has no effect: a request may have 64 KiB."),
        ignored("binrpc_struct_max_body_size", "Has no effect: answers are as long as they are."),
        ignored("binrpc_buffer_size", "Has no effect: answers are as long as they are."),
    ],
    make: make_ctl,
    ..Module::EMPTY
};

/// OpenSER's and early Kamailio's FIFO.
pub static MI_FIFO: Module = Module {
    name: "mi_fifo",
    doc: "Takes commands in the text form `:command:reply_fifo` from a FIFO.",
    parameters: &[
        text("fifo_name", "kamailio_fifo", "The FIFO."),
        int("fifo_mode", "432", "Permissions of the FIFO; the default is 0660."),
        text("fifo_user", "", "Owner of the FIFO."),
        text("fifo_group", "", "Group of the FIFO."),
        text("reply_dir", "/tmp/", "Where clients have the FIFOs for their replies."),
        ignored("reply_indent", "Has no effect: inner values are indented by a tab."),
    ],
    make: |setup| {
        let names = Names { reply_dir: "reply_dir", ..FIFO_NAMES };
        Ok(Arc::new(Doors { open: vec![door(setup, DoorKind::Fifo, &names)?], ..Doors::default() }))
    },
    ..Module::EMPTY
};

/// SER 2's FIFO.
pub static FIFO: Module = Module {
    name: "fifo",
    doc: "Takes commands in the text form `:command:reply_fifo` from a FIFO.",
    parameters: &[
        text("fifo_file", "kamailio_fifo", "The FIFO."),
        int("fifo_mode", "432", "Permissions of the FIFO; the default is 0660."),
        text("fifo_user", "", "Owner of the FIFO."),
        text("fifo_group", "", "Group of the FIFO."),
        text("fifo_dir", "/tmp/", "Where clients have the FIFOs for their replies."),
        ignored("fifo_name", "Has no effect."),
    ],
    make: |setup| {
        let names = Names { path: "fifo_file", reply_dir: "fifo_dir", ..FIFO_NAMES };
        Ok(Arc::new(Doors { open: vec![door(setup, DoorKind::Fifo, &names)?], ..Doors::default() }))
    },
    ..Module::EMPTY
};

/// What the parameters of a door are called.
struct Names {
    path: &'static str,
    mode: &'static str,
    user: &'static str,
    group: &'static str,
    reply_dir: &'static str,
}

const FIFO_NAMES: Names =
    Names { path: "fifo_name", mode: "fifo_mode", user: "fifo_user", group: "fifo_group", reply_dir: "fifo_reply_dir" };
const DATAGRAM_NAMES: Names =
    Names { path: "dgram_socket", mode: "dgram_mode", user: "dgram_user", group: "dgram_group", reply_dir: "" };

fn door(setup: &Setup<'_>, kind: DoorKind, names: &Names) -> Result<Door, SetupError> {
    let filled = |name: &'static str| Some(setup.text(name)).filter(|text| !text.is_empty());
    Ok(Door {
        kind,
        path: setup.is_set(names.path).then(|| setup.text(names.path)),
        mode: mode(setup, names.mode)?,
        user: filled(names.user),
        group: filled(names.group),
        reply_dir: if names.reply_dir.is_empty() { String::new() } else { setup.text(names.reply_dir) },
        is_pretty: false,
    })
}

fn mode(setup: &Setup<'_>, name: &'static str) -> Result<u32, SetupError> {
    let mode = u32::try_from(setup.int(name)).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or(SetupError::Setting { name, cause: "must be permissions, from 0 to 0777".into() })
}

fn make_ctl(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let mode = mode(setup, "mode")?;
    let filled = |name: &'static str| Some(setup.text(name)).filter(|text| !text.is_empty());
    let (user, group) = (filled("user"), filled("group"));
    let door = |kind, path| Door {
        kind,
        path,
        mode,
        user: user.clone(),
        group: group.clone(),
        reply_dir: "/tmp/".into(),
        is_pretty: false,
    };
    let texts = |name: &str| setup.list(name).into_iter().map(|text| String::from_utf8_lossy(&text).into_owned());
    let mut doors = Doors::default();
    for text in texts("binrpc") {
        match text.split_once(':') {
            Some(("unix" | "unixs", path)) => doors.open.push(door(DoorKind::Binrpc, Some(path.to_owned()))),
            None => doors.open.push(door(DoorKind::Binrpc, Some(text))),
            Some((protocol, _)) => doors.refused.push(format!(
                "`{text}` is left out: {protocol} would let anybody who reaches it control the server; use unix:PATH, or \
                 JSON-RPC with a token (--http)"
            )),
        }
    }
    for text in texts("fifo") {
        let path = text.strip_prefix("fifo:").unwrap_or(&text);
        doors.open.push(door(DoorKind::Fifo, Some(path.to_owned())));
    }
    if doors == Doors::default() {
        doors.open.push(door(DoorKind::Binrpc, None));
    }
    Ok(Arc::new(doors))
}

const fn int(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Int, default, doc }
}

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Str, default, doc }
}

const fn list(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::List, default: "", doc }
}

const fn ignored(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{make, text as value};
    use module_api::{Dialect, Setting, Value};

    fn doors(module: &'static Module, settings: &[(&str, Value)]) -> Arc<Doors> {
        let settings: Vec<Setting> =
            settings.iter().map(|(name, value)| Setting { name: (*name).into(), value: value.clone() }).collect();
        let state = make(module, &settings, Dialect::Kamailio, &|_| None).expect("the module starts");
        let state: Arc<dyn std::any::Any + Send + Sync> = state as _;
        state.downcast().expect("the state is its doors")
    }

    #[test]
    fn jsonrpcs_opens_fifo_and_datagram_socket_unless_told_otherwise() {
        let kinds = |doors: &Doors| doors.open.iter().map(|door| door.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&doors(&JSONRPCS, &[])), [DoorKind::JsonFifo, DoorKind::JsonDatagram]);
        let one = doors(&JSONRPCS, &[("transport", Value::Int(2)), ("fifo_name", value("/run/x.fifo"))]);
        assert_eq!(kinds(&one), [DoorKind::JsonFifo]);
        assert_eq!((one.open[0].path.as_deref(), one.open[0].mode), (Some("/run/x.fifo"), 0o660));
    }

    #[test]
    fn ctl_opens_unix_sockets_and_refuses_those_that_let_anybody_in() {
        let made = doors(&CTL, &[("binrpc", value("unix:/run/a")), ("binrpc", value("tcp:localhost:2046"))]);
        assert_eq!(made.open.iter().map(|door| door.path.as_deref()).collect::<Vec<_>>(), [Some("/run/a")]);
        assert!(made.refused[0].starts_with("`tcp:localhost:2046` is left out"), "{:?}", made.refused);
        let default = doors(&CTL, &[]);
        assert_eq!((default.open[0].kind, default.open[0].mode), (DoorKind::Binrpc, 0o600));
        assert_eq!(default.open[0].path, None);
    }

    #[test]
    fn permissions_that_are_none_are_refused() {
        let setting = Setting { name: "mode".into(), value: Value::Int(99_999) };
        let error = make(&CTL, &[setting], Dialect::Kamailio, &|_| None).err().expect("no such permissions");
        assert_eq!(error.to_string(), "parameter \"mode\": must be permissions, from 0 to 0777");
    }
}
