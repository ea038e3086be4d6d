use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use riad_serve::{Destination, Service};
use serde_json::Value;

use crate::support::{LINE, Program, free_port, good, metric, options, post, post_none, python, until};

/// A PLC that prints what is written to it.
const PLC: &str = "
import asyncio, json, sys
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

async def action(function, start, address, count, current, values):
    if values is not None:
        print(json.dumps([function, address, [int(value) for value in values]]), flush=True)

async def main():
    bits = lambda: [SimData(0, values=[False] * 2048, datatype=DataType.BITS)]
    words = lambda: [SimData(0, count=2048, values=0, datatype=DataType.REGISTERS)]
    device = SimDevice(1, simdata=(bits(), bits(), words(), words()), action=action)
    server = ModbusTcpServer(device, address=('127.0.0.1', int(sys.argv[1])))
    await server.serve_forever()

asyncio.run(main())
";

/// A PLC that asks ten times a second, and tries what it may not.
const ASKS: &str = "
import json, struct, sys, time
from pymodbus.client import ModbusTcpClient

client = ModbusTcpClient('127.0.0.1', port=int(sys.argv[1]))
assert client.connect()
codes = [client.write_coil(1, True).exception_code, client.write_register(3, 7).exception_code,
         client.read_holding_registers(16, count=1).exception_code, client.read_coils(7, count=2).exception_code]
print(json.dumps(codes))
while True:
    r = client.read_holding_registers(0, count=16).registers
    assert client.read_input_registers(0, count=9).registers[4:8] == r[4:8]
    assert client.read_coils(0, count=8).bits[3:8] == [False] * 5
    score = struct.unpack('>f', struct.pack('>HH', r[4], r[5]))[0]
    print(json.dumps(r[:4] + [score, r[6] * 65536 + r[7], r[8]]), flush=True)
    time.sleep(0.1)
";

/// What a PLC holds, rebuilt from what was written to it.
#[derive(Default)]
struct Memory {
    registers: HashMap<u64, u64>,
    coils: HashMap<u64, bool>,
}

impl Memory {
    /// After each write.
    fn after(writes: &[String], mut look: impl FnMut(&Self)) -> Self {
        let mut memory = Self::default();
        for line in writes {
            let write: Value = serde_json::from_str(line).unwrap();
            let (function, first) = (write[0].as_u64().unwrap(), write[1].as_u64().unwrap());
            for (address, value) in (first..).zip(write[2].as_array().unwrap()) {
                match function {
                    15 => drop(memory.coils.insert(address, value == 1)),
                    16 => drop(memory.registers.insert(address, value.as_u64().unwrap())),
                    other => panic!("function {other}"),
                }
            }
            look(&memory);
        }
        memory
    }

    fn register(&self, address: u64) -> u64 {
        self.registers.get(&address).copied().unwrap_or(0)
    }

    fn score(&self, base: u64) -> f32 {
        f32::from_bits((self.register(base + 4) << 16 | self.register(base + 5)) as u32)
    }

    fn id(&self, base: u64) -> u64 {
        self.register(base + 6) << 16 | self.register(base + 7)
    }

    /// Valid, OK and NOT OK.
    fn coils(&self, base: u64) -> [bool; 3] {
        [0, 1, 2].map(|place| self.coils.get(&(base + place)).copied().unwrap_or(false))
    }
}

const BASE: u16 = 100;

fn to_plc(port: u16, valid: Duration) -> Destination {
    Destination::ModbusClient {
        address: format!("127.0.0.1:{port}"),
        unit: 1,
        base: BASE,
        valid: Some(valid),
    }
}

fn plc(port: u16) -> Option<Program> {
    Program::python(PLC, "pymodbus.simulator", &[&port.to_string()])
}

#[test]
fn a_plc_is_told_of_each_verdict_and_of_nothing_good_afterwards() {
    let port = free_port();
    let Some(program) = plc(port) else {
        return;
    };
    let base = u64::from(BASE);
    let now = || Memory::after(&program.lines(), |_| {});
    let store = tempfile::tempdir().unwrap();
    let service = Service::start(options(store.path(), [to_plc(port, Duration::from_secs(4))])).unwrap();
    let address = service.address();
    until("it is idle", || now().register(base + 1) == 2);
    assert_eq!(now().coils(base), [false; 3]);
    let before = now().register(base + 3);
    let good = post(address, &good(address));
    let is_of = |memory: &Memory, id: &Value| Some(memory.id(base)) == id.as_u64();
    until("it is good", || {
        is_of(&now(), &good["id"]) && now().coils(base) == [true, true, false]
    });
    let memory = now();
    assert_eq!([1, 2, 3].map(|place| memory.register(base + place)), [1, 1, before + 1]);
    assert_eq!(memory.score(base), good["score"].as_f64().unwrap() as f32);
    let none = post_none(address);
    until("it is not", || {
        is_of(&now(), &none.into()) && now().coils(base) == [true, false, true]
    });
    assert_eq!(
        [2, 3, 8].map(|place| now().register(base + place)),
        [4, before + 2, 0b101]
    );
    // Another good one, and none after it: it goes out by itself, and the heart goes on beating.
    let last = post(address, &crate::support::good(address));
    until("it is good", || is_of(&now(), &last["id"]) && now().coils(base)[1]);
    // Coils are cleared first, and the registers follow.
    until("it goes out", || {
        let memory = now();
        memory.coils(base) == [false; 3] && memory.register(base + 2) == 0
    });
    assert_eq!(now().register(base + 3), before + 3);
    let beat = now().register(base);
    until("the heart beats", || now().register(base) >= beat + 2);
    let third = post(address, &crate::support::good(address));
    until("it is good", || is_of(&now(), &third["id"]) && now().coils(base)[1]);
    service.stop();
    until("nothing is good any more", || {
        now().coils(base) == [false; 3] && now().register(base + 1) == 0
    });
    // At no moment did OK stand beside the number of a picture that is not good.
    let good = [&good, &last, &third].map(|one| one["id"].as_u64().unwrap());
    let mut oks = 0;
    Memory::after(&program.lines(), |memory| {
        let [valid, ok, not_ok] = memory.coils(base);
        assert!(!ok || good.contains(&memory.id(base)), "{}", memory.id(base));
        assert!(!not_ok || memory.id(base) == none.unsigned_abs());
        assert_eq!(valid, ok || not_ok);
        oks += usize::from(ok);
    });
    assert!(oks >= 3);
}

#[test]
fn a_plc_that_was_gone_is_told_nothing_that_is_late() {
    let port = free_port();
    let Some(program) = plc(port) else {
        return;
    };
    let base = u64::from(BASE);
    let store = tempfile::tempdir().unwrap();
    let valid = Duration::from_secs(1);
    let service = Service::start(options(store.path(), [to_plc(port, valid)])).unwrap();
    let address = service.address();
    until("it is told", || !program.lines().is_empty());
    let picture = good(address);
    drop(program);
    for _ in 0..3 {
        post(address, &picture);
    }
    let posted = Instant::now();
    until("it is noticed", || metric(address, "up") == 0.0);
    until("all of them are late", || posted.elapsed() > valid);
    let program = plc(port).unwrap();
    until("nothing is left", || {
        metric(address, "behind") == 0.0 && metric(address, "up") == 1.0
    });
    let now = || Memory::after(&program.lines(), |memory| assert!(!memory.coils(base)[1], "late"));
    until("it has the last sequence", || now().id(base) != 0);
    assert!(metric(address, "dropped_total") >= 1.0);
    let next = post(address, &picture);
    let is_good = || Memory::after(&program.lines(), |_| {}).coils(base)[1];
    until("the next one is good", is_good);
    assert_eq!(
        Some(Memory::after(&program.lines(), |_| {}).id(base)),
        next["id"].as_u64()
    );
}

#[test]
fn a_picture_that_lay_in_a_folder_is_not_good_for_the_product_that_is_there_now() {
    let port = free_port();
    let Some(program) = plc(port) else {
        return;
    };
    let (store, inbox) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut options = options(store.path(), [to_plc(port, Duration::from_secs(30))]);
    options.watch = vec![(LINE.to_owned(), inbox.path().to_owned())];
    (options.settle, options.interval) = (Duration::from_secs(20), Duration::from_secs(10));
    let error = Service::start(options.clone()).unwrap_err().to_string();
    assert!(error.contains("no verdict would be in time"), "{error}");
    (options.settle, options.interval) = (Duration::from_millis(100), Duration::from_millis(100));
    let service = Service::start(options).unwrap();
    let picture = good(service.address());
    let base = u64::from(BASE);
    let now = || Memory::after(&program.lines(), |_| {});
    until("it is idle", || now().register(base + 1) == 2);
    let before = now().register(base + 3);
    let bring = |name: &str, age: Duration| {
        // It comes by a rename, as from a camera, and as from somebody who moves old files.
        let part = inbox.path().join("part");
        fs::copy(&picture, &part).unwrap();
        let file = fs::File::options().write(true).open(&part).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        fs::rename(part, inbox.path().join(name)).unwrap();
    };
    bring("old.png", Duration::from_secs(60));
    until("it counts", || now().register(base + 3) == before + 1);
    Memory::after(&program.lines(), |memory| assert_eq!(memory.coils(base), [false; 3]));
    bring("new.png", Duration::ZERO);
    until("it is good", || {
        now().register(base + 3) == before + 2 && now().coils(base) == [true, true, false]
    });
    assert_eq!(metric(service.address(), "dropped_total"), 1.0);
}

#[test]
fn plcs_that_ask_see_the_same_and_cannot_write() {
    let store = tempfile::tempdir().unwrap();
    let to = Destination::ModbusServer {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        valid: Some(Duration::from_secs(3)),
    };
    let service = Service::start(options(store.path(), [to])).unwrap();
    let (address, port) = (service.address(), service.modbus()[0].port());
    let Some(program) = Program::python(ASKS, "pymodbus.client", &[&port.to_string()]) else {
        return;
    };
    // Heartbeat, state, verdict, sequence, score, number and flags.
    let seen = || -> Vec<Vec<f64>> {
        let lines = program.lines();
        lines
            .iter()
            .skip(1)
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    until("it is idle", || {
        seen().last().is_some_and(|last| last[1] == 2.0 && last[6] == 0.0)
    });
    let refused: Vec<u8> = serde_json::from_str(&program.lines()[0]).unwrap();
    assert_eq!(
        refused,
        [1, 1, 2, 2],
        "no function to write, and no address beyond the only line"
    );
    let sequence = seen().last().unwrap()[3];
    let begun = Instant::now();
    let picture = good(address);
    let good = post(address, &picture);
    let id = good["id"].as_f64().unwrap();
    until("it is good", || seen().iter().any(|one| one[5] == id && one[6] == 3.0));
    let score = f64::from(good["score"].as_f64().unwrap() as f32);
    let shown: Vec<_> = seen().into_iter().filter(|one| one[6] == 3.0).collect();
    assert!(
        shown
            .iter()
            .all(|one| one[1..6] == [1.0, 1.0, sequence + 1.0, score, id]),
        "{shown:?}"
    );
    until("it goes out", || {
        seen().last().is_some_and(|last| last[2] == 0.0 && last[6] == 0.0)
    });
    let none = post_none(address) as f64;
    until("it is not", || {
        seen()
            .last()
            .is_some_and(|last| last[5] == none && last[2] == 4.0 && last[6] == 5.0)
    });
    let beats = |seen: Vec<Vec<f64>>| seen.last().unwrap()[0] - seen[0][0];
    until("the heart beats", || beats(seen()) >= 3.0);
    assert!(
        beats(seen()) <= begun.elapsed().as_secs_f64() + 2.0,
        "at most once a second"
    );
    // Somebody should look at the line: not even a good one is shown as good, until it runs again.
    post_none(address);
    post_none(address);
    until("it is amber", || seen().last().is_some_and(|last| last[1] == 3.0));
    service.stop();
    let refused = "from pymodbus.client import ModbusTcpClient as C; import sys; print(C('127.0.0.1', port=int(sys.argv[1])).connect())";
    assert_eq!(python(&["-c", refused, &port.to_string()]).unwrap().trim(), "False");
}
