//! What the sessions of clients need of the gateway.

use std::time::Duration;

use presence_core::DeviceId;
use presence_hub::{Hub, Session};
use presence_native::host::{Host, Operation};
use presence_native::rates::Rates;
use presence_protocol::ErrorCode;
use presence_protocol::event::Answer;

use crate::app::App;
use crate::authorized::Authorized;
use crate::identity::{Identity, ResumeKey};
use crate::native::lists;
use crate::request::Refused;

impl Host for App {
    fn hub(&self) -> &Hub {
        &self.hub
    }

    fn resume_key(&self) -> &ResumeKey {
        &self.resume
    }

    fn rates(&self) -> &Rates {
        &self.config.rates
    }

    fn frame_bytes_max(&self) -> usize {
        self.config.socket.frame_bytes_max
    }

    fn watches_max(&self) -> usize {
        self.config.socket.watches_max
    }

    fn token_leeway(&self) -> Duration {
        self.config.jwt.leeway
    }

    fn check(&self, identity: &Identity) -> Result<(), Refused> {
        Ok(self.gate.revoked.check(identity, self.now())?)
    }

    fn renew(&self, old: &Identity, device: &DeviceId, token: &str) -> Result<Identity, Refused> {
        Ok(self.gate.renew(old, device, token, self.now())?)
    }

    async fn operate(
        &self,
        authorized: &Authorized,
        operation: Operation,
    ) -> Result<Answer, Refused> {
        match operation {
            Operation::Channels(it) => lists::channels(authorized, it).await,
            Operation::Nodes(_) => lists::nodes(authorized).await,
            Operation::Connections(it) => lists::connections(authorized, it).await,
            Operation::Disconnect(it) => lists::disconnect(authorized, it).await,
        }
    }

    fn refused(&self, code: ErrorCode) {
        self.metrics.refused(code);
    }

    fn heartbeat(&self) {
        self.metrics.heartbeat();
    }

    fn took_over(&self, session: &Session) {
        self.metrics.took_over();
        self.journal.takes_over(self.now(), session);
    }
}
