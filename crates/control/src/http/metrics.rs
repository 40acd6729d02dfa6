//! Statistics in the text formats of Prometheus and OpenMetrics.

use std::collections::HashSet;

use module_api::{HistogramReading, StatisticKind, Statistics};

/// Which of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Version 0.0.4, which everything reads.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` header asks for.
    pub(super) fn accepted(accept: &str) -> Format {
        match accept.contains("application/openmetrics-text") {
            true => Format::OpenMetrics,
            false => Format::Prometheus,
        }
    }

    /// Its media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One family of metrics for each statistic: `ser_GROUP_NAME`, counters with `_total`.
pub(super) fn text(statistics: &Statistics, format: Format) -> String {
    let mut page = Page { out: String::new(), names: HashSet::new(), format };
    for reading in statistics.all() {
        let Some(value) = reading.value() else { continue };
        let (kind, suffix) = match reading.kind {
            StatisticKind::Counter => ("counter", "_total"),
            StatisticKind::Gauge => ("gauge", ""),
        };
        let name = family(&reading.group, &reading.name);
        if page.begin(&name, suffix, kind, &reading.doc) {
            page.out += &format!("{name}{suffix} {value}\n");
        }
    }
    for ratio in statistics.ratios() {
        let Some(value) = ratio.value() else { continue };
        let name = family(ratio.group, ratio.name);
        if page.begin(&name, "", "gauge", ratio.doc) {
            page.out += &format!("{name} {value}\n");
        }
    }
    let mut begun = None;
    for histogram in statistics.histograms() {
        let name = family(&histogram.group, &histogram.name);
        // Those of one name stand together, one series for each label.
        let is_new = begun.as_ref() != Some(&name);
        if !is_new || page.begin(&name, "", "histogram", &histogram.doc) {
            page.histogram(&name, &histogram);
            begun = Some(name);
        }
    }
    if format == Format::OpenMetrics {
        page.out += "# EOF\n";
    }
    page.out
}

struct Page {
    out: String,
    names: HashSet<String>,
    format: Format,
}

impl Page {
    /// Begins a family. False where there is one of that name: two names may differ in letters that metrics cannot
    /// show, and the second would spoil the whole page.
    fn begin(&mut self, name: &str, suffix: &str, kind: &str, doc: &str) -> bool {
        if !self.names.insert(format!("{name}{suffix}")) {
            return false;
        }
        let doc = doc.replace('\\', "\\\\").replace('\n', "\\n");
        // OpenMetrics names a counter's family without the suffix of its sample, and escapes quotes.
        let (shown, doc) = match self.format {
            Format::Prometheus => (format!("{name}{suffix}"), doc),
            Format::OpenMetrics => (name.to_owned(), doc.replace('"', "\\\"")),
        };
        self.out += &format!("# HELP {shown} {doc}\n# TYPE {shown} {kind}\n");
        true
    }

    fn histogram(&mut self, name: &str, histogram: &HistogramReading) {
        let read = histogram.read();
        let label = histogram.label.as_ref().map(|(name, value)| format!("{name}=\"{value}\""));
        // A method that never came is no news, but a family without series is none.
        if read.count() == 0 && label.as_deref().is_some_and(|label| label != "method=\"invite\"") {
            return;
        }
        let braced = label.as_ref().map(|label| format!("{{{label}}}")).unwrap_or_default();
        let before = label.map(|label| format!("{label},")).unwrap_or_default();
        let mut below = 0;
        for (at, inside) in read.buckets.iter().enumerate() {
            below += inside;
            let bound = match at < histogram.scale.count {
                true => decimal(histogram.scale.bound(at)),
                false => "+Inf".to_owned(),
            };
            self.out += &format!("{name}_bucket{{{before}le=\"{bound}\"}} {below}\n");
        }
        self.out += &format!("{name}_sum{braced} {}\n{name}_count{braced} {below}\n", read.sum);
    }
}

/// A bound as OpenMetrics wants it: with a point.
fn decimal(bound: f64) -> String {
    let text = bound.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

fn family(group: &str, name: &str) -> String {
    format!("ser_{}_{}", snake(group), snake(name))
}

/// In the letters and the case that metrics have: `UAS_transactions` becomes `uas_transactions`.
fn snake(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use module_api::Scale;

    #[test]
    fn statistics_become_metrics() {
        let statistics = Statistics::default();
        statistics.counter("core", "rcv_requests", "Requests\nthat arrived.").add(3);
        statistics.gauge("tmx", "inuse-Transactions", "Transactions.").set(-2);
        statistics.counter("core", "RCV_requests", "The same to a metric.");
        statistics.ratio(("rfc6076", "scr_ratio"), "Some \"share\".", || Some(0.25));
        statistics.ratio(("rfc6076", "of_nothing_ratio"), "A share of nothing.", || None);
        assert_eq!(
            text(&statistics, Format::Prometheus),
            "# HELP ser_core_rcv_requests_total The same to a metric.\n# TYPE ser_core_rcv_requests_total counter\n\
             ser_core_rcv_requests_total 0\n\
             # HELP ser_tmx_inuse_transactions Transactions.\n# TYPE ser_tmx_inuse_transactions gauge\n\
             ser_tmx_inuse_transactions -2\n\
             # HELP ser_rfc6076_scr_ratio Some \"share\".\n# TYPE ser_rfc6076_scr_ratio gauge\n\
             ser_rfc6076_scr_ratio 0.25\n"
        );
        let open = text(&statistics, Format::OpenMetrics);
        assert!(open.contains("# TYPE ser_core_rcv_requests counter\nser_core_rcv_requests_total 0\n"), "{open}");
        assert!(open.contains("Some \\\"share\\\".") && open.ends_with("\n# EOF\n"), "{open}");
    }

    #[test]
    fn a_histogram_adds_up_from_bucket_to_bucket() {
        let statistics = Statistics::default();
        let scale = Scale { first: 0, count: 3, divisor: 2 };
        let of = |method| statistics.histogram(("core", "x_seconds"), "X.", scale, Some(("method", method)));
        let invite = of("invite");
        let _never = of("bye");
        [1, 2, 4, 9].into_iter().for_each(|value| invite.observe(value));
        assert_eq!(
            text(&statistics, Format::Prometheus),
            "# HELP ser_core_x_seconds X.\n# TYPE ser_core_x_seconds histogram\n\
             ser_core_x_seconds_bucket{method=\"invite\",le=\"0.5\"} 1\n\
             ser_core_x_seconds_bucket{method=\"invite\",le=\"1.0\"} 2\n\
             ser_core_x_seconds_bucket{method=\"invite\",le=\"2.0\"} 3\n\
             ser_core_x_seconds_bucket{method=\"invite\",le=\"+Inf\"} 4\n\
             ser_core_x_seconds_sum{method=\"invite\"} 8\nser_core_x_seconds_count{method=\"invite\"} 4\n"
        );
    }

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        assert_eq!(
            Format::accepted("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"),
            Format::OpenMetrics
        );
        assert_eq!(Format::accepted("*/*"), Format::Prometheus);
    }
}
