//! The windows that a session has open: a few rows of a roster each.

use presence_core::{Event, Refusal, Topic, Window};

use super::catching_up::ToResend;
use super::{Busy, Reference, Session};
use crate::mailbox::{OpenWindow, ReplyTo, RosterMessage, UserMessage};
use crate::send_queue::Undo;

/// The windows of one session. They are few, and looked up for each of their events.
#[derive(Debug)]
pub(crate) struct Windows {
    max: usize,
    open: Vec<Opened>,
}

#[derive(Debug)]
struct Opened {
    topic: Topic,
    number: u32,
    window: Window,
    /// The number of the command among those that asked to watch something.
    ask: u32,
    /// Whether its rows were asked for and have not been delivered yet: until then its changes are changes of rows
    /// that the client does not have.
    is_blank: bool,
}

impl Windows {
    /// No windows, of which there may be `max`.
    pub(crate) fn new(max: usize) -> Self {
        Windows {
            max,
            open: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn get_mut(&mut self, topic: &Topic, number: u32) -> Option<&mut Opened> {
        let mut all = self.open.iter_mut();
        all.find(|it| it.number == number && it.topic == *topic)
    }

    fn remove(&mut self, topic: &Topic, number: u32) {
        self.open
            .retain(|it| it.number != number || it.topic != *topic);
    }

    pub(super) fn contains(&self, topic: &Topic, number: u32) -> bool {
        let mut all = self.open.iter();
        all.any(|it| it.number == number && it.topic == *topic)
    }

    /// Notes that events were dropped. Returns what has to be told again.
    pub(super) fn lagged(&mut self) -> impl Iterator<Item = ToResend> {
        self.open.iter_mut().map(|it| {
            it.is_blank = true;
            ToResend::Window(it.topic.clone(), it.number)
        })
    }

    /// Notes what `event` tells of a window. Returns false if the client has no use for it.
    pub(super) fn follows(&mut self, event: &Event) -> bool {
        match event {
            Event::Window { topic, number, .. } => match self.get_mut(topic, *number) {
                Some(opened) => {
                    opened.is_blank = false;
                    true
                }
                None => false,
            },
            Event::WindowChanges { topic, number, .. } => {
                self.get_mut(topic, *number).is_some_and(|it| !it.is_blank)
            }
            _ => false,
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Topic, u32, &Window)> {
        self.open
            .iter()
            .map(|it| (&it.topic, it.number, &it.window))
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = (Topic, u32)> + use<> {
        let open = std::mem::take(&mut self.open);
        open.into_iter().map(|it| (it.topic, it.number))
    }

    /// Undoes the opening with the number `ask`, because it was refused.
    pub(super) fn undo(&mut self, topic: &Topic, number: u32, ask: u32, before: Option<Window>) {
        match (self.get_mut(topic, number), before) {
            (Some(opened), Some(before)) if opened.ask == ask => opened.window = before,
            (Some(opened), None) if opened.ask == ask => self.remove(topic, number),
            _ => {}
        }
    }
}

impl Session {
    /// Opens a window on a channel or a workspace: a few rows of its list, however big that is. The rows are delivered
    /// as an [`Event::Window`](presence_core::Event::Window) after the answer, and then what changes in them, as
    /// [`Event::WindowChanges`](presence_core::Event::WindowChanges). Whether the session watches the topic makes no
    /// difference.
    ///
    /// - `number` is a number that the session chooses. A window that is open under it on the same topic is replaced, which is
    ///   how to move one. Sessions that use the same numbers for equal windows share their events.
    /// - The answer is a refusal with [`Refusal::TooMany`](presence_core::Refusal::TooMany) if the session has
    ///   [`Limits::windows_max`](presence_core::Limits::windows_max) windows (8 by default), or the topic
    ///   [`Limits::topic_windows_max`](presence_core::Limits::topic_windows_max) different ones on this node.
    ///
    /// ```text
    /// let window = Window::new(Span::named("an", None), 50)?;
    /// session.open_window(topic, 1, window, None)?;
    /// session.next().await  // Event::Window: the first 50 people whose name begins with "an"
    /// ```
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn open_window(
        &mut self,
        topic: Topic,
        number: u32,
        window: Window,
        reference: Option<Reference>,
    ) -> Result<(), Busy> {
        let is_open = self.windows.contains(&topic, number);
        let max = self.windows.max;
        if !is_open && self.windows.open.len() >= max {
            let what = "windows of one session";
            let refused = Err(Refusal::TooMany { what, max });
            self.send_queue.answer(reference, refused, None);
            return Ok(());
        }
        let ask = self.asks + 1;
        let before = self.windows.get_mut(&topic, number);
        let undo = Undo::Window {
            topic: topic.clone(),
            number,
            ask,
            before: before.map(|it| it.window.clone()),
        };
        let reply_to = self.reply_to_with(reference, undo);
        let message = self.window_message(topic.clone(), number, window.clone(), reply_to);
        self.send_to(&topic, message)?;
        self.asks = ask;
        match self.windows.get_mut(&topic, number) {
            Some(opened) => {
                opened.window = window;
                opened.ask = ask;
            }
            None => self.windows.open.push(Opened {
                topic,
                number,
                window,
                ask,
                is_blank: true,
            }),
        }
        Ok(())
    }

    /// Closes a window, and answers the command.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing has changed.
    pub fn close_window(
        &mut self,
        topic: &Topic,
        number: u32,
        reference: Option<Reference>,
    ) -> Result<(), Busy> {
        if self.windows.contains(topic, number) {
            let message = self.close_window_message(topic.clone(), number);
            self.send_to(topic, message)?;
            self.windows.remove(topic, number);
        }
        self.grant(reference);
        Ok(())
    }

    /// Closes every window on a channel or a workspace.
    ///
    /// # Errors
    ///
    /// [`Busy`]: some of the windows may be closed.
    pub fn close_windows(&mut self, topic: &Topic) -> Result<(), Busy> {
        let here = self.windows.all().filter(|(it, ..)| *it == topic);
        let numbers: Vec<u32> = here.map(|(_, number, _)| number).collect();
        for number in numbers {
            self.close_window(topic, number, None)?;
        }
        Ok(())
    }

    /// The windows that the session has open: on which topic, under which number, and which rows.
    pub fn windows(&self) -> impl Iterator<Item = (&Topic, u32, &Window)> {
        self.windows.all()
    }

    /// Asks for the rows of a window again.
    pub(super) async fn refresh_window(&mut self, topic: &Topic, number: u32) {
        let reply_to = self.reply_to(None);
        let Some(opened) = self.windows.get_mut(topic, number) else {
            return;
        };
        let window = opened.window.clone();
        let message = self.window_message(topic.clone(), number, window, reply_to);
        let message = UserMessage::Forward(topic.clone(), message);
        let _ = self.people.of(&self.user).send(message).await;
    }

    fn window_message(
        &self,
        topic: Topic,
        number: u32,
        window: Window,
        reply_to: Option<ReplyTo>,
    ) -> RosterMessage {
        RosterMessage::OpenWindow(OpenWindow {
            topic,
            session: self.connection.session,
            number,
            window,
            send_queue: self.send_queue.clone(),
            reply_to,
        })
    }

    pub(super) fn close_window_message(&self, topic: Topic, number: u32) -> RosterMessage {
        RosterMessage::CloseWindow {
            topic,
            session: self.connection.session,
            number,
            send_queue: self.send_queue.clone(),
        }
    }
}
