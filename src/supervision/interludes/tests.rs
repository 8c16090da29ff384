use actix::{Actor, Context, Handler};

use super::*;

struct Quiet;

impl Actor for Quiet {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Nothing;

impl Handler<Nothing> for Quiet {
    type Result = ();

    fn handle(&mut self, _: Nothing, _: &mut Self::Context) {}
}

#[actix::test]
async fn an_actor_is_found_by_any_recipient_until_its_entry_is_dropped() {
    let interludes = Interludes::default();
    let (known, other) = (Quiet.start(), Quiet.start());
    let entry = interludes.enter(&known);
    let _others = interludes.enter(&other);
    let recipient = known.clone().recipient::<Nothing>();
    let pausing = interludes.of(&recipient).expect("it was entered");
    assert_eq!(*pausing.borrow(), None);
    let next_life = Some(Instant::now());
    entry.set(next_life);
    assert_eq!(*pausing.borrow(), next_life);
    assert_eq!(*interludes.of(&recipient.clone()).unwrap().borrow(), next_life);
    assert_eq!(*interludes.of(&other.recipient::<Nothing>()).unwrap().borrow(), None);
    assert!(interludes.of(&Quiet.start().recipient::<Nothing>()).is_none());
    drop(entry);
    assert!(interludes.of(&recipient).is_none());
}
