//! The native protocol, as the clients of a run speak it.

use std::collections::BTreeMap;
use std::time::Duration;

use presence_client::wire::event::{Change, User};
use presence_client::wire::{Command, Event, Field, Json, Ref, Target, TopicId, command};
use presence_client::{Client, Options, Picture, Protocol};

use super::{Dialect, Eyes, Heard, Say, VirtualUser, Welcome};
use crate::random::journal::{Ask, Choice, Look, Mark, Outcome, People, Room, UserId, View};

/// Numbers of our own stand above those that the client makes up for its requests.
const REFS_FROM: u64 = 1_000_000;

/// A connection that speaks the native protocol.
pub(super) struct Line {
    client: Client,
    eyes: Eyes,
    /// What is known of each room, to find gaps.
    pictures: BTreeMap<Room, Picture>,
}

impl Line {
    pub(super) async fn connect(
        address: &str,
        vu: &VirtualUser,
        resume: Option<&str>,
    ) -> Result<(Line, Welcome), String> {
        let protocol = match vu.dialect {
            Dialect::Binary => Protocol::Binary,
            _ => Protocol::Json,
        };
        let kind = ["web", "mobile", "desktop"][vu.id.0 as usize % 3];
        let options = Options {
            protocol,
            device_id: Some(format!("{kind}:{}", vu.id.0)),
            resume: resume.map(str::to_owned),
            read_buffer_bytes: 2048,
            ..Options::user(&format!("ws://{address}/ws"), &vu.name())
        };
        let client = Client::connect(&options).await;
        let client = client.map_err(|it| it.to_string())?;
        let hello = client.hello();
        let welcome = Welcome {
            resume: Some(hello.resume.to_string()),
            is_restored: client.restored(),
            heartbeat: Duration::from_millis(hello.heartbeat_interval.max(100)),
        };
        let line = Line {
            client,
            eyes: vu.eyes,
            pictures: BTreeMap::new(),
        };
        Ok((line, welcome))
    }

    pub(super) async fn say(&mut self, say: &Say) -> Result<(), ()> {
        let mut command: Command = match say {
            Say::Ask(_, Ask::Join(room, mark)) => {
                let looks = self.eyes == Eyes::Open;
                if looks {
                    self.look_at(*room);
                }
                let join = command::Join {
                    ref_: None,
                    channel: room.name(),
                    meta: Some(meta(*mark)),
                    watch: Some(looks),
                    mode: None,
                    have: None,
                };
                join.into()
            }
            Say::Ask(_, Ask::Update(room, mark)) => {
                let update = command::Update {
                    ref_: None,
                    channel: room.name(),
                    meta: meta(*mark),
                };
                update.into()
            }
            Say::Ask(_, Ask::Leave(room)) => {
                self.pictures.remove(room);
                let leave = command::Leave {
                    ref_: None,
                    channel: Some(room.name()),
                };
                leave.into()
            }
            Say::Ask(_, Ask::Choose(choice)) => Command::Status(status(choice)),
            Say::Type(room) => Command::Typing(command::Typing {
                ref_: None,
                channel: room.name(),
                typing: true,
            }),
            Say::Watch(room) => {
                self.look_at(*room);
                watch(Target::Channel(room.name()))
            }
            Say::WatchUsers(users) => {
                watch(Target::Users(users.iter().map(|it| it.name()).collect()))
            }
            Say::Heartbeat => Command::Heartbeat(command::Heartbeat { ref_: None }),
        };
        if let Say::Ask(number, _) = say {
            command.set_ref(Some(Ref::from(REFS_FROM + u64::from(*number))));
        }
        self.client.send(&command).await.map_err(drop)
    }

    pub(super) async fn next(&mut self) -> Option<Vec<Heard>> {
        let event = self.client.next().await?;
        Some(self.understand(&event))
    }

    pub(super) fn ending(&self) -> String {
        let ending = self.client.ending();
        ending.map_or("lost".to_owned(), ToString::to_string)
    }

    pub(super) async fn goodbye(self) {
        self.client.close().await;
    }

    fn look_at(&mut self, room: Room) {
        let picture = || Picture::of(TopicId::Channel(room.name().into()));
        self.pictures.entry(room).or_insert_with(picture);
    }

    fn understand(&mut self, event: &Event) -> Vec<Heard> {
        match event {
            Event::Ok(it) => answered(it.ref_.as_ref(), Outcome::Ok),
            Event::Error(it) => answered(it.ref_.as_ref(), Outcome::Refused(it.code.to_string())),
            Event::Closing(it) => {
                let after = it.retry_after.filter(|_| it.reconnect);
                let after = after.map(|it| Heard::ComeBack(Duration::from_millis(it)));
                after.into_iter().collect()
            }
            Event::Status(it) => {
                let look = Look {
                    status: it.status.to_string(),
                    message: it.custom_message.as_deref().map(str::to_owned),
                };
                UserId::of(&it.user_id)
                    .map(|user| Heard::Saw(user, look))
                    .into_iter()
                    .collect()
            }
            event => self.see(event),
        }
    }

    /// What an event tells about a room: as it was told, so that what is told twice is seen.
    fn see(&mut self, event: &Event) -> Vec<Heard> {
        let Some(room) = place_of(event).and_then(Room::of) else {
            return Vec::new();
        };
        let Some(picture) = self.pictures.get_mut(&room) else {
            return Vec::new();
        };
        let before = picture.have();
        if picture.apply(event).is_err() {
            return vec![Heard::Gap(room)];
        }
        let is_news = picture.have() != before;
        match event {
            Event::CurrentUsers(_) if is_news => vec![Heard::Whole(room, people(picture.users()))],
            // The same version once more says the same.
            Event::CurrentUsers(_) => Vec::new(),
            _ if !is_news => Vec::new(),
            Event::UserJoined(it) => joined(room, &it.user).into_iter().collect(),
            Event::UserUpdated(it) => updated(room, &it.user).into_iter().collect(),
            Event::UserLeft(it) => left(room, &it.user_id, it.reason.as_str())
                .into_iter()
                .collect(),
            Event::Changes(it) => {
                let heard = it.changes.iter().filter_map(|change| match change {
                    Change::Joined(user) => joined(room, user),
                    Change::Updated(user) => updated(room, user),
                    Change::Left { user_id, reason } => left(room, user_id, reason.as_str()),
                });
                heard.collect()
            }
            _ => Vec::new(),
        }
    }
}

fn answered(ref_: Option<&Ref>, outcome: Outcome) -> Vec<Heard> {
    let number = ref_.and_then(|it| it.as_json().parse::<u64>().ok());
    let number = number.and_then(|it| it.checked_sub(REFS_FROM));
    let number = number.and_then(|it| u32::try_from(it).ok());
    let answer = number.map(|number| Heard::Answer(number, outcome));
    answer.into_iter().collect()
}

fn place_of(event: &Event) -> Option<&str> {
    let place = match event {
        Event::CurrentUsers(it) => &it.place,
        Event::UserJoined(it) | Event::UserUpdated(it) => &it.place,
        Event::UserLeft(it) => &it.place,
        Event::Changes(it) => &it.place,
        Event::Unchanged(it) => &it.place,
        Event::Summary(it) => &it.place,
        _ => return None,
    };
    match place {
        TopicId::Channel(id) => Some(id),
        TopicId::Workspace(_) => None,
    }
}

fn people(users: &[User]) -> People {
    let views = users
        .iter()
        .filter_map(|user| Some((UserId::of(&user.id)?, view(user))));
    views.collect()
}

fn view(user: &User) -> View {
    let metas = user.metas.iter();
    View {
        look: Look {
            status: user.status.to_string(),
            message: user.custom_message.as_deref().map(str::to_owned),
        },
        marks: metas
            .flat_map(|it| Mark::all_in(it.meta.as_str()))
            .collect(),
    }
}

fn joined(room: Room, user: &User) -> Option<Heard> {
    Some(Heard::Joined(room, UserId::of(&user.id)?, view(user)))
}

fn updated(room: Room, user: &User) -> Option<Heard> {
    Some(Heard::Updated(room, UserId::of(&user.id)?, view(user)))
}

fn left(room: Room, user: &str, reason: &str) -> Option<Heard> {
    Some(Heard::Left(room, UserId::of(user)?, reason.to_owned()))
}

fn watch(target: Target) -> Command {
    Command::Watch(command::Watch {
        ref_: None,
        target,
        mode: None,
        have: None,
    })
}

fn meta(mark: Mark) -> Json {
    Json::new(&format!(r#"{{"mark":"{mark}"}}"#)).expect("a mark is JSON")
}

fn status(choice: &Choice) -> command::Status {
    let value = |it: &Option<String>| it.clone().map_or(Field::Absent, Field::Value);
    let chosen = choice.status.as_ref();
    command::Status {
        ref_: None,
        status: chosen.map_or(Field::Absent, |it| {
            Field::Value(it.parse().expect("a status"))
        }),
        custom_message: value(&choice.message),
        emoji: Field::Absent,
        clear_after: match (choice.clear_after, chosen) {
            (Some(seconds), _) => Field::Value(seconds),
            (None, Some(_)) => Field::Null,
            (None, None) => Field::Absent,
        },
        expires_at: Field::Absent,
    }
}
