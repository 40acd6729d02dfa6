//! `cargo xtask deb`: a Debian package of what has been built.
//!
//! `dpkg-deb` packs a tree that is laid out here: a package of two programs needs no build system of its own, and
//! neither a crate nor debhelper on the machine that builds it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Files of the repository, where they are installed, and their modes.
const FILES: [(&str, &str, u32); 7] = [
    ("contrib/systemd/ser.service", "usr/lib/systemd/system/ser.service", 0o644),
    ("contrib/debian/default", "etc/default/ser", 0o644),
    ("contrib/debian/copyright", "usr/share/doc/ser/copyright", 0o644),
    ("LICENSE-MIT", "usr/share/doc/ser/LICENSE-MIT", 0o644),
    ("README.md", "usr/share/doc/ser/README.md", 0o644),
    ("docs/operating.md", "usr/share/doc/ser/operating.md", 0o644),
    ("contrib/grafana/ser.json", "usr/share/doc/ser/grafana.json", 0o644),
];
/// What belongs to whoever runs the machine once it is installed.
const CONFIGURATION: &str = "/etc/default/ser\n";
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Packs the programs in `binaries` into `out`, and gives the package's file.
///
/// # Errors
/// What is missing, or what a tool says.
pub(crate) fn build(binaries: &Path, out: &Path) -> Result<PathBuf> {
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = String::from_utf8(architecture).context("dpkg names no architecture")?.trim().to_owned();
    let version = env!("CARGO_PKG_VERSION");
    let tree = out.join("tree");
    // What an earlier run has left there would be packed too.
    let _ = fs::remove_dir_all(&tree);
    for (program, manual) in [("ser", "--print-man"), ("serctl", "man")] {
        let from = binaries.join(program);
        put(&tree.join("usr/bin").join(program), &fs::read(&from).with_context(|| missing(&from))?, 0o755)?;
        let page = output(Command::new(&from).arg(manual))?;
        put(&tree.join(format!("usr/share/man/man8/{program}.8.gz")), &compressed(&page)?, 0o644)?;
    }
    let completions = [
        ("bash", "usr/share/bash-completion/completions/serctl"),
        ("zsh", "usr/share/zsh/vendor-completions/_serctl"),
        ("fish", "usr/share/fish/vendor_completions.d/serctl.fish"),
    ];
    for (shell, to) in completions {
        let script = output(Command::new(binaries.join("serctl")).args(["completion", shell]))?;
        put(&tree.join(to), &script, 0o644)?;
    }
    for (from, to, mode) in FILES {
        put(&tree.join(to), &fs::read(from).with_context(|| missing(Path::new(from)))?, mode)?;
    }
    put(&tree.join("usr/share/doc/ser/changelog.gz"), &compressed(&fs::read("CHANGELOG.md")?)?, 0o644)?;
    let size = size_of_tree(&tree)? / 1024;
    put(&tree.join("DEBIAN/control"), control(version, &architecture, size).as_bytes(), 0o644)?;
    put(&tree.join("DEBIAN/conffiles"), CONFIGURATION.as_bytes(), 0o644)?;
    for script in SCRIPTS {
        put(&tree.join("DEBIAN").join(script), &fs::read(Path::new("contrib/debian").join(script))?, 0o755)?;
    }
    let package = out.join(format!("ser_{version}_{architecture}.deb"));
    output(Command::new("dpkg-deb").args(["--root-owner-group", "-Zzstd", "--build"]).arg(&tree).arg(&package))?;
    Ok(package)
}

fn control(version: &str, architecture: &str, kilobytes: u64) -> String {
    format!(
        "Package: ser\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: SER <ser@localhost>\n\
         Installed-Size: {kilobytes}\nSection: comm\nPriority: optional\nDepends: libc6, libgcc-s1\n\
         Recommends: ca-certificates\nDescription: SIP Express Router\n A SIP proxy, registrar and redirect server, steered by \
         SER's routing language.\n Scripts written for SER and for Kamailio load as they are.\n"
    )
}

fn missing(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path)).with_context(|| format!("cannot make {}", path.display()))?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).context("cannot set a mode")
}

fn compressed(bytes: &[u8]) -> Result<Vec<u8>> {
    // -n: the same input gives the same package.
    let mut gzip = Command::new("gzip").arg("-9n").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut pipe = gzip.stdin.take().context("gzip takes no input")?;
    let bytes = bytes.to_owned();
    let writer = std::thread::spawn(move || pipe.write_all(&bytes));
    let output = gzip.wait_with_output()?;
    let is_written = matches!(writer.join(), Ok(Ok(())));
    if !output.status.success() || !is_written {
        bail!("gzip failed");
    }
    Ok(output.stdout)
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

fn size_of_tree(path: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        size += if entry.file_type()?.is_dir() { size_of_tree(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(size)
}
