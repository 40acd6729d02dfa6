//! What to run: everything by default, less or other when the command line says so.

use anyhow::{Context, bail};

use crate::server::Subject;

/// Sizes and rates of a comparison.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Programs, in the order of a round.
    pub(crate) subjects: Vec<Subject>,
    /// How often each has its turn.
    pub(crate) rounds: u32,
    /// Arrivals of calls.
    pub(crate) calls_per_second: f64,
    /// Calls in a round of one program.
    pub(crate) calls: usize,
    /// Arrivals of REGISTERs.
    pub(crate) registers_per_second: f64,
    /// REGISTERs in a round of one program.
    pub(crate) registers: usize,
    /// Part of the title of the tables to make; empty for all.
    pub(crate) workload: String,
    /// Whether this is the comparison that `RESULTS.md` records.
    pub(crate) is_standard: bool,
}

impl Plan {
    /// The plan that `arguments` ask for; without any, the one on record.
    pub(crate) fn from_arguments(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<Plan> {
        let mut plan = Plan::standard();
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            plan.is_standard = false;
            let value = arguments.next().with_context(|| format!("{name} needs a value\n{USAGE}"))?;
            match name.as_str() {
                "--only" => plan.subjects.retain(|subject| subject.name().contains(&value)),
                "--workload" => plan.workload = value,
                "--rounds" => plan.rounds = value.parse().context(USAGE)?,
                "--calls-per-second" => plan.calls_per_second = value.parse().context(USAGE)?,
                "--calls" => plan.calls = value.parse().context(USAGE)?,
                "--registers-per-second" => plan.registers_per_second = value.parse().context(USAGE)?,
                "--registers" => plan.registers = value.parse().context(USAGE)?,
                _ => bail!("unknown argument {name}\n{USAGE}"),
            }
        }
        anyhow::ensure!(plan.rounds > 0 && !plan.subjects.is_empty(), "nothing to run\n{USAGE}");
        anyhow::ensure!(plan.calls_per_second > 0.0 && plan.registers_per_second > 0.0, "a rate is positive\n{USAGE}");
        Ok(plan)
    }

    /// Whether the table with this title shall be made.
    pub(crate) fn wants(&self, title: &str) -> bool {
        title.to_ascii_lowercase().contains(&self.workload.to_ascii_lowercase())
    }

    fn standard() -> Plan {
        let kamailio = [1, 2, 4, 8].map(Subject::Kamailio);
        let ser = [Some(1), None].into_iter().flat_map(|workers| [Subject::Ser(workers), Subject::Optimised(workers)]);
        let subjects = [Subject::Relay].into_iter().chain(kamailio).chain(ser);
        Plan {
            subjects: subjects.collect(),
            rounds: 4,
            calls_per_second: 2000.0,
            calls: 3000,
            registers_per_second: 4000.0,
            registers: 4000,
            workload: String::new(),
            is_standard: true,
        }
    }
}

const USAGE: &str = "usage: side_by_side [--only PART-OF-NAME] [--workload PART-OF-TITLE] [--rounds N] [--calls N] [--calls-per-second N] \
    [--registers N] [--registers-per-second N]";

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> anyhow::Result<Plan> {
        Plan::from_arguments(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn only_a_plan_without_arguments_goes_on_record() {
        assert!(plan(&[]).unwrap().is_standard);
        assert!(!plan(&["--rounds", "5"]).unwrap().is_standard);
    }

    #[test]
    fn unknown_and_incomplete_arguments_are_refused() {
        assert!(plan(&["--round", "5"]).is_err());
        assert!(plan(&["--rounds"]).is_err());
        assert!(plan(&["--only", "nobody"]).is_err());
    }

    #[test]
    fn only_keeps_what_its_name_matches() {
        assert_eq!(plan(&["--only", "8 workers"]).unwrap().subjects, [Subject::Kamailio(8)]);
    }
}
