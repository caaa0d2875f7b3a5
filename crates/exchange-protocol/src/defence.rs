//! What a peer may cost: budgets, scores and the checks of a record before it is taken in.

pub(crate) mod bucket;
pub(crate) mod budget;
pub(crate) mod origin;
pub(crate) mod score;
pub(crate) mod validate;
