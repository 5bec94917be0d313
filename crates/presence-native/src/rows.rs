//! Checks which rows of a roster a request asks for, in whichever protocol.

use presence_core::{
    Order, Person, SORTED_NAME_BYTES_MAX, Span, Timestamp, WINDOW_ROWS_MAX, Window,
};

use crate::request::{self, Refused};

/// Where rows begin and in which order they are, not yet checked.
#[derive(Clone, Debug, Default)]
pub struct RowsRequest {
    pub order: Option<Order>,
    pub prefix: Option<String>,
    pub after: Option<AfterRequest>,
}

/// The place of the last row before those that are asked for, not yet checked.
#[derive(Clone, Debug, Default)]
pub struct AfterRequest {
    pub joined_at: Option<u64>,
    pub name: Option<String>,
    pub user_id: Option<String>,
}

/// The place of `person` in `order` as one text, from which a later page goes on.
pub fn cursor_of(order: Order, person: &Person) -> String {
    match order {
        Order::Joined => format!("{}.{}", person.joined_at.as_millis(), person.user),
        Order::Name => format!("{} {}", person.user, person.sorted_name()),
    }
}

impl AfterRequest {
    /// The place that a text of [`cursor_of`] says.
    fn of_cursor(order: Order, text: &str) -> Option<Self> {
        let (joined_at, name, user) = match order {
            Order::Joined => {
                let (joined_at, user) = text.split_once('.')?;
                (Some(joined_at.parse().ok()?), None, user)
            }
            Order::Name => {
                let (user, name) = text.split_once(' ')?;
                (None, Some(name.to_owned()), user)
            }
        };
        Some(AfterRequest {
            joined_at,
            name,
            user_id: Some(user.to_owned()),
        })
    }
}

impl RowsRequest {
    /// Lets the rows begin after the place that a text of [`cursor_of`] says.
    pub fn after_cursor(self, text: &str) -> Result<Self, Refused> {
        let wrong = || Refused::invalid("after", "must be the `next` of a page in the same order");
        let after = AfterRequest::of_cursor(self.order(), text).ok_or_else(wrong)?;
        let request = RowsRequest {
            after: Some(after),
            ..self
        };
        // The text is one field, so what is wrong in it is wrong with the field.
        let is_about = |why: Refused| why.field.is_some_and(|it| it.starts_with("after"));
        match request.clone().checked().is_err_and(is_about) {
            true => Err(wrong()),
            false => Ok(request),
        }
    }

    /// The order of the rows.
    pub fn order(&self) -> Order {
        self.order.unwrap_or(match &self.prefix {
            Some(_) => Order::Name,
            None => Order::Joined,
        })
    }

    /// The rows that it asks for, checked.
    pub fn checked(self) -> Result<Span, Refused> {
        let order = self.order();
        if let Some(prefix) = &self.prefix {
            check_name("prefix", prefix)?;
            if order != Order::Name {
                let why = "goes with the order `name` only";
                return Err(Refused::invalid("prefix", why));
            }
        }
        let prefix = self.prefix.unwrap_or_default();
        let Some(after) = self.after else {
            return Ok(match order {
                Order::Joined => Span::joined(None),
                Order::Name => Span::named(&prefix, None),
            });
        };
        let AfterRequest {
            joined_at,
            name,
            user_id,
        } = after;
        let user = user_id.map(|it| request::id("after.user_id", &it));
        let user = user.transpose()?;
        let missing = |field| Refused::invalid(field, "is missing");
        match order {
            Order::Joined => {
                if name.is_some() {
                    let why = "goes with the order `name` only";
                    return Err(Refused::invalid("after.name", why));
                }
                let joined_at = joined_at.ok_or_else(|| missing("after.joined_at"))?;
                let user = user.ok_or_else(|| missing("after.user_id"))?;
                Ok(Span::joined(Some((
                    Timestamp::from_millis(joined_at),
                    user,
                ))))
            }
            Order::Name => {
                if joined_at.is_some() {
                    let why = "goes with the order `joined` only";
                    return Err(Refused::invalid("after.joined_at", why));
                }
                let name = name.ok_or_else(|| missing("after.name"))?;
                check_name("after.name", &name)?;
                Ok(Span::named(&prefix, Some((&name, user))))
            }
        }
    }

    /// The window of `limit` rows that it asks for, checked.
    pub fn window(self, limit: Option<u64>) -> Result<Window, Refused> {
        let rows = limit.map_or(Some(WINDOW_ROWS_MAX), |it| usize::try_from(it).ok());
        let span = self.checked()?;
        rows.and_then(|rows| Window::new(span, rows))
            .ok_or_else(|| Refused::invalid("limit", format!("must be 1 to {WINDOW_ROWS_MAX}")))
    }
}

/// Checks a name or the beginning of one. It must not be longer than [`SORTED_NAME_BYTES_MAX`], because people are
/// sorted by no more than that.
fn check_name(field: &str, name: &str) -> Result<(), Refused> {
    match name.len() <= SORTED_NAME_BYTES_MAX {
        true => Ok(()),
        false => {
            let why = format!("must be at most {SORTED_NAME_BYTES_MAX} bytes");
            Err(Refused::invalid(field, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use presence_core::UserId;

    fn refused(request: RowsRequest) -> String {
        request.checked().unwrap_err().message
    }

    fn after(joined_at: Option<u64>, name: Option<&str>, user: Option<&str>) -> RowsRequest {
        RowsRequest {
            after: Some(AfterRequest {
                joined_at,
                name: name.map(str::to_owned),
                user_id: user.map(str::to_owned),
            }),
            ..RowsRequest::default()
        }
    }

    #[test]
    fn what_does_not_fit_the_order_is_refused_and_the_field_named() {
        let joined = |request| RowsRequest {
            order: Some(Order::Joined),
            ..request
        };
        let named = |request| RowsRequest {
            order: Some(Order::Name),
            ..request
        };
        let prefix = |text: &str| RowsRequest {
            prefix: Some(text.to_owned()),
            ..RowsRequest::default()
        };
        let only = "goes with the order `name` only";
        assert_eq!(refused(joined(prefix("a"))), format!("prefix {only}"));
        assert_eq!(
            refused(after(None, Some("a"), None)),
            format!("after.name {only}")
        );
        assert_eq!(
            refused(after(None, None, Some("a"))),
            "after.joined_at is missing"
        );
        assert_eq!(
            refused(after(Some(1), None, None)),
            "after.user_id is missing"
        );
        assert_eq!(
            refused(named(after(None, None, Some("a")))),
            "after.name is missing"
        );
        let error = "after.joined_at goes with the order `joined` only";
        assert_eq!(refused(named(after(Some(1), Some("a"), None))), error);
        assert!(refused(after(Some(1), None, Some("a b"))).starts_with("after.user_id"));
        let max = SORTED_NAME_BYTES_MAX;
        let error = format!("prefix must be at most {max} bytes");
        assert_eq!(refused(prefix(&"x".repeat(max + 1))), error);
        assert!(prefix(&"x".repeat(max)).checked().is_ok());
    }

    #[test]
    fn a_prefix_is_of_names_and_without_one_people_are_in_the_order_they_came() {
        let request = RowsRequest {
            prefix: Some("An".to_owned()),
            ..RowsRequest::default()
        };
        assert_eq!(request.checked(), Ok(Span::named("an", None)));
        assert_eq!(RowsRequest::default().checked(), Ok(Span::default()));
        let ann = UserId::new("ann").unwrap();
        let joined = Span::joined(Some((Timestamp::from_millis(7), ann)));
        assert_eq!(after(Some(7), None, Some("ann")).checked(), Ok(joined));
    }

    #[test]
    fn a_window_has_one_to_fifty_rows() {
        let window = |limit| RowsRequest::default().window(limit);
        assert_eq!(window(None).unwrap().rows(), WINDOW_ROWS_MAX);
        assert_eq!(window(Some(1)).unwrap().rows(), 1);
        for limit in [0, 51, u64::MAX] {
            let why = window(Some(limit)).unwrap_err();
            assert_eq!(why.message, "limit must be 1 to 50");
        }
    }
}
