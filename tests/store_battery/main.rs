//! Tests of the stores: the contract of every store, and the special cases of a directory.

mod battery;
mod changed;
mod crash;
mod descriptors;
mod disk_full;
mod hostile;
mod names;
mod permissions;
mod publishing;
mod race;
mod replacing;
mod sharing;
mod support;
mod sweep;
mod symlinks;
