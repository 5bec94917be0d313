//! The formats in which the metrics can be asked for.

use hyper::header::{ACCEPT, HeaderMap};

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The format of Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format that the `Accept` headers prefer; OpenMetrics unless they name `text/plain` before it.
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(ACCEPT).iter();
        let accepted = accepted
            .filter_map(|it| it.to_str().ok())
            .flat_map(|it| it.split(','));
        let (mut open_metrics, mut plain) = (0, 0);
        for range in accepted {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or("").to_ascii_lowercase();
            let quality = parts.find_map(|it| it.strip_prefix("q=")).map(thousandths);
            let quality = quality.unwrap_or(1000);
            match &kind[..] {
                "application/openmetrics-text" => open_metrics = open_metrics.max(quality),
                "text/plain" | "text/*" => plain = plain.max(quality),
                _ => {}
            }
        }
        match plain > open_metrics {
            true => Format::Prometheus,
            false => Format::OpenMetrics,
        }
    }

    /// The content type of the format.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Makes a page in this format of one in OpenMetrics.
    pub(super) fn of_open_metrics(self, page: String) -> String {
        match self {
            Format::OpenMetrics => page,
            Format::Prometheus => prometheus(&page),
        }
    }
}

/// A quality value in thousandths; one that cannot be read counts as 0.
fn thousandths(quality: &str) -> u16 {
    let quality: f32 = quality.parse().unwrap_or(0.0);
    (quality.clamp(0.0, 1.0) * 1000.0) as u16
}

/// In the format of Prometheus a counter is declared with the name that its sample has, and there is no end mark.
fn prometheus(page: &str) -> String {
    let mut text = String::with_capacity(page.len() + 1024);
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" {
            break;
        }
        let declared = line.strip_prefix("# HELP ").map(|it| it.split_once(' '));
        let counter = match (declared, lines.peek()) {
            (Some(Some((name, help))), Some(next)) => {
                let is_counter = next.strip_prefix("# TYPE ") == Some(&format!("{name} counter"));
                is_counter.then_some((name, help))
            }
            _ => None,
        };
        match counter {
            Some((name, help)) => {
                lines.next();
                text.push_str(&format!(
                    "# HELP {name}_total {help}\n# TYPE {name}_total counter\n"
                ));
            }
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn who_asks_for_a_format_gets_it() {
        for (accept, wanted) in [
            ("", Format::OpenMetrics),
            ("*/*", Format::OpenMetrics),
            ("text/html, */*;q=0.8", Format::OpenMetrics),
            ("text/plain", Format::Prometheus),
            ("text/plain, */*", Format::Prometheus),
            ("text/*;q=0.3", Format::Prometheus),
            ("text/plain;q=0", Format::OpenMetrics),
            ("text/plain;version=0.0.4", Format::Prometheus),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                "text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.2",
                Format::Prometheus,
            ),
            (
                "application/openmetrics-text;q=0, text/plain",
                Format::Prometheus,
            ),
            (
                "application/openmetrics-text;q=x, text/plain;q=0.1",
                Format::Prometheus,
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(Format::wanted(&headers), wanted, "{accept}");
        }
        assert_eq!(Format::wanted(&HeaderMap::new()), Format::OpenMetrics);
    }

    #[test]
    fn only_counters_are_declared_otherwise() {
        let page = "# HELP a Things.\n# TYPE a counter\na_total 1\n# HELP b Level.\n# TYPE b gauge\nb 2\n# EOF\n";
        assert_eq!(
            Format::Prometheus.of_open_metrics(page.into()),
            "# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n# HELP b Level.\n# TYPE b gauge\nb 2\n"
        );
    }
}
