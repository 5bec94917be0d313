//! Batches of writes: those to one partition by one node are sent together, in one script.

use std::collections::BTreeMap;

use fred::types::Value;
use presence_core::Timestamp;
use presence_core::cluster::{FENCE_TTL, Fence, Guard, Incarnation, Op, Subject, Write};
use presence_core::ports::{Queue, Written};

use crate::fault::Fault;
use crate::keys::{self, Keys};
use crate::record;

/// The number of operations that one script does, because it blocks its server meanwhile. A write with more is
/// sent in parts.
pub const OPS_PER_SCRIPT_MAX: usize = 256;
/// The size of the records that one script puts, in bytes. A single record may be bigger.
pub const BYTES_PER_SCRIPT_MAX: usize = 256 << 10;

/// The writes that one script does.
pub(crate) struct Batch {
    pub(crate) partition: u16,
    by: Incarnation,
    parts: Vec<Part>,
    ops: usize,
    bytes: usize,
    /// The end of the writer's lease, by the clock of the server that keeps the leases.
    pub(crate) until: Option<Timestamp>,
}

/// The answer of the script to a batch.
pub(crate) struct Answer<'a> {
    /// The random number that was drawn when the partition's data began.
    pub(crate) birth: u64,
    /// The time of the server's clock.
    pub(crate) now: Timestamp,
    /// The outcome of each write.
    pub(crate) outcomes: Vec<Outcome<'a>>,
}

/// The server did nothing, because the lease of the writer had ended at this time of its clock.
pub(crate) struct TooLate(pub(crate) Timestamp);

/// The outcome of one write.
pub(crate) struct Outcome<'a> {
    /// The name of the subject in its partition.
    pub(crate) name: &'a str,
    pub(crate) written: Written,
}

/// A write, or some operations of a big one.
struct Part {
    /// The index of the write among all writes.
    index: usize,
    name: String,
    note: &'static str,
    outboxes: &'static str,
    ops: usize,
    /// The operations, as arguments of the script.
    args: Vec<Value>,
    bytes: usize,
}

/// Sorts `writes` into batches: for each partition a chain that is sent one after the other. A big write is spread over
/// several batches of a chain. Without `webhooks` no rows are left for these.
pub(crate) fn of(writes: &[Write], webhooks: bool) -> Vec<Vec<Batch>> {
    let mut chains: BTreeMap<u16, Vec<Batch>> = BTreeMap::new();
    for (index, write) in writes.iter().enumerate() {
        let partition = write.subject.partition();
        let chain = chains.entry(partition).or_default();
        for part in Part::all(index, write, webhooks) {
            match chain.last_mut() {
                Some(batch) if batch.by == write.by && batch.fits(&part) => batch.add(part),
                _ => {
                    let mut batch = Batch::new(partition, write.by);
                    batch.until = write.until;
                    batch.add(part);
                    chain.push(batch);
                }
            }
        }
    }
    chains.into_values().collect()
}

impl Batch {
    fn new(partition: u16, by: Incarnation) -> Self {
        Batch {
            partition,
            by,
            parts: Vec::new(),
            ops: 0,
            bytes: 0,
            until: None,
        }
    }

    fn fits(&self, part: &Part) -> bool {
        self.ops + part.ops <= OPS_PER_SCRIPT_MAX && self.bytes + part.bytes <= BYTES_PER_SCRIPT_MAX
    }

    fn add(&mut self, part: Part) {
        self.ops += part.ops;
        self.bytes += part.bytes;
        self.parts.push(part);
    }

    /// A batch without writes. It gives `partition` its birth number if it has none.
    pub(crate) fn empty(partition: u16) -> Self {
        let nobody = Incarnation {
            node: 0,
            generation: 0,
        };
        Batch::new(partition, nobody)
    }

    /// The indices of the writes in the batch.
    pub(crate) fn indices(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().map(|it| it.index)
    }

    /// The keys and arguments of the script. `until` is the end of the writer's lease by the clock of
    /// the partition's server.
    pub(crate) fn call(&self, keys: &Keys, until: Option<Timestamp>) -> (Vec<String>, Vec<Value>) {
        let parts = self.parts.iter();
        let maps = parts.flat_map(|it| {
            let map = keys.channel(self.partition, &it.name);
            [map, keys.fences(self.partition, &it.name)]
        });
        // The outboxes are numbers 3 and 4, as `outboxes_of` says.
        let keys = [
            keys.changed(self.partition),
            keys.owned(self.partition, self.by),
            keys.outbox(self.partition, Queue::Profiles),
            keys.outbox(self.partition, Queue::Webhooks),
        ];
        let random = getrandom::u32().unwrap_or_default();
        let until = match until {
            Some(until) => Value::from(i64::try_from(until.as_millis()).unwrap_or(i64::MAX)),
            None => Value::from_static_str(""),
        };
        let ttl = i64::try_from(FENCE_TTL.as_millis()).unwrap_or(i64::MAX);
        let head = [Value::from(i64::from(random)), until, Value::from(ttl)];
        let parts = self.parts.iter().flat_map(Part::call);
        (
            keys.into_iter().chain(maps).collect(),
            head.into_iter().chain(parts).collect(),
        )
    }

    /// Reads the answer of the script.
    pub(crate) fn outcomes_in(&self, answer: Value) -> Result<Result<Answer<'_>, TooLate>, Fault> {
        let mut answer = answer.into_array().into_iter();
        let (birth, now) = (answer.next(), answer.next());
        let (birth, now) = birth.zip(now).ok_or(Fault::Strange)?;
        let now = number(&now)
            .map(Timestamp::from_millis)
            .ok_or(Fault::Strange)?;
        if birth.as_bytes() == Some(b"late") {
            return Ok(Err(TooLate(now)));
        }
        let birth = number(&birth).ok_or(Fault::Strange)?;
        let outcomes: Vec<_> = answer
            .zip(&self.parts)
            .map(|(outcome, write)| {
                Ok(Outcome {
                    name: &write.name,
                    written: written_in(&outcome.into_array())?,
                })
            })
            .collect::<Result<_, Fault>>()?;
        if outcomes.len() != self.parts.len() {
            return Err(Fault::Strange);
        }
        Ok(Ok(Answer {
            birth,
            now,
            outcomes,
        }))
    }
}

fn written_in(outcome: &[Value]) -> Result<Written, Fault> {
    let [version, profile, refused @ ..] = outcome else {
        return Err(Fault::Strange);
    };
    let version = number(version).ok_or(Fault::Strange)?;
    let profile = profile.as_bytes().ok_or(Fault::Strange)?;
    let mut written = Written {
        version: (version > 0).then_some(version),
        profile: profile.try_into().ok().map(u64::from_be_bytes),
        ..Written::default()
    };
    for pair in refused.chunks_exact(2) {
        let field = pair[0].as_bytes().and_then(keys::field_of);
        let field = field.ok_or(Fault::Strange)?;
        match pair[1].as_bytes() {
            Some(b"") => written.absent.push(field),
            Some(fence) => written.refused.push((field, fence_in(fence)?)),
            None => return Err(Fault::Strange),
        }
    }
    Ok(written)
}

fn fence_in(bytes: &[u8]) -> Result<Fence, Fault> {
    record::fence(bytes).map_err(|_| Fault::Strange)
}

fn number(value: &Value) -> Option<u64> {
    u64::try_from(value.as_i64()?).ok()
}

impl Part {
    /// The parts of a write: at least one.
    fn all(index: usize, write: &Write, webhooks: bool) -> Vec<Self> {
        let mut parts = vec![Part::new(index, write, webhooks)];
        for op in &write.ops {
            let args = args_of(&write.subject, op);
            let bytes: usize = args
                .iter()
                .filter_map(Value::as_bytes)
                .map(<[u8]>::len)
                .sum();
            let last = parts.last().expect("there is a part");
            let is_full =
                last.ops == OPS_PER_SCRIPT_MAX || last.bytes + bytes > BYTES_PER_SCRIPT_MAX;
            if is_full && last.ops > 0 {
                parts.push(Part::new(index, write, webhooks));
            }
            let last = parts.last_mut().expect("there is a part");
            last.ops += 1;
            last.bytes += bytes;
            last.args.extend(args);
        }
        let last = parts.last_mut().expect("there is a part");
        if write.is_last {
            last.note = "-";
        }
        parts
    }

    fn new(index: usize, write: &Write, webhooks: bool) -> Self {
        Part {
            index,
            name: keys::name_of(&write.subject),
            note: note_of(write),
            outboxes: outboxes_of(write, webhooks),
            ops: 0,
            args: Vec::new(),
            bytes: 0,
        }
    }

    /// The part as arguments of the script.
    fn call(&self) -> impl Iterator<Item = Value> {
        let head = [
            Value::from(self.name.as_str()),
            Value::from_static_str(self.note),
            Value::from_static_str(self.outboxes),
            Value::from(i64::try_from(self.ops).unwrap_or(i64::MAX)),
        ];
        head.into_iter().chain(self.args.iter().cloned())
    }
}

/// An operation as arguments of the script: the field, the content, the kind of operation, and what that
/// needs in addition.
fn args_of(subject: &Subject, op: &Op) -> [Value; 4] {
    let (value, how, more) = match op {
        Op::Put {
            token,
            record,
            guard,
            profile,
            ..
        } => {
            let mut more = profile.to_be_bytes().to_vec();
            let how = match guard {
                Guard::Newer => "n",
                Guard::Replaces(expected) => {
                    more.extend(expected.iter().flat_map(|it| record::token_bytes(*it)));
                    "r"
                }
            };
            let entry = record::encode(subject, *token, record);
            (entry, how.as_bytes().to_vec(), more)
        }
        Op::Remove { token, reason, .. } => {
            let reason = vec![record::reason_byte(*reason)];
            (record::token_bytes(*token).to_vec(), reason, Vec::new())
        }
        Op::Hide { profile, .. } => {
            let more = profile.to_be_bytes().to_vec();
            (Vec::new(), b"h".to_vec(), more)
        }
    };
    let field = keys::field(op.field());
    [
        Value::from(field),
        Value::Bytes(value.into()),
        Value::Bytes(how.into()),
        Value::Bytes(more.into()),
    ]
}

/// The sign that tells the script what to do with the note that the writer has entries in the map.
fn note_of(write: &Write) -> &'static str {
    if write.ops.iter().any(Op::puts_session) {
        "+"
    } else {
        ""
    }
}

/// The numbers of the outbox keys in which the write leaves rows.
fn outboxes_of(write: &Write, webhooks: bool) -> &'static str {
    let webhooks = webhooks && write.is_due_for(Queue::Webhooks);
    match (write.is_due_for(Queue::Profiles), webhooks) {
        (false, false) => "",
        (true, false) => "3",
        (false, true) => "4",
        (true, true) => "34",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use presence_core::cluster::Record;
    use presence_core::cluster::{FencingToken, Field};
    use presence_core::{Profile, Reason, SessionId, UserId};

    use super::*;

    #[test]
    fn a_partition_is_written_at_once_and_what_is_too_big_in_parts() {
        let removal = Op::Remove {
            field: Field::Session(SessionId::from_u128(1)),
            token: FencingToken::of_session(1, who(1), 0),
            reason: Reason::Left,
        };
        let write = |user: &str, by, ops| Write {
            subject: Subject::User(UserId::new(user).unwrap()),
            by: who(by),
            ops: vec![removal.clone(); ops],
            is_last: false,
            until: None,
        };
        let (one, other, elsewhere) = same_partition();
        let writes = [
            write(&one, 1, 200),
            write(&elsewhere, 1, 1),
            write(&other, 1, 56),
            write(&other, 2, 1),
            write(&other, 1, 0),
            write(&other, 1, 600),
        ];
        let mut chains: Vec<Vec<Vec<(usize, usize)>>> = of(&writes, false)
            .iter()
            .map(|chain| chain.iter().map(parts).collect())
            .collect();
        chains.sort_by_key(Vec::len);
        assert_eq!(chains[0], [[(1, 1)]]);
        let long: [&[(usize, usize)]; 5] = [
            &[(0, 200), (2, 56)],
            &[(3, 1)],
            &[(4, 0), (5, 256)],
            &[(5, 256)],
            &[(5, 88)],
        ];
        assert_eq!(chains[1], long);
    }

    #[test]
    fn a_note_is_made_by_each_part_and_taken_back_by_the_last() {
        let note = |is_last, ops: usize| {
            let user = UserId::new("ann").unwrap();
            let put = Op::put(
                Field::Session(SessionId::from_u128(1)),
                FencingToken::of_session(1, who(1), 0),
                Record::Profile(Arc::new(Profile::new(user.clone()))),
            );
            let write = Write {
                subject: Subject::User(user),
                by: who(1),
                ops: vec![put; ops],
                is_last,
                until: None,
            };
            let parts = Part::all(0, &write, false).into_iter();
            parts.map(|it| it.note).collect::<Vec<_>>()
        };
        assert_eq!(note(false, 300), ["+", "+"]);
        assert_eq!(note(true, 300), ["+", "-"]);
        assert_eq!(note(false, 0), [""]);
        assert_eq!(note(true, 0), ["-"]);
    }

    /// The writes in a batch, each with its number of operations.
    fn parts(batch: &Batch) -> Vec<(usize, usize)> {
        batch.parts.iter().map(|it| (it.index, it.ops)).collect()
    }

    #[test]
    fn an_answer_that_does_not_fit_the_question_is_strange() {
        let batch = Batch::new(1, who(1));
        assert!(
            batch
                .outcomes_in(Value::Array(vec![Value::from(7), Value::from(8)]))
                .is_ok()
        );
        for answer in [Value::Null, Value::Array(vec![]), Value::from("OK")] {
            assert!(batch.outcomes_in(answer).is_err());
        }
    }

    /// Two users of one partition, and one user of another partition.
    fn same_partition() -> (String, String, String) {
        let partition = |n: &u32| Subject::User(UserId::new(&n.to_string()).unwrap()).partition();
        let other = (1..).find(|n| partition(n) == partition(&0)).unwrap();
        let elsewhere = (1..).find(|n| partition(n) != partition(&0)).unwrap();
        ("0".into(), other.to_string(), elsewhere.to_string())
    }

    fn who(node: u64) -> Incarnation {
        Incarnation {
            node,
            generation: 0,
        }
    }
}
