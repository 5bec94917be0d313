//! What a broken store tells.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use presence_core::cluster::{Patch, Record};
use presence_core::ports::{Notice, Topics};
use presence_core::{Reason, TopicVersion};

use super::{Broken, Fault};

impl Broken {
    pub(super) fn clock(&self, clock: &mut TopicVersion) {
        match self.fault {
            Fault::EpochStays => clock.epoch = 1,
            Fault::VersionsStartAgain => clock.version = 1,
            _ => {}
        }
    }

    pub(super) fn patch(&self, patch: &mut Patch) {
        self.clock(&mut patch.clock);
        for change in &mut patch.changes {
            let is_reaping = self.known().is_reaping;
            match &mut change.entry {
                Ok((_, record)) => {
                    self.record(record);
                    if let (Fault::PatchesShort, Record::Session(it)) = (self.fault, record) {
                        Arc::make_mut(it).places.truncate(9);
                    }
                }
                Err(removed) if self.is(Fault::ReapedAsLeft) && is_reaping => {
                    removed.reason = Reason::Left;
                }
                Err(_) => {}
            }
        }
        match self.fault {
            Fault::FromIsNeverZero if patch.from == 0 => patch.from = patch.clock.version - 1,
            Fault::VersionsStartAgain if patch.from > 0 => {
                patch.from = 1;
                patch.clock.version = 2;
            }
            _ => {}
        }
    }

    /// What becomes of a notice.
    pub(super) fn hear(&self, mut notice: Notice) -> Option<Notice> {
        let mut own = self.own();
        match &mut notice {
            Notice::Patched(subject, patch) => {
                self.patch(patch);
                own.patches += 1;
                let is_tenth = own.patches.is_multiple_of(10);
                let is_written = own.written.get_mut(subject).filter(|count| **count > 0);
                match self.fault {
                    Fault::PatchesLost if is_tenth => return None,
                    Fault::OwnUnheard => {
                        if let Some(count) = is_written {
                            *count -= 1;
                            return None;
                        }
                    }
                    Fault::PatchesDoubled => own.extra.push_back(notice.clone()),
                    _ => {}
                }
            }
            Notice::Ephemeral(_, ephemerals) if self.is(Fault::LastEphemeralOnly) => {
                ephemerals.drain(..ephemerals.len() - 1);
            }
            Notice::At(_, clock) => match (self.fault, clock) {
                (Fault::ComparisonsSilent, _) | (Fault::ComparisonsOfFullMaps, None) => {
                    return None;
                }
                (Fault::ComparisonsOld, Some(clock)) => clock.version -= 1,
                (_, Some(clock)) => self.clock(clock),
                _ => {}
            },
            Notice::Forgot(_) if self.is(Fault::LossUntold) => return None,
            Notice::Ephemeral(..) | Notice::Forgot(_) => {}
        }
        Some(notice)
    }

    /// What a comparison tells too much.
    pub(super) fn untrue(&self) -> Vec<Notice> {
        let known = self.known();
        match self.fault {
            Fault::ComparisonsOfUnfollowed => {
                let subjects = known.unfollowed.iter().cloned();
                subjects.map(|it| Notice::At(it, None)).collect()
            }
            Fault::LossForEver => {
                let subjects = known.followed.keys();
                subjects.map(|it| Notice::Forgot(it.partition())).collect()
            }
            _ => vec![],
        }
    }

    /// What can be heard without waiting.
    pub(super) async fn another(&self) -> Option<Notice> {
        let mut next = pin!(self.link.next());
        poll_fn(|cx| match next.as_mut().poll(cx) {
            Poll::Ready(notice) => Poll::Ready(Some(notice)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}
