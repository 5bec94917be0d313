//! The OpenAPI document, which describes the API.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use crate::http::{self, Answer};

const DOCUMENT: &str = include_str!("../../openapi.json");

/// Answers with the OpenAPI document.
pub(crate) fn document() -> Answer {
    let mut answer = http::text(StatusCode::OK, DOCUMENT);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A new release is seen at once.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes::ROUTES;
    use std::collections::BTreeSet;

    #[test]
    fn it_describes_every_route_and_nothing_else() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let paths = document["paths"].as_object().unwrap().iter();
        let described: BTreeSet<(String, String)> = paths
            .filter(|(path, _)| path.starts_with("/api/") || path.starts_with("/admin/"))
            .flat_map(|(path, operations)| {
                let methods = operations.as_object().unwrap().keys();
                let methods = methods.filter(|key| *key != "parameters");
                methods.map(|method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        let routed: BTreeSet<(String, String)> = ROUTES
            .iter()
            .flat_map(|route| {
                // HEAD follows from GET.
                let methods = route.methods.split(", ").filter(|it| *it != "HEAD");
                methods.map(|method| (route.path.to_owned(), method.to_owned()))
            })
            .collect();
        assert_eq!(described, routed);
    }

    fn pattern(pointer: &str) -> regex::Regex {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        let schema = document.pointer(&format!("/components/schemas/{pointer}/pattern"));
        regex::Regex::new(schema.unwrap().as_str().unwrap()).unwrap()
    }

    #[test]
    fn its_patterns_for_words_are_what_is_taken() {
        let event = pattern("Broadcast/properties/event");
        let message = pattern("StatusPut/properties/custom_message");
        let is_joined = |c| matches!(c, '\u{200c}' | '\u{200d}' | '\u{180b}'..='\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
        for c in ('\0'..'\u{20000}').chain('\u{e0000}'..'\u{e1000}') {
            for text in [format!("{c}"), format!("a{c}b"), format!("a{c}")] {
                let taken = crate::request::event_name(&text).is_ok();
                // What joins or selects is taken where it belongs, which a pattern cannot say.
                let fits = event.is_match(&text);
                assert!(
                    taken == fits || (taken && is_joined(c)),
                    "{text:?}: {taken}"
                );
                let taken = presence_core::checked_message(&text).is_ok();
                assert_eq!(taken, message.is_match(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn its_pattern_for_emoji_is_what_is_taken() {
        let emoji = pattern("StatusPatch/properties/emoji");
        assert_eq!(
            emoji.as_str(),
            pattern("StatusPut/properties/emoji").as_str()
        );
        let list = include_str!("../../../presence-core/tests/it/emoji-test.txt").lines();
        let list = list.filter(|it| !it.starts_with("# "));
        let others = [
            ":wave:",
            ":+1:",
            ":wave::skin-tone-3:",
            "",
            "::",
            ":a b:",
            ":wave::skin-tone-7:",
            "x",
            "1",
            "#",
            "§",
            "12→",
            "🎯🎯",
            "🎯x",
            "🏻",
            "🇩",
            "🇦🇦",
            "\u{200b}",
            "\u{202e}",
            "1\u{fe0f}",
            "❤\u{fe0e}",
        ];
        for text in list.chain(others) {
            let taken = presence_core::checked_emoji(text).is_ok();
            assert_eq!(emoji.is_match(text), taken, "{text:?}");
        }
    }
}
