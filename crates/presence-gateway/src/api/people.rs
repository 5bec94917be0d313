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
    /// The page of `topic` that the query asks for: after so many people, or after one of them.
    pub(super) async fn page(app: &App, topic: Topic, query: &Query) -> Result<Self, Problem> {
        let (limit, offset) = slice(query)?;
        let request = RowsRequest {
            order: query.get("order").map(order).transpose()?,
            prefix: query.get("prefix").map(str::to_owned),
            after: None,
        };
        let order = request.order();
        let after = query.get("after");
        // One more than is shown, to know whether others follow.
        let mut page = if after.is_none() && order == Order::Joined && request.prefix.is_none() {
            app.hub.list(topic, offset, limit.saturating_add(1)).await?
        } else {
            if offset > 0 {
                let why = "is for the order `joined` without `after`";
                return Err(Refused::invalid("offset", why).into());
            }
            let request = match after {
                Some(after) => request.after_cursor(after)?,
                None => request,
            };
            let span = request.checked()?;
            app.hub.rows(topic, span, limit.saturating_add(1)).await?
        };
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
