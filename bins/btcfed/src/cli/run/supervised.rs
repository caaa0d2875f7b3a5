//! Tasks beside the node that must live as long as it does. One that ends takes the node down in order.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};

/// The tasks, by name.
#[derive(Debug, Default)]
pub(super) struct Supervised {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Supervised {
    /// Starts a task. It ends when this is dropped.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        #[cfg(debug_assertions)]
        let task = super::fault::may_end(name, task);
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    /// The name of the first task that ends, which the log tells with the reason; never, while there is none.
    /// Cancellation: safe.
    pub(super) async fn first_end(&mut self) -> &'static str {
        let (id, error) = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, None),
            Some(Err(error)) => (error.id(), Some(error)),
            None => return std::future::pending().await,
        };
        let name = self.names.remove(&id).unwrap_or("unnamed");
        tracing::error!(task = name, ?error, "task failed");
        name
    }

    /// Ends all tasks, and returns when they have let go of what they held.
    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_task_that_ends_and_one_that_panics_are_named_and_the_others_go_on() {
        let mut tasks = Supervised::default();
        tasks.spawn("admin", pending());
        tasks.spawn("http", async { panic!("injected") });
        assert_eq!(tasks.first_end().await, "http");
        tasks.spawn("logging", async {});
        assert_eq!(tasks.first_end().await, "logging");
        assert_eq!(tasks.tasks.len(), 1);
    }

    #[tokio::test]
    async fn stopping_waits_until_every_task_has_let_go() {
        let held = Arc::new(());
        let mut tasks = Supervised::default();
        let of_task = Arc::clone(&held);
        tasks.spawn("admin", async move {
            pending::<()>().await;
            drop(of_task);
        });
        tasks.stop().await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
