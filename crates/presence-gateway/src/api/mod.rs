//! The HTTP API: presence for programs without a socket, and for services that act for users.

mod routes;

mod channels;
mod crowds;
mod explain;
mod lists;
mod operators;
mod overview;
mod people;
mod transitions;
mod users;

mod body;
mod explained;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod hostile;
mod problem;
mod process;
mod shapes;

mod cors;
mod openapi;

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;

pub(crate) use self::openapi::document;
use self::problem::Problem;
#[cfg(test)]
pub(crate) use self::routes::ROUTES;
pub(crate) use self::routes::pattern;
use crate::app::App;
use crate::http::Answer;

/// Answers one request. Also returns the name of its route in the metrics.
pub(crate) async fn answer(app: &Arc<App>, request: Request<Incoming>) -> (&'static str, Answer) {
    let page = match cors::page(app, request.headers()) {
        Ok(page) => page,
        Err(refused) => return ("api", Problem::from(refused).into()),
    };
    if cors::is_preflight(&request) {
        return ("api_preflight", cors::preflight(page));
    }
    let (name, outcome) = routes::answer(app, request).await;
    let answer = outcome.unwrap_or_else(Answer::from);
    (name, cors::readable(answer, page))
}
