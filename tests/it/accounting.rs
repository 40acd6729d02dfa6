//! Accounting with real databases: nothing lost, nothing twice.

use std::collections::HashSet;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{DatabaseKind, DatabaseServer, Process, Scratch, free_port, program_file};

const PATIENCE: Duration = Duration::from_secs(90);

/// Answers every OPTIONS, with a record for each.
const SCRIPT: &str = r#"#!KAMAILIO
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "acc.so"
modparam("acc", "db_url", "DATABASE")
modparam("acc", "db_flag", 1)
modparam("acc", "db_extra", "src_user=$fU")
request_route {
    setflag(1);
    t_newtran();
    t_reply("200", "OK");
}
"#;

/// The tables as Kamailio's own scripts make them, with the column for `db_extra`.
fn tables(kind: DatabaseKind) -> String {
    let id = match kind {
        DatabaseKind::Postgres => "id SERIAL PRIMARY KEY NOT NULL",
        DatabaseKind::MariaDb => "id INT(10) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL",
    };
    let time = match kind {
        DatabaseKind::Postgres => "TIMESTAMP WITHOUT TIME ZONE",
        DatabaseKind::MariaDb => "DATETIME",
    };
    let table = |name: &str| {
        format!(
            "CREATE TABLE {name} ({id}, method VARCHAR(16) DEFAULT '' NOT NULL, from_tag VARCHAR(128) DEFAULT '' NOT NULL, \
             to_tag VARCHAR(128) DEFAULT '' NOT NULL, callid VARCHAR(255) DEFAULT '' NOT NULL, \
             sip_code VARCHAR(3) DEFAULT '' NOT NULL, sip_reason VARCHAR(128) DEFAULT '' NOT NULL, time {time} NOT NULL, \
             src_user VARCHAR(64) DEFAULT '' NOT NULL);"
        )
    };
    format!(
        "CREATE TABLE version (table_name VARCHAR(32) NOT NULL, table_version INTEGER DEFAULT 0 NOT NULL); \
         INSERT INTO version (table_name, table_version) VALUES ('acc','5'), ('missed_calls','4'); {} {}",
        table("acc"),
        table("missed_calls")
    )
}

/// `ser` with the script, in a directory that outlives it.
struct Server {
    scratch: Scratch,
    address: SocketAddr,
    process: Option<Process>,
}

impl Server {
    fn new(database: &str) -> Server {
        let scratch = Scratch::new();
        fs::write(scratch.file("acc.cfg"), SCRIPT.replace("DATABASE", database)).expect("the directory is writable");
        let ip = std::net::IpAddr::from([127, 0, 0, 1]);
        let mut server = Server { scratch, address: SocketAddr::new(ip, free_port(ip)), process: None };
        server.start();
        server
    }

    fn start(&mut self) {
        let mut command = Command::new(program_file("ser"));
        command.arg("-f").arg(self.scratch.file("acc.cfg")).arg("-E").arg("--data-dir").arg(self.scratch.path());
        command.args(["-l", &format!("udp:{}", self.address)]);
        let process = Process::start("ser", &mut command);
        let is_up = process.wait_until(PATIENCE, || answers(self.address));
        assert!(is_up, "ser does not come up\n{}", process.log());
        self.process = Some(process);
    }

    fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }
}

/// Whether anybody answers there. A request that breaks the rules costs no record.
fn answers(address: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free UDP port");
    socket.connect(address).expect("loopback can be reached");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
    let local = socket.local_addr().expect("it is bound");
    let text = format!(
        "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKup;rport\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:x>\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let mut room = [0; 2000];
    socket.send(text.as_bytes()).is_ok() && socket.recv(&mut room).is_ok()
}

/// A client that sends each request once and takes down which were answered.
struct Client {
    socket: UdpSocket,
    next: u32,
    answered: HashSet<String>,
}

impl Client {
    fn new(server: SocketAddr) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free UDP port");
        socket.connect(server).expect("loopback can be reached");
        socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a timeout can be set");
        Client { socket, next: 0, answered: HashSet::new() }
    }

    /// Sends `count` requests; takes what comes meanwhile. Errors of the socket are those of a server that is gone.
    fn send(&mut self, count: u32) {
        let local = self.socket.local_addr().expect("it is bound");
        for _ in 0..count {
            let n = self.next;
            self.next += 1;
            let text = format!(
                "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{n};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:o'hara;x@example.com>;tag=f{n}\r\nTo: <sip:bob@example.com>\r\nCall-ID: call-{n}\r\n\
                 CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            );
            let _ = self.socket.send(text.as_bytes());
            self.take(1);
        }
    }

    /// Takes answers until `count` times nothing came.
    fn take(&mut self, mut count: u32) {
        let mut room = [0; 2000];
        while count > 0 {
            match self.socket.recv(&mut room) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&room[..length]);
                    let call = text.lines().find_map(|line| line.strip_prefix("Call-ID: "));
                    if text.starts_with("SIP/2.0 200 ") {
                        self.answered.insert(call.expect("a reply has a Call-ID").to_owned());
                    }
                    count -= 1;
                }
                Err(_) => count -= 1,
            }
        }
    }

    fn take_all(&mut self) {
        self.take(20);
    }
}

/// Waits until every answered call has its record, and fails when one has two.
fn check_once(database: &DatabaseServer, client: &Client) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rows = database.sql("SELECT callid FROM acc");
        let calls: HashSet<&String> = rows.iter().collect();
        assert_eq!(calls.len(), rows.len(), "a call has more than one record");
        let missing = client.answered.iter().filter(|call| !calls.contains(call)).count();
        if missing == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{missing} of {} calls have no record", client.answered.len());
    }
}

fn check_exactly_once(kind: DatabaseKind) {
    let mut database = DatabaseServer::start(kind);
    database.sql(&tables(kind));
    let mut server = Server::new(&database.url());
    let mut client = Client::new(server.address);
    // Killed while all is well, wherever it is just then.
    for _ in 0..3 {
        client.send(40);
        server.kill();
        client.take_all();
        server.start();
    }
    // The database goes away; calls go on, and so do restarts.
    database.kill();
    client.send(40);
    client.take_all();
    let before = client.answered.len();
    server.kill();
    server.start();
    client.send(40);
    client.take_all();
    assert!(client.answered.len() >= before + 40, "calls go on without the database");
    // It comes back, and the server is killed while it catches up.
    database.start_again();
    for _ in 0..3 {
        client.send(20);
        server.kill();
        client.take_all();
        server.start();
    }
    check_once(&database, &client);
    assert!(client.answered.len() > 150, "{}", client.answered.len());
    let row = database.sql("SELECT method, sip_code, sip_reason, src_user FROM acc WHERE callid = 'call-0'");
    assert_eq!(row, ["OPTIONS|200|OK|o'hara;x"]);
}

#[test]
fn postgresql_gets_each_record_once_though_it_was_away_and_the_server_was_killed() {
    check_exactly_once(DatabaseKind::Postgres);
}

#[test]
fn mariadb_gets_each_record_once_though_it_was_away_and_the_server_was_killed() {
    check_exactly_once(DatabaseKind::MariaDb);
}

#[test]
fn tables_of_another_version_keep_the_server_from_starting_and_are_named() {
    let database = DatabaseServer::start(DatabaseKind::MariaDb);
    database.sql(&tables(DatabaseKind::MariaDb));
    database.sql("UPDATE version SET table_version = 99 WHERE table_name = 'acc'");
    let scratch = Scratch::new();
    fs::write(scratch.file("acc.cfg"), SCRIPT.replace("DATABASE", &database.url())).expect("the directory is writable");
    let mut command = Command::new(program_file("ser"));
    command.arg("-f").arg(scratch.file("acc.cfg")).arg("-E").arg("--data-dir").arg(scratch.path());
    let output = command.args(["-l", "udp:127.0.0.1:0"]).output().expect("ser can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("table `acc` has version 99, version 5 is needed"), "{said}");
}
