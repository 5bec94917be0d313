//! Ids that came as numbers.

/// The text of an id that came as a number: `42`, `42.0` and `4.2e1` are one id. `None` if it is not a whole number, or
/// if JavaScript would have rounded it (over 2^53) and it is not written as an integer.
pub(crate) fn whole_number(number: &serde_json::Number) -> Option<String> {
    /// All whole numbers up to this one are exact as floating-point numbers, too.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.is_u64() || number.is_i64() {
        return Some(number.to_string());
    }
    let number = number.as_f64()?;
    let is_whole = number.fract() == 0.0 && number.abs() <= EXACT_MAX;
    is_whole.then(|| (number as i64).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_id_however_it_is_written() {
        let id = |json: &str| whole_number(&serde_json::from_str(json).unwrap());
        for (json, text) in [
            ("42", "42"),
            ("42.0", "42"),
            ("4.2e1", "42"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("1000", "1000"),
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("-7.0", "-7"),
            ("18446744073709551615", "18446744073709551615"),
            ("9007199254740992.0", "9007199254740992"),
        ] {
            assert_eq!(id(json).as_deref(), Some(text), "{json}");
        }
        for json in ["1.5", "1e-3", "1e300", "1e17"] {
            assert_eq!(id(json), None, "{json}");
        }
    }
}
