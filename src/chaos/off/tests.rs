use std::mem::{needs_drop, size_of};

use super::{Chaos, Part, Seam};

#[test]
fn without_the_feature_chaos_takes_no_memory() {
    assert_eq!((size_of::<Chaos>(), size_of::<Part>(), size_of::<Seam>()), (0, 0, 0));
    assert!(!needs_drop::<Chaos>() && !needs_drop::<Part>() && !needs_drop::<Seam>());
}
