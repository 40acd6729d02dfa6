//! The Debian package, installed into a clean root by that root's own dpkg, and started there.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::{Process, Scratch, free_port, program_file, repository_file};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|why| panic!("{program}: {why}; `make test` installs what tests need"))
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A clean root, made once by `tests/peers/install` and copied for each run.
pub(crate) fn clean_root(scratch: &Scratch) -> String {
    let archive = repository_file("tests/peers/.root/root.tar");
    let root = scratch.file("root");
    std::fs::create_dir(&root).expect("the directory is writable");
    let (archive, root) = (archive.display().to_string(), root.display().to_string());
    let output = run("tar", &["-xf", &archive, "-C", &root]);
    assert!(output.status.success(), "{}; `make test` makes the root", said(&output));
    root
}

/// Packs the programs that were built for the tests, and gives the package's file.
pub(crate) fn build_package(directory: &Path) -> String {
    let binaries = program_file("ser").parent().map(Path::to_owned).expect("it lies in a directory");
    let (binaries, out) = (binaries.display().to_string(), directory.join("out").display().to_string());
    let built = Command::new(env!("CARGO"))
        .args(["xtask", "deb", "--binaries", &binaries, "--out", &out])
        .current_dir(repository_file("."))
        .output()
        .expect("cargo can be started");
    assert!(built.status.success(), "{}", said(&built));
    said(&built).lines().rfind(|line| line.ends_with(".deb")).map(str::to_owned).expect("it names the file")
}

#[test]
fn the_package_installs_into_a_clean_root_starts_there_and_goes_without_a_trace() {
    let scratch = Scratch::new();
    let root = clean_root(&scratch);
    let package = build_package(scratch.path());
    std::fs::copy(&package, Path::new(&root).join("ser.deb")).expect("the root is writable");

    let installed = run("chroot", &[&root, "dpkg", "-i", "/ser.deb"]);
    assert!(installed.status.success(), "{}", said(&installed));
    let listed = said(&run("chroot", &[&root, "dpkg", "-L", "ser"]));
    for file in [
        "/usr/bin/ser",
        "/usr/bin/serctl",
        "/etc/default/ser",
        "/usr/lib/systemd/system/ser.service",
        "/usr/share/man/man8/ser.8.gz",
        "/usr/share/man/man8/serctl.8.gz",
        "/usr/share/bash-completion/completions/serctl",
    ] {
        assert!(listed.lines().any(|line| line == file), "no {file} in\n{listed}");
    }
    let options = said(&run("chroot", &[&root, "dpkg-query", "-W", "-f", "${Conffiles}", "ser"]));
    assert!(options.contains("/etc/default/ser "), "{options}");

    let listen = format!("udp:127.0.0.1:{}", free_port([127, 0, 0, 1].into()));
    // As an ordinary user of that root: the ports and the data are all that it needs.
    let mut command = Command::new("chroot");
    command.args(["--userspec=nobody:nogroup", &root, "/usr/bin/ser", "--data-dir", "/tmp/ser", "-l", &listen]);
    let server = Process::start("ser", &mut command);
    server.wait_for_line("ser 0.", PATIENCE);
    let asked = run("chroot", &["--userspec=nobody:nogroup", &root, "serctl", "--data-dir", "/tmp/ser", "core.uptime"]);
    assert!(said(&asked).contains("uptime"), "{}", said(&asked));
    server.stop();

    let purged = run("chroot", &[&root, "dpkg", "--purge", "ser"]);
    assert!(purged.status.success(), "{}", said(&purged));
    assert!(!Path::new(&root).join("etc/default/ser").exists() && !Path::new(&root).join("usr/bin/ser").exists());
}
