use actix::{Actor, Context, Handler, Message};
use tokio::time::{Duration, timeout};

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
    tokio::time::pause();
    let (known, other) = (Quiet.start(), Quiet.start());
    let entry = RestartPause::enter("known", &known);
    let _others = RestartPause::enter("other", &other);
    let (recipient, other) = (known.clone().recipient::<Nothing>(), other.recipient::<Nothing>());
    let is_pausing =
        async || timeout(Duration::from_millis(1), pauses_for_long(&recipient.clone())).await.is_ok();
    assert_eq!(
        (name_of(&known), name_of(&recipient), name_of(&other)),
        (Some("known"), Some("known"), Some("other"))
    );
    assert_eq!(name_of(&Quiet.start().recipient::<Nothing>()), None);
    assert!(!is_pausing().await);
    let now = Instant::now();
    entry.set(Some(now + limits::EXTENSION_RESTART_WITHIN));
    assert!(!is_pausing().await, "not for long");
    entry.set(Some(now + 2 * limits::EXTENSION_RESTART_WITHIN));
    assert!(is_pausing().await);
    assert!(timeout(Duration::from_millis(1), pauses_for_long(&other)).await.is_err());
    entry.set(None);
    assert!(!is_pausing().await);
    drop(entry);
    assert_eq!(name_of(&recipient), None);
}
