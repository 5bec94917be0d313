//! The gateways that share a store.

use presence_core::Timestamp;
use presence_core::cluster::Incarnation;
use presence_core::ports::Lease;

use crate::app::App;
use crate::identity::Identity;
use crate::request::Refused;

/// The gateways that share a store.
#[derive(Debug)]
pub(crate) struct NodeList {
    /// All of them; a gateway that is alone lists itself.
    pub(crate) nodes: Vec<Node>,
    /// Whether the store answers this gateway: `none`, `connected` or `away`.
    pub(crate) store: &'static str,
}

/// A gateway of the cluster.
#[derive(Debug)]
pub(crate) struct Node {
    /// The name that it was given.
    pub(crate) name: String,
    /// The incarnation, which is the only one of its kind; `None` for a gateway that is alone.
    pub(crate) id: Option<String>,
    /// `alive`, `late` if its lease has run out, `dead` if that was declared, or `stopped` if it ended on purpose.
    pub(crate) state: &'static str,
    /// When its lease ends or ended; for a dead node, when it was declared dead.
    pub(crate) lease_until: Option<Timestamp>,
    /// Whether this is the gateway that answers.
    pub(crate) is_me: bool,
}

/// Lists the gateways that share the store.
///
/// # Errors
///
/// Fails without the scope `admin`.
pub(crate) async fn nodes(app: &App, identity: &Identity) -> Result<NodeList, Refused> {
    identity.may_administer()?;
    let nodes = match app.hub.leases() {
        Some((me, leases)) => {
            let now = app.now();
            let over = leases
                .nodes
                .iter()
                .filter(|it| it.is_dead || it.until < now);
            let over: Vec<Incarnation> = over.map(|it| it.who).collect();
            let stopped = app.stopped(&over).await;
            let nodes = leases.nodes.iter().map(|lease| Node {
                name: lease.name.to_string(),
                id: Some(lease.who.to_string()),
                state: match stopped.contains(&lease.who) {
                    true => "stopped",
                    false => state_of(lease, now),
                },
                lease_until: Some(lease.until),
                is_me: lease.who == me,
            });
            nodes.collect()
        }
        None => vec![Node {
            name: app.config.node_name.to_string(),
            id: None,
            state: "alive",
            lease_until: None,
            is_me: true,
        }],
    };
    let store = match (&app.shared, app.hub.counters().shared_away_for().is_zero()) {
        (None, _) => "none",
        (Some(_), true) => "connected",
        (Some(_), false) => "away",
    };
    Ok(NodeList { nodes, store })
}

fn state_of(lease: &Lease, now: Timestamp) -> &'static str {
    match (lease.is_dead, lease.until < now) {
        (true, _) => "dead",
        (false, true) => "late",
        (false, false) => "alive",
    }
}
