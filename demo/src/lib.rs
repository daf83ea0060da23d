//! The demonstration: a fresh chain trains a digit classifier, classifies what it never saw, and proves that it did.
//!
//! [`node`] starts and stops real nodes (the end-to-end tests use it too); [`run`] is the main job from an empty folder to the
//! exported model; [`kept`] is the folder that it goes on from when it was interrupted, [`interrupt`] how that comes about;
//! [`display`] is what a person sees meanwhile.

pub mod display;
pub mod interrupt;
pub mod kept;
pub mod network;
pub mod node;
pub mod run;
