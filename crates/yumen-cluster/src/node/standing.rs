//! Whether a node takes work, and how much of it, as it tells everybody who asks and the registry.
//!
//! Never decides that by itself: the app does, at the stop; the game and the settings, before that.

use std::cell::Cell;
use yumen_core::{Status, cluster::State};

/// Has the record of the node say so.
pub(super) type Publish = dyn Fn(State, u32);

/// See the module.
pub(crate) struct Standing {
    state: Cell<State>,
    weight: Cell<u32>,
    stops: Cell<bool>,
    publish: Box<Publish>,
}

impl Standing {
    /// Of a node that takes work.
    pub(super) fn new(weight: u32, publish: impl Fn(State, u32) + 'static) -> Self {
        let (state, weight) = (Cell::new(State::Work), Cell::new(weight));
        Self { state, weight, stops: Cell::new(false), publish: Box::new(publish) }
    }

    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    pub(super) fn weight(&self) -> u32 {
        self.weight.get()
    }

    /// Somebody wants another state.
    ///
    /// # Errors
    /// The node stops, and must not be given work.
    pub(super) fn set_state(&self, state: State) -> Result<(), Status> {
        if self.stops.get() {
            return Err(Status::unavailable("the node stops"));
        }
        self.state.set(state);
        (self.publish)(state, self.weight.get());
        Ok(())
    }

    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.set(weight);
        (self.publish)(self.state.get(), weight);
    }

    /// The node was told to stop. The app has told the registry; whoever set another state since is overruled.
    pub(super) fn stop(&self) {
        self.stops.set(true);
        self.state.set(State::Hang);
        (self.publish)(State::Hang, self.weight.get());
    }
}
