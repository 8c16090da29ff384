//! One battery for every store, and what only a directory can suffer.

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
