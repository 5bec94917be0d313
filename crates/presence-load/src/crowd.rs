//! The people in a room, as clients of other servers are told of them: enough to count them.

use std::collections::HashSet;

use serde_json::Value;

/// The people in a room, as far as a client is told of them.
#[derive(Default)]
pub(crate) struct Crowd {
    listed: HashSet<String>,
    /// How many people there are, if not all are listed.
    counted: Option<u64>,
}

impl Crowd {
    pub(crate) fn count(&self) -> u64 {
        self.counted.unwrap_or(self.listed.len() as u64)
    }

    fn list<'a>(&mut self, ids: impl Iterator<Item = &'a String>) {
        self.listed = ids.cloned().collect();
        self.counted = None;
    }

    pub(crate) fn see_phoenix(&mut self, event: &Value, payload: &Value) {
        let keys = |of: &Value| of.as_object().map(|it| it.keys().cloned().collect());
        match event.as_str() {
            Some("presence_state") => {
                self.list(payload.as_object().into_iter().flat_map(|it| it.keys()));
            }
            Some("presence_summary") => self.counted = payload["count"].as_u64(),
            Some("presence_diff") => {
                let joins: Vec<String> = keys(&payload["joins"]).unwrap_or_default();
                let leaves: Vec<String> = keys(&payload["leaves"]).unwrap_or_default();
                // Everybody has one session: who leaves and does not join has gone.
                for id in leaves.iter().filter(|it| !joins.contains(it)) {
                    self.listed.remove(id);
                }
                self.listed.extend(joins);
            }
            _ => {}
        }
    }

    pub(crate) fn see_cable(&mut self, message: &Value) {
        if let Some(count) = message["member_count"].as_u64() {
            self.counted = Some(count);
        }
    }

    pub(crate) fn see_pusher(&mut self, event: &Value, data: &Value) {
        let id = || data["user_id"].as_str().unwrap_or_default().to_owned();
        match event.as_str() {
            Some("pusher_internal:subscription_succeeded") => {
                let presence = &data["presence"];
                let hash = presence["hash"].as_object();
                self.list(hash.into_iter().flat_map(|it| it.keys()));
                let count = presence["count"].as_u64();
                self.counted = count.filter(|it| *it != self.listed.len() as u64);
            }
            Some("pusher_internal:member_added") => drop(self.listed.insert(id())),
            Some("pusher_internal:member_removed") => drop(self.listed.remove(&id())),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn phoenix_updates_by_leaving_and_joining() {
        let mut crowd = Crowd::default();
        crowd.see_phoenix(&json!("presence_state"), &json!({ "ann": {}, "bob": {} }));
        let updated = json!({ "joins": { "ann": {} }, "leaves": { "ann": {} } });
        crowd.see_phoenix(&json!("presence_diff"), &updated);
        assert_eq!(crowd.count(), 2);
        let left = json!({ "joins": {}, "leaves": { "ann": {} } });
        crowd.see_phoenix(&json!("presence_diff"), &left);
        assert_eq!(crowd.count(), 1);
        crowd.see_phoenix(&json!("presence_summary"), &json!({ "count": 5000 }));
        assert_eq!(crowd.count(), 5000);
    }

    #[test]
    fn pusher_counts_whom_it_does_not_list() {
        let mut crowd = Crowd::default();
        let succeeded = json!("pusher_internal:subscription_succeeded");
        crowd.see_pusher(
            &succeeded,
            &json!({ "presence": { "count": 1, "hash": { "ann": {} } } }),
        );
        let bob = json!({ "user_id": "bob" });
        crowd.see_pusher(&json!("pusher_internal:member_added"), &bob);
        crowd.see_pusher(&json!("pusher_internal:member_added"), &bob);
        assert_eq!(crowd.count(), 2);
        let many = json!({ "presence": { "count": 5000, "hash": { "ann": {} } } });
        crowd.see_pusher(&succeeded, &many);
        assert_eq!(crowd.count(), 5000);
    }
}
