use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

use presence_core::ports::Profiles;
use presence_core::{Profile, UserId};
use presence_embedded::ProfileFile;

const USERS: usize = 4;
const ROUNDS: usize = 6;

/// This shows that the commit has left the process, not that it has reached the disk: for that one would have to
/// cut the power.
#[tokio::test]
async fn whatever_was_acknowledged_survives_kill_9() {
    let seed = RandomState::new().hash_one("kill");
    println!("seed {seed:#x}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profiles.redb");
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    for round in 0..ROUNDS {
        let enough = 1 + (seed >> (round * 9)) % 500;
        let saved = Child::start(&path).killed_after(enough);
        assert!(saved.len() as u64 >= enough, "round {round}: {saved:?}");
        acknowledged.extend(saved);

        let file = ProfileFile::open(&path).unwrap();
        for (user, &revision) in &acknowledged {
            let loaded = file.load(&[UserId::new(user).unwrap()]).await.unwrap();
            let stored = loaded[0].as_ref().map(|profile| profile.status.revision);
            assert!(
                stored >= Some(revision),
                "round {round}: {user} was acknowledged at {revision}, and is {stored:?}"
            );
        }
    }
}

/// Another process with the file open, or refused.
pub(crate) struct Child {
    process: std::process::Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

const PATH: &str = "PRESENCE_TEST_PROFILES";
const SAVED: &str = "=saved ";
const REFUSED: &str = "=refused ";

/// What the child does: each of its users is saved again and again, and each revision is printed once acknowledged.
#[tokio::test]
#[ignore = "only when started by another test"]
async fn child() {
    let Ok(path) = std::env::var(PATH) else {
        return;
    };
    let file = match ProfileFile::open(path) {
        Ok(file) => std::sync::Arc::new(file),
        Err(error) => return say(&format!("{REFUSED}{error}")),
    };
    let mut users = tokio::task::JoinSet::new();
    for i in 0..USERS {
        let file = std::sync::Arc::clone(&file);
        users.spawn(async move {
            let user = UserId::new(&format!("user{i}")).unwrap();
            let loaded = file.load(std::slice::from_ref(&user)).await.unwrap();
            let mut profile = loaded[0].clone().unwrap_or_else(|| Profile::new(user));
            loop {
                profile.status.revision += 1;
                file.save(std::slice::from_ref(&profile)).await.unwrap();
                let revision = profile.status.revision;
                say(&format!("{SAVED}{} {revision}", profile.user));
            }
        });
    }
    users.join_all().await;
}

/// On a line of its own, whatever the test harness has printed, and whole or not at all.
fn say(line: &str) {
    let line = format!("\n{line}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

impl Child {
    pub(crate) fn start(path: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child", "--exact", "--ignored", "--nocapture"])
            .env(PATH, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Child { process, lines }
    }

    /// Why it could not open the file.
    pub(crate) fn refusal(mut self) -> String {
        let first = self.said().next().expect("the child says something");
        let refusal = first.strip_prefix(REFUSED);
        refusal.expect("the child is refused").to_owned()
    }

    /// Kills it once it has said `enough` revisions; returns all that it has said.
    fn killed_after(mut self, enough: u64) -> Vec<(String, u64)> {
        let first: Vec<_> = self.said().take(enough as usize).collect();
        self.process.kill().unwrap();
        let saved = first.into_iter().chain(self.said()).map(|line| {
            let saved = line.strip_prefix(SAVED).expect("the child saves");
            let (user, revision) = saved.split_once(' ').unwrap();
            (user.to_owned(), revision.parse().unwrap())
        });
        saved.collect()
    }

    /// Its lines, but for those of the test harness.
    fn said(&mut self) -> impl Iterator<Item = String> {
        let lines = self.lines.by_ref().map(Result::unwrap);
        lines.filter(|line| line.starts_with('='))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}
