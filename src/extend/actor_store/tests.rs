//! Messages that are kept for an actor that hangs.

use std::time::Duration;

use actix::{AtomicResponse, System, WrapFuture};

use super::*;

/// Never answers, and handles no other message.
struct Hung;

impl Actor for Hung {
    type Context = Context<Self>;
}

impl Handler<OpenFile> for Hung {
    type Result = AtomicResponse<Self, Result<OpenedFile, Fault>>;

    fn handle(&mut self, _: OpenFile, _: &mut Self::Context) -> Self::Result {
        AtomicResponse::new(Box::pin(std::future::pending().into_actor(self)))
    }
}

impl Handler<FetchSlab> for Hung {
    type Result = Result<Slab, Fault>;

    fn handle(&mut self, _: FetchSlab, _: &mut Self::Context) -> Self::Result {
        Err(Failure::Internal.into())
    }
}

impl Handler<CloseFile> for Hung {
    type Result = ();

    fn handle(&mut self, _: CloseFile, _: &mut Self::Context) {}
}

#[test]
fn an_actor_that_has_hung_is_not_owed_more_and_more() {
    System::new().block_on(async {
        let store = ActorStore::for_reading(&Hung.start()).within(Duration::from_millis(20));
        let store = ActorStore { places: Arc::new(Semaphore::new(3)), ..store };
        let name = Name::from_request(b"any").unwrap();
        let mut told = Vec::new();
        for _ in 0..5 {
            told.push(store.open_later(&name).unwrap().await.unwrap_err().failure);
        }
        assert_eq!(told[..3], [Failure::Internal; 3]);
        assert_eq!(told[3..], [Failure::Busy; 2]);
    });
}

#[test]
fn file_numbers_are_unique_across_stores() {
    System::new().block_on(async {
        let (one, other) = (ActorStore::for_reading(&Hung.start()), ActorStore::for_reading(&Hung.start()));
        let files = [one.enter(), other.enter(), one.enter()].map(|entry| entry.unwrap().file);
        assert!(files[0] != files[1] && files[1] != files[2] && files[0] != files[2], "{files:?}");
    });
}
