//! Moments as a person reads them, always in UTC.

use crate::Timestamp;

/// A moment in the form of RFC 3339, in UTC and with milliseconds: `2026-11-29T14:03:10.250Z`.
pub fn rfc3339(moment: Timestamp) -> String {
    let millis = moment.as_millis();
    let (days, rest) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = date(days);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, millis) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The time of a moment as seen from `now`: `14:03:10`, or with the date if that is another day.
pub fn clock_time(now: Timestamp, moment: Timestamp) -> String {
    let text = rfc3339(moment);
    let is_today = now.as_millis() / 86_400_000 == moment.as_millis() / 86_400_000;
    match (is_today, text.split_once('T')) {
        (true, Some((_, time))) => time[..8].to_owned(),
        (false, Some((date, time))) => format!("{date} {}", &time[..8]),
        (_, None) => text,
    }
}

/// The date of a day, counted from the first of January 1970: Howard Hinnant's `civil_from_days`.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_utc() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_764_425_000_250, "2025-11-29T14:03:20.250Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Timestamp::from_millis(millis)), text);
        }
    }

    #[test]
    fn the_date_is_said_where_it_is_another_day() {
        let now = Timestamp::from_millis(1_764_425_000_250);
        assert_eq!(clock_time(now, now), "14:03:20");
        let before = Timestamp::from_millis(1_764_374_399_000);
        assert_eq!(clock_time(now, before), "2025-11-28 23:59:59");
    }
}
