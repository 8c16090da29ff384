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
async fn any_recipient_finds_the_entry_of_its_actor() {
    let (known, other) = (Quiet.start(), Quiet.start());
    let entry = RestartPause::enter("actor", &known);
    let _others = RestartPause::enter("actor", &other);
    let recipient = known.clone().recipient::<Nothing>();
    let next_life_of =
        |recipient: &Recipient<Nothing>| Pauses::of(recipient).0.map(|found| *found.next_life.borrow());
    let before = Pauses::of(&recipient).0.expect("it was entered");
    assert_eq!(*before.next_life.borrow(), None);
    let next_life = Some(Instant::now());
    entry.set(next_life);
    assert_eq!(*before.next_life.borrow(), next_life);
    assert_eq!(next_life_of(&recipient.clone()), Some(next_life));
    assert_eq!(next_life_of(&other.recipient()), Some(None));
    assert_eq!(next_life_of(&Quiet.start().recipient()), None);
    drop(entry);
    assert_eq!(next_life_of(&recipient), None);
}
