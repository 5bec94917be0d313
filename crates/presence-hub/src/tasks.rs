//! The background tasks of a node.

use std::sync::{Mutex, PoisonError};

use tokio::task::JoinHandle;

/// The tasks of a node, which can be ended before their runtime ends. Dropping this value does not end them: tasks that
/// store something do so, and then end by themselves.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<Vec<JoinHandle<()>>>);

impl Tasks {
    /// Starts a task.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.lock();
        tasks.retain(|it| !it.is_finished());
        tasks.push(tokio::spawn(task));
    }

    /// Ends all tasks, wherever they are. Returns when every task is gone, together with what it held. A call to a
    /// store that was under way is dropped.
    pub(crate) async fn end(&self) {
        let tasks = std::mem::take(&mut *self.lock());
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            // An error says that it was ended, or that it had panicked.
            let _ = task.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
