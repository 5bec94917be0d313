//! The messages about the cursors of a document.

use presence_core::{Cursor, Person, SessionId};
use serde::Serialize;
use serde_json::json;

use super::messages::data;
use super::roster::{color_of_person, name_of};
use super::tails::{For, Tails};

/// Adds a cursor's change for everybody but the session that it belongs to.
pub(super) fn point(
    tails: &mut Tails,
    cursor: &Cursor,
    person: &Person,
    pointed: bool,
    selected: bool,
) {
    let session = hexadecimal(cursor.alias);
    let whose = |type_| Whose {
        type_,
        user_id: person.user.as_str(),
        user_name: name_of(person),
        user_color: color_of_person(person),
        session: &session,
    };
    if let Some(pointer) = cursor.pointer.filter(|_| pointed) {
        let text = data(&Moved {
            whose: whose("cursor_move"),
            x: pointer.x,
            y: pointer.y,
            visible: pointer.visible,
        });
        tails.push(For::Curious, Some(cursor.session), &text);
    }
    if selected {
        let text = data(&Selected {
            whose: whose("selection"),
            start: cursor.selection.map(|it| it.start),
            end: cursor.selection.map(|it| it.end),
        });
        tails.push(For::Curious, Some(cursor.session), &text);
    }
}

#[derive(Serialize)]
struct Whose<'a> {
    #[serde(rename = "type")]
    type_: &'static str,
    user_id: &'a str,
    user_name: &'a str,
    user_color: &'a str,
    session: &'a str,
}

#[derive(Serialize)]
struct Moved<'a> {
    #[serde(flatten)]
    whose: Whose<'a>,
    x: f64,
    y: f64,
    visible: bool,
}

#[derive(Serialize)]
struct Selected<'a> {
    #[serde(flatten)]
    whose: Whose<'a>,
    start: Option<u64>,
    end: Option<u64>,
}

/// The rest of the message about a cursor that is gone.
pub(super) fn gone(session: SessionId) -> String {
    let session = hexadecimal(session);
    data(&json!({ "type": "cursor_gone", "session": session }))
}

fn hexadecimal(session: SessionId) -> String {
    format!("{:032x}", session.as_u128())
}
