//! `exec()`: a command of the system.

use module_api::{Function, Level, Outcome, Param, ParamKind, Routes};

pub(super) const EXEC: Function = Function {
    name: "exec",
    params: &[Param::required("command", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Has the shell run a command and waits for its end. Always true.",
    example: "exec(\"logger a call has come\");",
    run: |call| {
        let command = String::from_utf8_lossy(&call.text(0)).into_owned();
        let work = async move {
            // A thread of its own for as long as it takes: the server's deadline for waits bounds what the request waits.
            let run = move || std::process::Command::new("/bin/sh").arg("-c").arg(command).status();
            tokio::task::spawn_blocking(run).await
        };
        Outcome::wait(work, |call, result| {
            let cause = match result {
                Ok(Ok(status)) if status.success() => return Outcome::TRUE,
                Ok(Ok(status)) => format!("exec: the command ended with {status}"),
                Ok(Err(error)) => format!("exec: {error}"),
                Err(error) => format!("exec: {error}"),
            };
            call.host.log(Level::Warning, cause.as_bytes());
            Outcome::TRUE
        })
    },
};

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::Bench;

    #[test]
    fn a_command_is_run_and_its_failure_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut bench = Bench::invite();
        assert_eq!(bench.run_waiting(&MODULE, "exec", &["exit 0"], &runtime), 1);
        assert_eq!(bench.host.logged, []);
        assert_eq!(bench.run_waiting(&MODULE, "exec", &["exit 3"], &runtime), 1);
        assert_eq!(bench.host.logged.len(), 1);
    }
}
