//! Serves firmware from one directory and configurations from another:
//! `cargo run --example router -- 127.0.0.1:9069 FIRMWARE CONFIGS`.
//!
//! Boards may upload configurations, but no firmware.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use stagecoach::Stagecoach;
use stagecoach::extend::{Asked, Route, Routing, Served};
use stagecoach::store::{Directory, DirectoryOptions, Store};
use stagecoach::wire::ErrorCode;

#[derive(Debug)]
struct ByName {
    firmware: Arc<dyn Store>,
    configs: Arc<dyn Store>,
}

impl Route for ByName {
    fn route(&self, asked: &Asked<'_>) -> Routing {
        let name = asked.name();
        match name.rsplit('.').next() {
            Some("cfg" | "conf") => Served::from_store(self.configs.clone()).labelled("config").into(),
            _ if !asked.is_read() => {
                Routing::refuse(ErrorCode::ACCESS_VIOLATION, "only *.cfg may be written")
            }
            _ => Served::from_store(self.firmware.clone()).labelled("firmware").into(),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (listen, mut directory) = (args.next().ok_or("where to listen?")?.parse()?, || {
        let path = PathBuf::from(args.next().ok_or("two directories, please")?);
        let mut options = DirectoryOptions::default();
        options.overwrite = true;
        Ok::<_, Box<dyn Error>>(Arc::new(Directory::open(&path, options)?))
    });
    let (firmware, configs) = (directory()?, directory()?);
    actix::System::new().block_on(async {
        let by_name = ByName { firmware, configs };
        let mut server = Stagecoach::builder().listen(listen).route(by_name).start()?;
        println!("listening on {}", server.addresses()[0]);
        server.serve(|| Ok(())).await?;
        Ok(())
    })
}
