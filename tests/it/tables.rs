//! Tables of real databases: made by `serctl db`, read by modules, used by Kamailio's own tools.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::{DatabaseKind, DatabaseServer, Process, Scratch, free_port, program_file};

const PATIENCE: Duration = Duration::from_secs(60);

/// Answers with what each table says.
const SCRIPT: &str = r#"#!KAMAILIO
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "textops.so"
loadmodule "dispatcher.so"
loadmodule "permissions.so"
loadmodule "dialplan.so"
loadmodule "mtree.so"
loadmodule "pdt.so"
loadmodule "htable.so"
loadmodule "group.so"
modparam("dispatcher|permissions|dialplan|mtree|pdt|htable|group", "db_url", "DATABASE")
modparam("mtree", "mtree", "name=t;dbtable=mtree")
modparam("htable", "htable", "kept=>size=4;dbtable=htable;dbmode=1")
request_route {
    $var(ds) = "none";
    if (ds_select_dst("1", "4")) $var(ds) = $du;
    $var(dp) = "none";
    if (dp_replace("1", "012", "$var(dp)")) { }
    $var(mt) = "none";
    if (mt_match("t", "4930", "0")) $var(mt) = $avp(tvalue);
    $var(ip) = "no";
    if (allow_address("7", "192.0.2.9", "0")) $var(ip) = "yes";
    $var(in) = "no";
    if (is_user_in("From", "int")) $var(in) = "yes";
    $sht(kept=>calls) = $sht(kept=>calls) + 1;
    sl_send_reply("200", "ds=$var(ds) dp=$var(dp) mt=$var(mt) ip=$var(ip) in=$var(in) n=$sht(kept=>calls)");
}
"#;

const ROWS: [&str; 6] = [
    "INSERT INTO dispatcher (setid, destination) VALUES (1, 'sip:192.0.2.1')",
    "INSERT INTO dialplan (dpid, pr, match_op, match_exp, subst_exp, repl_exp) VALUES (1, 1, 1, '^0', '^0(.*)', '+49\\1')",
    "INSERT INTO mtree (tprefix, tvalue) VALUES ('49', 'de')",
    "INSERT INTO address (grp, ip_addr, mask) VALUES (7, '192.0.2.0', 24)",
    "INSERT INTO htable (key_name, value_type, key_value) VALUES ('calls', 1, '40')",
    "INSERT INTO pdt (sdomain, prefix, domain) VALUES ('*', '49', 'de.example')",
];

/// `ser` over a database.
struct Server {
    scratch: Scratch,
    address: SocketAddr,
    process: Process,
}

impl Server {
    fn start(database: &str) -> Server {
        let scratch = Scratch::new();
        let ip = std::net::IpAddr::from([127, 0, 0, 1]);
        let address = SocketAddr::new(ip, free_port(ip));
        let process = Process::start("ser", &mut command(&scratch, address, database));
        let server = Server { scratch, address, process };
        let is_up = server.process.wait_until(PATIENCE, || server.ask().is_some());
        assert!(is_up, "ser does not come up\n{}", server.process.log());
        server
    }

    /// The reason phrase of an answer.
    fn ask(&self) -> Option<String> {
        self.ask_within(Duration::from_millis(500))
    }

    fn ask_within(&self, patience: Duration) -> Option<String> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free UDP port");
        socket.connect(self.address).expect("loopback can be reached");
        socket.set_read_timeout(Some(patience)).expect("a timeout can be set");
        let local = socket.local_addr().expect("it is bound");
        let text = format!(
            "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: {}\r\nCSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n",
            local.port(),
            local.port()
        );
        let mut room = [0; 2000];
        socket.send(text.as_bytes()).ok()?;
        loop {
            let length = socket.recv(&mut room).ok()?;
            let text = String::from_utf8_lossy(&room[..length]);
            // While a database is waited for, a 100 comes first (RFC 4320 section 4.1).
            if let Some(reason) = text.lines().next()?.strip_prefix("SIP/2.0 200 ") {
                return Some(reason.to_owned());
            }
        }
    }

    fn said(&self) -> String {
        self.ask_within(PATIENCE).unwrap_or_else(|| panic!("no answer\n{}", self.process.log()))
    }

    fn serctl(&self, words: &[&str]) -> Output {
        serctl(&[&["--data-dir", &self.scratch.path().to_string_lossy()], words].concat())
    }
}

fn command(scratch: &Scratch, address: SocketAddr, database: &str) -> Command {
    let script = scratch.file("tables.cfg");
    fs::write(&script, SCRIPT.replace("DATABASE", database)).expect("the directory is writable");
    let mut command = Command::new(program_file("ser"));
    command.arg("-f").arg(script).arg("-E").arg("--data-dir").arg(scratch.path());
    command.args(["-l", &format!("udp:{address}")]);
    command
}

fn serctl(words: &[&str]) -> Output {
    Command::new(program_file("serctl")).args(words).output().expect("serctl runs")
}

fn good(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn bad(output: Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn check_rows(kind: DatabaseKind) {
    let mut database = DatabaseServer::start(kind);
    let url = database.url();
    good(serctl(&["--db", &url, "db", "create"]));
    let shown = good(serctl(&["--db", &url, "--json", "db", "show"]));
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("it is JSON");
    let tables = shown.as_array().expect("a list of tables");
    assert!(tables.len() > 25 && tables.iter().all(|table| table["state"] == "good"), "{shown}");
    // MySQL's texts know a backslash.
    ROWS.iter().for_each(|row| {
        let row = if kind == DatabaseKind::MariaDb { row.replace('\\', "\\\\") } else { (*row).to_owned() };
        drop(database.sql(&row));
    });

    let server = Server::start(&url);
    let first = server.said();
    assert!(first.starts_with("ds=sip:192.0.2.1 dp=+4912 mt=de ip=yes in=no n=4"), "{first}");

    // A right that is granted counts with the next call.
    good(serctl(&["--db", &url, "acl", "grant", "alice@example.com", "int"]));
    assert!(server.said().contains(" in=yes "));
    good(serctl(&["--db", &url, "acl", "revoke", "alice@example.com", "int"]));
    assert!(server.said().contains(" in=no "));

    // A row that is wrong, a version that is wrong, a database that is away: what was there stays.
    database.sql("UPDATE dispatcher SET destination = 'tel:1'");
    assert!(bad(server.serctl(&["dispatcher.reload"])).contains("`tel:1` is not a SIP URI"));
    database.sql("UPDATE dispatcher SET destination = 'sip:192.0.2.2'");
    database.sql("UPDATE version SET table_version = 3 WHERE table_name = 'dispatcher'");
    assert!(bad(server.serctl(&["dispatcher.reload"])).contains("has version 3, version 4 is needed"));
    assert!(server.said().starts_with("ds=sip:192.0.2.1 "));
    good(serctl(&["--db", &url, "db", "upgrade"]));
    database.kill();
    let reloads = ["dispatcher.reload", "permissions.addressReload", "dialplan.reload", "mtree.reload", "pdt.reload"];
    for reload in reloads {
        let said = bad(server.serctl(&[reload]));
        assert!(said.contains("database "), "{reload}: {said}");
    }
    assert!(server.said().starts_with("ds=sip:192.0.2.1 dp=+4912 mt=de ip=yes"));
    let said = refused_start(&url);
    assert!(said.contains("module \"dispatcher\"") && said.contains("database "), "{said}");

    database.start_again();
    let is_back = server.process.wait_until(PATIENCE, || server.serctl(&["dispatcher.reload"]).status.success());
    assert!(is_back, "the database is not found again\n{}", server.process.log());
    assert!(server.said().starts_with("ds=sip:192.0.2.2 "));

    // What is kept in memory is written back when the server ends.
    let calls: u32 = server.said().rsplit_once("n=").and_then(|(_, n)| n.parse().ok()).expect("a number");
    server.process.signal("TERM");
    assert!(server.process.wait_for_exit(PATIENCE).success(), "{}", server.process.log());
    let kept = database.sql("SELECT key_value FROM htable WHERE key_name = 'calls'");
    assert_eq!(kept, [calls.to_string()], "{}", server.process.log());
}

#[test]
fn what_is_kept_in_memory_outlives_a_reload_with_other_settings_and_an_upgrade() {
    let scratch = Scratch::new();
    let database = scratch.file("rows.db").to_string_lossy().into_owned();
    good(serctl(&["--db", &database, "db", "create"]));
    let server = Server::start(&format!("sqlite://{database}"));
    let count = |said: String| said.rsplit_once("n=").and_then(|(_, n)| n.parse::<u32>().ok()).expect("a number");
    let before = count(server.said());
    let script = server.scratch.file("tables.cfg");
    let text = fs::read_to_string(&script).expect("the script is there");
    fs::write(&script, text.replace("kept=>size=4;", "kept=>size=5;")).expect("the directory is writable");
    good(server.serctl(&["reload"]));
    assert_eq!(count(server.said()), before + 1, "{}", server.process.log());
    good(server.serctl(&["upgrade"]));
    assert_eq!(count(server.said()), before + 2, "{}", server.process.log());
}

/// What a server says that does not start.
fn refused_start(database: &str) -> String {
    let scratch = Scratch::new();
    let ip = std::net::IpAddr::from([127, 0, 0, 1]);
    let process = Process::start("ser", &mut command(&scratch, SocketAddr::new(ip, free_port(ip)), database));
    assert!(!process.wait_for_exit(PATIENCE).success(), "{}", process.log());
    process.log()
}

#[test]
fn modules_read_their_tables_in_postgresql() {
    check_rows(DatabaseKind::Postgres);
}

#[test]
fn modules_read_their_tables_in_mariadb() {
    check_rows(DatabaseKind::MariaDb);
}

#[test]
fn rows_go_from_one_database_to_another() {
    let database = DatabaseServer::start(DatabaseKind::MariaDb);
    let scratch = Scratch::new();
    let file = scratch.file("ser.db").to_string_lossy().into_owned();
    good(serctl(&["--db", &file, "db", "create"]));
    bad(serctl(&["--db", &file, "add", "o'hara\"; --@example.com", "secret"]));
    good(serctl(&["--db", &file, "add", "alice@example.com", "secret", "alice@example.org"]));
    good(serctl(&["--db", &file, "acl", "grant", "alice@example.com", "int", "ld"]));
    good(serctl(&["--db", &database.url(), "db", "import", &file]));
    assert_eq!(database.sql("SELECT username, domain FROM subscriber"), ["alice|example.com"]);
    assert_eq!(database.sql("SELECT grp FROM grp ORDER BY grp"), ["int", "ld"]);
    let rows = good(serctl(&["--db", &database.url(), "db", "show", "subscriber"]));
    assert!(rows.contains("alice") && !rows.contains("secret"), "{rows}");
    let again = good(serctl(&["--db", &database.url(), "db", "import", &file]));
    assert!(again.contains("left alone"), "{again}");
    assert!(bad(serctl(&["--db", &file, "db", "show", "nothing"])).contains("there is no table nothing"));
}

/// Kamailio's script over a database that `serctl` made.
fn kamctl(home: &Path, database: &Path, words: &[&str]) -> String {
    let settings = format!(
        "DBENGINE=SQLITE\nDB_PATH={}\nSIP_DOMAIN=example.com\nSTORE_PLAINTEXT_PW=0\nALIASES_TYPE=DB\n",
        database.display()
    );
    fs::write(home.join(".kamctlrc"), settings).expect("the directory is writable");
    let mut command = Command::new("kamctl");
    command.args(words).env("HOME", home).env("USER", "tester").current_dir(home);
    good(command.output().expect("`make test` installs kamctl"))
}

#[test]
fn kamailios_tools_work_on_a_database_of_ours() {
    let scratch = Scratch::new();
    let file = scratch.file("ser.db");
    let address = file.to_string_lossy().into_owned();
    good(serctl(&["--db", &address, "db", "create"]));
    kamctl(scratch.path(), &file, &["add", "alice", "secret"]);
    kamctl(scratch.path(), &file, &["acl", "grant", "alice", "int"]);
    kamctl(scratch.path(), &file, &["alias_db", "add", "al@example.com", "alice@example.com"]);
    let users = good(serctl(&["--db", &address, "show", "--json"]));
    assert!(users.contains("alice") && users.contains("example.com"), "{users}");
    let groups = good(serctl(&["--db", &address, "acl", "show", "--json"]));
    assert!(groups.contains("\"int\""), "{groups}");
    let alias = good(serctl(&["--db", &address, "alias", "show", "al@example.com"]));
    assert!(alias.contains("alice"), "{alias}");
    // And the other way round.
    good(serctl(&["--db", &address, "acl", "grant", "alice@example.com", "ld"]));
    let shown = kamctl(scratch.path(), &file, &["acl", "show", "alice"]);
    assert!(shown.contains("ld"), "{shown}");
}
