//! What was measured, and whether it is as promised.

use std::collections::BTreeMap;
use std::time::Duration;

/// One number that a run has measured.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// Which invariant it is about; empty if it is only of interest.
    pub(crate) invariant: &'static str,
    /// What was measured, in words.
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// The most that it may be.
    pub(crate) most: Option<f64>,
    /// Where to look if it is more.
    pub(crate) example: String,
}

impl Figure {
    /// A number without a bound, which cannot fail.
    pub(crate) fn of_interest(what: impl Into<String>, value: f64, unit: &'static str) -> Figure {
        Figure {
            invariant: "",
            what: what.into(),
            value,
            unit,
            most: None,
            example: String::new(),
        }
    }

    /// One that may be so much at most.
    pub(crate) fn at_most(
        invariant: &'static str,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        most: f64,
    ) -> Figure {
        Figure {
            invariant,
            most: Some(most),
            ..Figure::of_interest(what, value, unit)
        }
    }

    /// A count that must be 0.
    pub(crate) fn never(invariant: &'static str, what: impl Into<String>, count: usize) -> Figure {
        Figure::at_most(invariant, what, count as f64, "", 0.0)
    }

    /// Adds an example of what was counted.
    pub(crate) fn such_as(self, example: String) -> Figure {
        Figure { example, ..self }
    }

    /// A bound of a time leaves room for what the machine added to it.
    pub(crate) fn widened(self, slack: Duration) -> Figure {
        let slack = match self.unit {
            "s" => slack.as_secs_f64(),
            "ms" => slack.as_secs_f64() * 1000.0,
            _ => 0.0,
        };
        let most = self.most.map(|most| most + slack);
        Figure { most, ..self }
    }

    /// Whether the number is within its bound.
    pub(crate) fn holds(&self) -> bool {
        // Not a number is not as promised.
        self.most.is_none_or(|most| self.value <= most)
    }
}

/// The report as text: one line for each figure.
pub(crate) fn table(figures: &[Figure]) -> String {
    let width = figures
        .iter()
        .map(|it| it.what.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for it in figures {
        let value = format!("{:>9} {:<5}", number(it.value), it.unit);
        let verdict = match (it.most, it.holds()) {
            (None, _) => String::new(),
            (Some(most), true) => format!("ok, at most {}", number(most)),
            (Some(most), false) => format!("BROKEN, at most {}", number(most)),
        };
        let line = format!(
            "  {:<2}  {:<width$}  {value}  {verdict}",
            it.invariant, it.what
        );
        text += line.trim_end();
        text.push('\n');
        let is_of_note = it.most.is_none() || !it.holds();
        if is_of_note && !it.example.is_empty() {
            text += &format!("      such as {}\n", it.example);
        }
    }
    text
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 && value.abs() < 1e9 => format!("{value:.0}"),
        it if it < 10.0 => format!("{value:.2}"),
        it if it < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The value below which that part of `values` is; nothing of nothing.
pub(crate) fn percentile(values: &mut [f64], part: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let index = (last as f64 * part).round() as usize;
    values.get(index).copied()
}

/// How often which reason was given, without who it was given to.
pub(crate) fn by_reason(refusals: &[String]) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for refusal in refusals {
        let (_, reason) = refusal.split_once(' ').unwrap_or(("", refusal));
        *reasons.entry(reason).or_default() += 1;
    }
    let reasons = reasons
        .iter()
        .map(|(reason, count)| format!("{count} x {reason}"));
    reasons.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_is_broken_and_where_to_look() {
        let figures = [
            Figure::of_interest("clients", 4500.0, ""),
            Figure::at_most("I1", "pictures right again", 1.5, "s", 10.0),
            Figure::never("I4", "shown leaving", 2).such_as("u7 in room:1".to_owned()),
        ];
        let table = table(&figures);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines,
            [
                "      clients                    4500",
                "  I1  pictures right again       1.50 s      ok, at most 10",
                "  I4  shown leaving                 2        BROKEN, at most 0",
                "      such as u7 in room:1",
            ]
        );
        assert!(!figures[2].holds());
    }

    #[test]
    fn what_could_not_be_measured_does_not_hold() {
        assert!(!Figure::at_most("I1", "p99", f64::NAN, "ms", 10.0).holds());
        assert!(!Figure::at_most("I1", "p99", f64::INFINITY, "ms", 10.0).holds());
    }

    #[test]
    fn what_the_machine_adds_counts_for_times_only() {
        let slack = Duration::from_millis(20);
        let most = |unit| {
            Figure::at_most("I1", "p99", 0.0, unit, 10.0)
                .widened(slack)
                .most
        };
        assert_eq!(most("ms"), Some(30.0));
        assert_eq!(most("s"), Some(10.02));
        assert_eq!(most("MB"), Some(10.0));
        assert_eq!(
            Figure::never("I2", "told twice", 1).widened(slack).most,
            Some(0.0)
        );
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.5), Some(51.0));
        assert_eq!(percentile(&mut values, 0.99), Some(99.0));
        assert_eq!(percentile(&mut [], 0.5), None);
    }
}
