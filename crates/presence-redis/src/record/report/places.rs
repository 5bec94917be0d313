//! The places of transitions, which come after a message: releases before do not look there.

use presence_core::cluster::Incarnation;
use presence_core::explain::{About, Answer, NodeMessage};
use presence_core::history::{Place, Placed, Recent, Transition};
use serde::{Deserialize, Serialize};

use super::{millis, moment};
use crate::record::RecordError;

/// Appends the places of `message`, if it has any.
pub(super) fn append(message: &NodeMessage, bytes: Vec<u8>) -> postcard::Result<Vec<u8>> {
    match message {
        NodeMessage::Ask {
            about: About::Recent(query),
            ..
        } => match query.ends_before() {
            Some(place) => postcard::to_extend(&PlaceRecord::of(place), bytes),
            None => Ok(bytes),
        },
        NodeMessage::Answer { answer, .. } => match &**answer {
            Answer::Recent(recent) => postcard::to_extend(&PlacesRecord::of(recent), bytes),
            _ => Ok(bytes),
        },
        NodeMessage::Ask { .. } => Ok(bytes),
    }
}

/// Reads what [`append`] has written into `message`.
pub(super) fn read_into(message: &mut NodeMessage, bytes: &[u8]) -> Result<(), RecordError> {
    match message {
        NodeMessage::Ask {
            about: About::Recent(query),
            ..
        } => {
            let (place, _later) = postcard::take_from_bytes::<PlaceRecord>(bytes)?;
            *query = std::mem::take(query).before(Some(place.place()));
        }
        NodeMessage::Answer { answer, .. } => {
            if let Answer::Recent(recent) = &mut **answer {
                let (places, _later) = postcard::take_from_bytes::<PlacesRecord>(bytes)?;
                places.put_into(recent)?;
            }
        }
        NodeMessage::Ask { .. } => {}
    }
    Ok(())
}

/// A place among all transitions.
#[derive(Serialize, Deserialize)]
struct PlaceRecord {
    at_ms: u64,
    node: u64,
    ring: u32,
    position: u64,
}

impl PlaceRecord {
    fn of(place: Place) -> Self {
        PlaceRecord {
            at_ms: millis(place.at),
            node: place.node,
            ring: place.ring,
            position: place.position,
        }
    }

    fn place(&self) -> Place {
        Place {
            at: moment(self.at_ms),
            node: self.node,
            ring: self.ring,
            position: self.position,
        }
    }
}

/// The places of the transitions in an answer, in their order: ring and position of each. Node and moment are in the
/// answer itself.
#[derive(Serialize, Deserialize)]
pub(super) struct PlacesRecord {
    places: Vec<(u32, u64)>,
    reached: Option<PlaceRecord>,
}

impl PlacesRecord {
    pub(super) fn of(recent: &Recent) -> Self {
        let places = recent.transitions.iter().map(|it| it.place);
        PlacesRecord {
            places: places.map(|it| (it.ring, it.position)).collect(),
            reached: recent.reached.map(PlaceRecord::of),
        }
    }

    fn put_into(&self, recent: &mut Recent) -> Result<(), RecordError> {
        if self.places.len() != recent.transitions.len() {
            return Err(RecordError::Malformed);
        }
        for (it, (ring, position)) in recent.transitions.iter_mut().zip(&self.places) {
            (it.place.ring, it.place.position) = (*ring, *position);
        }
        recent.reached = self.reached.as_ref().map(PlaceRecord::place);
        Ok(())
    }
}

/// The transitions of an answer, as a release says them that has no places: they are in order, and if there are more, those are
/// earlier.
pub(super) fn missing(from: Incarnation, transitions: Vec<Transition>, is_cut: bool) -> Recent {
    let places = (0..transitions.len() as u64).rev();
    let placed = transitions.into_iter().zip(places);
    let placed = placed.map(|(transition, position)| Placed {
        place: Place {
            at: transition.at,
            node: from.node,
            ring: 0,
            position,
        },
        transition,
    });
    let transitions: Vec<Placed> = placed.collect();
    let last = transitions.last().map(|it| it.place);
    Recent {
        transitions,
        reached: last.filter(|_| is_cut),
    }
}
