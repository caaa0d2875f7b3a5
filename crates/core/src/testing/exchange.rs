//! An engine that says what it was told to say.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::exchange::{Exchange, ExchangeCounters, Input, Output};
use crate::time::{MonotonicTime, Now};

/// What an engine answers to one input.
type Responder = Box<dyn FnMut(Now, &Input) -> Vec<Output> + Send>;

/// An [`Exchange`] that records its inputs and plays outputs from a script.
///
/// Clones share one script, so that a test keeps a handle after it gave the engine away.
#[derive(Clone, Default)]
pub struct ScriptedExchange(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    inputs: Vec<(Now, Input)>,
    outputs: VecDeque<Output>,
    responder: Option<Responder>,
    deadline: Option<MonotonicTime>,
    counters: ExchangeCounters,
}

impl fmt::Debug for ScriptedExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let script = lock(&self.0);
        f.debug_struct("ScriptedExchange")
            .field("inputs", &script.inputs.len())
            .field("outputs", &script.outputs)
            .field("deadline", &script.deadline)
            .finish_non_exhaustive()
    }
}

impl ScriptedExchange {
    /// An engine with an empty script: it takes everything in and wants nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an output to the script. It comes out of the next drain.
    pub fn queue(&self, output: Output) {
        lock(&self.0).outputs.push_back(output);
    }

    /// From now on every input is answered with what `responder` returns.
    pub fn respond_with(&self, responder: impl FnMut(Now, &Input) -> Vec<Output> + Send + 'static) {
        lock(&self.0).responder = Some(Box::new(responder));
    }

    /// What [`Exchange::next_deadline`] answers from now on.
    pub fn set_deadline(&self, deadline: Option<MonotonicTime>) {
        lock(&self.0).deadline = deadline;
    }

    /// What [`Exchange::counters`] answers from now on.
    pub fn set_counters(&self, counters: ExchangeCounters) {
        lock(&self.0).counters = counters;
    }

    /// The inputs so far, oldest first.
    #[must_use]
    pub fn inputs(&self) -> Vec<(Now, Input)> {
        lock(&self.0).inputs.clone()
    }

    /// Takes the inputs so far, oldest first.
    #[must_use]
    pub fn take_inputs(&self) -> Vec<(Now, Input)> {
        std::mem::take(&mut lock(&self.0).inputs)
    }
}

impl Exchange for ScriptedExchange {
    fn handle(&mut self, now: Now, input: Input) {
        let mut script = lock(&self.0);
        let answers = script
            .responder
            .as_mut()
            .map(|respond| respond(now, &input));
        script.outputs.extend(answers.into_iter().flatten());
        script.inputs.push((now, input));
    }

    fn poll_output(&mut self) -> Option<Output> {
        lock(&self.0).outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<MonotonicTime> {
        lock(&self.0).deadline
    }

    fn counters(&self) -> ExchangeCounters {
        lock(&self.0).counters
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::test_key;

    fn close(seed: u16) -> Output {
        Output::Close {
            peer: test_key(seed),
            reason: "script".into(),
        }
    }

    #[test]
    fn queued_outputs_come_out_once_and_in_order() {
        let script = ScriptedExchange::new();
        let mut engine: Box<dyn Exchange> = Box::new(script.clone());
        script.queue(close(1));
        script.queue(close(2));
        assert_eq!(engine.poll_output(), Some(close(1)));
        assert_eq!(engine.poll_output(), Some(close(2)));
        assert_eq!(engine.poll_output(), None);
    }

    #[test]
    fn inputs_are_recorded_with_their_time_and_answered() {
        let script = ScriptedExchange::new();
        let mut engine: Box<dyn Exchange> = Box::new(script.clone());
        script.respond_with(|_, input| match input {
            Input::Disconnected { peer } => vec![Output::Close {
                peer: *peer,
                reason: "script".into(),
            }],
            _ => Vec::new(),
        });
        engine.handle(Now::default(), Input::Timeout);
        engine.handle(Now::default(), Input::Disconnected { peer: test_key(1) });
        assert_eq!(engine.poll_output(), Some(close(1)));
        assert!(matches!(
            script.inputs()[..],
            [(_, Input::Timeout), (_, Input::Disconnected { .. })]
        ));
        assert_eq!(script.take_inputs().len(), 2);
        assert_eq!(script.inputs().len(), 0);
    }

    #[test]
    fn deadline_and_counters_are_the_ones_that_were_set() {
        let script = ScriptedExchange::new();
        assert_eq!(
            (script.next_deadline(), script.counters()),
            (None, ExchangeCounters::default())
        );
        let deadline = MonotonicTime::from_origin(Duration::from_secs(3));
        let counters = ExchangeCounters {
            bytes_in: 7,
            ..ExchangeCounters::default()
        };
        script.set_deadline(Some(deadline));
        script.set_counters(counters);
        assert_eq!(
            (script.next_deadline(), script.counters()),
            (Some(deadline), counters)
        );
        assert!(format!("{script:?}").contains("deadline"));
    }
}
