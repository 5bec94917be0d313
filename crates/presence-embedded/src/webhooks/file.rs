//! The file of the webhook state. Each batch of changes is one commit, which is on the disk when it returns.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use presence_core::cluster::{PARTITIONS, Subject};
use presence_core::hooks::HookEvent;
use presence_core::ports::{Known, StoreError};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

use super::record;
use crate::file::OpenError;
use crate::file::database::{Database, Failure};
use crate::file::open;
use crate::topics::hooks::HookPartition;

/// What the endpoint was told: from the name of the subject to the record.
const TOLD: TableDefinition<&str, &[u8]> = TableDefinition::new("told");
/// The events that wait: from partition and number to the record.
const EVENTS: TableDefinition<(u16, u64), &[u8]> = TableDefinition::new("events");
/// The last number of each partition. Numbers grow for ever, also after everything was delivered.
const LAST: TableDefinition<u16, u64> = TableDefinition::new("last");

/// The open database file.
pub(super) struct File(Database);

/// The content of a file.
pub(super) struct Loaded {
    pub(super) partitions: Vec<HookPartition>,
    /// How many records could not be understood.
    pub(super) garbled: usize,
}

/// What happens to one record.
#[derive(Debug)]
enum RecordChange {
    /// The record becomes this one.
    Set(Vec<u8>),
    /// The record is removed: the endpoint knows nothing of the subject.
    Remove,
}

/// Changes that are written in one commit.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The changes of what the endpoint knows, by the names of the subjects.
    told: BTreeMap<String, RecordChange>,
    events: Vec<((u16, u64), Vec<u8>)>,
    last: BTreeMap<u16, u64>,
    /// The partitions with delivered events, each with the number of the last one.
    pub(super) delivered: Vec<(u16, u64)>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty() && self.events.is_empty() && self.delivered.is_empty()
    }

    /// Notes what the endpoint knows of `subject` now.
    pub(super) fn tells(&mut self, subject: &Subject, known: &Known) {
        if let Some(name) = record::name_of(subject) {
            let last = known.last_notified.as_ref();
            let record = last.map(|it| record::encode_told(known.revision, it));
            let change = record.map_or(RecordChange::Remove, RecordChange::Set);
            self.told.insert(name, change);
        }
    }

    /// Notes events that are new, and the last number of their partition.
    pub(super) fn appends<'a>(
        &mut self,
        partition: u16,
        events: impl Iterator<Item = &'a (u64, HookEvent)>,
        last: u64,
    ) {
        let events = events.map(|(number, event)| {
            let record = record::encode_event(event);
            ((partition, *number), record)
        });
        self.events.extend(events);
        self.last.insert(partition, last);
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").finish_non_exhaustive()
    }
}

impl File {
    /// Opens the file at `path`, and reads it. It is created if it does not exist.
    pub(super) fn open(path: &Path) -> Result<(File, Loaded), OpenError> {
        let redb = open::create(path, tables)?;
        let loaded = load(&redb).map_err(|error| OpenError::of(path, error))?;
        Ok((File(Database::new(path, redb, open::reopen)), loaded))
    }

    pub(super) fn is_there(&self) -> bool {
        self.0.is_there()
    }

    pub(super) fn read(&self) -> Result<Loaded, StoreError> {
        self.0.with(load).map_err(Failure::unavailable)
    }

    pub(super) fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let written = self.0.with(|redb| write(redb, batch));
        written.map_err(Failure::unavailable)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn tables(creation: &redb::WriteTransaction) -> Result<(), redb::Error> {
    creation.open_table(TOLD)?;
    creation.open_table(EVENTS)?;
    creation.open_table(LAST)?;
    Ok(())
}

fn load(redb: &redb::Database) -> Result<Loaded, redb::Error> {
    let reading = redb.begin_read()?;
    let partitions = (0..PARTITIONS).map(|_| HookPartition::default());
    let mut loaded = Loaded {
        partitions: partitions.collect(),
        garbled: 0,
    };
    for entry in reading.open_table(TOLD)?.iter()? {
        let (name, bytes) = entry?;
        let subject = record::subject_of(name.value());
        match subject.zip(record::decode_told(bytes.value())) {
            Some((subject, (revision, told))) => {
                let partition = usize::from(subject.partition());
                loaded.partitions[partition].restore_known(subject, revision, told);
            }
            None => loaded.garbled += 1,
        }
    }
    for entry in reading.open_table(EVENTS)?.iter()? {
        let (key, bytes) = entry?;
        let (number, at) = key.value();
        let partition = loaded.partitions.get_mut(usize::from(number));
        match partition.zip(record::decode_event(bytes.value())) {
            Some((partition, event)) => partition.restore_event(at, event),
            None => loaded.garbled += 1,
        }
    }
    for entry in reading.open_table(LAST)?.iter()? {
        let (number, last) = entry?;
        if let Some(partition) = loaded.partitions.get_mut(usize::from(number.value())) {
            partition.restore_last(last.value());
        }
    }
    Ok(loaded)
}

fn write(redb: &redb::Database, batch: &Batch) -> Result<(), redb::Error> {
    let writing = redb.begin_write()?;
    {
        let mut told = writing.open_table(TOLD)?;
        for (name, change) in &batch.told {
            match change {
                RecordChange::Set(record) => drop(told.insert(name.as_str(), record.as_slice())?),
                RecordChange::Remove => drop(told.remove(name.as_str())?),
            }
        }
        let mut events = writing.open_table(EVENTS)?;
        for &(partition, upto) in &batch.delivered {
            let delivered = (partition, 0)..=(partition, upto);
            events.retain_in(delivered, |_, _| false)?;
        }
        for (key, record) in &batch.events {
            events.insert(key, record.as_slice())?;
        }
        let mut last = writing.open_table(LAST)?;
        for (partition, number) in &batch.last {
            last.insert(partition, number)?;
        }
    }
    writing.commit()?;
    Ok(())
}
