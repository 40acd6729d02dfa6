//! The container image, built by buildah from `contrib/container/Containerfile` and started.
//!
//! Always `ser`, whatever is under test. The images that it builds on are a clean Debian root and one of the programs that
//! were built for the tests; a runtime of containers is not needed, nor a registry of images.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Endpoint, Process, Scratch, free_port, program_file, repository_file};
use crate::package::{run, said};

const PATIENCE: Duration = Duration::from_secs(30);

/// Images in a scratch directory.
struct Store(Scratch);

impl Store {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.0.file("storage")).arg("--runroot").arg(self.0.file("run"));
        command.args(["--storage-driver", "vfs"]).args(words).env("BUILDAH_ISOLATION", "chroot");
        command
    }

    /// What buildah says, which must succeed.
    fn said(&self, words: &[&str]) -> String {
        let output = self.command(words).output().expect("`make test` installs buildah");
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// An image of one file or archive, at a place.
    fn image(&self, name: &str, files: &[&str], place: &str) {
        let container = self.said(&["from", "scratch"]);
        self.said(&[&["add", "-q", &container], files, &[place]].concat());
        self.said(&["commit", "-q", "--rm", &container, name]);
    }
}

#[test]
fn the_image_is_built_starts_as_a_user_of_its_own_and_answers() {
    let store = Store(Scratch::new());
    let path = |file: std::path::PathBuf| file.display().to_string();
    store.image("localhost/base", &[&path(repository_file("tests/peers/.root/root.tar"))], "/");
    let programs = ["ser", "serctl"].map(|name| path(program_file(name)));
    store.image("localhost/programs", &programs.each_ref().map(String::as_str), "/src/target/release/");
    let file = path(repository_file("contrib/container/Containerfile"));
    let images = ["--build-arg", "BASE=localhost/base", "--build-arg", "PROGRAMS=localhost/programs"];
    let context = path(store.0.path().to_owned());
    store.said(&[&["bud", "--network", "host", "-t", "localhost/ser", "-f", &file], &images[..], &[&context]].concat());

    let container = store.said(&["from", "localhost/ser"]);
    let entry = store.said(&["inspect", "--format", "{{.OCIv1.Config.Entrypoint}}", &container]);
    let entry: Vec<&str> = entry.trim_matches(['[', ']']).split(' ').collect();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port([127, 0, 0, 1].into())));
    let listen = format!("udp:{address}");
    let words = [&["run", "--network", "host", &container, "--"], &entry[..], &["-l", &listen]].concat();
    let server = Process::start("buildah", &mut store.command(&words));
    server.wait_for_line("ser 0.", PATIENCE);
    let phone = Endpoint::new(address);
    phone.request(&format!("OPTIONS sip:{address}"), "container", "1", "", "");
    phone.expect("SIP/2.0 200 ");

    let number = said(&run("pgrep", &["-x", "-f", &[&entry[..], &["-l", &listen]].concat().join(" ")]));
    let number = number.trim();
    let status = fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_else(|why| panic!("{number}: {why}"));
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default().trim();
    assert!(!user.starts_with('0'), "{status}");
    // What the image says that asks after its health, where it runs.
    let inside =
        ["--target", number, "--mount", "--root", "--wdns=/", "serctl", "--data-dir", "/var/lib/ser", "core.uptime"];
    let healthy = run("nsenter", &inside);
    assert!(healthy.status.success() && said(&healthy).contains("uptime"), "{}", said(&healthy));
    assert!(run("kill", &["-TERM", number]).status.success());
    server.wait_for_exit(PATIENCE);
}
