//! What one copy of a map does with what it is told.

use super::*;
use crate::cluster::store::Written;
use crate::cluster::{Change, Fence, Field, Incarnation, News, Op, Patch, Snapshot};
use crate::{DeviceKind, Look, Meta, TopicVersion, UserId, Visible};

const ME: u64 = 1;
const OTHER: u64 = 2;

/// A replica, and the time.
struct Harness {
    replica: Replica<Arc<Member>>,
    membership: Membership,
    now: Timestamp,
}

impl Harness {
    fn new() -> Self {
        Harness {
            replica: Replica::default(),
            membership: Membership::new(node(ME)),
            now: Timestamp::from_millis(1_000_000),
        }
    }

    fn followed(snapshot: Snapshot) -> Self {
        let mut harness = Harness::new();
        let mut requests = Vec::new();
        let (subject, membership) = (subject(), &harness.membership);
        harness
            .replica
            .follow(true, &subject, membership, &mut requests);
        harness.read(snapshot);
        harness
    }

    fn put(&mut self, number: u128, epoch: u32) -> Verdict {
        self.put_as(number, epoch, Hold::No)
    }

    fn put_as(&mut self, number: u128, epoch: u32, hold: Hold) -> Verdict {
        let how = Put {
            guard: Guard::Newer,
            profile: 0,
            hold,
        };
        let value = member(number);
        let replica = &mut self.replica;
        replica.put(
            self.now,
            session(number),
            epoch,
            value,
            how,
            &self.membership,
        )
    }

    fn remove(&mut self, number: u128) -> bool {
        let reason = Reason::Left;
        let replica = &mut self.replica;
        replica.remove(self.now, session(number), reason, &self.membership)
    }

    fn read(&mut self, snapshot: Snapshot) -> ReplicaChanges<Arc<Member>> {
        let ask = self.replica.ask;
        let replica = &mut self.replica;
        replica.read(self.now, ask, Some(snapshot), &self.membership)
    }

    fn read_again(&mut self, snapshot: Snapshot) -> ReplicaChanges<Arc<Member>> {
        self.replica.invalidate();
        self.asks();
        self.read(snapshot)
    }

    fn asks(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        let replica = &mut self.replica;
        replica.ask(self.now, &subject(), &self.membership, None, &mut requests);
        requests
    }

    /// What is written now, and goes well.
    fn writes(&mut self) -> Vec<Op> {
        self.writes_to(&Written::default()).0
    }

    /// What is written now, and what comes of that outcome.
    fn writes_to(&mut self, done: &Written) -> (Vec<Op>, ReplicaChanges<Arc<Member>>) {
        let mut requests = self.asks();
        let Some(Request::Write(write)) = requests.pop() else {
            return (Vec::new(), ReplicaChanges::default());
        };
        let heard = self.replica.written(self.now, Some(done), &self.membership);
        (write.ops, heard)
    }

    fn wait(&mut self, secs: u64) -> ReplicaChanges<Arc<Member>> {
        self.now = self.now + Duration::from_secs(secs);
        self.replica.expire(self.now, &self.membership)
    }
}

fn node(node: u64) -> Incarnation {
    let generation = 0;
    Incarnation { node, generation }
}

fn subject() -> Subject {
    Subject::User(UserId::new("ann").unwrap())
}

fn session(number: u128) -> SessionId {
    SessionId::from_u128(number)
}

fn member(number: u128) -> Arc<Member> {
    Arc::new(Member {
        session: session(number),
        alias: session(number),
        epoch: 0,
        user: UserId::new("ann").unwrap(),
        device: DeviceKind::Web,
        joined_at: Timestamp::default(),
        meta: Arc::new(Meta::default()),
        look: Arc::new(Look {
            status: Visible::Online,
            message: None,
            emoji: None,
        }),
        look_revision: 0,
        profile: 0,
    })
}

fn entry(number: u128, epoch: u32, owner: u64) -> (Field, FencingToken, Record) {
    let token = FencingToken::of_session(epoch, node(owner), 1);
    let field = Field::Session(session(number));
    (field, token, Record::Member(member(number)))
}

fn snapshot(version: u64, entries: &[(u128, u32, u64)]) -> Snapshot {
    let entries = entries.iter().map(|it| entry(it.0, it.1, it.2));
    let epoch = 7;
    Snapshot {
        clock: Some(TopicVersion { epoch, version }),
        entries: entries.collect(),
    }
}

fn refused_by(number: u128, epoch: u32, owner: u64) -> Written {
    let (field, token, _) = entry(number, epoch, owner);
    let fence = Fence { token, profile: 0 };
    Written {
        refused: vec![(field, fence)],
        ..Written::default()
    }
}

fn is_removal(op: &Op) -> bool {
    matches!(op, Op::Remove { .. })
}

#[test]
fn what_was_removed_is_removed_again_where_the_store_has_gone_back() {
    let mut harness = Harness::new();
    harness.put(1, 0);
    assert!(!is_removal(&harness.writes()[0]));
    harness.remove(1);
    assert!(is_removal(&harness.writes()[0]));
    assert_eq!(harness.writes(), []);
    harness.wait(10);
    harness.replica.invalidate();
    assert!(is_removal(&harness.writes()[0]));
    harness.wait(30);
    harness.replica.invalidate();
    assert!(harness.writes().is_empty() && !harness.replica.is_needed());
}

#[test]
fn a_removal_that_waits_is_not_forgotten_for_an_entry_that_never_follows() {
    let mut harness = Harness::new();
    harness.put(1, 0);
    assert!(!is_removal(&harness.writes()[0]));
    harness.remove(1);
    // The store is away. Meanwhile the session wants to be shown again, once the user's map names the place.
    harness.put_as(1, 0, Hold::UntilNamed);
    assert!(harness.writes().is_empty());
    harness.remove(1);
    assert!(is_removal(&harness.writes()[0]));

    // The same for a removal that is on its way, and fails.
    harness.put(2, 0);
    harness.writes();
    harness.remove(2);
    harness.asks();
    harness.put_as(2, 0, Hold::UntilNamed);
    harness
        .replica
        .written(harness.now, None, &harness.membership);
    harness.wait(5);
    harness.remove(2);
    assert!(is_removal(&harness.writes()[0]));
}

#[test]
fn a_claim_is_made_again_by_the_next_generation() {
    let mut harness = Harness::followed(snapshot(1, &[(1, 0, 2)]));
    let (_, expected, _) = entry(1, 0, 2);
    let value = member(1);
    let replica = &mut harness.replica;
    replica.claim(
        harness.now,
        session(1),
        1,
        value,
        expected,
        &harness.membership,
    );
    let me = harness.membership.me();
    let next = Incarnation {
        generation: me.generation + 1,
        ..me
    };
    harness.membership.hear(News::Become(next));
    harness.replica.void(harness.now, &harness.membership);
    let (ops, heard) = harness.writes_to(&Written::default());
    let Op::Put { token, .. } = &ops[0] else {
        panic!("nothing is claimed: {ops:?}");
    };
    assert_eq!(token.incarnation(), next);
    assert_eq!(heard.claims, [(session(1), Claimed::Granted)]);
}

#[test]
fn entries_that_nobody_follows_are_written_again_where_the_store_has_lost_them() {
    let mut harness = Harness::new();
    harness.put(1, 0);
    assert_eq!(harness.writes().len(), 1);
    assert_eq!(harness.writes(), []);
    harness.replica.invalidate();
    assert_eq!(harness.writes().len(), 1);
}

#[test]
fn a_loss_that_is_told_while_the_map_is_being_read_is_not_forgotten() {
    let mut harness = Harness::new();
    let mut requests = Vec::new();
    let membership = &harness.membership;
    harness
        .replica
        .follow(true, &subject(), membership, &mut requests);
    harness.replica.invalidate();
    harness.read(snapshot(1, &[]));
    assert!(matches!(harness.asks()[..], [Request::Read { .. }]));
}

#[test]
fn an_entry_that_is_merely_missing_is_held_for_its_owner_to_write_it_again() {
    let mut harness = Harness::followed(snapshot(5, &[(1, 0, OTHER)]));
    assert!(harness.read_again(snapshot(9, &[])).changes.is_empty());
    assert!(harness.wait(2).changes.is_empty());
    assert_eq!(harness.wait(2).changes.len(), 1);
}

#[test]
fn after_a_loss_it_is_held_until_everybody_has_written_again() {
    let mut harness = Harness::followed(snapshot(9, &[(1, 0, OTHER)]));
    harness.read_again(snapshot(5, &[]));
    assert!(harness.wait(5).changes.is_empty());
    harness.membership.hear(News::StoredUpTo(harness.now));
    assert_eq!(
        harness
            .replica
            .confirm_stored(harness.now, &harness.membership)
            .changes
            .len(),
        1
    );
}

#[test]
fn what_another_node_has_since_is_not_put_by_the_one_before() {
    let mut harness = Harness::followed(snapshot(1, &[]));
    assert_eq!(harness.put(1, 0), Verdict::Counts);
    harness.writes();
    let heard = harness.read_again(snapshot(5, &[(1, 1, OTHER)]));
    assert_eq!(heard.taken.len(), 1);
    // Its own user machine has not heard of it yet.
    assert_eq!(harness.put(1, 0), Verdict::Superseded);
    assert_eq!(harness.replica.others().count(), 1);
    // Nor when the session has ended there.
    harness.read_again(snapshot(7, &[]));
    harness.wait(4);
    assert_eq!(harness.put(1, 0), Verdict::Superseded);
}

#[test]
fn a_session_that_is_refused_is_somebody_elses() {
    let mut harness = Harness::new();
    harness.put(1, 0);
    let (_, heard) = harness.writes_to(&refused_by(1, 1, OTHER));
    assert_eq!(heard.taken.len(), 1);
    assert!(!harness.replica.owns(session(1)));
}

#[test]
fn a_claim_counts_once_it_is_granted() {
    let mut harness = Harness::followed(snapshot(5, &[(1, 0, OTHER)]));
    let (token, _) = harness.replica.other(session(1)).unwrap();
    let claim = |harness: &mut Harness| {
        let (session, value) = (session(1), member(1));
        harness
            .replica
            .claim(harness.now, session, 1, value, token, &harness.membership);
    };
    claim(&mut harness);
    assert!(!harness.replica.owns(session(1)));
    let (_, heard) = harness.writes_to(&refused_by(1, 0, OTHER));
    assert_eq!(heard.claims, [(session(1), Claimed::Refused)]);
    claim(&mut harness);
    let (_, heard) = harness.writes_to(&Written::default());
    assert_eq!(heard.claims, [(session(1), Claimed::Granted)]);
    assert!(harness.replica.owns(session(1)) && harness.replica.others().count() == 0);
}

#[test]
fn a_claim_waits_for_the_owner_where_the_store_has_gone_back_to_an_older_entry() {
    let mut harness = Harness::followed(snapshot(5, &[(1, 1, OTHER)]));
    let (token, _) = harness.replica.other(session(1)).unwrap();
    let (now, value) = (harness.now, member(1));
    let membership = harness.membership.clone();
    let replica = &mut harness.replica;
    replica.claim(now, session(1), 2, value, token, &membership);
    let (_, heard) = harness.writes_to(&refused_by(1, 0, OTHER));
    assert_eq!(heard.claims, [(session(1), Claimed::Refused)]);
    assert!(harness.writes().is_empty(), "it would be refused again");
    harness.put(2, 0);
    assert!(
        matches!(harness.asks()[..], [Request::Write(_)]),
        "others of the user do not wait for that"
    );
    assert!(!harness.replica.is_away(harness.now));
    harness.wait(1);
    assert!(matches!(harness.asks()[..], [Request::Read { .. }, ..]));
}

#[test]
fn an_entry_that_a_dead_node_had_taken_over_is_gone() {
    let mut harness = Harness::followed(snapshot(1, &[]));
    harness.put(1, 0);
    harness.writes();
    harness.membership.hear(News::Lost(node(OTHER)));
    let heard = harness.read_again(snapshot(5, &[(1, 1, OTHER)]));
    assert_eq!(heard.taken.len(), 1);
    assert_eq!(heard.changes, [(session(1), Err(Reason::NodeLost))]);
    assert!(!harness.replica.owns(session(1)) && harness.replica.others().count() == 0);
}

#[test]
fn the_entries_of_a_node_that_died_while_this_one_was_asleep_go_when_the_map_was_read() {
    let mut harness = Harness::followed(snapshot(1, &[(1, 1, OTHER)]));
    let now = harness.now;
    let woke = News::Woke { since: now };
    let replica = &mut harness.replica;
    assert!(
        replica
            .hear_news(now, woke, &harness.membership)
            .changes
            .is_empty()
    );
    let lost = News::Lost(node(OTHER));
    harness.membership.hear(lost);
    assert!(
        replica
            .hear_news(now, lost, &harness.membership)
            .changes
            .is_empty()
    );
    harness.asks();
    // The user has begun a new session elsewhere meanwhile.
    let heard = harness.read(snapshot(5, &[(1, 1, OTHER), (2, 1, 3)]));
    let sessions: Vec<_> = heard
        .changes
        .iter()
        .map(|it| (it.0, it.1.is_ok()))
        .collect();
    assert_eq!(sessions, [(session(1), false), (session(2), true)]);
}

#[test]
fn the_entries_of_a_dead_node_do_not_wait_for_a_store_that_is_away() {
    let mut harness = Harness::followed(snapshot(1, &[(1, 1, OTHER)]));
    harness.replica.invalidate();
    harness.asks();
    let (now, lost) = (harness.now, News::Lost(node(OTHER)));
    harness.membership.hear(lost);
    let (replica, membership) = (&mut harness.replica, &harness.membership);
    assert!(replica.hear_news(now, lost, membership).changes.is_empty());
    let heard = replica.read(now, replica.ask, None, membership);
    assert_eq!(heard.changes, [(session(1), Err(Reason::NodeLost))]);
}

#[test]
fn who_is_asked_to_leave_counts_until_the_store_has_said_so() {
    let mut harness = Harness::new();
    harness.put(1, 0);
    harness.writes();
    let (now, membership) = (harness.now, harness.membership.clone());
    assert!(
        harness
            .replica
            .leave(now, session(1), Reason::Lost, &membership)
    );
    assert!(harness.replica.owns(session(1)));
    let absent = Written {
        absent: vec![Field::Session(session(1))],
        ..Written::default()
    };
    let (_, heard) = harness.writes_to(&absent);
    assert!(heard.left.is_empty() && heard.absent == [session(1)]);
    assert!(!is_removal(&harness.writes()[0]), "it is put again");
    assert!(
        harness
            .replica
            .leave(now, session(1), Reason::Lost, &membership)
    );
    let (_, heard) = harness.writes_to(&Written::default());
    assert_eq!(heard.left, [(session(1), Reason::Lost)]);
}

#[test]
fn what_a_session_left_behind_is_removed_if_its_new_node_does_not_replace_it() {
    let mut harness = Harness::new();
    harness.put(1, 0);
    harness.writes();
    assert!(harness.replica.hand_over(harness.now, session(1)));
    assert_eq!(harness.writes(), []); // but the note that it has entries there is taken back
    harness.wait(31);
    assert!(is_removal(&harness.writes()[0]));
}

#[test]
fn a_patch_of_a_past_that_is_over_is_not_believed() {
    let mut harness = Harness::followed(snapshot(9, &[]));
    let (field, token, record) = entry(1, 0, OTHER);
    let late = Patch {
        from: 0,
        clock: TopicVersion {
            epoch: 3,
            version: 4,
        },
        changes: vec![Change {
            field,
            entry: Ok((token, record)),
        }],
    };
    let membership = harness.membership.clone();
    let heard = harness.replica.patched(harness.now, late, &membership);
    assert!(heard.changes.is_empty());
    assert!(matches!(harness.asks()[..], [Request::Read { .. }]));
}
