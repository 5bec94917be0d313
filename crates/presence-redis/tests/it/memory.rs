//! What a user costs: `cargo test -p presence-redis --release --test it -- --ignored --nocapture memory`.

use std::sync::Arc;

use presence_core::cluster::{
    FencingToken, Field, Incarnation, JoinedTopic, Op, PARTITIONS, Record, SessionRecord, Subject,
    Write,
};
use presence_core::ports::Topics;
use presence_core::users::Activity;
use presence_core::{
    DeviceId, DeviceKind, Look, Member, Meta, SessionId, Timestamp, Topic, UserId, Visible,
    WorkspaceId,
};

use tokio::time::Instant;

use crate::support::{Node, Server};

const USERS: u64 = 100_000;
/// Writes of one call.
const SLICE: u64 = 500;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is a measurement"]
async fn a_user_with_a_session_in_a_workspace_costs_this_many_bytes() {
    for listpack_bytes in ["64", "512"] {
        let server = Server::start(&["--hash-max-listpack-value", listpack_bytes]);
        let node = Node::connect(&server.url()).await;
        let _ = node.topics.compare().await;
        let before = used(&server);
        put_all(&node, user).await;
        let users = used(&server);
        put_all(&node, member).await;
        let members = used(&server);
        println!(
            "hash-max-listpack-value {listpack_bytes}: {} bytes a user's map with its notes, {} a member, {} together",
            (users - before) / USERS,
            (members - users) / USERS,
            (members - before) / USERS,
        );
        for kind in ["changed", "owned:9e3779b97f4a7c15.0"] {
            let usage = |partition| {
                server.say(&[
                    "MEMORY",
                    "USAGE",
                    &format!("presence:{{{partition}}}:{kind}"),
                    "SAMPLES",
                    "0",
                ])
            };
            let bytes: i64 = (0..PARTITIONS)
                .map(|partition| usage(partition).number())
                .sum();
            println!("  of that {} {kind}", bytes as u64 / USERS);
        }
        let key = "presence:{138}:user:user-7";
        let bytes = server.say(&["MEMORY", "USAGE", key]).number();
        println!(
            "  {key}: {bytes} {}",
            server.say(&["OBJECT", "ENCODING", key])
        );
        let start = Instant::now();
        let acme = Subject::Topic(acme());
        let read = node
            .topics
            .read(std::slice::from_ref(&acme))
            .await
            .remove(0);
        let count = read.map(|it| it.entries.len());
        println!("  all {count:?} members are read in {:?}", start.elapsed());
        let start = Instant::now();
        let mut write = member(0);
        write.ops = (0..30_000).flat_map(|n| member(n + 500_000).ops).collect();
        let written = node.topics.write(&[write]).await.remove(0);
        println!(
            "  30,000 are put in one write in {:?}: {}",
            start.elapsed(),
            written.is_ok()
        );
    }
}

async fn put_all(node: &Node, write: fn(u64) -> Write) {
    for first in (0..USERS).step_by(SLICE as usize) {
        let mut writes: Vec<Write> = (first..first + SLICE).map(write).collect();
        if writes[0].subject == writes[1].subject {
            writes[0].ops = writes.iter().flat_map(|it| it.ops.clone()).collect();
            writes.truncate(1);
        }
        // A busy machine may need another try.
        while node.topics.write(&writes).await.iter().any(Result::is_err) {}
    }
}

fn user(n: u64) -> Write {
    let session = SessionRecord {
        device: DeviceId::new(&format!("web:browser_{n:08x}")).unwrap(),
        by_service: false,
        activity: Activity::Active,
        is_active: true,
        heard_at: Timestamp::from_millis(1_763_800_000_000 + n),
        places: vec![JoinedTopic {
            topic: acme(),
            joined_at: Timestamp::from_millis(1_763_800_000_000 + n),
            meta: meta(n),
        }],
        alias: None,
    };
    put(
        Subject::User(name(n)),
        n,
        Record::Session(Arc::new(session)),
    )
}

fn member(n: u64) -> Write {
    let member = Member {
        session: session(n),
        alias: session(n),
        epoch: 1,
        user: name(n),
        device: DeviceKind::Web,
        joined_at: Timestamp::from_millis(1_763_800_000_000 + n),
        meta: meta(n),
        look: Arc::new(Look {
            status: Visible::Online,
            message: None,
            emoji: None,
        }),
        look_revision: 1,
        profile: 1_764_000_000_000,
    };
    put(Subject::Topic(acme()), n, Record::Member(Arc::new(member)))
}

fn put(subject: Subject, n: u64, record: Record) -> Write {
    let me = Incarnation {
        node: 0x9e37_79b9_7f4a_7c15,
        generation: 0,
    };
    Write {
        subject,
        by: me,
        ops: vec![Op::put(
            Field::Session(session(n)),
            FencingToken::of_session(1, me, 1),
            record,
        )],
        is_last: false,
        until: None,
    }
}

fn acme() -> Topic {
    Topic::Workspace(WorkspaceId::new("acme").unwrap())
}

fn name(n: u64) -> UserId {
    UserId::new(&format!("user-{n}")).unwrap()
}

fn session(n: u64) -> SessionId {
    SessionId::from_u128(u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn meta(n: u64) -> Arc<Meta> {
    let name = format!("User {n}");
    Arc::new(Meta::from_json(format!("{{\"name\":\"{name}\"}}")).unwrap())
}

fn used(server: &Server) -> u64 {
    let info = server.say(&["INFO", "memory"]);
    let line = info
        .text()
        .lines()
        .find_map(|it| it.strip_prefix("used_memory:"));
    line.unwrap().trim().parse().unwrap()
}
