//! Statistics in the text format of Prometheus.

use module_api::{Reading, StatisticKind};

/// One family of metrics for each statistic: `ser_GROUP_NAME`, counters with `_total`.
pub fn text(statistics: &[Reading]) -> String {
    let mut out = String::new();
    let mut names = std::collections::HashSet::new();
    for reading in statistics {
        let Some(value) = reading.value() else { continue };
        let (kind, suffix) = match reading.kind {
            StatisticKind::Counter => ("counter", "_total"),
            StatisticKind::Gauge => ("gauge", ""),
        };
        let name = format!("ser_{}_{}{suffix}", snake(&reading.group), snake(&reading.name));
        // Two names may differ in letters that metrics cannot show. The second would spoil the whole page.
        if names.insert(name.clone()) {
            let doc = reading.doc.replace('\\', "\\\\").replace('\n', "\\n");
            out += &format!("# HELP {name} {doc}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    }
    out
}

/// In the letters and the case that metrics have: `UAS_transactions` becomes `uas_transactions`.
fn snake(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use module_api::Statistics;

    #[test]
    fn statistics_become_metrics() {
        let statistics = Statistics::default();
        statistics.counter("core", "rcv_requests", "Requests\nthat arrived.").add(3);
        statistics.gauge("tmx", "inuse-Transactions", "Transactions.").set(-2);
        statistics.counter("core", "RCV_requests", "The same to a metric.");
        assert_eq!(
            text(&statistics.all()),
            "# HELP ser_core_rcv_requests_total The same to a metric.\n# TYPE ser_core_rcv_requests_total counter\n\
             ser_core_rcv_requests_total 0\n\
             # HELP ser_tmx_inuse_transactions Transactions.\n# TYPE ser_tmx_inuse_transactions gauge\n\
             ser_tmx_inuse_transactions -2\n"
        );
    }
}
