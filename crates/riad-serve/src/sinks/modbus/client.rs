//! A PLC that is written to.

use std::time::{Duration, Instant};

use tokio::{net::TcpStream, time::timeout};
use tokio_modbus::{
    client::{Context, Writer, tcp},
    slave::Slave,
};

use super::{Block, Board, COILS, COILS_APART, REGISTERS, REGISTERS_APART};
use crate::{
    sinks::{
        link::{Outcome, Peer},
        options::Address,
        spool::{BEHIND, Spool},
    },
    store::Inspection,
};

/// How long a PLC has for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A verdict that is valid for less than this is not written any more: the PLC needs some time for its answer.
const LEAST: Duration = Duration::from_millis(100);

/// How often coils are written that have not changed, so that a PLC that was started anew has them.
const AGAIN: Duration = Duration::from_secs(1);

/// A PLC that is written to.
pub(in crate::sinks) struct Client {
    address: Address,
    unit: u8,
    base: u16,
    board: Board,
    link: Option<Link>,
}

impl Client {
    pub(in crate::sinks) fn new(address: Address, unit: u8, base: u16, board: Board) -> Self {
        Self {
            address,
            unit,
            base,
            board,
            link: None,
        }
    }

    /// Writes what is new of a line.
    async fn write(&mut self, place: usize) -> Outcome {
        let Self { link, board, .. } = self;
        let link = link.as_mut().ok_or("there is no connection")?;
        let index = u16::try_from(place).unwrap_or_default();
        let first = [self.base + index * REGISTERS_APART, self.base + index * COILS_APART];
        link.write(place, first, board).await
    }
}

impl Peer for Client {
    const CONNECTS: bool = true;
    const EVERY: Duration = Duration::from_millis(200);
    // A line stands still until it is back.
    const LONGEST_PAUSE: Duration = Duration::from_secs(2);

    async fn connect(&mut self) -> Outcome {
        if self.link.is_some() {
            return Ok(());
        }
        let connect = TcpStream::connect((self.address.host.as_str(), self.address.port));
        let stream = timeout(PATIENCE, connect).await.map_err(|_| "no connection in time")?;
        let stream = stream.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        // What waits to be sent when the connection is given up must not reach the PLC later.
        stream.set_zero_linger().map_err(|error| error.to_string())?;
        self.link = Some(Link {
            context: tcp::attach_slave(stream, Slave(self.unit)),
            written: vec![None; self.board.lines()],
        });
        // The registers may still hold what was true before the connection was lost.
        for place in 0..self.board.lines() {
            self.write(place).await?;
        }
        Ok(())
    }

    async fn deliver(&mut self, inspections: &[Inspection], spool: &mut Spool) -> Outcome {
        for inspection in inspections {
            // What is late counts in the sequence, and is not worth the time of a request.
            let is_in_time = self.board.show(inspection);
            self.board.beat();
            if !is_in_time {
                spool.dropped(1, BEHIND);
            } else if let Some(place) = self.board.place(&inspection.line) {
                self.write(place).await?;
            }
            spool.advance(inspection.id);
        }
        Ok(())
    }

    async fn tick(&mut self, _: bool) -> Outcome {
        self.board.beat();
        for place in 0..self.board.lines() {
            self.write(place).await?;
        }
        Ok(())
    }

    fn lost(&mut self) {
        self.link = None;
    }

    async fn close(&mut self) {
        // The service is ending, so that no line is shown as running and nothing as good.
        let _ = self.tick(false).await;
    }
}

/// A connection.
struct Link {
    context: Context,
    /// What was written of each line, and when its coils were.
    written: Vec<Option<(Block, Instant)>>,
}

impl Link {
    /// Writes what is new of a line, so that a coil never stands beside the number of another picture: coils are cleared, registers are
    /// written, and then coils are set.
    ///
    /// Each answer takes time, and a verdict may end meanwhile: so what is shown is looked up again before each request.
    async fn write(&mut self, place: usize, [register, coil]: [u16; 2], board: &Board) -> Outcome {
        let shown = || board.block_at(place, Instant::now() + LEAST);
        let block = shown();
        let before = self.written.get(place).copied().flatten();
        let is_same_picture = before.is_some_and(|(before, _)| before.sequence() == block.sequence());
        let mut coils = before.map(|(before, _)| before.coils);
        // Until all is written it is unknown what is there.
        if let Some(written) = self.written.get_mut(place) {
            *written = None;
        }
        let goes_out = coils.is_none_or(|coils| coils.iter().zip(block.coils).any(|(was, is)| *was && !is));
        if goes_out || (!is_same_picture && coils != Some([false; COILS])) {
            self.coils(coil, [false; COILS], PATIENCE).await?;
            coils = Some([false; COILS]);
        }
        let mut block = shown();
        if before.is_none_or(|(before, _)| before.registers != block.registers) {
            self.registers(register, block.registers, patience(board, place, &block))
                .await?;
        }
        let mut since = before.map(|(_, since)| since).filter(|since| since.elapsed() < AGAIN);
        // If it has ended since, its registers say so with the next beat.
        let still = shown().coils;
        for (coil, still) in block.coils.iter_mut().zip(still) {
            *coil &= still;
        }
        if coils != Some(block.coils) || since.is_none() {
            self.coils(coil, block.coils, patience(board, place, &block)).await?;
            since = Some(Instant::now());
        }
        if let Some(written) = self.written.get_mut(place) {
            *written = since.map(|since| (block, since));
        }
        Ok(())
    }

    async fn coils(&mut self, first: u16, coils: [bool; COILS], patience: Duration) -> Outcome {
        answered(timeout(patience, self.context.write_multiple_coils(first, &coils)).await)
    }

    async fn registers(&mut self, first: u16, registers: [u16; REGISTERS], patience: Duration) -> Outcome {
        answered(timeout(patience, self.context.write_multiple_registers(first, &registers)).await)
    }
}

/// How long a request that shows a line may take. A verdict that comes later than it is valid could be taken for that of the next product.
fn patience(board: &Board, place: usize, block: &Block) -> Duration {
    let [is_valid, ..] = block.coils;
    if is_valid {
        board.left(place).min(PATIENCE)
    } else {
        PATIENCE
    }
}

/// What became of a request.
fn answered<E>(answer: Result<tokio_modbus::Result<()>, E>) -> Outcome {
    match answer {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(refused))) => Err(format!("the PLC refuses: {refused}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
