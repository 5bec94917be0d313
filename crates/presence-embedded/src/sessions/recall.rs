//! Reads what earlier processes have stored.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use presence_core::ports::{Recalled, SessionChange};
use presence_core::{SessionId, Timestamp, Timing};

use super::Left;
use super::alive::{Alive, LastWord, Moment};
use super::format;

/// The folders of the processes that have kept their sessions in `folder`, in the order in which they ran.
pub(super) fn processes_in(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(number) = name.to_str().and_then(|it| it.parse().ok()) {
            processes.push((number, entry.path()));
        }
    }
    processes.sort_unstable();
    Ok(processes)
}

/// The sessions that earlier processes have left at `now`, without those of processes that ended too long ago.
pub(super) fn recall(processes: &[(u64, PathBuf)], now: &Moment) -> Left {
    let mut left = Left::default();
    let mut sessions = BTreeMap::new();
    for (_, folder) in processes {
        let Some(word) = Alive::read(folder) else {
            continue;
        };
        let Some(away) = now
            .since(&word.moment)
            .filter(|it| *it <= Timing::HELD_AFTER_MAX)
        else {
            continue;
        };
        // Sessions that this process has not noted again are known from the process before it only.
        if let Some(before) = left.away {
            convert(&mut sessions, before, left.ended_at, away, &word);
        }
        left.away = Some(away);
        left.ended_at = Timestamp::from_millis(word.now_ms);
        for journal in journals_in(folder) {
            let (changes, is_garbled) = match fs::read(&journal) {
                Ok(bytes) => format::read(&bytes),
                Err(_) => (Vec::new(), true),
            };
            left.garbled += usize::from(is_garbled);
            changes.into_iter().for_each(|it| apply(it, &mut sessions));
        }
    }
    left.sessions = sessions.into_values().collect();
    left
}

/// Converts the times in `sessions`, noted by a process that ended `before` ago, to the clock of one that
/// ended `away` ago.
fn convert(
    sessions: &mut BTreeMap<SessionId, Recalled>,
    before: Duration,
    ended_at: Timestamp,
    away: Duration,
    word: &LastWord,
) {
    let end = Timestamp::from_millis(word.now_ms);
    let translated = |at: Timestamp| {
        let ago = ended_at.since(at) + before.saturating_sub(away);
        let millis = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(end.as_millis().saturating_sub(millis))
    };
    for recalled in sessions.values_mut() {
        let kept = &mut recalled.kept;
        kept.heard_at = kept.heard_at.map(translated);
        kept.lost_at = Some(translated(kept.lost_at.unwrap_or(ended_at)));
    }
}

/// The journals in `folder` in the order in which they were written: by part, then by number of rewrites.
fn journals_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut journals: Vec<((usize, u64), PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let name = path.file_name()?.to_str()?.strip_suffix(".journal")?;
            let (part, rewrites) = name.split_once('-')?;
            Some(((part.parse().ok()?, rewrites.parse().ok()?), path.clone()))
        })
        .collect();
    journals.sort_unstable();
    journals.into_iter().map(|(_, path)| path).collect()
}

fn apply(change: SessionChange, sessions: &mut BTreeMap<SessionId, Recalled>) {
    match change {
        SessionChange::Is { session, kept } => match sessions.get_mut(&session) {
            Some(recalled) => recalled.kept = *kept,
            None => {
                let recalled = Recalled {
                    session,
                    kept: *kept,
                    topics: Vec::new(),
                };
                sessions.insert(session, recalled);
            }
        },
        SessionChange::Joined { session, joined } => {
            if let Some(recalled) = sessions.get_mut(&session) {
                let mut topics = recalled.topics.iter_mut();
                match topics.find(|it| it.topic == joined.topic) {
                    Some(before) => *before = joined,
                    None => recalled.topics.push(joined),
                }
            }
        }
        SessionChange::Left { session, topic } => {
            if let Some(recalled) = sessions.get_mut(&session) {
                recalled.topics.retain(|it| it.topic != topic);
            }
        }
        SessionChange::Ended { session } => drop(sessions.remove(&session)),
    }
}
