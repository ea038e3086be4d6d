//! The common part of all sinks: delivering in order, trying again, and ending.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::spool::{BATCH, Spool};
use crate::store::Inspection;

/// How long a sink may go on when the service ends, to deliver what is there.
const GRACE: Duration = Duration::from_secs(2);

/// How long it may then take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// The first pause after a failure. Each following one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What goes wrong, in words.
pub(super) type Outcome = Result<(), String>;

/// Whom inspections are delivered to.
pub(super) trait Peer {
    /// Whether it knows without a delivery that somebody is there.
    const CONNECTS: bool;
    /// How often it wants to be called without anything to deliver.
    const EVERY: Duration;
    /// The longest pause between two tries.
    const LONGEST_PAUSE: Duration;

    /// Makes a connection, unless there is one.
    async fn connect(&mut self) -> Outcome;

    /// Delivers inspections in this order. Each that is acknowledged advances the spool.
    async fn deliver(&mut self, inspections: &[Inspection], spool: &mut Spool) -> Outcome;

    /// Does what is due now and then, with a connection. `is_behind` says that there is more to deliver.
    async fn tick(&mut self, is_behind: bool) -> Outcome;

    /// Something failed: the connection is given up.
    fn lost(&mut self);

    /// Says goodbye, if there is a connection.
    async fn close(&mut self);
}

/// Delivers until the service ends.
pub(super) fn run(mut peer: impl Peer, mut spool: Spool, mut end: watch::Receiver<bool>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!("sink {}: {error}", spool.name()),
    };
    runtime.block_on(async {
        let mut late = end.clone();
        tokio::select! {
            () = deliver(&mut peer, &mut spool, &mut end) => {}
            () = async {
                let _ = late.wait_for(|end| *end).await;
                sleep(GRACE).await;
            } => {}
        }
        let _ = timeout(GOODBYE, peer.close()).await;
    });
    if let Err(error) = spool.keep() {
        tracing::error!("sink {}: {error}", spool.name());
    }
    // A call that hangs is left to itself.
    runtime.shutdown_background();
}

/// Delivers, and returns when the service ends and everything is delivered, or cannot be now.
async fn deliver<P: Peer>(peer: &mut P, spool: &mut Spool, end: &mut watch::Receiver<bool>) {
    let mut pause = FIRST_PAUSE;
    let mut ticked = Instant::now();
    loop {
        let outcome = step(peer, spool, &mut ticked).await;
        let is_ending = *end.borrow();
        match outcome {
            Ok(is_behind) => {
                if spool.is_up(true) && (P::CONNECTS || pause > FIRST_PAUSE) {
                    tracing::info!("sink {}: works", spool.name());
                }
                pause = FIRST_PAUSE;
                if is_behind {
                    continue;
                }
                if is_ending {
                    return;
                }
                tokio::select! {
                    () = spool.news() => {}
                    () = sleep_until(ticked + P::EVERY) => {}
                    _ = end.changed() => {}
                }
            }
            Err(cause) => {
                peer.lost();
                if spool.is_up(false) || pause == FIRST_PAUSE {
                    tracing::warn!("sink {}: {cause}; trying again", spool.name());
                }
                if is_ending {
                    return;
                }
                tokio::select! {
                    () = sleep(pause) => {}
                    _ = end.changed() => {}
                }
                pause = (pause * 2).min(P::LONGEST_PAUSE);
            }
        }
    }
}

/// Delivers what is next; whether there may be more.
async fn step<P: Peer>(peer: &mut P, spool: &mut Spool, ticked: &mut Instant) -> Result<bool, String> {
    let next = spool.next().map_err(|error| error.to_string());
    spool.keep_sometimes();
    peer.connect().await?;
    let batch = next?;
    let is_behind = batch.len() == BATCH;
    if !batch.is_empty() {
        peer.deliver(&batch, spool).await?;
    }
    if !batch.is_empty() || ticked.elapsed() >= P::EVERY {
        peer.tick(is_behind).await?;
        *ticked = Instant::now();
    }
    Ok(is_behind)
}
