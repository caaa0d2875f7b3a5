//! One engine, driven by hand through every kind of conversation.

mod bench;
mod bounds;
mod conversation;
mod hostile;
mod records;
mod vectors;
