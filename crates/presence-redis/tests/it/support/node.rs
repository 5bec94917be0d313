//! A node that uses the store.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use presence_core::cluster::{
    Change, FencingToken, Field, Incarnation, JoinedTopic, Op, PARTITIONS, Record, SessionRecord,
    Subject, Write,
};
use presence_core::ports::{Notice, StoreError, Topics};
use presence_core::users::Activity;
use presence_core::{DeviceId, SessionId, Timestamp, UserId};
use presence_redis::{RedisTopics, Settings};
use tokio::time::{Instant, sleep, timeout_at};

/// How long is waited for what has to come, where it is not measured.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node with a session in every user.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) topics: Arc<RedisTopics>,
    me: Incarnation,
    /// What was told on the way to something else.
    forgotten: Arc<Mutex<BTreeSet<u16>>>,
}

/// Changes are counted, so that an old one is not taken for a new one.
static CHANGES: AtomicU32 = AtomicU32::new(1);

impl Node {
    pub(crate) async fn connect(url: &str) -> Self {
        let settings = Settings::from_url(url).unwrap();
        Self::with(settings).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let topics = RedisTopics::connect(settings).await.unwrap();
        Node {
            topics: Arc::new(topics),
            me: Incarnation {
                node: u64::from(COUNT.fetch_add(1, Ordering::Relaxed)),
                generation: 0,
            },
            forgotten: Arc::default(),
        }
    }

    /// A write of `subject` that changes something.
    pub(crate) fn change(&self, subject: &Subject) -> Write {
        self.change_with(subject, Vec::new())
    }

    pub(crate) fn change_with(&self, subject: &Subject, places: Vec<JoinedTopic>) -> Write {
        let session = SessionRecord {
            device: DeviceId::new("web:abc").unwrap(),
            by_service: false,
            activity: Activity::Active,
            is_active: true,
            heard_at: Timestamp::from_millis(CHANGES.fetch_add(1, Ordering::Relaxed).into()),
            places,
            alias: None,
        };
        Write {
            subject: subject.clone(),
            by: self.me,
            ops: vec![Op::put(
                Field::Session(SessionId::from_u128(self.me.node.into())),
                FencingToken::of_session(1, self.me, 1),
                Record::Session(Arc::new(session)),
            )],
            is_last: false,
            until: None,
        }
    }

    /// Changes `subject`, and says how long that took.
    pub(crate) async fn write(&self, subject: &Subject) -> (Result<(), StoreError>, Duration) {
        let start = Instant::now();
        let mut written = self.topics.write(&[self.change(subject)]).await;
        (written.remove(0).map(drop), start.elapsed())
    }

    /// Changes `subject` until that is done.
    pub(crate) async fn does(&self, subject: &Subject) {
        let deadline = Instant::now() + PATIENCE;
        while let (Err(error), _) = self.write(subject).await {
            assert!(
                Instant::now() < deadline,
                "{subject} is not written: {error:?}"
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn follow(&self, subjects: &[Subject]) {
        for followed in self.topics.follow(subjects).await {
            followed.unwrap();
        }
    }

    /// The first notice that `pick` picks.
    pub(crate) async fn hear<R>(
        &self,
        what: &str,
        mut pick: impl FnMut(&Notice) -> Option<R>,
    ) -> R {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Ok(notice) = timeout_at(deadline, self.topics.next()).await else {
                panic!("{what} was not heard in {PATIENCE:?}");
            };
            if let Notice::Forgot(partition) = notice {
                self.forgotten.lock().unwrap().insert(partition);
            }
            if let Some(picked) = pick(&notice) {
                return picked;
            }
        }
    }

    pub(crate) async fn hear_patch(&self, of: &Subject) {
        let is_it = |notice: &Notice| match notice {
            Notice::Patched(subject, _) if subject == of => Some(()),
            _ => None,
        };
        self.hear(&format!("a patch of {of}"), is_it).await;
    }

    /// Waits until it is told that `partition` is to be compared, unless it was since this was last asked.
    pub(crate) async fn hear_forgot(&self, partition: u16) {
        if !self.forgotten.lock().unwrap().contains(&partition) {
            let is_it = |notice: &Notice| (*notice == Notice::Forgot(partition)).then_some(());
            self.hear(
                &format!("that partition {partition} is to be compared"),
                is_it,
            )
            .await;
        }
        self.forgotten.lock().unwrap().remove(&partition);
    }

    /// Writes `of` with `writer` again and again until something written from now on is heard here, and says how long that
    /// took.
    pub(crate) async fn hears_again(&self, writer: &Node, of: &Subject) -> Duration {
        let (start, first) = (Instant::now(), CHANGES.load(Ordering::Relaxed));
        let writing = tokio::spawn({
            let (writer, of) = (writer.clone(), of.clone());
            async move {
                loop {
                    let _ = writer.write(&of).await;
                    sleep(Duration::from_millis(20)).await;
                }
            }
        });
        let is_new = |change: &Change| match &change.entry {
            Ok((_, Record::Session(session))) => session.heard_at.as_millis() >= first.into(),
            _ => false,
        };
        let is_it = |notice: &Notice| match notice {
            Notice::Patched(subject, patch) if subject == of => {
                patch.changes.iter().any(is_new).then_some(())
            }
            _ => None,
        };
        self.hear(&format!("a new patch of {of}"), is_it).await;
        writing.abort();
        start.elapsed()
    }
}

/// A user in `partition`.
pub(crate) fn user_in(partition: u16) -> Subject {
    let user = |n: u32| Subject::User(UserId::new(&format!("user-{n}")).unwrap());
    (0..)
        .map(user)
        .find(|it| it.partition() == partition)
        .unwrap()
}

/// A user in each partition.
pub(crate) fn users() -> Vec<Subject> {
    (0..PARTITIONS).map(user_in).collect()
}

/// The slot of a cluster that a partition is in.
pub(crate) fn slot_of(partition: u16) -> u16 {
    fred::util::redis_keyslot(format!("{{{partition}}}").as_bytes())
}
