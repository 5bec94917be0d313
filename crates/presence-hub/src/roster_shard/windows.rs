//! The windows that sessions have open on the topics of a shard.

use std::collections::HashMap;
use std::sync::Arc;

use presence_core::rosters::{Effect, Input};
use presence_core::{Event, SessionId, Topic, shrink_after_burst};

use super::RosterShard;
use crate::mailbox::{OpenWindow, ReplyTo};
use crate::send_queue::SendQueue;
use crate::shared_event::SharedEvent;

/// Where the events of the windows of one topic are sent.
#[derive(Debug, Default)]
pub(super) struct TopicWindows {
    open: HashMap<(SessionId, u32), Arc<SendQueue>>,
    /// The last rows that a window was sent: many sessions open equal windows at once, and share their encoding.
    state: Option<Arc<SharedEvent>>,
}

impl RosterShard {
    pub(super) fn open_window(&mut self, open: OpenWindow, effects: &mut Vec<Effect<ReplyTo>>) {
        let OpenWindow {
            topic,
            session,
            number,
            window,
            send_queue,
            reply_to,
        } = open;
        let key = (session, number);
        let windows = self.windows.entry(topic.clone()).or_default();
        let before = windows.open.insert(key, send_queue);
        let handled = effects.len();
        let input = Input::WindowOpened {
            topic: topic.clone(),
            session,
            number,
            window,
            reply_to,
        };
        self.rosters.handle(self.now, input, effects);
        let mut new = effects[handled..].iter();
        if new.any(|it| matches!(it, Effect::Refuse { .. })) {
            match (before, self.windows.get_mut(&topic)) {
                (Some(before), Some(windows)) => drop(windows.open.insert(key, before)),
                _ => self.forget_window(&topic, key),
            }
        }
    }

    /// Closes a window, unless it was opened again through a newer connection.
    pub(super) fn close_window(
        &mut self,
        topic: Topic,
        (session, number): (SessionId, u32),
        send_queue: &Arc<SendQueue>,
        effects: &mut Vec<Effect<ReplyTo>>,
    ) {
        let windows = self.windows.get(&topic);
        let open = windows.and_then(|it| it.open.get(&(session, number)));
        if !open.is_some_and(|it| Arc::ptr_eq(it, send_queue)) {
            return;
        }
        self.forget_window(&topic, (session, number));
        let input = Input::WindowClosed {
            topic,
            session,
            number,
        };
        self.rosters.handle(self.now, input, effects);
    }

    fn forget_window(&mut self, topic: &Topic, key: (SessionId, u32)) {
        let Some(windows) = self.windows.get_mut(topic) else {
            return;
        };
        windows.open.remove(&key);
        shrink_after_burst(&mut windows.open);
        if windows.open.is_empty() {
            self.windows.remove(topic);
            shrink_after_burst(&mut self.windows);
        }
    }

    /// Sends an event to the windows with this number of these sessions.
    pub(super) fn tell_windows(
        &mut self,
        topic: &Topic,
        number: u32,
        sessions: &[SessionId],
        event: Arc<Event>,
    ) {
        let Some(windows) = self.windows.get_mut(topic) else {
            return;
        };
        let shared = match &windows.state {
            Some(shared) if Arc::ptr_eq(&shared.event, &event) => shared.clone(),
            _ => Arc::new(SharedEvent::new(event)),
        };
        windows.state = matches!(*shared.event, Event::Window { .. }).then(|| shared.clone());
        for session in sessions {
            if let Some(send_queue) = windows.open.get(&(*session, number)) {
                send_queue.tell(&shared);
            }
        }
    }
}
