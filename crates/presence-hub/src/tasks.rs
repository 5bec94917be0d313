//! The tasks of a node.

use std::sync::{Mutex, PoisonError};

use tokio::task::JoinHandle;

/// The tasks of a node, which can be ended before their runtime is. Dropping this ends none of them: those that keep
/// something do so before they end by themselves.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<Vec<JoinHandle<()>>>);

impl Tasks {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.lock().push(tokio::spawn(task));
    }

    /// Ends all of them wherever they are, and returns when each is gone together with what it held. A call to a store that
    /// was under way is dropped.
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
