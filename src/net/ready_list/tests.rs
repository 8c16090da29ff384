use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn many_pushes_wake_once_and_keep_their_order() {
    let (list, count) = (ReadyList::default(), Arc::<Count>::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut ready = vec![9];
    assert!(list.poll_ready(&mut context, &mut ready).is_pending() && ready.is_empty());
    (1..4).for_each(|token| list.push(token));
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(list.poll_ready(&mut context, &mut ready).is_ready());
    assert_eq!(ready, [1, 2, 3]);
    assert!(list.poll_ready(&mut context, &mut ready).is_pending());
    list.push(4);
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
    (5..=4 + SOCKETS_PER_TURN as u64).for_each(|token| list.push(token));
    assert!(list.poll_ready(&mut context, &mut ready).is_ready());
    assert_eq!((ready.len(), ready[0]), (SOCKETS_PER_TURN, 4));
    assert!(list.poll_ready(&mut context, &mut ready).is_ready());
    assert_eq!(ready, [4 + SOCKETS_PER_TURN as u64]);
}
