//! A page of the people in a channel or a workspace.

use presence_core::{Order, Topic};
use presence_protocol::event::User;

use super::channels::slice;
use super::problem::Problem;
use super::shapes::Page;
use crate::app::App;
use crate::http::Query;
use crate::native::events::user_of;
use crate::request::Refused;
use crate::rows::{RowsRequest, cursor_of};

/// The people of a page, and what the page says of itself.
pub(super) struct People {
    users: Vec<User>,
    total: usize,
    limit: usize,
    offset: usize,
    next: Option<String>,
}

impl People {
    /// The page of `topic` that the query asks for.
    pub(super) async fn page(app: &App, topic: Topic, query: &Query) -> Result<Self, Problem> {
        let (limit, offset) = slice(query)?;
        let prefix = query.get("prefix").map(str::to_owned);
        let asked = query.get("order").map(order).transpose()?;
        let request = RowsRequest {
            // People with a prefix are always in the order of their names. OpenAPI cannot say that a parameter goes with one
            // value of another, so the order is ignored and not refused.
            order: asked.filter(|_| prefix.is_none()),
            prefix,
            after: None,
        };
        let order = request.order();
        let request = match query.get("after") {
            Some(after) => request.after_cursor(after)?,
            None => request,
        };
        let span = request.checked()?;
        // One more than is shown, to know whether others follow.
        let read = app.hub.rows(topic, span, offset, limit.saturating_add(1));
        let mut page = read.await?;
        let has_more = page.people.len() > limit;
        page.people.truncate(limit);
        let last = page.people.last().filter(|_| has_more);
        Ok(People {
            next: last.map(|it| cursor_of(order, it)),
            users: page.people.iter().map(|it| user_of(it)).collect(),
            total: page.total,
            limit,
            offset,
        })
    }

    /// The page as it is answered, where `shape` makes the JSON of a person.
    pub(super) fn shown<'a, T>(&'a self, shape: impl Fn(&'a User) -> T) -> Page<T> {
        Page {
            users: self.users.iter().map(shape).collect(),
            total: self.total,
            limit: self.limit,
            offset: self.offset,
            next: self.next.clone(),
        }
    }
}

fn order(word: &str) -> Result<Order, Refused> {
    word.parse().map_err(|_| {
        let words: Vec<_> = Order::ALL.iter().map(|it| it.as_str()).collect();
        Refused::invalid("order", format!("must be one of {}", words.join(", ")))
    })
}
