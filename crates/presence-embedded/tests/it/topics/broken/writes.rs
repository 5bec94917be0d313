//! What a broken store does with what is written, and with what is read.

use std::sync::Arc;

use presence_core::cluster::{FencingToken, Field, Guard, Op, Record, Subject, Write};
use presence_core::ports::Topics;
use presence_core::{ChannelId, Chosen, Meta, Reason, Topic, UserId};

use super::{Broken, Fault, token};

impl Broken {
    pub(super) async fn stored(
        &self,
        subject: &Subject,
        field: Field,
    ) -> Option<(FencingToken, Record)> {
        let read = self
            .link
            .read(std::slice::from_ref(subject))
            .await
            .remove(0);
        let entries = read.unwrap().entries.into_iter();
        let mut found = entries.filter(|(it, ..)| *it == field);
        found.next().map(|(_, token, record)| (token, record))
    }

    /// Whether `new` wrongly wins against `stored`.
    pub(super) fn wins(&self, new: FencingToken, stored: FencingToken, guard: Guard) -> bool {
        let is_late = !guard.admits(new, stored);
        is_late
            && match self.fault {
                Fault::LatePutsWin => true,
                Fault::EpochsAreTexts => new.epoch.to_string() > stored.epoch.to_string(),
                Fault::LastOfOneEpochWins => new.epoch == stored.epoch && new.owner != stored.owner,
                Fault::OlderGenerationsWin => {
                    new.epoch == stored.epoch && new.owner == stored.owner
                }
                Fault::NodesAreFloats => {
                    new.epoch == stored.epoch
                        && new.owner != stored.owner
                        && new.owner as f64 == stored.owner as f64
                }
                _ => false,
            }
    }

    /// The ops that have the effect of the fault on a sound store.
    pub(super) async fn ops(&self, write: &Write) -> Vec<Op> {
        let mut ops = Vec::new();
        for op in &write.ops {
            let (field, new) = (op.field(), token(op));
            let stored = self.stored(&write.subject, field).await;
            let removal = |token| Op::Remove {
                field,
                token,
                reason: Reason::Left,
            };
            match (op, stored) {
                (Op::Put { guard, .. }, Some((stored, _))) if self.wins(new, stored, *guard) => {
                    self.remove(write, removal(stored)).await;
                }
                (Op::Put { token, record, .. }, Some(same))
                    if self.is(Fault::RepetitionsChange) && same == (*token, record.clone()) =>
                {
                    self.remove(write, removal(new)).await;
                }
                (Op::Put { guard, .. }, Some((stored, _)))
                    if self.is(Fault::RefusalsEndTheWrite) && !guard.admits(new, stored) =>
                {
                    ops.push(op.clone());
                    break;
                }
                (Op::Put { .. }, None) if self.is(Fault::FencesForgotten) => {
                    self.link.forget_fences();
                }
                (Op::Put { guard, .. }, Some(_)) if self.is(Fault::ConditionsIgnored) => {
                    let mut op = op.clone();
                    if let (Op::Put { guard, .. }, Guard::Replaces(Some(_))) = (&mut op, *guard) {
                        *guard = Guard::Newer;
                    }
                    ops.push(op);
                    continue;
                }
                (Op::Hide { .. }, _) if self.is(Fault::HidingForgotten) => {
                    ops.push(op.clone());
                    self.known().forgets = true;
                    continue;
                }
                (Op::Put { .. }, None)
                    if self.is(Fault::HidingForgotten)
                        && std::mem::take(&mut self.known().forgets) =>
                {
                    self.link.forget_fences();
                }
                (Op::Remove { .. }, Some((stored, _))) if self.is(Fault::LateLeavesWin) => {
                    ops.push(removal(stored));
                    continue;
                }
                (Op::Remove { .. }, Some((stored, _)))
                    if self.is(Fault::ExactLeavesOnly) && stored != new =>
                {
                    continue;
                }
                _ => {}
            }
            ops.push(op.clone());
        }
        match self.fault {
            Fault::FirstOpOnly => ops.truncate(1),
            Fault::OpsBackwards => ops.reverse(),
            _ => {}
        }
        ops
    }

    /// Removes an entry so that nothing of it is left.
    async fn remove(&self, write: &Write, removal: Op) {
        let write = Write {
            subject: self.subject(&write.subject),
            by: write.by,
            ops: vec![removal],
            is_last: false,
            until: None,
        };
        self.link.write(&[write]).await;
        self.link.forget_fences();
    }

    pub(super) fn subject(&self, subject: &Subject) -> Subject {
        match subject {
            Subject::User(user) if self.is(Fault::NamesWithoutCase) => {
                Subject::User(UserId::new(&user.as_str().to_lowercase()).unwrap())
            }
            Subject::Topic(Topic::Workspace(it)) if self.is(Fault::PlacesOfOneKind) => {
                Subject::Topic(Topic::Channel(ChannelId::new(it.as_str()).unwrap()))
            }
            _ => subject.clone(),
        }
    }

    pub(super) fn subjects(&self, subjects: &[Subject]) -> Vec<Subject> {
        subjects.iter().map(|it| self.subject(it)).collect()
    }

    pub(super) fn record(&self, record: &mut Record) {
        match (self.fault, record) {
            (Fault::PublicStatusesLost, Record::Profile(it)) => {
                Arc::make_mut(it)
                    .public_status
                    .take_if(|it| it.chosen == Chosen::Online);
            }
            (Fault::StaysLost, Record::Session(it)) => Arc::make_mut(it).places.truncate(9),
            (Fault::WordsLost, Record::Member(it))
                if it.look.message.as_ref().is_some_and(|it| it.len() > 255) =>
            {
                Arc::make_mut(&mut Arc::make_mut(it).look).message = None;
            }
            (Fault::MetasWrittenAnew, Record::Member(it)) => {
                let meta = &it.meta;
                let json = meta.json().replace("{ ", "{");
                let meta = Meta::showing(json, meta.shown().clone());
                Arc::make_mut(it).meta = Arc::new(meta.unwrap());
            }
            _ => {}
        }
    }
}
