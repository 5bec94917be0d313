//! Writes as the script wants them: those of one shard by one node together.

use std::collections::BTreeMap;

use fred::types::Value;
use presence_core::cluster::{Field, Incarnation, Op, Stamp, Write};
use presence_core::ports::Written;

use crate::fault::Fault;
use crate::keys::{self, Keys};
use crate::record;

/// How many operations one script does, at least one write though: it keeps its server from everything else.
pub const OPS_PER_SCRIPT_MAX: usize = 256;
/// How many bytes of records one script puts, at least one write though.
pub const BYTES_PER_SCRIPT_MAX: usize = 256 << 10;

/// Writes that one script does.
pub(crate) struct Batch {
    pub(crate) shard: u16,
    by: Incarnation,
    writes: Vec<Encoded>,
    ops: usize,
    bytes: usize,
}

/// What became of one write.
pub(crate) struct Outcome<'a> {
    /// What its subject is called.
    pub(crate) name: &'a str,
    /// Which version it made; 0 if it changed nothing.
    pub(crate) version: u64,
    pub(crate) written: Written,
}

struct Encoded {
    /// Which of all writes it is.
    index: usize,
    name: String,
    args: Vec<Value>,
}

/// Puts `writes` together.
pub(crate) fn of(writes: &[Write]) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut open: BTreeMap<(u16, Incarnation), usize> = BTreeMap::new();
    for (index, write) in writes.iter().enumerate() {
        let (shard, by) = (write.subject.shard(), write.by);
        let (encoded, bytes) = Encoded::of(index, write);
        let fits = |batch: &Batch| {
            batch.ops + write.ops.len() <= OPS_PER_SCRIPT_MAX
                && batch.bytes + bytes <= BYTES_PER_SCRIPT_MAX
        };
        let place = match open.get(&(shard, by)) {
            Some(&place) if fits(&batches[place]) => place,
            _ => {
                batches.push(Batch::new(shard, by));
                batches.len() - 1
            }
        };
        open.insert((shard, by), place);
        let batch = &mut batches[place];
        batch.writes.push(encoded);
        batch.ops += write.ops.len();
        batch.bytes += bytes;
    }
    batches
}

impl Batch {
    fn new(shard: u16, by: Incarnation) -> Self {
        Batch {
            shard,
            by,
            writes: Vec::new(),
            ops: 0,
            bytes: 0,
        }
    }

    /// One that writes nothing: then `shard` has a birth.
    pub(crate) fn empty(shard: u16) -> Self {
        let nobody = Incarnation {
            node: 0,
            generation: 0,
        };
        Batch::new(shard, nobody)
    }

    /// Which of all writes are in it.
    pub(crate) fn indices(&self) -> impl Iterator<Item = usize> {
        self.writes.iter().map(|it| it.index)
    }

    /// The keys and arguments of the script.
    pub(crate) fn call(&self, keys: &Keys) -> (Vec<String>, Vec<Value>) {
        let maps = self
            .writes
            .iter()
            .map(|it| keys.channel(self.shard, &it.name));
        let keys = [keys.changed(self.shard), keys.owned(self.shard, self.by)];
        let random = getrandom::u32().unwrap_or_default();
        let writes = self.writes.iter().flat_map(|it| it.args.iter().cloned());
        (
            keys.into_iter().chain(maps).collect(),
            std::iter::once(Value::from(i64::from(random)))
                .chain(writes)
                .collect(),
        )
    }

    /// What the script has answered: the birth of the shard, and what became of each write.
    pub(crate) fn outcomes_in(&self, answer: Value) -> Result<(u64, Vec<Outcome<'_>>), Fault> {
        let mut answer = answer.into_array().into_iter();
        let birth = answer
            .next()
            .as_ref()
            .and_then(number)
            .ok_or(Fault::Strange)?;
        let outcomes: Vec<_> = answer
            .zip(&self.writes)
            .map(|(outcome, write)| {
                let (version, written) = outcome_in(&outcome.into_array())?;
                Ok(Outcome {
                    name: &write.name,
                    version,
                    written,
                })
            })
            .collect::<Result<_, Fault>>()?;
        if outcomes.len() != self.writes.len() {
            return Err(Fault::Strange);
        }
        Ok((birth, outcomes))
    }
}

fn outcome_in(outcome: &[Value]) -> Result<(u64, Written), Fault> {
    let (version, refused) = outcome.split_first().ok_or(Fault::Strange)?;
    let refused = refused
        .chunks_exact(2)
        .map(|pair| refused_in(&pair[0], &pair[1]));
    let written = Written {
        refused: refused.collect::<Option<_>>().ok_or(Fault::Strange)?,
    };
    Ok((number(version).ok_or(Fault::Strange)?, written))
}

fn refused_in(field: &Value, stamp: &Value) -> Option<(Field, Stamp)> {
    let field = keys::field_of(field.as_bytes()?)?;
    let (stamp, _) = record::split_stamp(stamp.as_bytes()?).ok()?;
    Some((field, stamp))
}

fn number(value: &Value) -> Option<u64> {
    u64::try_from(value.as_i64()?).ok()
}

impl Encoded {
    /// The write as arguments, and how many bytes they have.
    fn of(index: usize, write: &Write) -> (Self, usize) {
        let name = keys::name_of(&write.subject);
        let mut args = Vec::with_capacity(3 + 3 * write.ops.len());
        args.push(Value::from(name.as_str()));
        args.push(Value::from_static_str(note_of(write)));
        args.push(Value::from(
            i64::try_from(write.ops.len()).unwrap_or(i64::MAX),
        ));
        let mut bytes = name.len();
        for op in &write.ops {
            let value = match op {
                Op::Put { stamp, record, .. } => record::encode(&write.subject, *stamp, record),
                Op::Cut { stamp, .. } => record::stamp(*stamp).to_vec(),
            };
            let reason = match op {
                Op::Put { .. } => Value::from_static_str(""),
                Op::Cut { reason, .. } => Value::Bytes(vec![record::reason_byte(*reason)].into()),
            };
            bytes += value.len();
            args.push(Value::from(keys::field(op.field())));
            args.push(Value::Bytes(value.into()));
            args.push(reason);
        }
        (Encoded { index, name, args }, bytes)
    }
}

/// What becomes of the note that the writer has entries there: the script knows the signs.
fn note_of(write: &Write) -> &'static str {
    let is_put = |op: &Op| matches!((op, op.field()), (Op::Put { .. }, Field::Session(_)));
    if write.is_last {
        "-"
    } else if write.ops.iter().any(is_put) {
        "+"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use presence_core::cluster::Subject;
    use presence_core::{Reason, SessionId, UserId};

    use super::*;

    #[test]
    fn a_shard_is_written_at_once_and_a_big_write_alone() {
        let cut = Op::Cut {
            field: Field::Session(SessionId::from_u128(1)),
            stamp: Stamp::of_session(1, who(1)),
            reason: Reason::Left,
        };
        let write = |user: &str, by, ops| Write {
            subject: Subject::User(UserId::new(user).unwrap()),
            by: who(by),
            ops: vec![cut.clone(); ops],
            is_last: false,
        };
        let (one, other, elsewhere) = same_shard();
        let writes = [
            write(&one, 1, 200),
            write(&elsewhere, 1, 1),
            write(&other, 1, 56),
            write(&other, 2, 1),
            write(&other, 1, 1),
            write(&other, 1, 1000),
        ];
        let batches: Vec<Vec<usize>> = of(&writes)
            .iter()
            .map(|it| it.indices().collect())
            .collect();
        assert_eq!(batches, [vec![0, 2], vec![1], vec![3], vec![4], vec![5]]);
    }

    #[test]
    fn an_answer_that_does_not_fit_the_question_is_strange() {
        let batch = Batch::new(1, who(1));
        assert!(
            batch
                .outcomes_in(Value::Array(vec![Value::from(7)]))
                .is_ok()
        );
        for answer in [Value::Null, Value::Array(vec![]), Value::from("OK")] {
            assert!(batch.outcomes_in(answer).is_err());
        }
    }

    /// Two users of one shard, and one of another.
    fn same_shard() -> (String, String, String) {
        let shard = |n: &u32| Subject::User(UserId::new(&n.to_string()).unwrap()).shard();
        let other = (1..).find(|n| shard(n) == shard(&0)).unwrap();
        let elsewhere = (1..).find(|n| shard(n) != shard(&0)).unwrap();
        ("0".into(), other.to_string(), elsewhere.to_string())
    }

    fn who(node: u64) -> Incarnation {
        Incarnation {
            node,
            generation: 0,
        }
    }
}
