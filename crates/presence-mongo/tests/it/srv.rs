//! `mongodb+srv://`: what the DNS has of the name, told by a small DNS server of our own.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{SRV, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record};
use presence_core::ports::Profiles;
use presence_mongo::{MongoProfiles, Settings};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::support::{Server, profile, user};

/// A DNS server on loopback that has these records and no others.
struct Dns {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Dns {
    async fn start(records: Vec<(&'static str, RData)>) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut bytes = [0; 2048];
            loop {
                let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
                let asked = Message::from_vec(&bytes[..length]).unwrap();
                let answer = answer(&asked, &records).to_vec().unwrap();
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        Dns { address, task }
    }

    async fn look_up(&self, uri: &str) -> Result<Settings, String> {
        let settings = Settings::from_uri(uri).unwrap();
        let found = settings.with_dns(vec![self.address]).looked_up().await;
        found.map_err(|error| error.to_string())
    }
}

fn answer(asked: &Message, records: &[(&str, RData)]) -> Message {
    let query = asked.queries[0].clone();
    let mut answer = Message::response(asked.metadata.id, OpCode::Query);
    let of_name = records
        .iter()
        .filter(|(name, _)| Name::from_ascii(name).unwrap() == *query.name());
    let of_name: Vec<&RData> = of_name.map(|(_, data)| data).collect();
    if of_name.is_empty() {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    for data in of_name {
        if data.record_type() == query.query_type() {
            answer.add_answer(Record::from_rdata(query.name().clone(), 60, data.clone()));
        }
    }
    answer.add_query(query);
    answer
}

fn srv(target: &str, port: u16) -> RData {
    RData::SRV(SRV::new(0, 0, port, Name::from_ascii(target).unwrap()))
}

fn txt(text: &str) -> RData {
    RData::TXT(TXT::new(vec![text.to_owned()]))
}

const NAME: &str = "_mongodb._tcp.cluster0.example.net.";

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_options_are_those_of_the_dns() {
    let dns = Dns::start(vec![
        (NAME, srv("shard-0.example.net.", 27017)),
        (NAME, srv("Shard-1.Example.net.", 27018)),
        (
            "cluster0.example.net.",
            txt("authSource=admin&replicaSet=rs0"),
        ),
    ])
    .await;
    let uri = "mongodb+srv://ann:hush@cluster0.example.net/app?retryWrites=true&w=majority";
    let settings = dns.look_up(uri).await.unwrap();
    assert_eq!(
        settings.describe(),
        "MongoDB at shard-0.example.net:27017, shard-1.example.net:27018 with TLS, database presence"
    );
    let plain = format!("{uri}&tls=false");
    let settings = dns.look_up(&plain).await.unwrap();
    assert!(!settings.describe().contains("TLS"));
    // Where there is nothing to look up, nothing is asked.
    let named = Settings::from_uri("mongodb://a.example").unwrap();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    assert!(named.with_dns(vec![nowhere]).looked_up().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_saved_where_the_dns_says() {
    let server = Server::start();
    let uri = server.mongo.uri();
    let (_, rest) = uri.split_once("127.0.0.1:").unwrap();
    let port = rest.split('/').next().unwrap().parse().unwrap();
    // An address stands in for a name that the system would have to know.
    let dns = Dns::start(vec![("_presence._tcp.db.0.0.1.", srv("127.0.0.1.", port))]).await;
    let uri = "mongodb+srv://db.0.0.1/?tls=false&directConnection=true&srvServiceName=presence";
    let settings = dns.look_up(uri).await.unwrap();
    let profiles = MongoProfiles::connect(settings).unwrap();
    profiles.save(&[profile("ann", 1)]).await.unwrap();
    let loaded = server.profiles().await.load(&[user("ann")]).await.unwrap();
    assert_eq!(loaded, [Some(profile("ann", 1))]);
    profiles.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_of_no_use_is_refused_with_the_reason() {
    let good = || (NAME, srv("shard-0.example.net.", 27017));
    let of_txt = |text: &str| vec![good(), ("cluster0.example.net.", txt(text))];
    let none = ("cluster0.example.net.", txt("authSource=admin"));
    for (records, reason) in [
        (
            vec![],
            "no SRV record of _mongodb._tcp.cluster0.example.net.",
        ),
        (
            vec![none],
            "no SRV record of _mongodb._tcp.cluster0.example.net.",
        ),
        (
            vec![(NAME, srv("shard-0.evil.net.", 1))],
            "not in the same domain",
        ),
        (
            vec![good(), (NAME, srv("badexample.net.", 1))],
            "not in the same domain",
        ),
        (of_txt("tls=false"), "only authSource"),
        (of_txt("loadBalanced=maybe"), "only authSource"),
        (of_txt("replicaSet"), "no option"),
        (
            vec![
                good(),
                ("cluster0.example.net.", txt("replicaSet=a")),
                ("cluster0.example.net.", txt("replicaSet=b")),
            ],
            "more than one TXT record",
        ),
    ] {
        let dns = Dns::start(records).await;
        let uri = "mongodb+srv://ann:hush@cluster0.example.net/";
        let error = dns.look_up(uri).await.unwrap_err();
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(
            error.contains("mongodb+srv://cluster0.example.net"),
            "{error}"
        );
        assert!(!error.contains("hush"), "{error}");
    }
    // Options of the URI and of the DNS that exclude each other.
    let dns = Dns::start(of_txt("loadBalanced=true")).await;
    let uri = "mongodb+srv://cluster0.example.net/?replicaSet=rs0";
    assert!(dns.look_up(uri).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dns_server_that_is_silent_is_given_up() {
    let silent = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let address = silent.local_addr().unwrap();
    let settings = Settings::from_uri("mongodb+srv://cluster0.example.net").unwrap();
    let patience = presence_mongo::LOOKUP_TIME_MAX + Duration::from_secs(5);
    let found = tokio::time::timeout(patience, settings.with_dns(vec![address]).looked_up());
    let error = found.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("cannot look up the servers"), "{error}");
}
