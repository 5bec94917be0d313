//! Encodes people as the stock `Presence` class wants them: by user, with one meta for each of their sessions. Each meta has a
//! reference that changes whenever anything about the meta changes.
//!
//! A reference is the hash of everything that is shown beside it. So it needs no memory and is the same on every node, and
//! a client that comes back after a while is told only what has changed.

use std::fmt::Write;
use std::sync::Arc;

use presence_core::hash::fnv1a_64;
use presence_core::{Change, Look, Member, Person, SessionId, color_of};
use serde::Serialize;

use super::wire::json;

/// The payload of a `presence_state` with these people.
pub(super) fn state(people: &[Arc<Person>]) -> String {
    let mut state = Keyed::default();
    for person in people {
        let portrait = Portrait::of(person);
        let metas = portrait.metas.iter().map(|it| (it, None));
        state.add(person, &portrait, metas);
    }
    state.finish()
}

/// The payload of a `presence_diff`; `None` if nothing visible has changed.
pub(super) fn diff(changes: &[Change]) -> Option<String> {
    let (mut joins, mut leaves) = (Keyed::default(), Keyed::default());
    for change in changes {
        match change {
            Change::Joined(person) => {
                let portrait = Portrait::of(person);
                joins.add(
                    person,
                    &portrait,
                    portrait.metas.iter().map(|it| (it, None)),
                );
            }
            Change::Left { person, .. } => {
                let portrait = Portrait::of(person);
                leaves.add(
                    person,
                    &portrait,
                    portrait.metas.iter().map(|it| (it, None)),
                );
            }
            Change::Updated { from, to } => {
                let (before, after) = (Portrait::of(from), Portrait::of(to));
                let new = after.metas.iter().filter(|it| !before.has(it));
                let new = new.map(|it| (it, before.reference_of(it.alias)));
                joins.add(to, &after, new);
                let old = before.metas.iter().filter(|it| !after.has(it));
                leaves.add(from, &before, old.map(|it| (it, None)));
            }
        }
    }
    if joins.is_empty() && leaves.is_empty() {
        return None;
    }
    let (joins, leaves) = (joins.finish(), leaves.finish());
    Some(format!(r#"{{"joins":{joins},"leaves":{leaves}}}"#))
}

/// An object of presences by user, which is being written.
#[derive(Default)]
struct Keyed(String);

impl Keyed {
    /// Adds these metas of a person, if there are any, each with its previous reference if that was another one.
    fn add<'a>(
        &mut self,
        person: &Person,
        portrait: &Portrait,
        metas: impl Iterator<Item = (&'a Meta, Option<u64>)>,
    ) {
        let begun = self.0.len();
        self.0.push(if begun == 0 { '{' } else { ',' });
        self.0 += &json(&person.user.as_str());
        self.0 += r#":{"metas":["#;
        let empty = self.0.len();
        for (meta, before) in metas {
            if self.0.len() > empty {
                self.0.push(',');
            }
            meta.write(before, &mut self.0);
        }
        if self.0.len() == empty {
            self.0.truncate(begun);
            return;
        }
        self.0 += r#"],"user":"#;
        self.0 += &portrait.user;
        self.0.push('}');
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn finish(mut self) -> String {
        if self.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

/// A person, as pages of this dialect see them.
struct Portrait {
    /// The JSON of what is the same for all their sessions.
    user: String,
    metas: Vec<Meta>,
}

struct Meta {
    /// What the session is called.
    alias: SessionId,
    /// An object without its last brace.
    text: String,
    reference: u64,
}

/// The fields beside the metas of a user.
#[derive(Serialize)]
struct User<'a> {
    id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emoji: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<&'a str>,
    color: &'a str,
}

impl Portrait {
    fn of(person: &Person) -> Self {
        let Look {
            status,
            message,
            emoji,
        } = person.look();
        let color = person.newest(|meta| meta.color());
        let user = json(&User {
            id: person.user.as_str(),
            status: status.as_str(),
            custom_message: message.as_deref(),
            emoji: emoji.as_deref(),
            name: person.newest(|meta| meta.name()).map(|it| &**it),
            avatar: person.newest(|meta| meta.avatar()).map(|it| &**it),
            color: color.map_or(color_of(&person.user), |it| &**it),
        });
        let metas = person
            .members
            .iter()
            .map(|it| Meta::of(it, &user))
            .collect();
        Portrait { user, metas }
    }

    fn has(&self, meta: &Meta) -> bool {
        self.metas.iter().any(|it| it.reference == meta.reference)
    }

    fn reference_of(&self, alias: SessionId) -> Option<u64> {
        let meta = self.metas.iter().find(|it| it.alias == alias)?;
        Some(meta.reference)
    }
}

impl Meta {
    /// The session's own members stand between ours, and of two members with one name the last one counts: a page may set
    /// its own `online_at`, but not the session of somebody else.
    fn of(member: &Member, user: &str) -> Self {
        let Member {
            alias,
            joined_at,
            device,
            ..
        } = member;
        let (online_at, device) = (joined_at.as_millis() / 1000, device.as_str());
        let mut text = format!(r#"{{"online_at":{online_at},"device":"{device}","#);
        let own = inside(member.meta.json());
        if !own.is_empty() {
            text += own;
            text.push(',');
        }
        let _ = write!(text, r#""session":"{alias}""#);
        let reference = hash(&[user, &text]);
        Meta {
            alias: *alias,
            text,
            reference,
        }
    }

    fn write(&self, before: Option<u64>, out: &mut String) {
        *out += &self.text;
        let _ = write!(out, r#","phx_ref":"{:016x}""#, self.reference);
        if let Some(before) = before {
            let _ = write!(out, r#","phx_ref_prev":"{before:016x}""#);
        }
        out.push('}');
    }
}

/// The members of a JSON object, without the braces.
fn inside(json: &str) -> &str {
    let json = json.trim();
    let inside = json.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
    inside.unwrap_or("").trim()
}

/// A hash of `parts` about which nodes of two releases agree.
fn hash(parts: &[&str]) -> u64 {
    fnv1a_64(parts.iter().flat_map(|it| it.bytes().chain([0])))
}

#[cfg(test)]
mod tests {
    use presence_core::{DeviceKind, Reason, Timestamp, Visible};
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_state_has_a_meta_for_each_session_and_the_user_beside_them() {
        let ann = person(
            "ann",
            &[(1, r#"{"name":"Ann","role":"pen"}"#), (2, " { } ")],
        );
        let state: Value = serde_json::from_str(&state(&[ann])).unwrap();
        let ann = &state["ann"];
        assert_eq!(ann["metas"].as_array().unwrap().len(), 2);
        assert_eq!(ann["metas"][0]["role"], "pen");
        assert_eq!(ann["metas"][0]["online_at"], 1);
        assert_eq!(ann["metas"][0]["device"], "web");
        assert_eq!(ann["metas"][1]["session"], format!("{:032x}", 2));
        assert_eq!(ann["user"]["name"], "Ann");
        assert_eq!(ann["user"]["status"], "online");
        let refs = |at: usize| ann["metas"][at]["phx_ref"].as_str().unwrap().to_owned();
        assert_ne!(refs(0), refs(1));
        assert_eq!(super::state(&[]), "{}");
    }

    #[test]
    fn an_update_takes_the_old_meta_out_and_puts_the_new_one_in() {
        let from = person("ann", &[(1, r#"{"a":1}"#), (2, "{}")]);
        let to = person("ann", &[(1, r#"{"a":2}"#), (2, "{}")]);
        let was = refs(&from);
        let is = refs(&to);
        let diff = told(&[Change::Updated { from, to }]).unwrap();
        let joins = diff["joins"]["ann"]["metas"].as_array().unwrap();
        let leaves = diff["leaves"]["ann"]["metas"].as_array().unwrap();
        assert_eq!(
            (joins.len(), leaves.len()),
            (1, 1),
            "the other is as it was"
        );
        assert_eq!(joins[0]["a"], 2);
        assert_eq!(joins[0]["phx_ref"], is[0]);
        assert_eq!(joins[0]["phx_ref_prev"], was[0]);
        assert_eq!(leaves[0]["phx_ref"], was[0]);
        assert_eq!(leaves[0].get("phx_ref_prev"), None);
    }

    #[test]
    fn a_second_session_is_a_join_of_one_meta_and_its_end_a_leave() {
        let one = person("ann", &[(1, "{}")]);
        let two = person("ann", &[(1, "{}"), (2, "{}")]);
        let (from, to) = (one.clone(), two.clone());
        let diff = told(&[Change::Updated { from, to }]).unwrap();
        assert_eq!(diff["joins"]["ann"]["metas"].as_array().unwrap().len(), 1);
        assert_eq!(diff["leaves"], serde_json::json!({}));
        let diff = told(&[Change::Updated { from: two, to: one }]).unwrap();
        assert_eq!(diff["joins"], serde_json::json!({}));
        assert_eq!(diff["leaves"]["ann"]["metas"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_the_user_looks_like_is_part_of_every_meta() {
        let from = person("ann", &[(1, "{}"), (2, "{}")]);
        let mut to = Person::clone(&from);
        for member in &mut to.members {
            let mut busy = Member::clone(member);
            busy.look = look(Visible::Busy);
            *member = Arc::new(busy);
        }
        let to = Arc::new(to);
        let diff = told(&[Change::Updated { from, to }]).unwrap();
        assert_eq!(diff["joins"]["ann"]["metas"].as_array().unwrap().len(), 2);
        assert_eq!(diff["joins"]["ann"]["user"]["status"], "busy");
        assert_eq!(diff["leaves"]["ann"]["metas"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn several_changes_are_one_diff_and_none_is_no_diff() {
        let [ann, bob] = ["ann", "bob"].map(|id| person(id, &[(1, "{}")]));
        let gone = Change::Left {
            person: bob.clone(),
            reason: Reason::Left,
        };
        let diff = told(&[Change::Joined(ann.clone()), gone]).unwrap();
        assert_eq!(diff["joins"]["ann"]["metas"][0]["phx_ref"], refs(&ann)[0]);
        assert_eq!(diff["leaves"]["bob"]["metas"][0]["phx_ref"], refs(&bob)[0]);
        let (from, to) = (ann.clone(), ann);
        assert_eq!(told(&[Change::Updated { from, to }]), None);
    }

    #[test]
    fn nobody_has_the_session_or_the_reference_of_another() {
        let ann = person(
            "ann",
            &[(1, r#"{"session":"x","phx_ref":"y","online_at":"mine"}"#)],
        );
        let state: Value = serde_json::from_str(&state(std::slice::from_ref(&ann))).unwrap();
        let meta = &state["ann"]["metas"][0];
        assert_eq!(meta["session"], format!("{:032x}", 1));
        assert_eq!(meta["phx_ref"], refs(&ann)[0]);
        assert_eq!(meta["online_at"], "mine");
    }

    fn told(changes: &[Change]) -> Option<Value> {
        diff(changes).map(|it| serde_json::from_str(&it).unwrap())
    }

    fn refs(person: &Person) -> Vec<String> {
        let metas = Portrait::of(person).metas;
        metas
            .iter()
            .map(|it| format!("{:016x}", it.reference))
            .collect()
    }

    fn look(status: Visible) -> Arc<Look> {
        Arc::new(Look {
            status,
            message: None,
            emoji: None,
        })
    }

    fn person(user: &str, sessions: &[(u128, &str)]) -> Arc<Person> {
        let member = |&(session, json): &(u128, &str)| {
            Arc::new(Member {
                session: SessionId::from_u128(session),
                alias: SessionId::from_u128(session),
                epoch: 0,
                user: user.parse().unwrap(),
                device: DeviceKind::Web,
                joined_at: Timestamp::from_millis(1999),
                meta: Arc::new(presence_core::Meta::from_json(json).unwrap()),
                look: look(Visible::Online),
                look_revision: 0,
                profile: 0,
            })
        };
        Arc::new(Person {
            user: user.parse().unwrap(),
            joined_at: Timestamp::from_millis(1999),
            members: sessions.iter().map(member).collect(),
        })
    }
}
