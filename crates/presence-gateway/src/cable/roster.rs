//! Encodes the roster of a room, for clients that read lists and for clients that read changes.

use std::fmt::Write as _;
use std::sync::Arc;

use presence_core::{Change, Person, color_of};
use serde::Serialize;
use serde_json::json;

use super::messages::data;
use super::tails::{For, Tails};

/// The most names in all lists of the messages of one tick. Beyond that, only the last message has lists.
const NAMES_MAX: usize = 1000;

/// The beginning of a room's state for a user who has just joined: it reports their own join, too.
pub(super) fn joined(person: &Person) -> String {
    let user = serde_json::to_string(&User::of(person)).expect("a user can be written");
    format!("\"action\":\"user_joined\",\"user\":{user},")
}

/// A person in a roster. Some clients read `avatar`, others read `avatar_url`.
#[derive(PartialEq, Serialize)]
struct User<'a> {
    id: &'a str,
    name: &'a str,
    avatar: Option<&'a str>,
    avatar_url: Option<&'a str>,
    color: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emoji: Option<&'a str>,
}

impl<'a> User<'a> {
    fn of(person: &'a Person) -> Self {
        let avatar = person.newest(|meta| meta.avatar()).map(|it| &**it);
        let look = person.look();
        User {
            id: person.user.as_str(),
            name: name_of(person),
            avatar,
            avatar_url: avatar,
            color: color_of_person(person),
            status: look.status.as_str(),
            custom_message: look.message.as_deref(),
            emoji: look.emoji.as_deref(),
        }
    }
}

/// The name of a person: their id, if no meta has a name.
pub(super) fn name_of(person: &Person) -> &str {
    let name = person.newest(|meta| meta.name());
    name.map_or(person.user.as_str(), |it| it)
}

/// The colour of a person: derived from their id, if no meta has one.
pub(super) fn color_of_person(person: &Person) -> &str {
    let color = person.newest(|meta| meta.color());
    color.map_or(color_of(&person.user), |it| it)
}

fn users(people: &[Arc<Person>]) -> Vec<User<'_>> {
    people.iter().map(|it| User::of(it)).collect()
}

fn ids(people: &[Arc<Person>]) -> Vec<&str> {
    people.iter().map(|it| it.user.as_str()).collect()
}

/// The lists that both kinds of client want, without the braces around them.
fn lists(people: &[Arc<Person>]) -> String {
    #[derive(Serialize)]
    struct Lists<'a> {
        users: Vec<User<'a>>,
        count: usize,
        member_ids: Vec<&'a str>,
        member_count: usize,
    }
    let lists = Lists {
        users: users(people),
        count: people.len(),
        member_ids: ids(people),
        member_count: people.len(),
    };
    let text = serde_json::to_string(&lists).expect("lists can be written");
    text[1..text.len() - 1].to_owned()
}

/// Adds one message for each change that is visible in this dialect.
pub(super) fn change(tails: &mut Tails, changes: &[Change], everyone: &[Arc<Person>]) {
    let seen = changes.iter().filter_map(|change| match change {
        Change::Joined(person) => Some(("user_joined", person)),
        Change::Left { person, .. } => Some(("user_left", person)),
        // A change such as a second tab is not visible in this dialect.
        Change::Updated { from, to } if User::of(from) == User::of(to) => None,
        Change::Updated { to, .. } => Some(("user_updated", to)),
    });
    let seen: Vec<(&str, &Arc<Person>)> = seen.collect();
    if seen.is_empty() {
        return;
    }
    let lists = lists(everyone);
    let fits = seen.len() * everyone.len() <= NAMES_MAX;
    for (index, (action, person)) in seen.iter().enumerate() {
        let user = serde_json::to_string(&User::of(person)).expect("a user can be written");
        let mut text = format!(",\"message\":{{\"action\":\"{action}\",\"user\":{user},");
        let written = match fits || index + 1 == seen.len() {
            true => write!(text, "\"type\":\"presence_update\",{lists}}}}}"),
            false => write!(text, "\"member_count\":{}}}}}", everyone.len()),
        };
        written.expect("writing to memory does not fail");
        tails.push(For::All, None, &text);
    }
}

/// The rest of the message with the whole state of a room, after the beginning that each connection adds.
pub(super) fn state(people: &[Arc<Person>]) -> String {
    format!("\"type\":\"presence_update\",{}}}}}", lists(people))
}

/// The message about a big room.
pub(super) fn summary(count: usize, sample: &[Arc<Person>]) -> String {
    data(&json!({
        "type": "presence_update",
        "users": users(sample),
        "count": count,
        "member_ids": ids(sample),
        "member_count": count,
        "summary": true,
    }))
}

#[cfg(test)]
mod tests {
    use presence_core::{
        DeviceKind, Look, Member, Meta, Reason, SessionId, Shown, Timestamp, UserId, Visible,
    };
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_message_has_lists_where_they_are_short_and_the_last_one_always() {
        for (changes, people, lists) in [(3, 300, 3), (4, 300, 1), (1, 500, 1), (500, 500, 1)] {
            let everyone: Vec<_> = (0..people).map(|n| person(n, "")).collect();
            let joined = everyone.iter().take(changes).cloned();
            let joined: Vec<_> = joined.map(Change::Joined).collect();
            let told = told(&joined, &everyone);
            assert_eq!(told.len(), changes);
            let listed = |it: &&Value| it["users"].as_array().is_some_and(|it| it.len() == people);
            assert_eq!(told.iter().filter(listed).count(), lists);
            assert!(told.last().as_ref().is_some_and(listed));
            for it in &told {
                assert_eq!(
                    (&it["action"], &it["member_count"]),
                    (&json!("user_joined"), &json!(people))
                );
            }
        }
    }

    #[test]
    fn what_nobody_can_see_is_no_message_and_who_left_is_shown_as_they_were() {
        let [before, same, renamed] = [person(1, "A"), person(1, "A"), person(1, "B")];
        let update = |to: &Arc<Person>| Change::Updated {
            from: before.clone(),
            to: to.clone(),
        };
        assert_eq!(told(&[update(&same)], &[same]), [] as [Value; 0]);
        let told_of = told(&[update(&renamed)], std::slice::from_ref(&renamed));
        assert_eq!(
            (&told_of[0]["action"], &told_of[0]["user"]["name"]),
            (&json!("user_updated"), &json!("B"))
        );
        let reason = Reason::Lost;
        let left = Change::Left {
            person: renamed,
            reason,
        };
        let told_of = told(&[left], &[]);
        assert_eq!(
            (&told_of[0]["action"], &told_of[0]["user"]["name"]),
            (&json!("user_left"), &json!("B"))
        );
        assert_eq!(
            (&told_of[0]["users"], &told_of[0]["count"]),
            (&json!([]), &json!(0))
        );
    }

    fn told(changes: &[Change], everyone: &[Arc<Person>]) -> Vec<Value> {
        let mut tails = Tails::default();
        change(&mut tails, changes, everyone);
        let tails = tails.into_bytes();
        let messages = Tails::of(&tails).map(|tail| {
            let text = [b"{\"identifier\":\"x\"", &tail.text[..]].concat();
            let message: Value = serde_json::from_slice(&text).unwrap();
            message["message"].clone()
        });
        messages.collect()
    }

    fn person(number: usize, name: &str) -> Arc<Person> {
        let user: UserId = format!("user-{number}").parse().unwrap();
        let look = Look {
            status: Visible::Online,
            message: None,
            emoji: None,
        };
        let shown = Shown {
            name: (!name.is_empty()).then(|| name.into()),
            ..Shown::default()
        };
        let meta = Meta::showing("", shown).unwrap();
        let joined_at = Timestamp::from_millis(number as u64);
        let member = Member {
            session: SessionId::from_u128(1 + number as u128),
            alias: SessionId::from_u128(1 + number as u128),
            epoch: 1,
            user: user.clone(),
            device: DeviceKind::Web,
            joined_at,
            meta: Arc::new(meta),
            look: Arc::new(look),
            look_revision: 0,
            profile: 0,
        };
        Arc::new(Person {
            user,
            joined_at,
            members: vec![Arc::new(member)],
        })
    }
}
