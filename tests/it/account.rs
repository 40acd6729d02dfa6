//! The user that the server becomes (`-u`).
//!
//! Always `ser`, whatever is under test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Endpoint, Process, Scratch, free_port, program_file};

const PATIENCE: Duration = Duration::from_secs(20);
const SCRIPT: &str = "#!KAMAILIO\nloadmodule \"sl.so\"\nloadmodule \"tm.so\"\nloadmodule \"usrloc.so\"\nloadmodule \"registrar.so\"\n\
                      modparam(\"usrloc\", \"db_mode\", 1)\n\
                      request_route {\n    if ($rm == \"REGISTER\") { save(\"location\"); exit; }\n    \
                      if (!lookup(\"location\")) { sl_send_reply(\"404\", \"Not Found\"); exit; }\n    \
                      sl_send_reply(\"200\", \"$ru\");\n}\n";

fn start(scratch: &Scratch, address: SocketAddr) -> Process {
    let mut command = Command::new(program_file("ser"));
    command.args(["-u", "nobody", "--data-dir"]).arg(scratch.file("data")).arg("-f").arg(scratch.file("ser.cfg"));
    command.args(["-l", &format!("udp:{address}")]);
    Process::start("ser", &mut command)
}

/// Root makes the database, nobody writes to it, and so again after the next start.
#[test]
fn a_server_that_gives_root_up_goes_on_writing_its_data() {
    let scratch = Scratch::new();
    fs::write(scratch.file("ser.cfg"), SCRIPT).expect("the directory is writable");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
    let server = start(&scratch, address);
    if fs::metadata("/proc/self").expect("there is a /proc").uid() != 0 {
        // Nobody else may become another user.
        assert!(
            !server.wait_for_exit(PATIENCE).success() && server.log().contains("cannot become"),
            "{}",
            server.log()
        );
        return;
    }
    // Others must not be in the way to it.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(scratch.path(), mode).expect("the directory is ours");
    server.wait_for_line("ser 0.", PATIENCE);
    let phone = Endpoint::new(address);
    phone.register_bob();
    let data = fs::read_dir(scratch.file("data")).expect("the directory is there");
    let owners: Vec<u32> =
        data.map(|entry| entry.and_then(|entry| entry.metadata()).expect("it is there").uid()).collect();
    assert!(!owners.is_empty() && owners.iter().all(|owner| *owner != 0), "{owners:?}");
    server.kill();
    let server = start(&scratch, address);
    server.wait_for_line("ser 0.", PATIENCE);
    phone.request(&format!("OPTIONS sip:bob@{address}"), "after", "1", "", "");
    let answer = phone.expect("SIP/2.0 200 ");
    assert!(answer.contains(&format!("sip:bob@{}", phone.own())), "{answer}");
    phone.request(
        &format!("REGISTER sip:{address}"),
        "again",
        "2",
        "",
        &format!("Contact: <sip:bob@{}>\r\n", phone.own()),
    );
    phone.expect("SIP/2.0 200 ");
}
