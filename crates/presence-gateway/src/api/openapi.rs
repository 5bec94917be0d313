//! The document that describes the API.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use crate::http::{self, Answer};

const DOCUMENT: &str = include_str!("../../openapi.json");

/// The document.
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
            .filter(|(path, _)| path.starts_with("/api/"))
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
}
