//! How the program that embeds a hub answers questions of the programs that embed the hubs of other nodes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

type Answering = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// The function that answers a question of the program that embeds another node's hub. An empty answer means that the
/// question was not understood.
#[derive(Clone)]
pub struct Program(Arc<dyn Fn(Vec<u8>) -> Answering + Send + Sync>);

impl Program {
    /// A program that calls `answer` for each question.
    pub fn new<F>(answer: impl Fn(Vec<u8>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<u8>> + Send + 'static,
    {
        Program(Arc::new(move |question| Box::pin(answer(question))))
    }

    pub(crate) async fn answer(&self, question: Vec<u8>) -> Vec<u8> {
        (self.0)(question).await
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").finish_non_exhaustive()
    }
}
