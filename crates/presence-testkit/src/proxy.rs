//! A piece of network between two of ours that can be slow, silent or cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How much is under way in one direction; then whoever sends has to wait, as on any network.
const CHUNKS_MAX: usize = 64;
const CHUNK_BYTES: usize = 16 * 1024;

/// Four threads a connection do little; they need no more.
const STACK_BYTES: usize = 64 * 1024;

/// What a proxy does with the bytes that it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bytes are passed on at once.
    Pass,
    /// Bytes are passed on after this time.
    Delay(Duration),
    /// Neither bytes nor the end of a connection are passed on until the mode changes. Connections are accepted.
    BlackHole,
    /// Connections are closed, and so are new ones.
    Cut,
}

/// A port that leads to another, as its mode allows. Dropping it cuts every connection.
///
/// It can treat the connections of one process apart from the others. That is how one gateway is cut off from a Redis
/// Cluster: each node announces the port of its proxy (`--cluster-announce-port`), so that every client, and every
/// replica, comes through it whatever it learns from whom; and the gateway is known by its process.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    hub: Arc<Hub>,
}

#[derive(Debug)]
struct Hub {
    target: SocketAddr,
    is_over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// The mode for the connections of some processes, by process id.
    apart: BTreeMap<u32, Mode>,
    links: Vec<Arc<Link>>,
}

/// A connection through the proxy.
#[derive(Debug)]
struct Link {
    /// The port from which the client came.
    peer: u16,
    mode: Mutex<Mode>,
    changed: Condvar,
    /// Both sides, once there are two.
    sides: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A port that leads to `target`.
    ///
    /// # Errors
    ///
    /// There is no free port.
    pub fn start(target: SocketAddr) -> Result<Proxy> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for a proxy")?;
        let port = listener.local_addr()?.port();
        let state = State {
            mode: Mode::Pass,
            apart: BTreeMap::new(),
            links: Vec::new(),
        };
        let hub = Arc::new(Hub {
            target,
            is_over: AtomicBool::new(false),
            state: Mutex::new(state),
        });
        let accepting = hub.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_over.load(Ordering::Relaxed) {
                    return;
                }
                // A client that is gone already is no client.
                let _ = stream.and_then(|stream| accepting.take(stream));
            }
        });
        Ok(Proxy { port, hub })
    }

    /// The port on which the proxy listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same with the host.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// What happens from now on to what all connections send, those that are and those to come.
    pub fn set(&self, mode: Mode) {
        let mut state = self.hub.state();
        state.mode = mode;
        state.apart.clear();
        state.links.retain(|link| link.is_open());
        for link in &state.links {
            link.set(mode);
        }
    }

    /// The same for the connections of one process of this machine. Linux only.
    ///
    /// # Errors
    ///
    /// Its sockets cannot be looked at.
    pub fn set_for(&self, process: u32, mode: Mode) -> Result<()> {
        let mut state = self.hub.state();
        state.apart.insert(process, mode);
        let ports = ports_of(process)?;
        for link in state.links.iter().filter(|link| ports.contains(&link.peer)) {
            link.set(mode);
        }
        Ok(())
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.hub
            .state()
            .links
            .iter()
            .filter(|link| link.is_open())
            .count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.hub.is_over.store(true, Ordering::Relaxed);
        self.set(Mode::Cut);
        // Wakes `accept`.
        let _ = TcpStream::connect(self.address());
    }
}

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects a client that was accepted to the target.
    fn take(&self, client: TcpStream) -> io::Result<()> {
        let peer = client.peer_addr()?.port();
        let link = {
            let mut state = self.state();
            let belongs =
                |process: &u32| ports_of(*process).is_ok_and(|ports| ports.contains(&peer));
            let apart = state.apart.iter().find(|(process, _)| belongs(process));
            let mode = apart.map_or(state.mode, |(_, mode)| *mode);
            let link = Arc::new(Link {
                peer,
                mode: Mutex::new(mode),
                changed: Condvar::new(),
                sides: Mutex::new(vec![client.try_clone()?]),
            });
            state.links.retain(|link| link.is_open());
            state.links.push(link.clone());
            link
        };
        let target = self.target;
        spawn(move || {
            // Whatever goes wrong ends this connection and nothing else.
            let _ = link.connect(client, target);
        })
    }
}

impl Link {
    fn set(&self, mode: Mode) {
        *lock(&self.mode) = mode;
        self.changed.notify_all();
        if mode == Mode::Cut {
            for side in lock(&self.sides).drain(..) {
                let _ = side.shutdown(Shutdown::Both);
            }
        }
    }

    fn is_open(&self) -> bool {
        !lock(&self.sides).is_empty()
    }

    /// Connects the other side, as soon as anything may pass.
    fn connect(self: Arc<Link>, client: TcpStream, target: SocketAddr) -> io::Result<()> {
        let server = match self.wait_to_pass(Instant::now()) {
            true => TcpStream::connect(target),
            false => Err(io::ErrorKind::ConnectionAborted.into()),
        };
        let server = server.inspect_err(|_| self.set(Mode::Cut))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        lock(&self.sides).push(server.try_clone()?);
        // Cut meanwhile.
        if *lock(&self.mode) == Mode::Cut {
            self.set(Mode::Cut);
        }
        let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
        let back = self.clone();
        spawn(move || back.pump(server_too, client_too))?;
        self.pump(client, server);
        // Both directions end together: the other one has nobody to answer.
        self.set(Mode::Cut);
        Ok(())
    }

    /// Carries what `from` says to `to`, until it says no more.
    fn pump(&self, from: TcpStream, mut to: TcpStream) {
        let (chunks, carried) = mpsc::sync_channel(CHUNKS_MAX);
        if spawn(move || read(from, &chunks)).is_err() {
            return;
        }
        let _ = self.carry(&carried, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    }

    fn carry(&self, chunks: &Receiver<(Instant, Vec<u8>)>, to: &mut TcpStream) -> io::Result<()> {
        // An empty chunk stands for the end, which is held up like anything else.
        while let Ok((at, bytes)) = chunks.recv() {
            if !self.wait_to_pass(at) || bytes.is_empty() {
                break;
            }
            to.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Waits until what was sent at `at` may arrive. `false`: never.
    fn wait_to_pass(&self, at: Instant) -> bool {
        let mut mode = lock(&self.mode);
        loop {
            let left = match *mode {
                Mode::Pass => return true,
                Mode::Cut => return false,
                Mode::BlackHole => None,
                Mode::Delay(delay) => match delay.checked_sub(at.elapsed()) {
                    None => return true,
                    left => left,
                },
            };
            mode = match left {
                None => self
                    .changed
                    .wait(mode)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.changed
                        .wait_timeout(mode, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

/// Reads chunks, each with the time it came, until there are no more.
fn read(mut from: TcpStream, chunks: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let length = from.read(&mut buffer).unwrap_or(0);
        let chunk = (Instant::now(), buffer[..length].to_vec());
        if chunks.send(chunk).is_err() || length == 0 {
            return;
        }
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(work)
        .map(drop)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The local ports of the TCP sockets of a process.
fn ports_of(process: u32) -> Result<BTreeSet<u16>> {
    let table =
        fs::read_to_string("/proc/net/tcp").context("only Linux tells whose a connection is")?;
    let files = fs::read_dir(format!("/proc/{process}/fd"));
    let files = files.with_context(|| format!("cannot see the sockets of process {process}"))?;
    let sockets: BTreeSet<_> = files
        .flatten()
        .filter_map(|file| {
            let target = fs::read_link(file.path()).ok()?;
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    Ok(ports_in(&table, &sockets))
}

/// The local ports of the lines of `/proc/net/tcp` that are about one of `sockets`.
fn ports_in(table: &str, sockets: &BTreeSet<String>) -> BTreeSet<u16> {
    let port = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, port) = fields.get(1)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        sockets.contains(*fields.get(9)?).then_some(port)
    };
    table.lines().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pulse::Pulse;

    const SOON: Duration = Duration::from_millis(100);
    const LATE: Duration = Duration::from_secs(10);

    #[test]
    fn what_passes_arrives_in_both_directions_and_so_does_the_end() {
        let (proxy, mut client, mut server) = linked();
        client.write_all(b"ping").unwrap();
        hear(&mut server, b"ping");
        server.write_all(b"pong").unwrap();
        hear(&mut client, b"pong");
        assert_eq!(proxy.connections(), 1);
        drop(server);
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_black_hole_holds_everything_back_and_gives_it_out_afterwards() {
        let (proxy, mut client, mut server) = linked();
        proxy.set(Mode::BlackHole);
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(is_silent(&mut server));
        proxy.set(Mode::Pass);
        hear(&mut server, b"hello");
        assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn who_connects_to_a_black_hole_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
        proxy.set(Mode::BlackHole);
        let mut client = connect(&proxy);
        client.write_all(b"x").unwrap();
        assert!(is_silent(&mut client));
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err());
        proxy.set(Mode::Pass);
        listener.set_nonblocking(false).unwrap();
        hear(&mut listener.accept().unwrap().0, b"x");
    }

    #[test]
    fn a_delay_is_kept_however_much_is_under_way() {
        let pulse = Pulse::start();
        let (proxy, mut client, mut server) = linked();
        proxy.set(Mode::Delay(Duration::from_millis(150)));
        let start = Instant::now();
        for _ in 0..20 {
            client.write_all(b"0123456789").unwrap();
        }
        hear(&mut server, &b"0123456789".repeat(20));
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(150), "{took:?}");
        assert!(
            took < Duration::from_millis(1500) + pulse.slack(),
            "{took:?}: not once for each"
        );
    }

    #[test]
    fn a_cut_ends_connections_and_new_ones_too() {
        let (proxy, mut client, mut server) = linked();
        proxy.set(Mode::Cut);
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
        assert_eq!(server.read(&mut [0; 1]).unwrap_or(0), 0);
        assert_eq!(proxy.connections(), 0);
        let mut other = connect(&proxy);
        assert_eq!(other.read(&mut [0; 1]).unwrap_or(0), 0);
    }

    #[test]
    fn one_process_is_treated_apart() {
        let (proxy, mut client, mut server) = linked();
        // All of these connections are ours, and none is of another process.
        proxy.set_for(std::process::id(), Mode::BlackHole).unwrap();
        client.write_all(b"x").unwrap();
        assert!(is_silent(&mut server));
        proxy.set_for(std::process::id(), Mode::Pass).unwrap();
        hear(&mut server, b"x");
    }

    #[test]
    fn ports_are_found_by_the_inode_of_their_socket() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0
   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 20 4
";
        let sockets = BTreeSet::from(["222".to_owned()]);
        assert_eq!(ports_in(table, &sockets), BTreeSet::from([50_000]));
    }

    fn linked() -> (Proxy, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
        let client = connect(&proxy);
        let (server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(LATE)).unwrap();
        (proxy, client, server)
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let client = TcpStream::connect(proxy.address()).unwrap();
        client.set_read_timeout(Some(LATE)).unwrap();
        client
    }

    #[track_caller]
    fn hear(stream: &mut TcpStream, expected: &[u8]) {
        let mut heard = vec![0; expected.len()];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(heard, expected);
    }

    fn is_silent(stream: &mut TcpStream) -> bool {
        stream.set_read_timeout(Some(SOON)).unwrap();
        let silent = stream.read(&mut [0; 1]).is_err();
        stream.set_read_timeout(Some(LATE)).unwrap();
        silent
    }
}
