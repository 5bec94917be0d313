//! The HTTP API.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use crate::app::App;
use crate::http::{self, Answer};

pub(crate) async fn answer(_: &Arc<App>, _: Request<Incoming>) -> (&'static str, Answer) {
    ("api", http::text(StatusCode::NOT_IMPLEMENTED, "not yet"))
}

pub(crate) fn document() -> Answer {
    http::text(StatusCode::NOT_IMPLEMENTED, "not yet")
}
