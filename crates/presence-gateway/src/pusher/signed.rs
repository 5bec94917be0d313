//! The data about a user that an application's server signs.

use std::sync::Arc;

use presence_core::{META_BYTES_MAX, Timestamp, UserId, WorkspaceId};
use presence_protocol::{ErrorCode, Json};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use crate::config::PusherApp;
use crate::identity::{Identity, Scopes, WORKSPACES_MAX, shown_name};
use crate::numbers::whole_number;
use crate::pusher_names::{channels_of, user_of};
use crate::request::{self, Refused};

/// The longest `channel_data` or `user_data`, in bytes.
const DATA_BYTES_MAX: usize = 2 * META_BYTES_MAX;

/// A user, as their application's server has signed it.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) user: UserId,
    /// The `user_info`, a JSON object.
    pub(super) info: Arc<str>,
    pub(super) workspaces: Vec<WorkspaceId>,
}

#[derive(Deserialize)]
struct ChannelData {
    user_id: Value,
    user_info: Option<Json>,
    /// A field of ours beside Pusher's. A client that means something else by its name is let in all the same.
    #[serde(default)]
    workspaces: Value,
}

#[derive(Deserialize)]
struct UserData {
    id: Value,
    user_info: Option<Json>,
    #[serde(default)]
    watchlist: Vec<Value>,
    #[serde(default)]
    workspaces: Value,
}

impl Signed {
    /// Reads the user of `channel_data`.
    pub(super) fn for_channel(app: &PusherApp, data: &str) -> Result<Signed, Refused> {
        let data: ChannelData = read("channel_data", data)?;
        let user = user("user_id", app, &data.user_id)?;
        Signed::new(user, data.user_info, &data.workspaces)
    }

    /// Reads the user of `user_data`, and their watchlist.
    pub(super) fn for_user(
        app: &PusherApp,
        data: &str,
    ) -> Result<(Signed, Vec<UserId>, usize), Refused> {
        let data: UserData = read("user_data", data)?;
        if !data.id.is_string() {
            return Err(Refused::invalid("id", "must be a string")); // or pusher-js does not take it
        }
        let id = user("id", app, &data.id)?;
        let wanted = data.watchlist.len();
        let known = data.watchlist.iter().take(super::watchlist::WATCHLIST_MAX);
        let known = known.filter_map(|it| user("watchlist", app, it).ok());
        let watchlist = known.collect();
        Ok((
            Signed::new(id, data.user_info, &data.workspaces)?,
            watchlist,
            wanted,
        ))
    }

    fn new(user: UserId, info: Option<Json>, workspaces: &Value) -> Result<Signed, Refused> {
        let info = info.map_or_else(|| "{}".into(), Json::into_text);
        if !info.starts_with('{') {
            return Err(Refused::invalid("user_info", "must be an object"));
        }
        if info.len() > META_BYTES_MAX {
            let message = format!("user_info must be at most {META_BYTES_MAX} bytes");
            return Err(Refused::new(ErrorCode::TooLarge, message));
        }
        let workspaces = workspaces.as_array().into_iter().flatten();
        let workspaces = workspaces.filter_map(|id| WorkspaceId::new(id.as_str()?).ok());
        Ok(Signed {
            user,
            info,
            workspaces: workspaces.take(WORKSPACES_MAX).collect(),
        })
    }

    /// The identity of the user, who is let in at `since`. No signature is older, because each is for
    /// one connection only.
    pub(super) fn identity(&self, app: &PusherApp, since: Timestamp) -> Identity {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let named: Option<Named> = serde_json::from_str(&self.info).ok();
        Identity {
            name: named.and_then(|it| shown_name(&it.name)),
            workspaces: self.workspaces.clone(),
            ..identity(app, self.user.clone(), since)
        }
    }
}

/// The identity of a user of an application, with the scopes of an ordinary user. Signatures say which channels
/// they may join.
pub(super) fn identity(app: &PusherApp, user: UserId, since: Timestamp) -> Identity {
    Identity {
        user,
        name: None,
        device: None,
        workspaces: Vec::new(),
        channels: channels_of(app),
        scopes: Scopes::of_a_user(),
        issued_at: Some(since),
        expires_at: None,
        // Each channel's signed data say the name there.
        open: true,
    }
}

fn read<T: DeserializeOwned>(field: &str, data: &str) -> Result<T, Refused> {
    if data.len() > DATA_BYTES_MAX {
        let message = format!("{field} must be at most {DATA_BYTES_MAX} bytes");
        return Err(Refused::new(ErrorCode::TooLarge, message));
    }
    let invalid = |error: serde_json::Error| {
        Refused::invalid(field, format!("is not as it should be: {error}"))
    };
    // All of it: what is kept as a text is sent on as it is.
    let data = request::json(data, field)?;
    serde_json::from_str(&data).map_err(invalid)
}

/// A small number that is not whole, as a text. Large ones are rounded when they are read, so that two of them could be one id.
fn fraction(number: &Number) -> Option<String> {
    let is_small = number
        .as_f64()
        .is_some_and(|it| it.fract() != 0.0 && it.abs() < 1e9);
    is_small.then(|| number.to_string())
}

/// Reads the id of a user, which is a text or a number.
fn user(field: &str, app: &PusherApp, id: &Value) -> Result<UserId, Refused> {
    let id = match id {
        Value::String(text) => text.clone(),
        Value::Number(number) => whole_number(number)
            .or_else(|| fraction(number))
            .ok_or_else(|| {
                Refused::invalid(field, "is a number that is not exact: say it as a string")
            })?,
        _ => return Err(Refused::invalid(field, "must be a string or a number")),
    };
    user_of(app, &id).map_err(|why| Refused::invalid(field, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn an_id_is_a_text_or_a_number_and_info_an_object_of_some_size() {
        let read = |data: &str| Signed::for_channel(&app(), data);
        for (number, user) in [
            ("10", "10"),
            ("10.0", "10"),
            ("1e3", "1000"),
            ("-0", "0"),
            ("1.5", "1.5"),
            ("1.50", "1.5"),
            ("9007199254740993", "9007199254740993"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            let data = format!(r#"{{"user_id":{number}}}"#);
            assert_eq!(read(&data).unwrap().user.as_str(), user, "{number}");
        }
        let ann = read(r#"{"user_id":"ann","user_info":{"name": "Ann"},"x":1}"#).unwrap();
        assert_eq!(
            (ann.user.as_str(), &*ann.info),
            ("ann", r#"{"name": "Ann"}"#)
        );
        let big = format!(
            r#"{{"user_id":"a","user_info":{{"x":"{}"}}}}"#,
            "x".repeat(4089)
        );
        assert_eq!(read(&big).unwrap_err().code, ErrorCode::TooLarge);
        assert!(read(&big.replace("xxx", "xx")).is_ok());
        let huge = format!(r#"{{"user_id":"a","x":"{}"}}"#, "x".repeat(8192));
        assert_eq!(read(&huge).unwrap_err().code, ErrorCode::TooLarge);
        for bad in [
            "",
            "7",
            "{}",
            r#"{"user_id":null}"#,
            r#"{"user_id":""}"#,
            r#"{"user_id":true}"#,
            r#"{"user_id":1e18}"#,
            r#"{"user_id":9007199254740993.0}"#,
            r#"{"user_id":18446744073709551616}"#,
            r#"{"user_id":123456789012345678901234567890}"#,
            r#"{"user_id":"__proto__"}"#,
            r#"{"user_id":"toString"}"#,
            r#"{"user_id":"__defineGetter__"}"#,
            r#"{"user_id":"a","user_info":"text"}"#,
            r#"{"user_id":"a","user_info":{"n":1e400}}"#,
            r#"{"user_id":"pusher/7/a"}"#,
        ] {
            assert_eq!(read(bad).unwrap_err().code, ErrorCode::Invalid, "{bad}");
        }
    }

    #[test]
    fn who_signs_in_has_a_text_for_an_id_and_a_list_of_others() {
        let read = |data: &str| Signed::for_user(&app(), data);
        let data = r#"{"id":"ann","watchlist":["bob",7.0,"a b",null],"workspaces":["acme",1]}"#;
        let (ann, watchlist, wanted) = read(data).unwrap();
        let watchlist: Vec<&str> = watchlist.iter().map(UserId::as_str).collect();
        assert_eq!((watchlist, wanted), (vec!["bob", "7"], 4));
        assert_eq!(ann.workspaces, [WorkspaceId::new("acme").unwrap()]);
        assert!(read(r#"{"id":"ann","workspaces":"of another kind"}"#).is_ok());
        for bad in [
            "{}",
            r#"{"id":7}"#,
            r#"{"id":""}"#,
            r#"{"id":"a","watchlist":7}"#,
        ] {
            assert_eq!(read(bad).unwrap_err().code, ErrorCode::Invalid, "{bad}");
        }
    }

    fn app() -> PusherApp {
        PusherApp {
            id: "3".into(),
            key: "key".into(),
            secret: Secret::new("secret"),
            meets_others: true,
        }
    }
}
