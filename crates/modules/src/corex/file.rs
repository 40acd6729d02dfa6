//! Small files.

use module_api::{Function, Outcome, Param, ParamKind, Routes, Value};

pub(super) const READ: Function = Function {
    name: "file_read",
    params: &[Param::required("path", ParamKind::Format), Param::required("variable", ParamKind::Output)],
    routes: Routes::ANY,
    doc: "Puts the text of a file, up to 64 KiB, into a variable. False when it cannot be read.",
    example: "file_read(\"/etc/ser/greeting.txt\", \"$var(text)\");",
    run: |call| {
        let path = path(&call.text(0));
        let work = async move { tokio::task::spawn_blocking(move || read(&path)).await };
        Outcome::wait(work, |call, text| match text {
            Ok(Ok(text)) => match call.write_output(1, Value::Str(text.into())) {
                Ok(()) => Outcome::TRUE,
                Err(fault) => Outcome::Fail(fault),
            },
            Ok(Err(cause)) => Outcome::fail(format!("file_read: {cause}")),
            Err(_) => Outcome::fail("file_read: interrupted"),
        })
    },
};

pub(super) const WRITE: Function = Function {
    name: "file_write",
    params: &[Param::required("path", ParamKind::Format), Param::required("text", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Writes a text to a file, in place of what it held. False when it cannot be written.",
    example: "file_write(\"/var/spool/ser/last\", \"$ci\\n\");",
    run: |call| {
        let (path, text) = (path(&call.text(0)), call.text(1));
        let work = async move { tokio::task::spawn_blocking(move || std::fs::write(path, text)).await };
        Outcome::wait(work, |_, done| match done {
            Ok(Ok(())) => Outcome::TRUE,
            Ok(Err(cause)) => Outcome::fail(format!("file_write: {cause}")),
            Err(_) => Outcome::fail("file_write: interrupted"),
        })
    },
};

/// Longest text that is read.
const LONGEST: usize = 64 * 1024;

fn path(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| format!("{path}: {error}"))?;
    let mut text = Vec::new();
    file.take(LONGEST as u64 + 1).read_to_end(&mut text).map_err(|error| format!("{path}: {error}"))?;
    if text.len() > LONGEST { Err(format!("{path}: longer than {LONGEST} bytes")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn text_is_written_and_read_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let path = std::env::temp_dir().join(format!("ser-file-{}", std::process::id()));
        let path = path.to_str().unwrap();
        let mut bench = Bench::invite();
        assert_eq!(bench.run_waiting(&MODULE, "file_write", &[path, "hello"], &runtime), 1);
        assert_eq!(read(path), Ok(b"hello".to_vec()));
        std::fs::write(path, vec![b'x'; LONGEST + 1]).unwrap();
        assert!(read(path).unwrap_err().contains("longer"));
        std::fs::remove_file(path).unwrap();
        assert_eq!(bench.run_waiting(&MODULE, "file_read", &[path, ""], &runtime), -1);
    }
}
