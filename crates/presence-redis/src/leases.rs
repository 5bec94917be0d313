//! The format of leases: `until` and a moment in milliseconds, or `dead` and the moment when that was declared, and
//! then the name of the node. After a control character follows the moment up to which everything of the node is in the
//! store, in milliseconds.

use fred::types::Value;
use presence_core::Timestamp;
use presence_core::cluster::Incarnation;
use presence_core::ports::{Lease, Leases, Renewal};

use crate::garbled::Garbled;

/// A lease that is not in the right format.
#[derive(Debug, thiserror::Error)]
#[error("the lease {0:?} has a wrong format")]
pub(crate) struct LeaseError(String);

/// The separator between the name of a node and the moment up to which everything of it is in the store.
const STORED_UP_TO: char = '\u{1f}';

/// The text of a lease after its moment.
pub(crate) fn text_of(name: &str, stored_up_to: Timestamp) -> String {
    format!("{name}{STORED_UP_TO}{}", stored_up_to.as_millis())
}

/// Reads the answer of `renew.lua`.
pub(crate) fn leases_in(answer: Value, garbled: &Garbled) -> Result<Leases, LeaseError> {
    let strange = || LeaseError("answer".into());
    let answer = answer.into_array();
    let [now, before, all] = <[Value; 3]>::try_from(answer).map_err(|_| strange())?;
    let now = now.as_i64().and_then(|it| u64::try_from(it).ok());
    let before = before.as_str().ok_or_else(strange)?;
    let mine = match before.split_once(' ') {
        None => Renewal::New,
        Some(("dead", _)) => Renewal::Dead,
        Some(_) => Renewal::Renewed,
    };
    let all = all.into_array();
    let nodes = all.chunks_exact(2).map(|pair| {
        let text = |it: &Value| it.as_str().map(|it| it.into_owned()).unwrap_or_default();
        let (who, lease) = (text(&pair[0]), text(&pair[1]));
        let read = lease_of(&who, &lease);
        if read.is_none() {
            // Somebody else's, or of another release: no reason to do without all others.
            garbled.note(format_args!("the lease of {who:?}"), &LeaseError(lease));
        }
        read
    });
    let mut nodes: Vec<Lease> = nodes.flatten().collect();
    nodes.sort_by_key(|it| it.who);
    Ok(Leases {
        now: Timestamp::from_millis(now.ok_or_else(strange)?),
        mine,
        nodes,
    })
}

fn lease_of(who: &str, lease: &str) -> Option<Lease> {
    let (node, generation) = who.split_once('.')?;
    let (state, rest) = lease.split_once(' ')?;
    let (moment, text) = rest.split_once(' ')?;
    // An older release does not say it.
    let (name, stored_up_to) = text.rsplit_once(STORED_UP_TO).unwrap_or((text, "0"));
    Some(Lease {
        who: Incarnation {
            node: u64::from_str_radix(node, 16).ok()?,
            generation: generation.parse().ok()?,
        },
        name: name.into(),
        until: Timestamp::from_millis(moment.parse().ok()?),
        is_dead: match state {
            "until" => false,
            "dead" => true,
            _ => return None,
        },
        stored_up_to: Timestamp::from_millis(stored_up_to.parse().unwrap_or(0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_read_as_they_are_written() {
        let lease = lease_of("000000000000001f.2", "until 1700000000000 gateway 7 in Ulm").unwrap();
        let who = Incarnation {
            node: 0x1f,
            generation: 2,
        };
        assert_eq!(lease.who, who);
        assert_eq!(lease.who.to_string(), "000000000000001f.2");
        assert_eq!(&*lease.name, "gateway 7 in Ulm");
        assert_eq!(lease.stored_up_to, Timestamp::default());
        let text = text_of("gateway 7", Timestamp::from_millis(9));
        let stored_up_to = lease_of("1f.2", &format!("until 5 {text}")).unwrap();
        assert_eq!(&*stored_up_to.name, "gateway 7");
        assert_eq!(stored_up_to.stored_up_to.as_millis(), 9);
        assert_eq!(lease.until.as_millis(), 1_700_000_000_000);
        assert!(!lease.is_dead);
        let lease = lease_of("000000000000001f.2", "dead 5 ").unwrap();
        assert!(lease.is_dead && lease.name.is_empty());
    }

    #[test]
    fn what_is_no_lease_is_refused() {
        for (who, lease) in [
            ("1f", "until 5 x"),
            ("1f.2", "until x"),
            ("1f.2", "until 5"),
            ("1f.2", "since 5 x"),
        ] {
            assert_eq!(lease_of(who, lease), None, "{who} {lease}");
        }
    }
}
