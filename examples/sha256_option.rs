//! A new option: a client that asks for `x-sha256` gets the file's digest in the OACK, before the
//! first block. `cargo run --example sha256_option -- 127.0.0.1:9069 DIRECTORY`
//!
//! Reading a whole file takes time, so an actor answers. It reads on threads that may block,
//! several files at once. Only clients that ask for the option wait for it.

use std::error::Error;

use actix::prelude::*;
use sha2::{Digest, Sha256};
use stagecoach::Stagecoach;
use stagecoach::error::Fault;
use stagecoach::extend::{Grant, Negotiate, NegotiatorStep};
use stagecoach::store::Source;
use stagecoach::supervision::ChildSpec;
use tokio::task::spawn_blocking;

const SLAB_OCTETS: usize = 64 << 10;

struct Digester;

impl Actor for Digester {
    type Context = Context<Self>;
}

impl Supervised for Digester {}

impl Handler<Negotiate> for Digester {
    type Result = ResponseFuture<Vec<Grant>>;

    fn handle(&mut self, Negotiate { file, .. }: Negotiate, _: &mut Self::Context) -> Self::Result {
        Box::pin(async {
            let digest = spawn_blocking(|| file.source.and_then(|source| sha256(&*source).ok())).await;
            let grant = |digest| Grant::new("x-sha256", digest);
            digest.ok().flatten().map(grant).into_iter().collect()
        })
    }
}

fn sha256(source: &dyn Source) -> Result<String, Fault> {
    let (mut hasher, mut offset) = (Sha256::new(), 0);
    loop {
        let slab = source.fetch(offset, SLAB_OCTETS)?;
        hasher.update(&slab.bytes);
        offset += slab.bytes.len() as u64;
        if slab.end {
            return Ok(hasher.finalize().iter().map(|octet| format!("{octet:02x}")).collect());
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let listen = args.next().ok_or("where to listen?")?.parse()?;
    let root = args.next().ok_or("which directory?")?;
    System::new().block_on(async {
        let mut builder = Stagecoach::builder().listen(listen).root(root);
        let digester = builder.start_child(ChildSpec::permanent("digester", |_| Digester));
        let step = NegotiatorStep::asking(digester.recipient()).for_option("x-sha256");
        let mut server = builder.negotiator(step).start()?;
        println!("listening on {}", server.addresses()[0]);
        server.serve(|| Ok(())).await?;
        Ok(())
    })
}
