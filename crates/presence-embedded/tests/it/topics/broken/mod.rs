//! A store that breaks one rule.

mod notices;
mod writes;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use presence_core::cluster::{
    Ephemeral, FencingToken, Field, Incarnation, Op, Snapshot, Subject, Write,
};
use presence_core::ports::{Leases, Notice, Reaped, Renewal, StoreError, Topics, Written};
use presence_core::{Reason, Timestamp};
use presence_embedded::{TopicLink, TopicMemory};

use super::rules::Fault;

/// What all broken links of a store know together.
pub(super) type Shared = Arc<Mutex<Known>>;

#[derive(Default)]
pub(super) struct Known {
    links: Vec<TopicLink>,
    /// How often each is followed.
    followed: HashMap<Subject, usize>,
    unfollowed: Vec<Subject>,
    profiles: Vec<(Subject, FencingToken, Incarnation)>,
    last: HashSet<(Subject, Incarnation)>,
    until: HashMap<Incarnation, Timestamp>,
    is_reaping: bool,
    /// The next put finds no fence.
    forgets: bool,
}

/// A link that has a fault.
pub(super) struct Broken {
    link: TopicLink,
    fault: Fault,
    shared: Shared,
    own: Mutex<Own>,
}

/// What a link knows for itself.
#[derive(Default)]
struct Own {
    /// To be heard before anything else.
    extra: VecDeque<Notice>,
    /// Patches that are not heard.
    written: HashMap<Subject, usize>,
    late: Vec<Subject>,
    patches: usize,
}

/// The token of an operation.
fn token(op: &Op) -> FencingToken {
    match op {
        Op::Put { token, .. } | Op::Remove { token, .. } => *token,
        Op::Hide { .. } => FencingToken {
            epoch: 0,
            owner: 0,
            order: 0,
        },
    }
}

impl Broken {
    pub(super) fn new(store: &TopicMemory, fault: Fault, shared: &Shared) -> Self {
        let link = store.connect();
        shared.lock().unwrap().links.push(link.clone());
        Broken {
            link,
            fault,
            shared: Arc::clone(shared),
            own: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.lock().unwrap()
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap()
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl Topics for Broken {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written, StoreError>> {
        let mut outcomes = Vec::new();
        for write in writes {
            let mut done = write.clone();
            done.subject = self.subject(&write.subject);
            done.ops = self.ops(&done).await;
            for op in &write.ops {
                if op.field() == Field::Profile {
                    let profile = (done.subject.clone(), token(op), write.by);
                    self.known().profiles.push(profile);
                }
            }
            let key = (write.subject.clone(), write.by);
            if write.is_last {
                self.known().last.insert(key.clone());
            }
            match self.fault {
                Fault::LastWritesNoted => done.is_last = false,
                Fault::DeadlinesIgnored => done.until = None,
                Fault::LastWritesForEver => done.is_last = self.known().last.contains(&key),
                _ => {}
            }
            if self.known().followed.contains_key(&write.subject) {
                *self.own().written.entry(write.subject.clone()).or_default() += 1;
            }
            let mut written = match self.link.write(&[done]).await.remove(0) {
                Ok(written) => written,
                Err(error) => {
                    outcomes.push(Err(error));
                    continue;
                }
            };
            match self.fault {
                Fault::RefusalsUntold => written.refused.clear(),
                Fault::RefusalsWithOwnToken => {
                    for (field, fence) in &mut written.refused {
                        let mut ops = write.ops.iter();
                        fence.token = token(ops.find(|it| it.field() == *field).unwrap());
                    }
                }
                _ => {}
            }
            outcomes.push(Ok(written));
        }
        if self.is(Fault::OutcomesBackwards) {
            outcomes.reverse();
        }
        outcomes
    }

    async fn read(&self, subjects: &[Subject]) -> Vec<Result<Snapshot, StoreError>> {
        let mut read = self.link.read(&self.subjects(subjects)).await;
        for snapshot in read.iter_mut().flatten() {
            snapshot
                .entries
                .iter_mut()
                .for_each(|(.., it)| self.record(it));
            snapshot.clock.iter_mut().for_each(|it| self.clock(it));
        }
        if self.is(Fault::MapsBackwards) {
            read.reverse();
        }
        read
    }

    async fn follow(&self, subjects: &[Subject]) -> Vec<Result<(), StoreError>> {
        for subject in subjects {
            *self.known().followed.entry(subject.clone()).or_default() += 1;
        }
        let mut done = self.subjects(subjects);
        match self.fault {
            Fault::FirstFollowedOnly => done.truncate(1),
            Fault::FollowedLate => self.own().late.append(&mut done),
            _ => {}
        }
        self.link.follow(&done).await;
        subjects.iter().map(|_| Ok(())).collect()
    }

    async fn unfollow(&self, subjects: &[Subject]) {
        for subject in subjects {
            let left = {
                let mut known = self.known();
                known.unfollowed.push(subject.clone());
                let left = known.followed.entry(subject.clone()).or_default();
                *left = left.saturating_sub(1);
                *left
            };
            let links = match self.fault {
                Fault::NeverUnfollowed => vec![],
                Fault::FollowingCounted if left > 0 => vec![],
                Fault::UnfollowedForAll => self.known().links.clone(),
                _ => vec![self.link.clone()],
            };
            for link in links {
                link.unfollow(&[self.subject(subject)]).await;
            }
        }
    }

    async fn send_ephemeral(&self, ephemerals: &[(Subject, Vec<Ephemeral>)]) {
        for (subject, ephemerals) in ephemerals {
            let mut subjects = vec![subject.clone()];
            if self.is(Fault::EphemeralsToAll) {
                subjects = self.known().followed.keys().cloned().collect();
                subjects.retain(|it| it.partition() == subject.partition());
            }
            for subject in subjects {
                self.link
                    .send_ephemeral(&[(subject, ephemerals.clone())])
                    .await;
            }
        }
    }

    async fn compare(&self) -> Result<(), StoreError> {
        let extra = self.untrue();
        self.own().extra.extend(extra);
        self.link.compare().await
    }

    async fn next(&self) -> Notice {
        let late = std::mem::take(&mut self.own().late);
        self.link.follow(&late).await;
        loop {
            let extra = self.own().extra.pop_front();
            if let Some(notice) = extra {
                return notice;
            }
            let notice = self.link.next().await;
            if self.is(Fault::PatchesSwapped)
                && let Some(after) = self.another().await
            {
                self.own().extra.push_back(notice);
                return after;
            }
            if let Some(notice) = self.hear(notice) {
                return notice;
            }
        }
    }

    async fn renew(
        &self,
        me: Incarnation,
        name: &str,
        ttl: Duration,
        stored_up_to: Timestamp,
    ) -> Result<Leases, StoreError> {
        let ttl = match self.fault {
            Fault::LeasesShort => ttl / 2,
            _ => ttl,
        };
        let mut leases = self.link.renew(me, name, ttl, stored_up_to).await?;
        let lapsed = self
            .known()
            .until
            .get(&me)
            .is_some_and(|it| *it <= leases.now);
        let until = leases.nodes.iter().map(|it| (it.who, it.until));
        self.known().until = until.collect();
        let mut others = leases
            .nodes
            .iter()
            .filter(|it| it.who != me && it.who.node == me.node);
        match self.fault {
            Fault::LapsedIsNew if lapsed && leases.mine == Renewal::Renewed => {
                leases.mine = Renewal::New;
            }
            Fault::DeadRevived if leases.mine == Renewal::Dead => {
                self.link.forget(me).await?;
                leases = self.link.renew(me, name, ttl, stored_up_to).await?;
            }
            Fault::GenerationsMarkedDead if others.any(|it| it.is_dead) => {
                leases.mine = Renewal::Dead;
            }
            Fault::LeasesNameless => {
                leases.nodes.iter_mut().for_each(|it| it.name = "".into());
            }
            Fault::OwnLeaseOnly => leases.nodes.retain(|it| it.who == me),
            _ => {}
        }
        Ok(leases)
    }

    async fn mark_dead(&self, who: Incarnation) -> Result<bool, StoreError> {
        match self.fault {
            Fault::RunningMarkedDead => self.link.forget(who).await?,
            Fault::UnknownSpared if !self.known().until.contains_key(&who) => return Ok(false),
            _ => {}
        }
        self.link.mark_dead(who).await
    }

    async fn reap(&self, who: Incarnation) -> Result<Reaped, StoreError> {
        self.known().is_reaping = true;
        match self.fault {
            Fault::NothingReaped => return Ok(Reaped::default()),
            Fault::GenerationsReaped => {
                let generation = 2;
                self.link.reap(Incarnation { generation, ..who }).await?;
            }
            Fault::ProfilesReaped => {
                let mut profiles = self.known().profiles.clone();
                profiles.retain(|(_, _, by)| *by == who);
                for (subject, token, by) in profiles {
                    let removal = Op::Remove {
                        field: Field::Profile,
                        token,
                        reason: Reason::NodeLost,
                    };
                    let write = Write {
                        subject,
                        by,
                        ops: vec![removal],
                        is_last: true,
                        until: None,
                    };
                    self.link.write(&[write]).await;
                }
            }
            _ => {}
        }
        let mut reaped = self.link.reap(who).await?;
        match self.fault {
            Fault::ReapedInPart => reaped.more = false,
            Fault::ReapedForEver => reaped.more = true,
            Fault::OrphansUntold => reaped.orphans.clear(),
            Fault::OrphansOfHidersShown => {
                for orphan in &mut reaped.orphans {
                    orphan.channels.push("room:0".parse().unwrap());
                }
            }
            _ => {}
        }
        Ok(reaped)
    }

    async fn forget(&self, who: Incarnation) -> Result<(), StoreError> {
        match self.fault {
            Fault::NeverForgotten => Ok(()),
            _ => self.link.forget(who).await,
        }
    }

    async fn secret(&self, proposal: [u8; 32]) -> Result<[u8; 32], StoreError> {
        match self.fault {
            Fault::SecretForEach => Ok(proposal),
            _ => self.link.secret(proposal).await,
        }
    }
}
