//! The colours that users choose for themselves.

/// The longest text that is parsed, in bytes: `color-mix` of two computed colours is shorter.
const BYTES_MAX: usize = 128;

/// A CSS colour as `#rrggbb`, or `#rrggbbaa` if it is translucent. Pages put it into style sheets and
/// attributes, so nothing else may get there. `None` if `text` is not a colour, or is one that depends on the
/// page (`currentcolor`, `var(…)`).
pub(crate) fn canonical(text: &str) -> Option<String> {
    let text = text.trim_matches([' ', '\t']);
    // The crate also accepts hexadecimal digits without `#`, and `hsv(…)`: neither is CSS.
    let is_css = text.starts_with('#')
        || (!text.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !text
                .get(..3)
                .is_some_and(|it| it.eq_ignore_ascii_case("hsv")));
    if text.len() > BYTES_MAX || !text.is_ascii() || !is_css {
        return None;
    }
    let color = csscolorparser::parse(text).ok()?;
    let is_finite = [color.r, color.g, color.b, color.a]
        .iter()
        .all(|it| it.is_finite());
    is_finite.then(|| color.to_css_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_color_is_written_in_one_way() {
        for (text, hex) in [
            ("#123456", "#123456"),
            ("#ABC", "#aabbcc"),
            ("#abcf", "#aabbcc"),
            ("#11223344", "#11223344"),
            (" Tomato ", "#ff6347"),
            ("rebeccapurple", "#663399"),
            ("transparent", "#00000000"),
            ("rgb(1, 2, 3)", "#010203"),
            ("rgb(100% 0% 0% / 50%)", "#ff000080"),
            ("RGBA(255,0,0,1)", "#ff0000"),
            ("hsl(120deg 50% 50%)", "#40bf40"),
            ("hwb(90 10% 10%)", "#7fe61a"),
            ("oklch(60% 0.1 20)", "#b46767"),
            ("rgb(300, -1, 0)", "#ff0000"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(hex), "{text}");
            assert_eq!(canonical(hex).as_deref(), Some(hex), "again: {text}");
        }
    }

    #[test]
    fn what_is_no_color_is_none() {
        for text in [
            "",
            " ",
            "#",
            "#12",
            "#12345",
            "#ggg",
            "abc",
            "123456",
            "hsv(1,2,3)",
            "currentColor",
            "inherit",
            "var(--x)",
            "url(//evil.example/x)",
            "expression(alert(1))",
            "red;background:url(x)",
            "red}",
            "#fff\"",
            "re\u{200b}d",
            "\u{ff03}fff",
            "rgb(nan,0,0)",
            "rgb(1e400,0,0)",
            "rgb(infinity 0 0)",
            "rgb(1,2,3",
            "rgb(1,2,3))",
            "rgb()",
            "javascript:alert(1)",
            "blue-500",
            "red\n\u{0}",
            "r\u{0}ed",
        ] {
            assert_eq!(canonical(text), None, "{text:?}");
        }
        assert_eq!(canonical(&format!("rgb({})", "1 ".repeat(10_000))), None);
        assert_eq!(canonical(&"rgb(from ".repeat(10)), None);
    }
}
