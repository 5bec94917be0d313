//! A MongoDB server of our own: `mongod` where there is one, else a stand-in that speaks its protocol.

mod hello;
mod program;

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::ports;
use crate::process::{Process, Program};

pub use program::{Kind, MongoProgram};

/// What the process is called.
const NAME: &str = "mongo";

/// How long it may take to answer. It takes 0.6 s; the rest is for a machine that is busy.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// How long it may take to end when asked.
const END_TIME_MAX: Duration = Duration::from_secs(20);

/// Where gateways keep profiles, unless told otherwise. The stand-in can try for ever if two clients write into a collection that is
/// not there yet, so it gets this one before anybody comes.
const PROFILES: (&str, &str) = ("presence", "profiles");

/// How often to try with another port when somebody has taken it meanwhile.
const TRIES: usize = 5;

/// What a server says then.
const TAKEN: &[&str] = &["Address already in use", "address already in use"];

/// How a MongoDB server is started.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where it listens; a free port if `None`.
    pub port: Option<u16>,
    /// Whether it asks clients who they are. Users have to be there already, in the same folder.
    pub auth: bool,
    /// Its certificate and key as PEM, in one file, if it speaks TLS.
    pub tls: Option<PathBuf>,
}

/// A running server. Dropping it kills it; what it has written stays, and is there when it is started again.
#[derive(Debug)]
pub struct Mongo {
    /// Its process, to be killed, paused and started again.
    pub process: Process,
    /// The port on which it listens.
    pub port: u16,
    /// Where clients are told to find it: its own port, or that of a proxy.
    pub announced: u16,
    has_tls: bool,
    program: MongoProgram,
}

impl Mongo {
    /// Starts it with its data and log in a folder below `folder`, and waits until it answers.
    ///
    /// # Errors
    ///
    /// There is no such server and none can be installed, or it did not answer. Nothing is left running.
    pub fn start(folder: &Path, settings: &Settings) -> Result<Mongo> {
        Mongo::start_behind(folder, settings, Ok)
    }

    /// The same with something in between: `in_front` gets its port and gives the one that clients are told.
    ///
    /// # Errors
    ///
    /// The same, or one of `in_front`.
    pub fn start_behind(
        folder: &Path,
        settings: &Settings,
        in_front: impl FnOnce(u16) -> Result<u16>,
    ) -> Result<Mongo> {
        let program = MongoProgram::find()?;
        let mut tries = 1;
        let mut mongo = loop {
            match Mongo::start_once(folder, settings, &program) {
                Err(error) if tries < TRIES && settings.port.is_none() && is_taken(&error) => {
                    tries += 1;
                }
                started => break started?,
            }
        };
        mongo.announced = in_front(mongo.port)?;
        Ok(mongo)
    }

    fn start_once(folder: &Path, settings: &Settings, program: &MongoProgram) -> Result<Mongo> {
        let port = match settings.port {
            None => ports::free(ports::MONGO, 1, None)?[0],
            Some(port) if ports::is_free(port) => port,
            Some(port) => bail!("port {port}, wanted for MongoDB, is in use"),
        };
        let folder = folder.join(NAME);
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        let process = Process::start(Program {
            name: NAME.to_owned(),
            file: program.file.clone(),
            args: program.args(port, &data, settings),
            env: Vec::new(),
            folder,
        })?;
        let mut mongo = Mongo {
            process,
            port,
            announced: port,
            has_tls: settings.tls.is_some(),
            program: program.clone(),
        };
        mongo.wait_until_it_answers()?;
        if program.kind == Kind::SecantusDb && !settings.auth && settings.tls.is_none() {
            let (database, collection) = PROFILES;
            hello::create(port, database, collection)?;
        }
        Ok(mongo)
    }

    /// Asks it to go, and waits until it has: what it knows is then on the disk, its users too.
    ///
    /// # Errors
    ///
    /// It is still there after a while. It is gone in any case.
    pub fn stop(mut self) -> Result<()> {
        self.process.ask_to_go()?;
        self.process.wait_gone(END_TIME_MAX).map(drop)
    }

    /// Starts it again after its end: the same port and data.
    ///
    /// # Errors
    ///
    /// It has not ended, or does not answer.
    pub fn start_again(&mut self) -> Result<()> {
        self.process.start_again()?;
        self.wait_until_it_answers()
    }

    /// What a gateway takes as `MONGODB_URI`.
    pub fn uri(&self) -> String {
        // Without that a driver would go where the server says that it is, past whatever is in between.
        format!(
            "mongodb://127.0.0.1:{}/?directConnection=true",
            self.announced
        )
    }

    /// Which server it is, for a log.
    pub fn about(&self) -> &str {
        &self.program.about
    }

    /// Which kind of server it is.
    pub fn kind(&self) -> Kind {
        self.program.kind
    }

    /// Whether the server answers a request now.
    pub fn answers(&self) -> bool {
        answers(self.port, self.has_tls)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let (port, has_tls) = (self.port, self.has_tls);
        self.process.wait_until(ANSWER_TIME_MAX, "an answer", |_| {
            answers(port, has_tls).then_some(())
        })
    }
}

fn answers(port: u16, has_tls: bool) -> bool {
    match has_tls {
        false => hello::say(port).is_ok(),
        // We do not, so that it listens has to do.
        true => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(),
    }
}

fn is_taken(error: &anyhow::Error) -> bool {
    let text = error.to_string();
    TAKEN.iter().any(|taken| text.contains(taken))
}
