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

use super::clients::{
    APP, Dialect, Eyes, Handle, Home, Manners, Order, Resume, Shared, VirtualUser,
};
use super::journal::{At, Fact, Journal, Outcome, People, Room, UserId, VuId};
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
    pub(crate) shared: Arc<Shared>,
    pub(crate) clients: BTreeMap<VuId, Handle>,
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
        let shared = Arc::new(Shared::new(addresses.collect(), users));
        // One thread: the gateways want to run, too.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        Ok(Ground {
            runtime,
            shared,
            clients: BTreeMap::new(),
            cluster,
            proxies,
            folder,
        })
    }

    /// Adds a client, which is nowhere yet.
    pub(crate) fn add(&mut self, vu: VirtualUser) -> VuId {
        let _on = self.runtime.enter();
        let id = vu.id;
        self.clients
            .insert(id, Handle::spawn(vu, self.shared.clone()));
        id
    }

    /// Adds a client of a person that stays where it is put.
    pub(crate) fn add_person(&mut self, user: UserId) -> VuId {
        let id = self.next_vu();
        self.add(VirtualUser {
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
    pub(crate) fn watch(&mut self, rooms: &[Room]) -> Result<Vec<VuId>> {
        let mut watchers = Vec::new();
        for gateway in 0..self.cluster.gateways.len() {
            let id = self.next_vu();
            watchers.push(self.add(VirtualUser {
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

    fn next_vu(&self) -> VuId {
        VuId(self.clients.keys().next_back().map_or(0, |it| it.0 + 1))
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    pub(crate) fn now(&self) -> At {
        self.journal().now()
    }

    /// Waits for `time` while the clients go on.
    pub(crate) fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Gives an order that nobody waits for.
    pub(crate) fn tell(&self, vu: VuId, order: Order) {
        self.clients[&vu].tell(order);
    }

    /// Gives orders to many at once, waits for all answers, and returns them in the same order.
    pub(crate) fn ask_all(&self, orders: impl IntoIterator<Item = (VuId, Order)>) -> Vec<Outcome> {
        let orders = orders.into_iter();
        let asked: Vec<_> = orders
            .map(|(vu, order)| self.clients[&vu].ask(order))
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
    pub(crate) fn all_do(&self, orders: impl IntoIterator<Item = (VuId, Order)>) -> Result<()> {
        let orders: Vec<_> = orders.into_iter().collect();
        let outcomes = self.ask_all(orders.clone());
        let failed = orders
            .iter()
            .zip(&outcomes)
            .find(|(_, it)| **it != Outcome::Ok);
        match failed {
            None => Ok(()),
            Some(((vu, order), outcome)) => {
                bail!("{order:?} of vu {} ended with {outcome:?}", vu.0)
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
    pub(crate) fn picture(&self, vu: VuId, room: Room) -> Option<People> {
        let mut picture: Option<People> = None;
        for (_, fact) in self.journal().facts().iter() {
            match fact {
                Fact::Whole(who, at, people) if (*who, *at) == (vu, room) => {
                    picture = Some(people.clone());
                }
                Fact::Joined(who, at, user, view) | Fact::Updated(who, at, user, view)
                    if (*who, *at) == (vu, room) =>
                {
                    picture.get_or_insert_default().insert(*user, view.clone());
                }
                Fact::Left(who, at, user, _) if (*who, *at) == (vu, room) => {
                    picture.get_or_insert_default().remove(user);
                }
                _ => {}
            }
        }
        picture
    }

    /// What a client was last told of how somebody is.
    pub(crate) fn look(&self, vu: VuId, user: UserId) -> Option<super::journal::Look> {
        let facts = self.journal().facts();
        facts.iter().rev().find_map(|(_, fact)| match fact {
            Fact::Saw(who, of, look) if (*who, *of) == (vu, user) => Some(look.clone()),
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
                Fact::Joined(vu, room, user, _) => Some(format!(
                    "{at:.1} s: vu {} was told that {} joined {}",
                    vu.0,
                    user.name(),
                    room.name()
                )),
                Fact::Left(vu, room, user, why) => Some(format!(
                    "{at:.1} s: vu {} was told that {} left {} ({why})",
                    vu.0,
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

/// The virtual users whose marks are in a picture or a list.
pub(crate) fn vus_in(people: &People) -> BTreeSet<VuId> {
    let marks = people.values().flat_map(|view| &view.marks);
    marks.map(|mark| mark.vu).collect()
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
