//! What clients do and what breaks, and when: all of it known before the run, from a seed.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use presence_testkit::redis::Topology;
use serde::{Deserialize, Serialize};

use super::clients::{Dialect, Manners, Resume, VirtualUser};
use super::fault::{Keeps, Kind};
use super::journal::{Choice, Room, UserId, VuId};

/// How many people and rooms there are.
const USERS: u32 = 20;
const ROOMS: u32 = 5;

/// How many sessions a person has at most.
const SEATS_PER_USER_MAX: u32 = 3;

/// How many things clients do in a second.
const DEEDS_PER_SECOND: f64 = 4.0;

/// Before the first fault people do things in peace.
const PEACE: Duration = Duration::from_secs(6);

/// From the end of one fault to the beginning of the next one: sometimes one follows at once, and sometimes everything
/// has time to heal, so that what is wrong for good is seen to be.
const REST_S: [std::ops::Range<u64>; 2] = [1..4, 12..18];

/// Nobody's connection hangs in the last part of a run: it takes too long to be known.
const HANGS_END: Duration = Duration::from_secs(15);

/// A whole plan: the clients, and what happens when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) gateways: usize,
    pub(crate) vus: Vec<Place>,
    pub(crate) steps: Vec<Step>,
}

/// Who a client is, and where it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) vu: VuId,
    pub(crate) user: UserId,
    pub(crate) dialect: Dialect,
    pub(crate) manners: Manners,
    pub(crate) gateway: usize,
    pub(crate) rooms: Vec<Room>,
}

/// One step of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// The number of the step, which `--skip` takes.
    pub(crate) number: usize,
    /// When, in milliseconds since everybody is there.
    pub(crate) at_ms: u64,
    pub(crate) act: Act,
}

/// What happens in a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Act {
    /// A client does something.
    Do(VuId, Deed),
    /// A fault begins; the number ties its end to it.
    Break(usize, Kind),
    /// The fault with this number ends.
    Mend(usize, Kind),
}

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deed {
    /// Joins a room, or updates its meta there.
    Join(Room),
    Leave(Room),
    /// Leaves a room, and moves as soon as that is answered.
    LeaveAndMove(Room, usize, u64),
    Choose(Choice),
    /// Chooses, and drops the connection so many milliseconds later to come back at another gateway.
    ChooseAndMove(Choice, usize, u64),
    Type(Room),
    /// Drops the connection and comes to a gateway so many milliseconds later.
    Move(usize, Resume, u64),
    /// Keeps its connection without a sign of life, and comes to a gateway so many milliseconds later.
    Hang(usize, u64),
    /// Drops and connects so often, at random gateways.
    Flap(Vec<usize>),
    /// Says goodbye, and comes back so many milliseconds later as somebody new.
    Goodbye(usize, u64, Vec<Room>),
}

impl Plan {
    /// Computes the plan of a seed.
    pub(crate) fn of(seed: u64, seconds: u64, gateways: usize, topology: Topology) -> Plan {
        let mut random = Rng::with_seed(seed);
        let vus = vus(&mut random, gateways);
        let mut acts = faults(&mut random, seconds, gateways, topology);
        let end = Duration::from_secs(seconds);
        let mut at = Duration::ZERO;
        loop {
            // Bursts and lulls: what is interesting happens close together.
            let mean = 1.0 / DEEDS_PER_SECOND;
            at += Duration::from_secs_f64(mean * 2.0 * random.f64() * random.f64() * 2.0);
            if at >= end {
                break;
            }
            let place = &vus[random.usize(..vus.len())];
            let may_hang = at + HANGS_END < end;
            let deed = deed(&mut random, place, gateways, may_hang);
            acts.push((at, Act::Do(place.vu, deed)));
        }
        acts.sort_by_key(|(at, _)| *at);
        let steps = acts
            .into_iter()
            .enumerate()
            .map(|(number, (at, act))| Step {
                number,
                at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
                act,
            });
        Plan {
            seed,
            seconds,
            gateways,
            vus,
            steps: steps.collect(),
        }
    }

    /// Without the steps of these numbers. What is not broken is not mended either.
    pub(crate) fn without(mut self, skipped: &BTreeSet<usize>) -> Plan {
        self.steps.retain(|step| !skipped.contains(&step.number));
        let broken = self.steps.iter().filter_map(|step| match step.act {
            Act::Break(number, _) => Some(number),
            _ => None,
        });
        let broken: BTreeSet<usize> = broken.collect();
        self.steps.retain(|step| match step.act {
            Act::Mend(number, _) => broken.contains(&number),
            _ => true,
        });
        self
    }

    /// The users of all clients in the plan.
    pub(crate) fn users(&self) -> BTreeSet<UserId> {
        self.vus.iter().map(|place| place.user).collect()
    }

    /// The rooms that the clients may join.
    pub(crate) fn rooms(&self) -> Vec<Room> {
        (0..ROOMS).map(Room).collect()
    }
}

impl Place {
    /// The settings with which the client is started.
    pub(crate) fn vu(&self) -> VirtualUser {
        VirtualUser {
            manners: self.manners,
            ..VirtualUser::page(self.vu, self.user, self.dialect)
        }
    }
}

fn vus(random: &mut Rng, gateways: usize) -> Vec<Place> {
    let mut vus = Vec::new();
    for user in 0..USERS {
        // One, sometimes two, seldom three.
        let count = 1 + random.u32(..SEATS_PER_USER_MAX) * random.u32(..2);
        for _ in 0..count {
            let vu = VuId(u32::try_from(vus.len()).unwrap_or(u32::MAX));
            let dialects = [
                Dialect::Json,
                Dialect::Json,
                Dialect::Binary,
                Dialect::Phoenix,
                Dialect::Pusher,
            ];
            let manners = [Manners::JoinsAgain, Manners::Relies];
            let mut rooms: Vec<Room> = (0..ROOMS).map(Room).collect();
            random.shuffle(&mut rooms);
            rooms.truncate(random.usize(0..3));
            vus.push(Place {
                vu,
                user: UserId(user),
                dialect: dialects[random.usize(..dialects.len())],
                manners: manners[random.usize(..manners.len())],
                gateway: random.usize(..gateways),
                rooms,
            });
        }
    }
    vus
}

fn faults(
    random: &mut Rng,
    seconds: u64,
    gateways: usize,
    topology: Topology,
) -> Vec<(Duration, Act)> {
    let end = Duration::from_secs(seconds);
    let mut acts = Vec::new();
    let mut at = PEACE + Duration::from_millis(random.u64(..2000));
    for number in 0.. {
        let (kind, lasts) = fault(random, gateways, topology);
        if at + lasts > end {
            break;
        }
        acts.push((at, Act::Break(number, kind.clone())));
        acts.push((at + lasts, Act::Mend(number, kind)));
        let rest = REST_S[random.usize(..REST_S.len())].clone();
        at += lasts + Duration::from_millis(random.u64(rest.start * 1000..rest.end * 1000));
    }
    acts
}

/// A fault, and how long it lasts.
fn fault(random: &mut Rng, gateways: usize, topology: Topology) -> (Kind, Duration) {
    let gateway = random.usize(..gateways);
    let ms = Duration::from_millis;
    match random.u32(
        ..if topology == Topology::Cluster {
            14
        } else {
            13
        },
    ) {
        0 => (Kind::Kill { gateway }, ms(random.u64(500..12_000))),
        1 => (Kind::Term { gateway }, ms(random.u64(500..8_000))),
        // Less than a blink; more than grace and less than a lease; more than that.
        2 | 3 => (Kind::Sleep { gateway }, ms(random.u64(500..2_500))),
        4 => (Kind::Sleep { gateway }, ms(random.u64(9_500..11_500))),
        5 => (Kind::Sleep { gateway }, ms(random.u64(38_000..42_000))),
        6 => {
            let seconds = [-40, 40, -3, 3][random.usize(..4)];
            (
                Kind::ClockOff { gateway, seconds },
                ms(random.u64(8_000..14_000)),
            )
        }
        7 => {
            let keeps = [Keeps::Everything, Keeps::Nothing][random.usize(..2)];
            (Kind::RedisKill { keeps }, ms(random.u64(300..14_000)))
        }
        8 => (Kind::FlushAll, Duration::ZERO),
        9 => (Kind::RedisSleep, ms(random.u64(300..14_000))),
        10 => {
            let away = [5, 20, 100, 200][random.usize(..4)];
            (Kind::Slow { ms: away }, ms(random.u64(4_000..10_000)))
        }
        11 => (Kind::BlackHole, ms(random.u64(500..14_000))),
        12 => (Kind::BlackHoleFor { gateway }, ms(random.u64(500..20_000))),
        _ => (Kind::FailOver, ms(random.u64(4_000..8_000))),
    }
}

fn deed(random: &mut Rng, place: &Place, gateways: usize, may_hang: bool) -> Deed {
    let room = Room(random.u32(..ROOMS));
    let gateway = random.usize(..gateways);
    // Often at once, sometimes within the grace time, seldom later than that.
    let soon = [0..50, 0..50, 50..1500, 1500..8000, 8000..16_000];
    let how_soon = soon[random.usize(..soon.len())].clone();
    let later = random.u64(how_soon);
    match random.u32(..20) {
        0..=4 => Deed::Join(room),
        5 | 6 => Deed::Leave(room),
        7 => Deed::LeaveAndMove(room, gateway, random.u64(..40)),
        8..=10 => Deed::Choose(choice(random)),
        11 => Deed::ChooseAndMove(choice(random), gateway, random.u64(..20)),
        12 | 13 => Deed::Type(room),
        14 | 15 => Deed::Move(gateway, Resume::Yes, later),
        16 => Deed::Move(gateway, Resume::No, later),
        17 if may_hang => Deed::Hang(gateway, later),
        17 | 18 => Deed::Flap(
            (0..random.usize(2..6))
                .map(|_| random.usize(..gateways))
                .collect(),
        ),
        _ => Deed::Goodbye(gateway, later, place.rooms.clone()),
    }
}

fn choice(random: &mut Rng) -> Choice {
    let words = Some(format!("words {}", random.u32(..1000)));
    let status = |it: &str| Some(it.to_owned());
    match random.u32(..8) {
        0 | 1 => Choice {
            status: status("invisible"),
            ..Choice::default()
        },
        2 | 3 => Choice {
            status: status("online"),
            ..Choice::default()
        },
        4 => Choice {
            message: words,
            ..Choice::default()
        },
        5 => Choice {
            status: status("away"),
            message: words,
            clear_after: Some(random.u64(2..20)),
        },
        _ => Choice {
            status: status("busy"),
            message: words,
            clear_after: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_plan_which_is_read_back() {
        let plan = Plan::of(7, 90, 3, Topology::Single);
        assert_eq!(plan, Plan::of(7, 90, 3, Topology::Single));
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        assert_ne!(plan.steps, Plan::of(8, 90, 3, Topology::Single).steps);
    }

    #[test]
    fn whatever_breaks_is_mended_before_the_end() {
        for seed in 0..200 {
            let plan = Plan::of(seed, 90, 3, Topology::Cluster);
            let mut broken = BTreeSet::new();
            for step in &plan.steps {
                assert!(step.at_ms <= 90_000, "{step:?}");
                match &step.act {
                    Act::Break(number, _) => assert!(broken.insert(*number)),
                    Act::Mend(number, _) => assert!(broken.remove(number)),
                    Act::Do(..) => {}
                }
            }
            assert!(broken.is_empty(), "seed {seed}");
        }
    }

    #[test]
    fn steps_are_left_out_by_their_number() {
        let plan = Plan::of(7, 30, 3, Topology::Single);
        let fewer = plan.clone().without(&BTreeSet::from([0, 2]));
        assert_eq!(fewer.steps.len(), plan.steps.len() - 2);
        assert_eq!(fewer.steps[0].number, 1);
    }
}
