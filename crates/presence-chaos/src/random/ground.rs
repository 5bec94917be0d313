//! Gateways, a Redis behind a network that can be broken, and clients: what recipes and random plans play on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use presence_testkit::cluster::{Cluster, Settings};
use presence_testkit::folder::Folder;
use presence_testkit::proxy::{Mode, Proxy};
use presence_testkit::redis::{Redis, Topology};
use tokio::runtime::{Builder, Runtime};

use super::clients::{APP, Dialect, Eyes, Hall, Handle, Home, Manners, Order, Resume, Seat};
use super::journal::{At, Fact, Journal, Outcome, People, Room, SeatId, UserId};
use super::store::Stored;
use super::web;
use crate::stage::Wanted;

/// How often to look whether something is so.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// After how long a Redis node of a cluster that is silent counts as dead.
const NODE_TIMEOUT: Duration = Duration::from_millis(1000);

/// The cluster, the proxies and the clients of a run.
pub(crate) struct Ground {
    pub(crate) runtime: Runtime,
    pub(crate) hall: Arc<Hall>,
    pub(crate) clients: BTreeMap<SeatId, Handle>,
    // Before the folder, so that nobody writes into it any more when it goes.
    pub(crate) cluster: Cluster,
    /// One in front of each Redis node.
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) folder: Folder,
}

impl Ground {
    /// Starts gateways with their default settings.
    ///
    /// # Errors
    ///
    /// Something could not be started.
    pub(crate) fn open(
        wanted: &Wanted,
        name: &str,
        gateways: usize,
        redis: Option<Topology>,
        users: Vec<UserId>,
    ) -> Result<Ground> {
        let folder = Folder::empty(wanted.folder.join(name))?;
        let settings = Settings {
            binary: wanted.binary.clone(),
            gateways,
            redis,
            node_timeout: NODE_TIMEOUT,
            mongo: false,
            port_base: None,
            env: APP
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let (cluster, proxies) = start(folder.path(), &settings)?;
        let addresses = cluster.gateways.iter().map(|it| it.address().to_string());
        let hall = Arc::new(Hall::new(addresses.collect(), users));
        // One thread: the gateways want to run, too.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        Ok(Ground {
            runtime,
            hall,
            clients: BTreeMap::new(),
            cluster,
            proxies,
            folder,
        })
    }

    /// Adds a client, which is nowhere yet.
    pub(crate) fn add(&mut self, seat: Seat) -> SeatId {
        let _on = self.runtime.enter();
        let id = seat.id;
        self.clients
            .insert(id, Handle::spawn(seat, self.hall.clone()));
        id
    }

    /// Adds a client of a person that stays where it is put.
    pub(crate) fn add_person(&mut self, user: UserId) -> SeatId {
        let id = self.next_seat();
        self.add(Seat {
            id,
            user: Some(user),
            dialect: Dialect::Json,
            home: Home::Nowhere,
            manners: Manners::Relies,
            eyes: Eyes::Shut,
            watches: Vec::new(),
        })
    }

    /// Adds somebody at each gateway who sees those rooms, and how all users are, and waits until they look.
    ///
    /// # Errors
    ///
    /// A watcher could not connect.
    pub(crate) fn watch(&mut self, rooms: &[Room]) -> Result<Vec<SeatId>> {
        let mut watchers = Vec::new();
        for gateway in 0..self.cluster.gateways.len() {
            let id = self.next_seat();
            watchers.push(self.add(Seat {
                id,
                user: None,
                dialect: Dialect::Binary,
                home: Home::Gateway(gateway),
                manners: Manners::Relies,
                eyes: Eyes::Open,
                watches: rooms.to_vec(),
            }));
            self.all_do([(id, Order::Connect(gateway, Resume::No))])?;
        }
        self.until(Duration::from_secs(10), "watchers see nothing", |ground| {
            let rooms = rooms.iter();
            let sees = |(watcher, room)| ground.picture(watcher, room).is_some();
            rooms
                .flat_map(|room| watchers.iter().map(move |it| (*it, *room)))
                .all(sees)
        })?;
        Ok(watchers)
    }

    fn next_seat(&self) -> SeatId {
        SeatId(self.clients.keys().next_back().map_or(0, |it| it.0 + 1))
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.hall.journal
    }

    pub(crate) fn now(&self) -> At {
        self.journal().now()
    }

    /// Waits for `time` while the clients go on.
    pub(crate) fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Gives an order that nobody waits for.
    pub(crate) fn tell(&self, seat: SeatId, order: Order) {
        self.clients[&seat].tell(order);
    }

    /// Gives orders to many at once, waits for all answers, and returns them in the same order.
    pub(crate) fn ask_all(
        &self,
        orders: impl IntoIterator<Item = (SeatId, Order)>,
    ) -> Vec<Outcome> {
        let orders = orders.into_iter();
        let asked: Vec<_> = orders
            .map(|(seat, order)| self.clients[&seat].ask(order))
            .collect();
        self.runtime.block_on(async {
            let mut outcomes = Vec::new();
            for told in asked {
                outcomes.push(told.await.unwrap_or(Outcome::Away));
            }
            outcomes
        })
    }

    /// The same where everything has to be answered `ok`.
    ///
    /// # Errors
    ///
    /// Something was not.
    pub(crate) fn all_do(&self, orders: impl IntoIterator<Item = (SeatId, Order)>) -> Result<()> {
        let orders: Vec<_> = orders.into_iter().collect();
        let outcomes = self.ask_all(orders.clone());
        let failed = orders
            .iter()
            .zip(&outcomes)
            .find(|(_, it)| **it != Outcome::Ok);
        match failed {
            None => Ok(()),
            Some(((seat, order), outcome)) => {
                bail!("{order:?} of seat {} ended with {outcome:?}", seat.0)
            }
        }
    }

    /// Waits until something is so.
    ///
    /// # Errors
    ///
    /// It was not so in time.
    pub(crate) fn until(
        &self,
        limit: Duration,
        otherwise: &str,
        is_so: impl Fn(&Ground) -> bool,
    ) -> Result<()> {
        let start = Instant::now();
        while !is_so(self) {
            if start.elapsed() > limit {
                bail!("{otherwise} after {:.0} s", limit.as_secs_f64());
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// What a client would draw of a room; `None` if it has not been told.
    pub(crate) fn picture(&self, seat: SeatId, room: Room) -> Option<People> {
        let mut picture: Option<People> = None;
        for (_, fact) in self.journal().facts().iter() {
            match fact {
                Fact::Whole(who, at, people) if (*who, *at) == (seat, room) => {
                    picture = Some(people.clone());
                }
                Fact::Joined(who, at, user, face) | Fact::Updated(who, at, user, face)
                    if (*who, *at) == (seat, room) =>
                {
                    picture.get_or_insert_default().insert(*user, face.clone());
                }
                Fact::Left(who, at, user, _) if (*who, *at) == (seat, room) => {
                    picture.get_or_insert_default().remove(user);
                }
                _ => {}
            }
        }
        picture
    }

    /// What a client was last told of how somebody is.
    pub(crate) fn look(&self, seat: SeatId, user: UserId) -> Option<super::journal::Look> {
        let facts = self.journal().facts();
        facts.iter().rev().find_map(|(_, fact)| match fact {
            Fact::Saw(who, of, look) if (*who, *of) == (seat, user) => Some(look.clone()),
            _ => None,
        })
    }

    /// What clients were told of people coming and going since then.
    pub(crate) fn told_since(&self, since: At) -> Vec<String> {
        let facts = self.journal().facts();
        let told = facts.iter().filter(|(at, _)| *at >= since);
        let told = told.filter_map(|(at, fact)| {
            let at = (*at).saturating_sub(since).as_secs_f64();
            match fact {
                Fact::Joined(seat, room, user, _) => Some(format!(
                    "{at:.1} s: seat {} was told that {} joined {}",
                    seat.0,
                    user.name(),
                    room.name()
                )),
                Fact::Left(seat, room, user, why) => Some(format!(
                    "{at:.1} s: seat {} was told that {} left {} ({why})",
                    seat.0,
                    user.name(),
                    room.name()
                )),
                _ => None,
            }
        });
        told.collect()
    }

    pub(crate) fn address(&self, gateway: usize) -> SocketAddr {
        self.cluster.gateways[gateway].address()
    }

    /// Who is in a room according to each gateway over HTTP.
    ///
    /// # Errors
    ///
    /// A gateway does not answer.
    pub(crate) fn listed(&self, gateway: usize, room: Room) -> Result<People> {
        web::list(self.address(gateway), room)
    }

    /// Redis.
    ///
    /// # Errors
    ///
    /// The run is without.
    pub(crate) fn redis(&mut self) -> Result<&mut Redis> {
        self.cluster.redis.as_mut().context("this needs Redis")
    }

    /// What Redis holds.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub(crate) fn stored(&mut self) -> Result<Stored> {
        Stored::read(self.redis()?)
    }

    /// How the network to Redis is from now on.
    pub(crate) fn network(&self, mode: Mode) {
        for proxy in &self.proxies {
            proxy.set(mode);
        }
    }

    /// Ends every gateway, and says what of their logs is a panic.
    ///
    /// # Errors
    ///
    /// One did not end well.
    pub(crate) fn stop(&mut self) -> Result<Vec<String>> {
        self.network(Mode::Pass);
        for gateway in &mut self.cluster.gateways {
            gateway.process.ask_to_go()?;
        }
        let mut panics = Vec::new();
        for gateway in &mut self.cluster.gateways {
            gateway.wait_stopped()?;
            let log = std::fs::read_to_string(gateway.process.log_file())?;
            let lines = log.lines().filter(|line| line.contains("panicked"));
            panics.extend(lines.map(|line| format!("{}: {line}", gateway.name())));
        }
        Ok(panics)
    }
}

/// The seats whose marks are in a picture or a list.
pub(crate) fn seats_in(people: &People) -> BTreeSet<SeatId> {
    let marks = people.values().flat_map(|face| &face.marks);
    marks.map(|mark| mark.seat).collect()
}

fn start(folder: &Path, settings: &Settings) -> Result<(Cluster, Vec<Proxy>)> {
    let mut proxies = Vec::new();
    let cluster = Cluster::start_behind(folder, settings, |port| {
        let proxy = Proxy::start((Ipv4Addr::LOCALHOST, port).into())?;
        let port = proxy.port();
        proxies.push(proxy);
        Ok(port)
    })?;
    Ok((cluster, proxies))
}
