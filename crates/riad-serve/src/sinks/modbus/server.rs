//! PLCs that read from the service.

use std::{
    future::{Ready, ready},
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{net::TcpStream, task::JoinHandle, time::sleep};
use tokio_modbus::{
    ExceptionCode, Request, Response,
    server::{Service, tcp},
};

use super::{Board, COILS, COILS_APART, REGISTERS, REGISTERS_APART};
use crate::{
    sinks::{
        link::{Outcome, Peer},
        spool::Spool,
    },
    store::Inspection,
};

/// How many may ask at a time.
const MOST_CONNECTIONS: usize = 32;

/// After so long without a word from a PLC its system is asked whether it is still there.
const ALIVE: Duration = Duration::from_secs(20);

/// How long to wait when connections cannot be taken, as when there are too many files.
const PAUSE: Duration = Duration::from_millis(200);

/// An address at which PLCs ask.
#[derive(Debug)]
pub(in crate::sinks) struct Server {
    listener: Option<TcpListener>,
    board: Arc<Mutex<Board>>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    pub(in crate::sinks) fn new(listener: Option<TcpListener>, board: Board) -> Self {
        Self {
            listener,
            board: Arc::new(Mutex::new(board)),
            task: None,
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer for Server {
    const CONNECTS: bool = true;
    // What is shown is computed when it is asked for. This is for the heartbeat.
    const EVERY: Duration = Duration::from_millis(200);
    const LONGEST_PAUSE: Duration = Duration::from_secs(2);

    async fn connect(&mut self) -> Outcome {
        if let Some(listener) = self.listener.take() {
            listener.set_nonblocking(true).map_err(|error| error.to_string())?;
            let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| error.to_string())?;
            self.task = Some(tokio::spawn(serve(tcp::Server::new(listener), self.board.clone())));
        }
        match &self.task {
            Some(task) if !task.is_finished() => Ok(()),
            _ => Err("nobody listens any more".to_owned()),
        }
    }

    async fn deliver(&mut self, inspections: &[Inspection], spool: &mut Spool) -> Outcome {
        for inspection in inspections {
            self.board().show(inspection);
            spool.advance(inspection.id);
        }
        Ok(())
    }

    async fn tick(&mut self, _: bool) -> Outcome {
        self.board().beat();
        Ok(())
    }

    fn lost(&mut self) {}

    async fn close(&mut self) {
        // A PLC sees a connection that ends, and none afterwards.
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }
}

/// Answers all who ask.
async fn serve(server: tcp::Server, board: Arc<Mutex<Board>>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let connected = |stream: TcpStream, _: SocketAddr| {
        let asked = Asked::new(&board, &connections);
        async move {
            let Some(asked) = asked else {
                return Ok(None);
            };
            // A PLC that loses its power says no goodbye.
            let alive = TcpKeepalive::new().with_time(ALIVE);
            let _ = SockRef::from(&stream).set_tcp_keepalive(&alive);
            let _ = stream.set_nodelay(true);
            io::Result::Ok(Some((asked, stream)))
        }
    };
    loop {
        if let Err(error) = server.serve(&connected, |_| {}).await {
            tracing::warn!("PLCs cannot connect: {error}; trying again");
        }
        sleep(PAUSE).await;
    }
}

/// Answers one who asks.
struct Asked {
    board: Arc<Mutex<Board>>,
    connections: Arc<AtomicUsize>,
}

impl Asked {
    /// `None` if too many ask.
    fn new(board: &Arc<Mutex<Board>>, connections: &Arc<AtomicUsize>) -> Option<Self> {
        let asked = Self {
            board: board.clone(),
            connections: connections.clone(),
        };
        (connections.fetch_add(1, Ordering::SeqCst) < MOST_CONNECTIONS).then_some(asked)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service for Asked {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        ready(answer(&board, &request))
    }
}

fn answer(board: &Board, request: &Request<'_>) -> Result<Response, ExceptionCode> {
    match *request {
        Request::ReadCoils(first, count) => coils(board, first, count).map(Response::ReadCoils),
        Request::ReadDiscreteInputs(first, count) => coils(board, first, count).map(Response::ReadDiscreteInputs),
        Request::ReadHoldingRegisters(first, count) => {
            registers(board, first, count).map(Response::ReadHoldingRegisters)
        }
        Request::ReadInputRegisters(first, count) => registers(board, first, count).map(Response::ReadInputRegisters),
        _ => Err(ExceptionCode::IllegalFunction),
    }
}

fn coils(board: &Board, first: u16, count: u16) -> Result<Vec<bool>, ExceptionCode> {
    let blocks = blocks(board, [first, count], COILS_APART, 2000)?;
    Ok(blocks
        .map(|(block, place)| place < COILS && block.coils[place])
        .collect())
}

fn registers(board: &Board, first: u16, count: u16) -> Result<Vec<u16>, ExceptionCode> {
    let blocks = blocks(board, [first, count], REGISTERS_APART, 125)?;
    Ok(blocks
        .map(|(block, place)| if place < REGISTERS { block.registers[place] } else { 0 })
        .collect())
}

/// For each address its line's block and its place in it. Addresses of one line are of one moment.
fn blocks(
    board: &Board,
    [first, count]: [u16; 2],
    apart: u16,
    most: u16,
) -> Result<impl Iterator<Item = (super::Block, usize)>, ExceptionCode> {
    let (first, count, apart) = (usize::from(first), usize::from(count), usize::from(apart));
    if count == 0 || count > usize::from(most) {
        return Err(ExceptionCode::IllegalDataValue);
    }
    if first + count > board.lines() * apart {
        return Err(ExceptionCode::IllegalDataAddress);
    }
    let line = first / apart;
    let shown: Vec<_> = (line..=(first + count - 1) / apart)
        .map(|line| board.block(line))
        .collect();
    Ok((first..first + count).map(move |address| (shown[address / apart - line], address % apart)))
}
