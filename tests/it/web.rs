//! Scripts that ask a web server: a bare one in this process, which answers each request by its path.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::harness::{Endpoint, Process, Scratch, free_port, program_file};

const PATIENCE: Duration = Duration::from_secs(30);

const SCRIPT: &str = r#"#!KAMAILIO
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "textops.so"
loadmodule "http_client.so"
loadmodule "http_async_client.so"
modparam("http_client", "httpcon", "web=>http://WEB/named")
request_route {
    if ($rU == "waiting") {
        $var(code) = http_client_query("http://WEB/route?to=$rU", "$var(answer)");
        sl_send_reply("480", "$var(code) $var(answer)");
        exit;
    }
    if ($rU == "named") {
        http_connect("web", "/there", "text/plain", "from=$fU", "$var(answer)");
        sl_send_reply("480", "$var(answer)");
        exit;
    }
    if ($rU == "nobody") {
        http_client_query("http://127.0.0.1:1/", "$var(answer)");
        sl_send_reply("480", "failed with $rc");
        exit;
    }
    $http_req(method) = "PUT";
    $http_req(body) = "number=" + $rU;
    $http_req(hdr) = "X-Caller: " + $fU;
    $http_req(timeout) = 4000;
    http_async_query("http://WEB/later", "ANSWER");
    sl_send_reply("500", "Not Suspended");
}
route[ANSWER] {
    t_reply("480", "$http_ok $http_rs $http_rb for $rU");
}
"#;

/// Answers with method, path, and body of what it is asked.
fn serve(listener: TcpListener) {
    for connection in listener.incoming() {
        let mut connection = connection.expect("loopback takes connections");
        connection.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        let text = loop {
            let length = connection.read(&mut buffer).expect("the request comes");
            request.extend_from_slice(&buffer[..length]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let head = head.to_ascii_lowercase();
            let wanted = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= wanted.unwrap_or(0) || length == 0 {
                break text;
            }
        };
        let (head, body) = text.split_once("\r\n\r\n").expect("the request has an end");
        let line: Vec<&str> = head.lines().next().unwrap_or_default().split(' ').take(2).collect();
        let caller = head.lines().find_map(|line| line.strip_prefix("x-caller: ")).unwrap_or("nobody");
        let answer = format!("{} {body} of {caller}", line.join(" "));
        let whole = format!("HTTP/1.1 203 Some\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        connection.write_all(whole.as_bytes()).expect("the answer goes");
    }
}

#[test]
fn scripts_ask_web_servers_and_go_on_with_the_answer() {
    let scratch = Scratch::new();
    let ip = IpAddr::from([127, 0, 0, 1]);
    let listener = TcpListener::bind((ip, 0)).expect("loopback has a free port");
    let web = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || serve(listener));
    let own = SocketAddr::new(ip, free_port(ip));
    fs::write(scratch.file("web.cfg"), SCRIPT.replace("WEB", &web.to_string())).expect("the directory is writable");
    let mut command = Command::new(program_file("ser"));
    command.arg("-f").arg(scratch.file("web.cfg")).arg("-E").arg("--data-dir").arg(scratch.path());
    command.args(["-l", &format!("udp:{own}")]);
    let ser = Process::start("ser", &mut command);
    let caller = Endpoint::new(own);
    caller.set_patience(Duration::from_secs(1));
    for (user, expected) in [
        ("waiting", "480 203 GET /route?to=waiting  of nobody"),
        ("named", "480 POST /named/there from=caller of nobody"),
        ("nobody", "480 failed with -1"),
        ("4930", "480 1 203 PUT /later number=4930 of caller for 4930"),
    ] {
        let mut asked = 0;
        let mut last = String::new();
        let is_so = ser.wait_until(PATIENCE, || {
            asked += 1;
            caller.request(&format!("OPTIONS sip:{user}@{own}"), &format!("{user}-{asked}"), "1", "", "");
            while let Some(reply) = caller.receive() {
                last = reply;
                if !last.starts_with("SIP/2.0 1") {
                    return true;
                }
            }
            false
        });
        assert!(
            is_so && last.starts_with(&format!("SIP/2.0 {expected}\r\n")),
            "instead of {expected}:\n{last}\n{}",
            ser.log()
        );
    }
}
